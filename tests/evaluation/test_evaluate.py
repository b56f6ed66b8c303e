"""A pass over labelled pictures: what predictions say, once, kept, of the right pictures and the right weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ftlab.core.errors import DataError, RunError
from ftlab.data.dataset import catalog
from ftlab.evaluation import datasets, evaluate, results
from ftlab.inference import decision_rule, load_model
from ftlab.inference.decision_rule import DecisionRule
from ftlab.models import weights_file
from ftlab.models.heads import HeadSpec
from ftlab.runs.directory import Run
from tests.support import known_evaluations, public_layouts
from tests.support.known_evaluations import NAMES

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return known_evaluations.run(tmp_path / "runs", tiny_folder)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that were really looked at."""
    seen: list[str] = []
    real = evaluate.predict_dataset

    def counted(model, pictures, *more):  # type: ignore[no-untyped-def]
        seen.append(pictures.name)
        return real(model, pictures, *more)

    monkeypatch.setattr(evaluate, "predict_dataset", counted)
    return seen


def split(run: Run, name: str = "test") -> evaluate.Evaluation:
    return evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, name))


# What it says


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_is_scored_as_its_pictures_are_predicted(run: Run, name: str) -> None:
    model = load_model.load_predictor(run)
    items = catalog.catalog_from_json(run.read_json("split.json")).splits[name]
    found = split(run, name)
    assert found.result.paths == tuple(item.path for item in items)
    assert found.result.labels.tolist() == [item.label for item in items]
    losses = []
    for index, item in enumerate(items):
        said = {score.class_index: score.probability for score in model.predict(found.result.root / item.path)}
        alone = np.array([said[one] for one in range(3)])
        raw = np.exp(found.result.logits[index].astype(float))
        assert raw / raw.sum() == pytest.approx(alone, abs=1e-4)
        losses.append(-np.log(alone[item.label]))
    right = sum(model.predict(found.result.root / item.path, 1)[0].class_index == item.label for item in items)
    assert (found.metrics.top1.correct, found.metrics.top1.n, found.metrics.top5.fraction) == (right, len(items), 1.0)
    assert found.metrics.loss == pytest.approx(np.mean(losses), abs=1e-3)


def test_one_logit_for_two_classes_is_scored_as_two(tmp_path: Path, tiny_folder: Path) -> None:
    shutil.rmtree(tiny_folder / "green")
    run = known_evaluations.run(tmp_path / "runs", tiny_folder, seed=None)
    plan = HeadSpec(kind="logit", hidden=5)
    run.write_json("model.json", {**run.read_json("model.json"), "head": plan.to_json()})
    weights_file.save_tensors(
        run.best_weights_path, known_evaluations.untrained(1, 2, plan).state_dict(), {"epoch": 1, "val_accuracy": 0.5}
    )
    found = split(run, "train").result
    assert found.logits.shape == (len(found.paths), 2)
    assert np.array_equal(found.logits[:, 0], -found.logits[:, 1])
    model = load_model.load_predictor(run)
    assert [
        model.predict(found.get_image_path(one))[0].class_index for one in range(len(found.paths))
    ] == found.predicted_labels.tolist()


def test_the_last_weights_are_those_of_the_last_step_over_what_did_not_learn(run: Run) -> None:
    best = known_evaluations.keep(run, 1)
    other = known_evaluations.untrained(2)
    position = {"position": {"epoch": 9}, "optimizer": {}, "scale": {}}
    head = {f"module.{key}": value for key, value in other.head.state_dict().items()}
    weights_file.save_tensors(run.last_checkpoint_path, head, position)
    model = load_model.load_predictor(run, "last")
    assert torch.equal(next(model.network.head.parameters()), next(other.head.parameters()))
    assert torch.equal(next(model.network.backbone.parameters()), next(best.backbone.parameters()))
    assert model.title.endswith("last weights, epoch 9")
    averaged = known_evaluations.untrained(3).state_dict()
    whole = {f"module.{key}": value for key, value in other.state_dict().items()}
    weights_file.save_tensors(
        run.last_checkpoint_path, whole | {f"average.{key}": value for key, value in averaged.items()}, position
    )
    os.utime(run.last_checkpoint_path, ns=(1, 1))
    state = load_model.load_predictor(run, "last").network.state_dict()
    assert all(torch.equal(state[key], averaged[key]) for key in averaged), "averaged weights are what is judged"


