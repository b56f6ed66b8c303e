"""Events folded into the story of a run: each step and each epoch once, through any number of resumes."""

from __future__ import annotations

import pytest

from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Saved, Started, Step
from ftlab.runs.history import History


def started(step: int = 0, time: float = 0.0) -> Started:
    return Started(
        step=step,
        epochs=3,
        steps_per_epoch=4,
        device="cpu",
        train_images=64,
        val_images=16,
        trainable=10,
        total=100,
        time=time,
    )


def step(number: int, loss: float = 1.0, time: float | None = None) -> Step:
    return Step(
        step=number,
        epoch=(number + 3) // 4,
        loss=loss,
        accuracy=0.5,
        learning_rate=0.1,
        images_per_second=9.0,
        time=float(number) if time is None else time,
    )


def epoch(number: int, accuracy: float = 0.5, *, best: bool = False) -> Epoch:
    return Epoch(
        epoch=number,
        step=number * 4,
        train_loss=None,
        train_accuracy=None,
        val_loss=1.0,
        val_accuracy=accuracy,
        learning_rate=None,
        images_per_second=None,
        seconds=1.0,
        best=best,
    )


def ended(reason: str) -> Ended:
    return Ended(reason=reason, epoch=1, step=4, best_epoch=1, best_val_accuracy=0.9, seconds=5.0)


def told(*events: Event) -> History:
    history = History()
    history.add_events(events)
    return history


def test_before_anything_is_said_nothing_is_known() -> None:
    history = told()
    assert (history.steps_done, history.total_steps, history.best_epoch, history.start_event) == (0, 0, None, None)
    assert history.estimate_seconds_left() is None


def test_rows_stand_in_the_order_in_which_they_were_measured() -> None:
    history = told(
        started(), epoch(0), *map(step, range(1, 5)), epoch(1, best=True), Saved(what="best", epoch=1, step=4)
    )
    assert [row.step for row in history.steps] == [1, 2, 3, 4]
    assert [row.epoch for row in history.epochs] == [0, 1]
    assert (history.steps_done, history.total_steps, history.event_count) == (4, 12, 8)


def test_events_may_come_in_any_portions() -> None:
    events = [started(), epoch(0), *map(step, range(1, 5)), epoch(1)]
    history = History()
    for event in events:
        history.add_events([event])
    assert vars(history) == vars(told(*events))


def test_the_best_epoch_is_the_last_that_was_the_best_so_far() -> None:
    history = told(started(), epoch(0, 0.5, best=True), epoch(1, 0.9, best=True), epoch(2, 0.8))
    assert history.best_epoch is history.epochs[1]


def test_a_resume_drops_what_was_measured_after_its_checkpoint() -> None:
    first = [started(), epoch(0), *map(step, range(1, 5)), epoch(1, 0.7, best=True), step(5), step(6), ended("stopped")]
    history = told(*first, started(step=4))
    assert [row.step for row in history.steps] == [1, 2, 3, 4]
    assert [row.epoch for row in history.epochs] == [0, 1]
    assert history.end_event is None
    history.add_events([step(5, loss=0.25), step(6, loss=0.2)])
    assert [row.loss for row in history.steps] == [1, 1, 1, 1, 0.25, 0.2]


def test_a_run_that_begins_anew_has_no_epoch_twice() -> None:
    history = told(started(), epoch(0, 0.4, best=True), step(1), step(2), started(), epoch(0, 0.45, best=True), step(1))
    assert [(row.epoch, row.val_accuracy) for row in history.epochs] == [(0, 0.45)]
    assert [row.step for row in history.steps] == [1]


def test_progress_shows_only_while_it_lasts() -> None:
    progress = Progress(stage="features", done=1, total=2)
    assert told(started(), progress).progress is progress
    for event in (step(1), epoch(0), ended("finished"), started()):
        assert told(started(), progress, event).progress is None


def test_notes_stay_through_a_resume() -> None:
    note = LogMessage(code="x")
    assert told(started(), note, started(step=4)).log_messages == [note]


def test_the_time_left_goes_by_the_pace_of_the_last_steps() -> None:
    assert told(started(), step(1)).estimate_seconds_left() is None
    assert told(started(), step(1), step(2)).estimate_seconds_left() == pytest.approx(10.0)
    slow_then_fast = [started(), step(1, time=0), step(2, time=100), step(3, time=101), step(4, time=102)]
    assert told(*slow_then_fast).estimate_seconds_left(window=3) == pytest.approx(8.0)
    assert told(started(), step(1), step(2), ended("finished")).estimate_seconds_left() is None


def test_a_pause_before_a_resume_does_not_count_as_work() -> None:
    history = told(started(), step(1, time=1), step(2, time=2), started(step=2, time=5000))
    assert history.estimate_seconds_left() is None
    history.add_events([step(3, time=5001), step(4, time=5003)])
    assert history.estimate_seconds_left() == pytest.approx(2.0 * 8)
