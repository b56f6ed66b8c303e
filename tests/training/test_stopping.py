"""How the loop ends before its last epoch, and what it makes of a memory that is too small."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.cli.terminal.progress import format_event
from ftlab.core.errors import ConfigError, DataError, RunError
from ftlab.models import weights_file
from ftlab.models.execution.micro_batches import MicroBatcher
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Event, LogMessage, Step
from ftlab.runs.stop_guard import StopGuard
from ftlab.training import evaluate, loop, preparation, train_step
from ftlab.training.checkpoints import checkpoint
from ftlab.training.devices import device_setup
from ftlab.training.feeds import image_base
from ftlab.training.stopping import StopController
from ftlab.training.trial import step_trial
from ftlab.training.trial.step_trial import TrialResult
from tests.support.short_trainings import CACHED, FRESH, FULL, SCRATCH, end, figures, go, only, scored

# Other ends


def test_the_time_is_up(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(max_minutes=1.0, epochs=1000)
    # The clock is at the limit once there is an epoch.
    monkeypatch.setattr(StopController, "_is_out_of_time", lambda *_: bool(run.load_history().epochs))
    events = go(run)
    assert end(events).reason == "time"
    assert end(events).best_epoch == 0
    assert run.best_weights_path.is_file()
    assert run.liveness.get_status() == "finished"


@pytest.mark.parametrize("way", [CACHED, FULL], ids=["cached", "full"])
def test_the_time_is_up_before_there_is_a_model_and_a_resume_goes_on(
    begin: Callable[..., Run], way: dict[str, Any]
) -> None:
    run = begin(max_minutes=1e-6, epochs=1, **way)
    events = go(run)
    assert (end(events).reason, end(events).best_epoch) == ("time", None)
    assert not only(events, Epoch)
    assert run.liveness.get_status() == "stopped"
    assert "Time limit reached before the first validation" in str(format_event(end(events)))
    run.update_resolved_config(max_minutes=10.0)
    assert end(go(run)).reason == "finished"


@pytest.mark.parametrize("stage", ["statistics", "features", "validation"])
def test_the_time_limit_is_obeyed_within_a_stage(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    ways: dict[str, dict[str, Any]] = {
        "statistics": {"normalization": "estimated", **FULL},
        "features": CACHED,
        "validation": {"val_share": 0.5, **FULL},
    }
    monkeypatch.setattr("ftlab.runs.events.PROGRESS_INTERVAL_SECONDS", -1.0)  # every progress is told
    monkeypatch.setattr(image_base, "CPU_EVAL_BATCH_SIZE", 2)
    run = begin(max_minutes=1.0, epochs=1, **ways[stage])
    told: list[Event] = []
    monkeypatch.setattr(
        StopController, "_is_out_of_time", lambda *_: any(getattr(e, "stage", "") == stage for e in told)
    )
    for event in loop.train(run.load_config(), run, pretrained=False):
        run.append_event(event)
        told.append(event)
    assert end(told).reason == "time"
    assert run.liveness.get_status() == "stopped"
    assert not only(told, Epoch)


def test_a_training_that_is_saved_from_another_thread_within_a_step_resumes_to_the_same_bits(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parted = begin(epochs=2, **SCRATCH), begin(epochs=2, **SCRATCH)
    go(whole)
    guard, passes, forward = StopGuard(), itertools.count(1), Network.forward

    def end_within_step(net: Network, pictures: Tensor) -> Any:
        logits = forward(net, pictures)  # BatchNorm has moved
        if net.training and guard.save_state and next(passes) == 8:
            assert guard.take_over()
            for event in guard.save_state():
                parted.append_event(event)
            guard._work_lock.release()  # the process would have ended
            raise SystemExit
        return logits

    monkeypatch.setattr(Network, "forward", end_within_step)
    events = loop.train(parted.load_config(), parted, pretrained=False, guard=guard)
    with pytest.raises(SystemExit):
        list(map(parted.append_event, events))
    monkeypatch.setattr(Network, "forward", forward)
    assert checkpoint.load_checkpoint(parted).train_state.step == 7  # type: ignore[union-attr]
    go(parted)
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()


PLATEAU = {"schedule": "plateau", "plateau_mode": "previous", "plateau_patience": 0, "lr_gamma": 0.2}


def test_the_rate_falls_when_validation_gets_worse_and_the_last_fall_allowed_is_the_end(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(epochs=9, warmup_fraction=0.0, plateau_max_reductions=2, **PLATEAU)
    scored(monkeypatch, [0.9, 0.3, 0.5, 0.4, 0.6, 0.5, 0.7])
    events = go(run)
    assert [epoch.learning_rate for epoch in only(events, Epoch)][1:] == pytest.approx([1e-3] * 3 + [2e-4] * 2)
    assert (end(events).reason, end(events).epoch) == ("early", 5)
    assert run.liveness.get_status() == "finished"


def test_it_ends_when_so_many_epochs_brought_nothing_better(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(epochs=9, early_stopping_patience=2)
    scored(monkeypatch, [0.1, 0.3, 0.2, 0.4, 0.1, 0.2, 0.5])
    events = go(run)
    assert (end(events).reason, end(events).epoch, end(events).best_epoch) == ("early", 5, 3)
    assert weights_file.load_tensors(run.best_weights_path)[1]["epoch"] == 3


def test_what_the_plateau_remembers_survives_a_stop(begin: Callable[..., Run]) -> None:
    whole, parted = begin(epochs=5, **PLATEAU, **FRESH), begin(epochs=5, **PLATEAU, **FRESH)
    accuracies = [0.5, 0.6, 0.4, 0.5, 0.3, 0.4]
    for run, stops in ((whole, (None,)), (parted, (13, 21, None))):
        with pytest.MonkeyPatch.context() as patch:
            scored(patch, list(accuracies))
            for stop_at in stops:
                go(run, stop_at)
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert figures(parted.load_history()) == figures(whole.load_history())
    assert weights_file.load_tensors(whole.last_checkpoint_path)[1]["position"]["plateau"]["cuts"] == 2


@pytest.mark.parametrize("way", [FRESH, FULL], ids=["fresh", "full"])
def test_an_absurd_learning_rate_ends_with_a_word_about_it(begin: Callable[..., Run], way: dict[str, Any]) -> None:
    run = begin(**{**way, "learning_rate": 100.0, "optimizer": "sgd", "warmup_fraction": 0.0, "epochs": 20})
    events = go(run)
    last = end(events)
    assert last.reason == "failed"
    assert last.message is not None
    assert "learning rate" in last.message
    assert "\n" not in last.message
    assert run.liveness.get_status() == "failed"
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert all(math.isfinite(epoch.val_loss) for epoch in only(events, Epoch) if epoch.best)
    assert last.best_val_accuracy is not None
    tensors, header = weights_file.load_tensors(run.best_weights_path)
    assert (header["epoch"], header["val_accuracy"]) == (last.best_epoch, last.best_val_accuracy)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Has the loss of each step go through a function."""
    real = F.cross_entropy

    def put(change: Callable[[Tensor], Tensor]) -> None:
        monkeypatch.setattr(F, "cross_entropy", lambda *given, **more: change(real(*given, **more)))

    return put


