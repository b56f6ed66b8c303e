"""A training that does not hear a stop is ended by another thread, with its state saved and its run closed in words."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from ftlab.cli.common import stop_watch
from ftlab.config.train_config import TrainConfig
from ftlab.core import interruption
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, Saved
from ftlab.runs.stop_guard import StopGuard
from tests.support import fabricated_runs


class ProcessEndedError(Exception):
    """In the place of the end of this process."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes", max_minutes=1.0))


@pytest.fixture
def guard() -> StopGuard:
    return StopGuard()


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit statuses of this process."""
    statuses: list[int] = []

    def end_process(status: int) -> None:
        statuses.append(status)
        raise ProcessEndedError

    monkeypatch.setattr(interruption, "end_process", end_process)
    monkeypatch.setattr(interruption, "GRACE_SECONDS", -1.0)  # nobody waits
    return statuses


def watch(run: Run, guard: StopGuard, told: list[Ended] | None = None) -> stop_watch.TrainingInterrupt:
    told = [] if told is None else told
    return stop_watch.TrainingInterrupt(
        run, run.load_config(), guard, fabricated_runs.ended, told.append, is_main_process=True
    )


def test_nothing_ends_a_training_that_nobody_stops(run: Run, guard: StopGuard, ends: list[int]) -> None:
    watch(run, guard).poll()
    assert not ends
    assert not run.liveness.is_stop_requested()


@pytest.mark.parametrize("asked_by", ["Ctrl+C", "Stop"])
def test_a_stop_ends_a_busy_training_with_its_state_saved(
    run: Run, guard: StopGuard, ends: list[int], asked_by: str
) -> None:
    told: list[Ended] = []
    watched = watch(run, guard, told)
    run.liveness.claim_ownership()
    guard.begin_steps()
    if asked_by == "Stop":
        run.liveness.request_stop()
    else:
        watched.handle_signal(signal.SIGINT)
    assert run.liveness.is_stop_requested()
    watched.poll()  # the state is being changed: not now
    assert not ends
    saved = Saved(what="last", epoch=1, step=7)

    def save_state() -> list[Event]:
        return [saved]

    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        guard._work_lock.release()  # a lock may be released by another thread than its owner
        guard.begin_steps()
        with guard.interruptible(save_state):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(ProcessEndedError):
        watched.poll()
    leave.set()
    guard._work_lock.release()  # a real process would have ended
    thread.join()
    assert ends[0] == (130 if asked_by == "Ctrl+C" else 0)
    events = run.read_events()[0]
    assert events[0] == saved
    assert isinstance(events[1], Ended)
    assert told == [events[1]]
    assert run.liveness.get_status() == "stopped"
    assert not (run.path / "pid").exists()
    assert guard.event_lock.locked(), "the training thread could still write"


def test_a_state_that_cannot_be_saved_ends_the_training_all_the_same(
    run: Run, guard: StopGuard, ends: list[int]
) -> None:
    def save_state() -> list[Event]:
        raise RunError("run.write", folder=run.path, cause="no space left")

    guard.save_state = save_state
    run.liveness.request_stop()
    with pytest.raises(ProcessEndedError):
        watch(run, guard).poll()
    assert ends[0] == 0


def test_the_second_interrupt_ends_it_at_once(run: Run, guard: StopGuard, ends: list[int]) -> None:
    guard.begin_steps()
    watched = watch(run, guard)
    watched.handle_signal(signal.SIGINT)
    watched.handle_signal(signal.SIGINT)
    with pytest.raises(ProcessEndedError):
        watched.poll()
    assert ends[0] == 130
    assert run.liveness.get_status() == "stopped"


def test_the_time_limit_ends_it_after_a_while(run: Run, guard: StopGuard, ends: list[int]) -> None:
    guard.start_time = time.monotonic() - 62.0
    watched = watch(run, guard)
    watched.poll()
    assert not ends
    guard.start_time -= 10.0
    with pytest.raises(ProcessEndedError):
        watched.poll()
    assert ends[0] == 0
    assert isinstance(run.read_last_event(), Ended)
    assert run.read_last_event().reason == "time"  # type: ignore[union-attr]
