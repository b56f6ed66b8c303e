"""The loop stopped and resumed: to the bit what an undisturbed training is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ftlab.core import messages
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Event, LogMessage, Saved, Started, Step
from ftlab.training import evaluate, loop
from ftlab.training.checkpoints import checkpoint
from ftlab.training.devices import device_setup
from ftlab.training.loop import train
from tests.support import drawn_images
from tests.support.short_trainings import FRESH, FULL, WAYS, end, figures, go, only


class Result(NamedTuple):
    """What a training leaves."""

    checkpoint: bytes
    weights: bytes
    figures: list[dict[str, object]]

    @classmethod
    def of(cls, run: Run) -> Result:
        return cls(
            run.last_checkpoint_path.read_bytes(), run.best_weights_path.read_bytes(), figures(run.load_history())
        )


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: nothing here changes a picture."""
    return drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Of the undisturbed trainings, by their settings: each is done once."""
    return {}


@pytest.fixture
def undisturbed(begin: Callable[..., Run], results: dict[str, Result]) -> Callable[..., Result]:
    """What a training of these settings leaves that nothing stops, in a process that reads pictures alone."""

    def train_once(**settings: Any) -> Result:
        key = repr(sorted(settings.items()))
        if key not in results:
            whole = begin(num_workers=1, **settings)
            go(whole)
            results[key] = Result.of(whole)
        return results[key]

    return train_once


@WAYS
@pytest.mark.parametrize("stop_at", [7, 10], ids=["mid-epoch", "between epochs"])
def test_a_stopped_and_resumed_run_is_the_undisturbed_one_to_the_bit(
    begin: Callable[..., Run], undisturbed: Callable[..., Result], way: dict[str, Any], stop_at: int
) -> None:
    whole = undisturbed(**way)
    parted = begin(num_workers=3, **way)
    first = go(parted, stop_at)
    assert (end(first).reason, end(first).step) == ("stopped", stop_at)
    assert parted.liveness.get_status() == "stopped"
    torch.manual_seed(99)  # nothing hangs on what another process would find
    second = go(parted)
    assert isinstance(second[0], Started)
    assert second[0].step == stop_at
    assert end(second).reason == "finished"

    assert parted.best_weights_path.read_bytes() == whole.weights
    assert parted.last_checkpoint_path.read_bytes() == whole.checkpoint
    assert figures(parted.load_history()) == whole.figures
    assert len(parted.load_history().epochs) == 4


def test_a_run_begun_before_there_was_half_precision_goes_on_without_it(
    begin: Callable[..., Run], undisturbed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed(feature_precision="fp32")
    parted = begin(feature_precision="fp32")
    go(parted, 7)
    stored = parted.read_json("config.json")
    for section in ("config", "resolved"):
        del stored[section]["feature_precision"]
    parted.write_json("config.json", stored)
    monkeypatch.setenv("FTLAB_FEATURES_MB", "0")  # they are computed again
    go(parted)
    assert parted.best_weights_path.read_bytes() == whole.weights
    assert figures(parted.load_history()) == whole.figures
    assert figures(train_in_half_precision(begin)) != whole.figures, "or the test would show nothing"


def train_in_half_precision(begin: Callable[..., Run]) -> Any:
    """History of the same training with features in half precision."""
    half = begin(feature_precision="fp16")
    go(half)
    return half.load_history()


def test_a_killed_run_goes_on_from_its_last_epoch(
    begin: Callable[..., Run], undisturbed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_INTERVAL_FACTOR", 0)
    whole, killed = undisturbed(**FULL), begin(**FULL)
    go(killed, stop_at=3)  # the sums of a part of epoch 1 are kept …
    killed.liveness.clear_stop()
    for event in train(killed.load_config(), killed, pretrained=False):
        killed.append_event(event)
        if isinstance(event, Step) and event.step == 7:
            break  # … and no later epoch counts them again
    assert end(go(killed)).reason == "finished"
    assert killed.last_checkpoint_path.read_bytes() == whole.checkpoint
    assert figures(killed.load_history()) == whole.figures


@pytest.mark.parametrize("stop_at", [1, 4, 14])
def test_a_stop_ends_at_the_next_step_and_keeps_the_best_model(begin: Callable[..., Run], stop_at: int) -> None:
    run = begin()
    events = go(run, stop_at)
    last = end(events)
    assert (last.reason, last.step) == ("stopped", stop_at)
    assert only(events, Step)[-1].step == stop_at
    header = weights_file.load_tensors(run.best_weights_path)[1]
    assert (header["epoch"], header["val_accuracy"]) == (last.best_epoch, last.best_val_accuracy)


def test_a_stop_while_features_are_computed(begin: Callable[..., Run]) -> None:
    run = begin()
    run.liveness.request_stop()
    events = list(train(run.load_config(), run, pretrained=False))
    assert end(events).reason == "stopped"
    assert (end(events).step, end(events).best_epoch) == (0, None)
    assert not run.best_weights_path.exists()
    assert end(go(run)).reason == "finished"


def test_a_resume_that_is_stopped_at_once_forgets_nothing(
    begin: Callable[..., Run], undisturbed: Callable[..., Result]
) -> None:
    whole, run = undisturbed(), begin()
    before = end(go(run, 12))
    run.liveness.request_stop()
    events = list(train(run.load_config(), run, pretrained=False))
    for event in events:
        run.append_event(event)
    assert (end(events).step, end(events).best_epoch) == (12, before.best_epoch)
    assert end(events).best_val_accuracy == before.best_val_accuracy
    assert len(run.load_history().epochs) == 3
    go(run)
    assert figures(run.load_history()) == whole.figures


def test_a_stop_during_validation_is_measured_anew_by_the_resume(
    begin: Callable[..., Run], undisturbed: Callable[..., Result]
) -> None:
    whole, run = undisturbed(**FRESH), begin(**FRESH)
    real, rounds = evaluate.evaluate_split, itertools.count()

    def late(*arguments: Any) -> Generator[Event, None, Any]:
        if next(rounds) == 2:  # epoch 2's steps are done, its validation begins
            run.liveness.request_stop()
        return (yield from real(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate_split", late)
        events = go(run)
    assert end(events).reason == "stopped"
    assert (end(events).step, only(events, Epoch)[-1].epoch) == (10, 1)
    go(run)
    assert figures(run.load_history()) == whole.figures
    assert run.last_checkpoint_path.read_bytes() == whole.checkpoint


def test_a_resume_computes_with_the_threads_of_the_first_try(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(torch_num_threads=None, epochs=1, **FRESH)
    monkeypatch.setattr(device_setup, "count_cpu_cores", lambda: 3)
    go(run, 2)
    monkeypatch.setattr(device_setup, "count_cpu_cores", lambda: 1)
    run.liveness.clear_stop()
    assert {torch.get_num_threads() for _ in train(run.load_config(), run, pretrained=False)} == {3}
    assert run.load_resolved_config().torch_num_threads == 3


@pytest.mark.parametrize("cut", [100, -1], ids=["cut short", "one byte less"])
def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(
    begin: Callable[..., Run], undisturbed: Callable[..., Result], cut: int
) -> None:
    whole, run = undisturbed(**FRESH), begin(**FRESH)
    go(run, 7)
    go(run, 9)
    run.last_checkpoint_path.write_bytes(run.last_checkpoint_path.read_bytes()[:cut])
    events = go(run)
    assert only(events, Started)[0].step == 7
    (note,) = (note for note in only(events, LogMessage) if note.code == "fell_back")
    assert note.level == "warning"
    assert "at step 7" in messages.get_text("log.fell_back", **note.values)
    assert run.last_checkpoint_path.read_bytes() == whole.checkpoint
    assert run.best_weights_path.read_bytes() == whole.weights
    assert figures(run.load_history()) == whole.figures


def test_the_one_before_is_never_replaced_by_a_damaged_one(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    go(run, 9)
    good = run.previous_checkpoint_path.read_bytes()
    run.last_checkpoint_path.write_bytes(run.last_checkpoint_path.read_bytes()[:-1])
    go(run, 8)  # from step 7 on
    assert run.previous_checkpoint_path.read_bytes() == good
    assert checkpoint.load_checkpoint(run).train_state.step == 8  # type: ignore[union-attr]


def test_without_a_whole_state_a_resume_says_so_in_one_line(begin: Callable[..., Run]) -> None:
    run = begin()
    go(run, 2)
    for file in (run.last_checkpoint_path, run.previous_checkpoint_path):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.damaged"
    assert "\n" not in str(caught.value)


@WAYS
def test_the_middle_of_an_epoch_is_saved_too(
    begin: Callable[..., Run], undisturbed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    monkeypatch.setattr(checkpoint, "MID_EPOCH_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SAVE_INTERVAL_FACTOR", 0.0)
    whole, killed = undisturbed(**way), begin(**way)
    for event in train(killed.load_config(), killed, pretrained=False):
        killed.append_event(event)
        if isinstance(event, Saved) and event.step == 8:
            break
    second = go(killed)
    assert only(second, Started)[0].step == 8
    assert killed.last_checkpoint_path.read_bytes() == whole.checkpoint
    assert killed.best_weights_path.read_bytes() == whole.weights
    assert figures(killed.load_history()) == whole.figures


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("versions", {"torch": "1.0"}, "torch: 1.0 → "),
        ("processes", 4, "processes: 4 → 1"),
        ("machine", {"processor": "Z80"}, "processor: Z80 → "),
        ("machine", {"device": "NVIDIA A10 (cuda)"}, "device: NVIDIA A10 (cuda) → cpu"),
    ],
)
def test_on_another_machine_it_goes_on_and_says_that_the_bits_may_differ(
    begin: Callable[..., Run], key: str, value: Any, said: str
) -> None:
    run = begin()
    go(run, 7)
    stored = run.read_json("config.json")
    was = {**stored[key], **value} if isinstance(value, dict) else value
    run.write_json("config.json", {**stored, key: was})
    events = go(run)
    assert end(events).reason == "finished"
    (note,) = (note for note in only(events, LogMessage) if note.code == "not_identical")
    assert said in note.values["what"]
    assert "not bit-identical" in messages.get_text("log.not_identical", **note.values)


def test_a_run_begun_on_a_card_goes_on_without_one(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    stored = run.read_json("config.json")
    card = {"device": "cuda", "precision": "fp16"}
    machine = {**stored["machine"], "device": "NVIDIA A10 (cuda)"}
    resolved, given = ({**stored[key], **card} for key in ("resolved", "config"))
    run.write_json("config.json", {**stored, "resolved": resolved, "config": given, "machine": machine})
    events = go(run)
    assert end(events).reason == "finished"
    assert only(events, Started)[0].device.startswith("cpu")
    assert [note.code for note in only(events, LogMessage) if note.level == "warning"] == ["not_identical"]


def test_a_split_that_was_changed_is_not_trained_on(begin: Callable[..., Run]) -> None:
    run = begin(**FRESH)
    go(run, 7)
    text = (run.path / "split.json").read_text(encoding="utf-8")
    (run.path / "split.json").write_text(text.replace("amber", "umber"), encoding="utf-8")
    with pytest.raises(RunError) as caught:
        go(run)
    assert caught.value.code == "run.split"


def test_on_the_same_machine_nothing_of_the_kind_is_said(begin: Callable[..., Run]) -> None:
    run = begin()
    go(run, 7)
    assert not [note for note in only(go(run), LogMessage) if note.level == "warning"]