def test_best_and_last_are_kept_apart(run: Run, passes: list[str]) -> None:
    position = {"position": {"epoch": 9}, "optimizer": {}, "scale": {}}
    head = {f"module.{key}": value for key, value in known_evaluations.untrained(2).head.state_dict().items()}
    weights_file.save_tensors(run.last_checkpoint_path, head, position)
    pictures = datasets.load_split_dataset(run, "val")
    best, last = (evaluate.evaluate_with_decision(run, pictures, which).result for which in ("best", "last"))
    assert not np.array_equal(best.logits, last.logits)
    assert passes == ["val", "val"]
    assert decision_rule.read_decision(run) is not None
    assert evaluate.load_evaluation(run, pictures, "last") is not None


def test_a_run_that_was_validated_on_test_is_scored_on_those_pictures(run: Run) -> None:
    listed = run.read_json("split.json")
    none: dict[str, dict[str, int]] = {name: {} for name in listed["classes"]}
    run.write_json("split.json", {**listed, "layout": "test_as_val", "splits": {**listed["splits"], "test": none}})
    assert datasets.load_split_dataset(run, "test") == datasets.load_split_dataset(run, "val")


# Once


def test_nothing_is_looked_at_twice(run: Run, passes: list[str]) -> None:
    first = split(run)
    assert passes == ["test", "val"]
    again = split(run)
    assert passes == ["test", "val"]
    assert np.array_equal(first.result.logits, again.result.logits)
    assert first.result.paths == again.result.paths
    assert first.decision == again.decision
    found = evaluate.load_evaluation(run, datasets.load_split_dataset(run, "test"))
    assert found is not None
    assert found.metrics == first.metrics


def test_how_many_were_right_is_there_for_those_who_read_no_tensors(run: Run) -> None:
    found = split(run)
    told = run.read_json("evaluation/test-best.json")
    assert (told["right"], told["count"]) == (found.metrics.top1.correct, found.metrics.top1.n)


def test_other_weights_or_other_pictures_are_looked_at_anew(run: Run, passes: list[str]) -> None:
    before = split(run, "val")
    known_evaluations.keep(run, 2)
    os.utime(run.best_weights_path, ns=(2, 2))
    assert evaluate.load_evaluation(run, datasets.load_split_dataset(run, "val")) is None
    assert decision_rule.read_decision(run) is None, "a threshold for other weights is none"
    assert not np.array_equal(before.result.logits, split(run, "val").result.logits)
    listed = run.read_json("split.json")
    listed["splits"]["val"]["blue"] = {}
    run.write_json("split.json", listed)
    assert len(split(run, "val").result.labels) < len(before.result.labels)
    assert passes == ["val", "val", "val"]


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_damaged_outcome_is_made_anew(run: Run, passes: list[str], content: bytes) -> None:
    split(run, "val")
    results.get_result_path(run, "val", "best").write_bytes(content)
    split(run, "val")
    assert passes == ["val", "val"]


def test_an_outcome_is_told_of_as_it_is_made(run: Run) -> None:
    told: list[tuple[int, int]] = []
    evaluate.evaluate_with_decision(
        run, datasets.load_split_dataset(run, "train"), progress=lambda done, total: told.append((done, total))
    )
    count = len(datasets.load_split_dataset(run, "train").items)
    assert (count, count) in told
    assert [done for done, total in told if total == count] == sorted(done for done, total in told if total == count)


# What can go wrong


def test_damaged_pictures_are_left_out_and_named(run: Run, tiny_folder: Path) -> None:
    items = datasets.load_split_dataset(run, "train").items
    (tiny_folder / items[0].path).write_bytes(b"")
    found = split(run, "train").result
    assert found.paths == tuple(item.path for item in items[1:])
    assert [(one.path, one.problem) for one in found.skipped_images] == [(items[0].path, "The file is empty.")]
    again = split(run, "train").result
    assert [(one.path, one.problem) for one in again.skipped_images] == [(items[0].path, "The file is empty.")]


def test_a_folder_that_is_gone_is_told_and_what_was_kept_still_answers(run: Run, tiny_folder: Path) -> None:
    kept = split(run)
    shutil.move(tiny_folder, tiny_folder.with_name("elsewhere"))
    assert split(run).metrics == kept.metrics
    with pytest.raises(DataError) as caught:
        split(run, "train")
    assert caught.value.code == "data.gone"


