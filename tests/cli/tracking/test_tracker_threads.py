"""Trackers beside a training: they get what is recorded, and can neither delay it for long nor end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli.common import train_process
from ftlab.cli.tracking import open_trackers, tracker_threads
from ftlab.cli.tracking.open_trackers import OpenTracker, TrackedRun
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage
from ftlab.training import loop as training_loop
from tests.support import fabricated_runs


@dataclass
class FakeTracker:
    """Accelerate's interface. It notes what it gets, and fails or hangs at a step."""

    run: Run
    fails_at: int = -1
    hangs_at: int = -1
    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    is_finished: bool = False

    def log(self, points: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise OSError(28, "No space left on device")
        if step == self.hangs_at:
            self.released.wait(60)
        self.points.append((step, points))
        self.recorded.append(self.run.load_history().event_count)

    def finish(self) -> None:
        print("a tracker talks")
        self.is_finished = True


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    settings = {"trackers": "tensorboard,trackio", "data": str(tiny_folder), "sample": ""}
    return fabricated_runs.make(tmp_path / "runs", [], **settings)


@pytest.fixture
def fakes(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeTracker]]:
    trackers = {name: FakeTracker(run) for name in ("tensorboard", "trackio")}

    def open_fake(name: str, _tracked: TrackedRun) -> OpenTracker:
        if trackers[name].fails_at == 0:
            raise ConnectionError("nobody answers")
        return OpenTracker(trackers[name], "tracker_mlflow", {"place": "here"})

    monkeypatch.setattr(open_trackers, "open_tracker", open_fake)
    yield trackers
    for tracker in trackers.values():
        tracker.released.set()


def train(run: Run, monkeypatch: pytest.MonkeyPatch, events: list[Event]) -> list[Event]:
    """What a training records in which these events happen."""
    monkeypatch.setattr(training_loop, "train", lambda *_, **__: iter(events))
    train_process.run_training(run, run.load_config())
    return run.read_events()[0]


def warnings(events: list[Event]) -> list[LogMessage]:
    return [event for event in events if isinstance(event, LogMessage) and event.level == "warning"]


STORY = [*fabricated_runs.story(epochs=1), fabricated_runs.ended()]


def test_each_tracker_gets_every_step_and_epoch_after_it_is_recorded(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(run, monkeypatch, STORY)
    for tracker in fakes.values():
        assert [step for step, _ in tracker.points] == [0, *range(1, 11), 10]
        assert tracker.is_finished
        # Started, the point itself, and what came before it.
        assert all(count >= number for number, count in enumerate(tracker.recorded, start=2))
    assert capsys.readouterr().out == "", "standard output is for results"


def test_the_run_says_where_the_curves_are_before_the_first_step(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = train(run, monkeypatch, STORY)
    assert [event.kind for event in events[:4]] == ["started", "note", "note", "epoch"]
    assert fakes


@pytest.mark.parametrize("fails_at", [0, 4])
def test_a_tracker_that_fails_is_one_warning_and_the_training_goes_on(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    fakes["trackio"].fails_at = fails_at
    events = train(run, monkeypatch, STORY)
    (warning,) = warnings(events)
    assert (warning.code, warning.values["tracker"]) == ("tracker_failed", "trackio")
    assert ("nobody answers" if fails_at == 0 else "No space left") in str(warning.values["cause"])
    assert run.load_history().steps_done == 10
    assert run.liveness.get_status() == "finished"
    assert isinstance(events[-1], Ended)
    assert len(fakes["tensorboard"].points) == 12, "the other tracker gets everything"
    assert not any(step >= 4 for step, _ in fakes["trackio"].points)


def test_a_tracker_that_hangs_holds_no_step_and_the_end_for_a_limited_time(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_threads, "FINISH_SECONDS", 0.3)
    fakes["trackio"].hangs_at = 2
    started = time.monotonic()
    events = train(run, monkeypatch, STORY)
    assert time.monotonic() - started < 20
    assert [warning.code for warning in warnings(events)] == ["tracker_late"]
    assert isinstance(events[-1], Ended)
    assert len(fakes["tensorboard"].points) == 12


def test_a_training_that_fails_closes_its_trackers(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Iterator[Event]:
        yield from STORY[:4]
        raise ZeroDivisionError

    monkeypatch.setattr(training_loop, "train", fail)
    with pytest.raises(ZeroDivisionError):
        train_process.run_training(run, run.load_config())
    assert all(tracker.is_finished and len(tracker.points) == 3 for tracker in fakes.values())


def test_a_resumed_run_goes_on_without_a_doubled_step(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = fabricated_runs.story(epochs=2)
    train(run, monkeypatch, [*story[:9], fabricated_runs.ended("stopped")])
    # From the checkpoint after step 3 on, which the trackers know up to step 7.
    train(run, monkeypatch, [fabricated_runs.started(3), *story[5:], fabricated_runs.ended()])
    for tracker in fakes.values():
        assert [step for step, _ in tracker.points] == [0, *range(1, 11), 10, *range(11, 21), 20]


def test_of_several_ranks_only_the_first_has_trackers(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    train(run, monkeypatch, STORY)
    assert all(tracker.points == [] for tracker in fakes.values())


def test_a_run_without_trackers_opens_none(
    run: Run, fakes: dict[str, FakeTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"data": run.load_config().data, "sample": ""}
    events = train(fabricated_runs.make(run.path.parent / "other", [], **settings), monkeypatch, STORY)
    assert len(events) == len(STORY)
    assert all(tracker.points == [] for tracker in fakes.values())
