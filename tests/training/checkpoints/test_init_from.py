"""A training that starts from a file or from an own run: what is in its network before the first step."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ftlab.cli import main
from ftlab.cli.terminal import progress
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError, WeightsError
from ftlab.models import network, weights_file
from ftlab.models.pretrained import weights
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Started
from ftlab.training.loop import train
from tests.support import drawn_images

pytestmark = pytest.mark.usefixtures("one_thread")
BACKBONE = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = backbones.get_backbone_spec(BACKBONE)
    monkeypatch.setitem(backbones.BACKBONES, BACKBONE, dataclasses.replace(spec, side=64, resize=72))


@pytest.fixture
def theirs() -> dict[str, Tensor]:
    return save_foreign_weights()


def save_foreign_weights() -> dict[str, Tensor]:
    """The state_dict of torchvision's module with random weights; MoCo's file of it lies at `moco.pth`."""
    torch.manual_seed(5)
    state = weights.build_module(backbones.get_backbone_spec(BACKBONE)).state_dict()
    torch.save({"state_dict": {f"module.encoder_q.{name}": t for name, t in state.items()}}, "moco.pth")
    return dict(state)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: nothing here changes a picture."""
    return drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    def new(**fields: Any) -> Run:
        few: dict[str, Any] = {"epochs": 1, "batch_size": 8, "data": str(tiny_folder), "backbone": BACKBONE}
        settings = TrainConfig(
            **{**few, "torch_num_threads": 1, "init_from": str(Path("moco.pth").absolute()), **fields}
        )
        return run_store.create_run(tmp_path / "runs", settings)

    return new


def go(run: Run, stop_before: type[Event] | None = None) -> list[Event]:
    """Train with the real weights, as a person does."""
    run.liveness.clear_stop()
    events = []
    for event in train(run.load_config(), run):
        run.append_event(event)
        events.append(event)
        if stop_before and isinstance(event, Started):
            run.liveness.request_stop()
    return events


def told(events: list[Event]) -> str:
    return " ".join(progress.format_event(event) or "" for event in events if isinstance(event, LogMessage))


def best(run: Run) -> dict[str, Tensor]:
    return weights_file.load_tensors(run.best_weights_path)[0]