def test_a_best_that_was_not_written_yet_survives_a_failure(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, loss: Any
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_INTERVAL_FACTOR", 1e12)  # nothing is due after the first time
    run = begin(mode="full", learning_rate=1e-3)
    loss(lambda value: value * (math.nan if value.requires_grad and run.load_history().epochs[-1].epoch == 2 else 1.0))
    last = end(go(run))
    assert last.reason == "failed"
    assert weights_file.load_tensors(run.best_weights_path)[1]["epoch"] == last.best_epoch


@pytest.mark.parametrize("what", [math.nan, math.inf], ids=["not a number", "infinite"])
def test_a_loss_that_is_no_number_ends_the_training_before_its_step_is_taken(
    begin: Callable[..., Run], seen: dict[str, Any], loss: Any, monkeypatch: pytest.MonkeyPatch, what: float
) -> None:
    monkeypatch.setattr(preparation, "MAX_STEP_EVENTS", 1)  # it does not wait for the next point of the curve
    monkeypatch.setattr(checkpoint, "SAVE_INTERVAL_FACTOR", 0)
    run = begin(**FRESH)
    steps = itertools.count(1)

    def spoil(value: Tensor) -> Tensor:
        if not value.requires_grad or next(steps) < 7:
            return value
        monkeypatch.setattr(seen["optimizer"], "step", lambda: pytest.fail("a step was taken"))
        return value * what

    loss(spoil)
    last = end(go(run))
    assert (last.reason, last.step) == ("failed", 7)
    assert "step 7, learning rate 0.0006" in str(last.message)
    assert "Try a learning rate" in str(last.message)
    assert last.best_epoch is not None
    assert last.best_epoch < 2
    assert checkpoint.load_checkpoint(run).train_state.step == 5  # type: ignore[union-attr]


def test_a_validation_loss_that_is_no_number_is_never_the_best(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(**FRESH)
    real, rounds = evaluate.evaluate_split, itertools.count()

    def spoilt(*arguments: Any) -> Generator[Event, None, Any]:
        score: Any = yield from real(*arguments)
        return dataclasses.replace(score, loss=math.inf, top1=1.0) if next(rounds) == 2 else score

    monkeypatch.setattr(loop, "evaluate_split", spoilt)
    events = go(run)
    assert end(events).reason == "failed"
    assert [epoch.best for epoch in only(events, Epoch)][-1] is False
    assert only(events, Epoch)[-1].epoch == 2
    assert end(events).best_epoch != 2


# A device whose memory is too small


class Card:
    """Counts what goes through a network at once, and refuses what is more than it holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int, after: int = 0) -> None:
        self.seen: list[int] = []
        forward = Network.forward

        def limited(net: Network, pictures: Tensor) -> Any:
            if net.training and len(self.seen) >= after and len(pictures) > holds:
                forward(net, pictures)  # BatchNorm has moved when the memory runs out
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            self.seen += [len(pictures)] if net.training else []
            return forward(net, pictures)

        monkeypatch.setattr(Network, "forward", limited)
        # Its passes are not those of the training.
        monkeypatch.setattr(step_trial, "run_trial", lambda *_: TrialResult())


def test_a_batch_that_the_memory_does_not_hold_is_halved_and_counts_as_one(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    few: dict[str, Any] = {**FRESH, "batch_size": 8, "augment": "none"}
    whole = begin(**few)
    go(whole)
    card = Card(monkeypatch, holds=3)
    run = begin(**few)
    events = go(run)
    assert max(card.seen) == 2
    (note,) = (note for note in only(events, LogMessage) if note.code == "portions")
    assert (note.values, note.level) == ({"most": 2, "step": 1}, "warning")
    # A frozen backbone has no BatchNorm that would see fewer pictures: the gradients are those of the whole batch.
    assert [step.step for step in only(events, Step)] == list(range(1, 10))
    one, two = (
        weights_file.load_tensors(whole.last_checkpoint_path)[0],
        weights_file.load_tensors(run.last_checkpoint_path)[0],
    )
    for key in ("module.weight", "module.bias"):
        assert torch.allclose(one[key], two[key], rtol=0, atol=1e-4)


def test_what_a_failed_pass_moved_is_put_back(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = begin(epochs=1, **FULL), begin(epochs=1, **FULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            train_step, "MicroBatcher", lambda *_args, **_kwargs: MicroBatcher(2)
        )  # in twos from the beginning
        go(other)
    Card(monkeypatch, holds=2)
    go(run)
    one, two = (weights_file.load_tensors(each.best_weights_path)[0] for each in (run, other))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_resume_keeps_to_what_the_memory_held(begin: Callable[..., Run]) -> None:
    whole, parted = begin(**FULL), begin(**FULL)
    for run, stop_at in ((whole, None), (parted, 9)):
        with pytest.MonkeyPatch.context() as patch:
            Card(patch, holds=2, after=6)
            go(run, stop_at)
    # Now the memory is as large as ever, and the bits are the same.
    assert not [note for note in only(go(parted), LogMessage) if note.code == "portions"]
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()


def test_a_memory_that_holds_no_picture_at_all_is_the_persons_to_mend(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    Card(monkeypatch, holds=0)
    with pytest.raises(RunError) as caught:
        go(begin(**FRESH))
    assert caught.value.code == "run.memory"


@pytest.mark.parametrize(
    ("settings", "error", "code"),
    [
        ({"data": ""}, ConfigError, "config.no_source"),
        ({"data": "/nowhere/at/all"}, DataError, "data.missing"),
        ({"precision": "fp16"}, ConfigError, "config.precision"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    begin: Callable[..., Run], settings: dict[str, str], error: type[Exception], code: str
) -> None:
    run = begin(**{"device": "cpu", **settings})
    with pytest.raises(error) as caught:
        go(run)
    assert getattr(caught.value, "code", None) == code
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_here_is_refused(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_setup, "detect_device", lambda: "cpu")
    with pytest.raises(ConfigError, match="cuda") as caught:
        go(begin(device="cuda"))
    assert caught.value.code == "config.device"
