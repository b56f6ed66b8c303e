"""From a run to answers: the same pixels as in training, the same bits from any thread, the best model there is."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, DataError, ImageError, RunError
from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import decode
from ftlab.data.loading import loader
from ftlab.data.transforms import preprocess
from ftlab.inference import load_model
from ftlab.inference.cam_options import CAM_METHODS, CamOptions
from ftlab.inference.predictor import Predictor
from ftlab.models import heads, network, weights_file
from ftlab.models.network import Network
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.training.feeds.images import ImageFeed
from tests.support import drawn_images

NAMES = ("amber", "blue", "green")
SPEC = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)


pytestmark = pytest.mark.usefixtures("one_thread")


def untrained(seed: int, classes: int = 3) -> Network:
    """Random weights whose head speaks up."""
    net = network.build_network(SPEC, classes, pretrained=False, seed=seed)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return net.eval()


def begun(folder: Path, runs: Path) -> Run:
    """A run with its pictures listed, and no weights yet."""
    made = run_store.create_run(runs, TrainConfig(data=str(folder), backbone=SPEC.name, torch_num_threads=1))
    made.write_json("split.json", scan.scan(folder).to_json())
    prep = preprocess.from_spec(SPEC).to_json()
    made.write_json("model.json", {"backbone": SPEC.name, "classes": list(NAMES), "preprocessing": prep})
    return made


@pytest.fixture
def run(tmp_path: Path, folder: Path) -> Run:
    return begun(folder, tmp_path / "runs")


def keep(run: Run, seed: int, epoch: int = 1) -> Network:
    net = untrained(seed)
    weights_file.save_tensors(run.best_weights_path, net.state_dict(), {"epoch": epoch, "val_accuracy": 0.5})
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    run = begun(folder, tmp_path_factory.mktemp("runs"))
    keep(run, 1)
    return load_model.load_predictor(run)


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    """Of a few pictures to train on, of several sizes and both formats."""
    return scan.scan(folder, val_share=0.3, test_share=0.3)


# Answers


def test_the_top_is_the_softmax_in_falling_order(run: Run, pictures: list[Path]) -> None:
    net = keep(run, 1)
    top = load_model.load_predictor(run).predict(pictures[0])
    prep = preprocess.from_spec(SPEC)
    seen = preprocess.resize_and_center_crop(decode.read_image(pictures[0]), prep)
    with torch.inference_mode():
        expected = net(preprocess.normalize_batch(seen[None], prep))[0].double().softmax(0)
    assert {score.class_index: score.probability for score in top} == pytest.approx(dict(enumerate(expected.tolist())))
    assert [score.probability for score in top] == sorted((score.probability for score in top), reverse=True)
    assert all(score.name == NAMES[score.class_index] for score in top)


def test_all_classes_when_there_are_fewer_than_five(model: Predictor, pictures: list[Path]) -> None:
    for file in pictures[::6]:
        top = model.predict(file)
        assert {score.name for score in top} == set(NAMES)
        assert sum(score.probability for score in top) == pytest.approx(1, abs=1e-12)
        assert [score.name for score in model.predict(file, 2)] == [score.name for score in top][:2]


def test_of_many_classes_five() -> None:
    model = Predictor(untrained(0, 9), SPEC, preprocess.from_spec(SPEC), tuple("abcdefghi"), "")
    assert len(model.rank_classes(torch.randn(9), 5)) == 5


def test_thirty_threads_get_the_bits_of_one(model: Predictor, pictures: list[Path]) -> None:
    files = (pictures * 3)[:60]

    def ask(file: Path) -> tuple[Any, ...]:
        scores, found = model.predict_and_explain(file, 2)
        return model.predict(file), scores, found.heatmap.tobytes(), found.visible_box

    serial = [ask(file) for file in files]
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(ask, files)) == serial
    assert all(top == scores for top, scores, *_ in serial)


def test_thirty_threads_get_the_bits_of_one_by_every_method_and_layer(model: Predictor, pictures: list[Path]) -> None:
    ways = [CamOptions(method, layer) for method in CAM_METHODS for layer in ("", "features.3", "features.13")]

    def ask(number: int) -> tuple[Any, ...]:
        scores, found = model.predict_and_explain(
            pictures[number % 5], number % 3, cam_options=ways[number % len(ways)]
        )
        return scores, found.heatmap.tobytes(), found.cam_options

    serial = [ask(number) for number in range(60)]
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(ask, range(60))) == serial
    assert len({heat for _, heat, _ in serial}) > 40


def test_a_layer_is_named_by_its_path_and_the_usual_one_needs_no_name(model: Predictor, pictures: list[Path]) -> None:
    assert model.predict_and_explain(pictures[0])[1].cam_options == CamOptions("grad_cam", SPEC.cam)
    inner = "features.3.conv.0"  # not one worth a look, but it tells places apart
    assert inner not in [layer.path for layer in model.cam_layers]
    assert (
        model.predict_and_explain(pictures[0], cam_options=CamOptions(layer_path=inner))[1].cam_options.layer_path
        == inner
    )
    for wrong in ("features.99", "head", "x"):
        with pytest.raises(ConfigError, match=r"features\.13"):
            model.predict_and_explain(pictures[0], cam_options=CamOptions(layer_path=wrong))


def test_a_map_can_be_tried_and_one_without_evidence_cannot(pictures: list[Path]) -> None:
    net = untrained(3)
    heads.find_classifier(net.head).weight.data[2] = 0.0  # this class listens to nothing
    model = Predictor(net, SPEC, preprocess.from_spec(SPEC), NAMES, "")
    assert model.score_faithfulness(pictures[0], 2) is None
    index = next(index for index in (0, 1) if model.explain(pictures[0], index).has_evidence)
    found = model.score_faithfulness(pictures[0], index)
    assert found is not None
    whole = next(score.probability for score in model.predict(pictures[0]) if score.class_index == index)
    assert found.deletion[0] == pytest.approx(whole, abs=1e-4)
    assert found.insertion[-1] == pytest.approx(whole, abs=1e-4)


def test_a_file_that_is_no_picture_is_named(model: Predictor, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("no picture")
    for ask in (model.predict, model.predict_and_explain):
        with pytest.raises(ImageError, match=r"x\.jpg"):
            ask(tmp_path / "x.jpg")


# Pixels


class Recorder(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        self.seen.append(pictures.clone())
        seen: Tensor = self.conv(pictures).mean(dim=(2, 3))
        return seen


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_prediction_evaluation_and_training_see_the_same_bits(catalog: Catalog, name: str) -> None:
    spec = dataclasses.replace(backbones.get_backbone_spec(name), cam="conv", cam_layout="chw")
    prep = preprocess.from_spec(spec)
    process: Any = SimpleNamespace(process_index=0, num_processes=1, device=torch.device("cpu"))
    feed = ImageFeed(catalog, prep, TrainConfig(batch_size=4, augment="none", num_workers=2), process)
    evaluated = torch.cat([share.inputs for share in feed.iter_eval_batches("train")])

    recorder = Recorder()
    model = Predictor(Network(recorder, nn.Linear(2, 2)), spec, prep, ("a", "b"), "")
    for item in catalog.splits["train"]:
        model.predict(catalog.image_path(item))
        model.predict_and_explain(catalog.image_path(item))
    predicted, looked = torch.cat(recorder.seen[::2]), torch.cat(recorder.seen[1::2])
    assert torch.equal(predicted, evaluated)
    assert torch.equal(looked, evaluated)

    order = loader.shuffle_indices(0, 1, len(evaluated))
    trained = torch.cat([share.inputs for share in feed.iter_train_batches(1)])
    assert torch.equal(trained, evaluated[order])
    cached = torch.stack([feed.read_views("train", index, 1)[0] for index in range(len(evaluated))])
    assert torch.equal(preprocess.normalize_batch(cached, prep), evaluated)


# Maps


def test_a_map_is_aligned_with_the_picture_as_it_is_shown(model: Predictor, tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)).save(file)
    scores, found = model.predict_and_explain(file)
    assert found.class_index == scores[0].class_index
    assert found.image.shape == (90, 160, 3)
    assert found.heatmap.shape == (90, 160)
    assert found.visible_box == (40, 5, 120, 85)  # 64 of the 72 pixels of the short side
    if found.has_evidence:
        assert found.heatmap.max() == 1
    outside = found.heatmap.copy()
    outside[5:85, 40:120] = 0
    assert not outside.any()


def test_large_pictures_are_shown_at_a_handy_size(model: Predictor, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large.png")
    found = model.explain(tmp_path / "large.png", 0)
    assert found.image.shape == (512, 1024, 3)
    assert found.heatmap.shape == (512, 1024)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (2, 300), (2000, 10)])
def test_no_picture_is_too_thin_for_a_map(model: Predictor, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "thin.png")
    found = model.explain(tmp_path / "thin.png", 0)
    x0, y0, x1, y1 = found.visible_box
    height, width = found.heatmap.shape
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_every_class_has_its_map_and_no_evidence_is_said(pictures: list[Path]) -> None:
    net = untrained(3)
    heads.find_classifier(net.head).weight.data[2] = 0.0  # this class listens to nothing
    model = Predictor(net, SPEC, preprocess.from_spec(SPEC), NAMES, "")
    maps = [model.explain(pictures[0], index) for index in range(3)]
    assert [one.class_index for one in maps] == [0, 1, 2]
    assert not np.array_equal(maps[0].heatmap, maps[1].heatmap)
    assert maps[2].has_evidence is False
    assert not maps[2].heatmap.any()
    assert all(one.has_map for one in maps)


def test_a_backbone_without_a_layer_for_the_map_answers_all_the_same(pictures: list[Path]) -> None:
    spec = dataclasses.replace(SPEC, cam="")
    scores, found = Predictor(untrained(3), spec, preprocess.from_spec(spec), NAMES, "").predict_and_explain(
        pictures[0]
    )
    assert len(scores) == 3
    assert (found.has_map, found.has_evidence) == (False, False)
    assert not found.heatmap.any()


def test_the_row_that_travels_with_the_weights_is_the_one_that_counts(run: Run, pictures: list[Path]) -> None:
    keep(run, 1)
    told = run.read_json("model.json")
    travelling = dataclasses.replace(SPEC, name="mobilenet_v2", cam="", title="As it was")
    run.write_json("model.json", {**told, "backbone": "not known any more", "row": travelling.to_json()})
    model = load_model.load_predictor(run)
    assert "As it was" in model.title
    assert not model.predict_and_explain(pictures[0])[1].has_map
    run.write_json("model.json", {**told, "row": {**travelling.to_json(), "name": "../x"}})
    keep(run, 2)
    with pytest.raises(RunError) as caught:
        load_model.load_predictor(run)
    assert caught.value.code == "run.file"


# Runs


def test_a_run_without_weights_says_so(run: Run) -> None:
    with pytest.raises(RunError) as caught:
        load_model.load_predictor(run)
    assert caught.value.code == "run.no_weights"


def test_a_better_best_is_taken_up(run: Run, pictures: list[Path]) -> None:
    keep(run, 1)
    first = load_model.load_predictor(run)
    assert load_model.load_predictor(run) is first
    assert first.title.startswith("MobileNetV2, frozen, epoch 1, validation 50.0")
    before = first.predict(pictures[0])
    keep(run, 2, epoch=7)
    later = run.best_weights_path.stat().st_mtime_ns + 1_000_000
    os.utime(run.best_weights_path, ns=(later, later))
    second = load_model.load_predictor(run)
    assert "epoch 7" in second.title
    assert second.predict(pictures[0]) != before
    assert first.predict(pictures[0]) == before


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "text", "other network"])
def test_damaged_weights_are_named_in_one_line(run: Run, content: bytes | None) -> None:
    if content is None:
        weights_file.save_tensors(
            run.best_weights_path, {"head.weight": torch.zeros(3, 7)}, {"epoch": 1, "val_accuracy": 0.5}
        )
    else:
        run.best_weights_path.write_bytes(content)
    with pytest.raises(RunError, match=r"best\.safetensors") as caught:
        load_model.load_predictor(run)
    assert caught.value.code == "run.damaged"
    assert "\n" not in str(caught.value)


def test_classes_that_were_changed_under_the_weights_are_not_believed(run: Run) -> None:
    weights_file.save_tensors(
        run.best_weights_path,
        untrained(1).state_dict(),
        {"epoch": 1, "val_accuracy": 0.5, "model": run.compute_sha256("model.json")},
    )
    assert load_model.load_predictor(run).class_names == NAMES
    model = run.path / "model.json"
    model.write_text(model.read_text(encoding="utf-8").replace("amber", "umber"), encoding="utf-8")
    os.utime(run.best_weights_path)  # looked at anew
    with pytest.raises(RunError) as caught:
        load_model.load_predictor(run)
    assert caught.value.code == "run.model"


def test_a_prediction_needs_nothing_but_the_weights_and_what_travels_with_them(
    run: Run, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(run, 1)
    expected = load_model.load_predictor(run).predict(pictures[0])
    (run.path / "split.json").unlink()
    moved = run.path.rename(tmp_path / "elsewhere")
    other = dataclasses.replace(SPEC, side=96, mean=(0.0, 0.0, 0.0))  # what a later version's table may say
    monkeypatch.setitem(backbones.BACKBONES, SPEC.name, other)
    assert load_model.load_predictor(Run(moved)).predict(pictures[0]) == expected


# The untrained default


def test_the_untrained_default_knows_a_thousand_classes_and_keeps_its_network(pictures: list[Path]) -> None:
    model = load_model.load_predictor(None)
    assert load_model.load_predictor(None) is model
    assert len(model.class_names) == 1000
    assert (model.class_names[310], model.class_names[309]) == ("ant", "bee")
    assert "1000" in model.title
    top = model.predict(pictures[0])
    assert len(top) == 5
    assert model.explain(pictures[0], 309).heatmap.shape == np.array(Image.open(pictures[0])).shape[:2]


def test_names_for_people_travel_with_the_run_and_a_list_in_it_wins(run: Run) -> None:
    keep(run, 1)
    assert load_model.load_predictor(run).display_names == {}
    model = run.read_json("model.json")
    run.write_json("model.json", {**model, "names": {"blue": {"zh": "蓝"}}})
    os.utime(run.best_weights_path, ns=(1, 1))
    assert load_model.load_predictor(run).display_names == {"blue": {"zh": "蓝"}}
    (run.path / "labels.csv").write_text("class,zh\nblue,蓝色\n", encoding="utf-8")
    assert load_model.load_predictor(run).display_names == {"blue": {"zh": "蓝色"}}
    (run.path / "labels.csv").write_text("blue,蓝色\n", encoding="utf-8")
    os.utime(run.path / "labels.csv", ns=(1, 1))
    with pytest.raises(DataError, match=r"labels\.csv"):
        load_model.load_predictor(run)