def backbone_is(tensors: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    names = [name for name in theirs if not name.startswith("classifier.3")]
    return all(torch.equal(tensors[f"backbone.{name}"], theirs[name]) for name in names)


@pytest.mark.parametrize("features", ["cached", "fresh"])
def test_a_frozen_backbone_is_the_files_to_the_bit_and_nothing_is_downloaded(
    features: str, theirs: dict[str, Tensor], begin: Callable[..., Run]
) -> None:
    run = begin(mode="frozen", features=features)
    events = go(run)
    assert isinstance(events[-1], Ended)
    assert events[-1].reason == "finished"
    assert backbone_is(best(run), theirs)
    assert not [event for event in events if isinstance(event, LogMessage) and event.code == "download"]


def test_the_report_comes_before_anything_starts(theirs: dict[str, Tensor], begin: Callable[..., Run]) -> None:
    events = go(begin(mode="full"), stop_before=Started)
    first = next(number for number, event in enumerate(events) if isinstance(event, Started))
    before = events[:first]
    assert before
    assert all(isinstance(event, LogMessage) for event in before)
    said = told(before)
    wanted = len([name for name in theirs if not name.endswith("num_batches_tracked")]) - 2
    assert "moco.pth" in said
    assert f"{wanted} of the network's {wanted} tensors match" in said
    assert "state_dict.encoder_q." in said
    assert "1000 classes" in said


def test_in_full_mode_it_starts_there_and_moves_on(theirs: dict[str, Tensor], begin: Callable[..., Run]) -> None:
    untrained, trained = begin(mode="full"), begin(mode="full", learning_rate=1e-2)
    scores = {}
    for run in (untrained, trained):
        scores[run] = [event.val_loss for event in go(run) if isinstance(event, Epoch)]
    assert scores[untrained][0] == scores[trained][0]
    net = network.build_network(backbones.get_backbone_spec(BACKBONE), 3, pretrained=False)
    moved = weights_file.load_tensors(trained.last_checkpoint_path)[0]
    weight = "backbone.features.0.0.weight"
    assert not torch.equal(moved[f"module.{weight}"], theirs["features.0.0.weight"])
    assert torch.dist(moved[f"module.{weight}"], theirs["features.0.0.weight"]) < torch.dist(
        moved[f"module.{weight}"], net.state_dict()[weight]
    )


@pytest.mark.usefixtures("theirs")
def test_the_run_knows_the_file_by_its_sha256(begin: Callable[..., Run]) -> None:
    import hashlib

    run = begin(mode="frozen")
    go(run)
    kept = run.read_json("config.json")["init"]
    assert kept["sha256"] == hashlib.sha256(Path("moco.pth").read_bytes()).hexdigest()
    assert kept["matched"] == kept["wanted"]


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("way", [{"mode": "frozen"}, {"mode": "frozen", "features": "fresh"}, {"mode": "full"}])
def test_a_resume_needs_the_file_no_more_and_gives_the_same_bits(
    way: dict[str, Any], begin: Callable[..., Run]
) -> None:
    whole, parted = begin(epochs=2, **way), begin(epochs=2, **way)
    go(whole)
    halfway = parted.load_config()
    for event in train(halfway, parted):
        parted.append_event(event)
        if isinstance(event, Epoch) and event.epoch == 1:
            parted.liveness.request_stop()
    Path("moco.pth").unlink()
    assert go(parted)[-1].reason == "finished"  # type: ignore[attr-defined]
    mine, other = best(parted), best(whole)
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_before_the_first_checkpoint_the_file_must_be_the_same(
    theirs: dict[str, Tensor], begin: Callable[..., Run]
) -> None:
    run = begin(mode="full")
    for event in train(run.load_config(), run):
        if isinstance(event, Started):
            break  # as if it were killed
    torch.save({"state_dict": {name: tensor + 1 for name, tensor in theirs.items()}}, "moco.pth")
    with pytest.raises(WeightsError) as caught:
        go(run)
    assert caught.value.code == "init.changed"


def test_a_file_of_another_network_is_refused_with_the_report(begin: Callable[..., Run]) -> None:
    torch.save(weights.build_module(backbones.get_backbone_spec("squeezenet1_1")).state_dict(), "other.pth")
    run = begin(mode="full", init_from=str(Path("other.pth").absolute()))
    with pytest.raises(WeightsError) as caught:
        go(run)
    said = str(caught.value)
    assert caught.value.code == "init.little"
    assert "0 of the network's 210 tensors match" in said
    assert "MobileNetV3" in said
    assert len(said.splitlines()) == 1
    assert not run.last_checkpoint_path.exists()


def test_what_the_file_lacks_comes_from_the_pretrained_weights(tiny_folder: Path, tmp_path: Path) -> None:
    """The default's are always here."""
    spec = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
    pretrained = weights.load_pretrained(spec).state_dict()
    some = {name: t + 1 if t.is_floating_point() else t for name, t in pretrained.items() if "blocks.6" not in name}
    torch.save(some, "some.pth")
    settings = TrainConfig(
        data=str(tiny_folder), epochs=1, init_from=str(Path("some.pth").absolute()), torch_num_threads=1
    )
    run = run_store.create_run(tmp_path / "runs", settings)
    events = go(run)
    found = best(run)
    for name, tensor in pretrained.items():
        if not name.startswith("classifier"):
            assert torch.equal(found[f"backbone.{name}"], some.get(name, tensor)), name
    missing = next(event for event in events if isinstance(event, LogMessage) and event.code == "init_missing")
    assert missing.level == "warning"
    assert "blocks.6" in told(events)


# --- own runs


@pytest.fixture(scope="module")
def finished() -> list[Run]:
    """The finished run, once a test has asked for it."""
    return []


@pytest.fixture
def earlier(finished: list[Run], begin: Callable[..., Run], tmp_path: Path, tmp_path_factory: Any) -> Run:
    """A finished run on amber, blue, green, trained once: each test has a copy of it."""
    if not finished:
        save_foreign_weights()
        run = begin(mode="full", learning_rate=1e-2)
        go(run)
        kept = tmp_path_factory.mktemp("finished") / run.name
        finished.append(Run(shutil.copytree(run.path, kept)))
        shutil.rmtree(run.path)
    return Run(shutil.copytree(finished[0].path, tmp_path / "runs" / finished[0].name))


def test_an_own_run_gives_its_backbone_and_its_head(earlier: Run, begin: Callable[..., Run]) -> None:
    run = begin(mode="frozen", init_from=str(earlier.path), learning_rate=1e-8)
    go(run)
    found, before = best(run), best(earlier)
    assert all(torch.equal(found[name], before[name]) for name in before if name.startswith("backbone."))
    torch.testing.assert_close(found["head.weight"], before["head.weight"], rtol=0, atol=1e-6)
    digest = run.read_json("config.json")["init"]["sha256"]
    assert digest == earlier.compute_sha256("best.safetensors")


def test_the_rows_of_an_own_head_follow_the_names_of_the_classes(earlier: Run, begin: Callable[..., Run]) -> None:
    """blue, green and amber become 1, 2, 3 by new names that are the old ones in another order."""
    model = earlier.read_json("model.json")
    earlier.write_json("model.json", {**model, "classes": ["green", "amber", "blue"]})
    run = begin(mode="frozen", init_from=str(earlier.path), init_part="head", learning_rate=1e-8, backbone=BACKBONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "download_weights", lambda _row: iter(()))
        patch.setattr(weights, "load_pretrained", weights.build_module)
        go(run)
    # Theirs are amber, blue, green: what stood first now belongs to green.
    torch.testing.assert_close(best(run)["head.weight"], best(earlier)["head.weight"][[1, 2, 0]], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("head", [{"head_hidden": 8}, {"dropout": 0.2}])
def test_of_a_head_with_more_layers_the_last_ones_rows_follow_the_classes(
    head: dict[str, Any], begin: Callable[..., Run]
) -> None:
    earlier = begin(mode="full", learning_rate=1e-2, **head)
    go(earlier)
    earlier.write_json("model.json", {**earlier.read_json("model.json"), "classes": ["green", "amber", "blue"]})
    run = begin(mode="frozen", init_from=str(earlier.path), learning_rate=1e-8, **head)
    go(run)
    before, after = best(earlier), best(run)
    last, hidden = "head.classifier.weight", "head.hidden.weight"
    torch.testing.assert_close(after[last], before[last][[1, 2, 0]], rtol=0, atol=1e-6)
    if hidden in before:
        torch.testing.assert_close(after[hidden], before[hidden], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("theirs")
def test_one_logit_for_two_classes_turns_its_sign_with_them(begin: Callable[..., Run], tiny_folder: Path) -> None:
    two = Path("two").absolute()
    for name in ("amber", "blue"):
        shutil.copytree(tiny_folder / name, two / name)
    earlier = begin(mode="full", learning_rate=1e-2, head_kind="logit", data=str(two))
    go(earlier)
    earlier.write_json("model.json", {**earlier.read_json("model.json"), "classes": ["blue", "amber"]})
    run = begin(mode="frozen", init_from=str(earlier.path), learning_rate=1e-8, head_kind="logit", data=str(two))
    go(run)
    name = "head.classifier.weight"
    torch.testing.assert_close(best(run)[name], -best(earlier)[name], rtol=0, atol=1e-6)


def test_a_head_for_other_classes_is_left_out_though_they_are_as_many(earlier: Run, begin: Callable[..., Run]) -> None:
    model = earlier.read_json("model.json")
    earlier.write_json("model.json", {**model, "classes": ["cats", "dogs", "mice"]})
    run = begin(mode="frozen", init_from=str(earlier.path), learning_rate=1e-8)
    events = go(run)
    assert "cats, dogs, mice" in told(events)
    assert best(run)["head.weight"].abs().max() < best(earlier)["head.weight"].abs().max()
    only_head = begin(mode="frozen", init_from=str(earlier.path), init_part="head")
    with pytest.raises(WeightsError):
        go(only_head)


def test_a_damaged_run_is_told(earlier: Run, begin: Callable[..., Run]) -> None:
    content = bytearray(earlier.best_weights_path.read_bytes())
    content[-1] ^= 1
    earlier.best_weights_path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        go(begin(mode="frozen", init_from=str(earlier.path)))
    assert caught.value.code == "run.damaged"


def test_the_command_line_takes_a_run_by_its_short_name(
    earlier: Run, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [
        "--runs",
        str(tmp_path / "runs"),
        "--data",
        str(tiny_folder),
        "--backbone",
        BACKBONE,
        "--torch-num-threads",
        "1",
    ]
    assert main.main(["train", *place, "--mode", "frozen", "--epochs", "1", "--init-from", "latest"]) == 0
    said = capsys.readouterr().err
    assert "tensors match" in said
    (name,) = set(run_store.list_run_names(tmp_path / "runs")) - {earlier.name}
    assert Run(tmp_path / "runs" / name).load_config().init_from == str(earlier.path)
    assert main.main(["train", *place, "--init-from", "nothing.pth"]) == 2
    assert "nothing.pth" in capsys.readouterr().err
    assert len(run_store.list_run_names(tmp_path / "runs")) == 2, "no run is made for a file that is not there"


def test_a_file_of_safetensors_stays_as_it_was(theirs: dict[str, Tensor], begin: Callable[..., Run]) -> None:
    from safetensors.torch import save_file

    save_file(theirs, "theirs.safetensors")
    before = Path("theirs.safetensors").read_bytes()
    run = begin(mode="frozen", init_from=str(Path("theirs.safetensors").absolute()))
    go(run)
    assert Path("theirs.safetensors").read_bytes() == before
    assert backbone_is(best(run), load_file("theirs.safetensors"))