def test_a_new_folder_can_be_asked_when_validation_is_gone(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    moved = shutil.move(tiny_folder, tmp_path / "elsewhere")
    found = evaluate.evaluate_with_decision(run, datasets.load_folder_dataset(moved, NAMES))
    assert found.decision is None
    assert found.temperature == 1
    assert len(found.result.labels) == 24


def test_a_split_without_pictures_says_so(run: Run) -> None:
    listed = run.read_json("split.json")
    listed["splits"]["test"] = {}
    run.write_json("split.json", listed)
    with pytest.raises(DataError) as caught:
        split(run)
    assert caught.value.code == "data.empty_split"


def test_a_run_without_weights_says_so(tmp_path: Path, tiny_folder: Path) -> None:
    bare = known_evaluations.run(tmp_path / "others", tiny_folder, seed=None)
    with pytest.raises(RunError) as caught:
        split(bare)
    assert caught.value.code == "run.no_weights"
    known_evaluations.keep(bare, 1)
    with pytest.raises(RunError) as caught:
        evaluate.evaluate_with_decision(bare, datasets.load_split_dataset(bare, "val"), "last")
    assert caught.value.code == "run.no_weights"


# A new labelled folder


def test_a_new_folder_is_scored_by_the_classes_that_the_model_knows(
    run: Run, tiny_folder: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    shutil.copytree(tiny_folder / "blue", new / "blue")
    shutil.copytree(tiny_folder / "green", new / "moss")
    found = evaluate.evaluate_with_decision(run, datasets.load_folder_dataset(new, NAMES)).result
    assert found.dataset_name.startswith("folder-")
    assert found.labels.tolist() == [1] * 8
    assert found.unknown_classes == (("moss", 8),)
    assert evaluate.load_evaluation(run, datasets.load_folder_dataset(new, NAMES)) is not None
    assert not list(new.rglob("*.safetensors")), "the data folder is never written to"


@pytest.mark.usefixtures("run")
def test_the_splits_of_a_new_folder_are_taken_together(tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("train", "val"):
        shutil.copytree(tiny_folder, tmp_path / "new" / name)
    assert len(datasets.load_folder_dataset(tmp_path / "new", NAMES).items) == 48


def test_a_folder_of_other_classes_is_refused_in_one_line(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="amber, blue, green") as caught:
        datasets.load_folder_dataset(tiny_folder, ("ants", "bees"))
    assert "ants, bees" in str(caught.value)


# What predictions take from it


def test_predictions_use_the_temperature_and_the_threshold(run: Run, tiny_folder: Path) -> None:
    picture = tiny_folder / "blue" / "blue_1.jpg"
    raw = load_model.load_predictor(run).predict(picture)
    assert not load_model.load_predictor(run).is_rejected(raw)
    logits = np.log([one.probability for one in raw])
    decision_rule.write_decision(
        run, DecisionRule(weights_file.read_checksum(run.best_weights_path), 2.0, 0.999, 50, 40)
    )
    model = load_model.load_predictor(run)
    top = model.predict(picture)
    warm = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert [one.probability for one in top] == pytest.approx(warm.tolist())
    assert [one.class_index for one in top] == [one.class_index for one in raw]
    assert model.is_rejected(top) == (warm[0] < 0.999)
    assert model.predict_and_explain(picture)[0] == top


def test_a_decision_that_cannot_be_read_is_named(run: Run) -> None:
    (run.path / decision_rule.DECISION_FILENAME).write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match=r"decision\.json"):
        decision_rule.read_decision(run)


def test_a_folder_is_read_so_that_the_models_classes_are_found(tmp_path: Path) -> None:
    for place in ("photo/ants", "photo/bees", "sketch/ants", "sketch/bees"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").write_text(place)
    paths = [item.path for item in datasets.load_folder_dataset(tmp_path, ("ants", "bees")).items]
    assert paths == ["photo/ants/1.png", "sketch/ants/1.png", "photo/bees/1.png", "sketch/bees/1.png"]
    assert len(datasets.load_folder_dataset(tmp_path, ("photo", "sketch")).items) == 4
    with pytest.raises(DataError, match="hold folders of the same names"):
        datasets.load_folder_dataset(tmp_path, ("cars", "planes"))


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("{photo,sketch}/{dog,house}/",), ("dog", "house")),
        (("{photo,sketch}/{dog,house}/",), ("photo", "sketch")),
        (("{train,test,car}/{a,b}/",), ("a", "b")),
        (("x/{0,1}/", "y/{0,1}/", "labels.csv"), ("cat", "dog")),
    ],
)
def test_the_classes_of_the_model_decide_how_a_folder_is_read(
    tmp_path: Path, folders: tuple[str, ...], names: tuple[str, ...]
) -> None:
    rows = "path,label\nx/0/0.jpg,dog\nx/1/0.jpg,cat\ny/0/0.jpg,dog\ny/1/0.jpg,cat\n"
    layout = public_layouts.PublicLayout("", [*folders], "", content={"labels.csv": rows})
    public_layouts.make_folders(layout, tmp_path)
    dataset = datasets.load_folder_dataset(tmp_path, names)
    assert {item.label for item in dataset.items} == {0, 1}
    assert len(dataset.items) >= 4
