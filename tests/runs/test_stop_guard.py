"""Where a training may be ended from another thread, and where not."""

from __future__ import annotations

import threading

from ftlab.runs.events import Event
from ftlab.runs.stop_guard import StopGuard


def test_before_the_first_step_a_training_may_be_ended_and_there_is_nothing_to_save() -> None:
    guard = StopGuard()
    assert (guard.has_begun, guard.save_state) == (False, None)
    assert guard.take_over()


def test_between_long_sections_it_may_not_be_ended() -> None:
    guard = StopGuard()
    guard.begin_steps()
    assert guard.has_begun
    assert not guard.take_over()
    with guard.interruptible(lambda: []):
        assert guard.save_state is not None
    assert guard.save_state is None
    assert not guard.take_over()


def test_a_section_that_cannot_be_saved_is_not_interruptible() -> None:
    guard = StopGuard()
    guard.begin_steps()
    with guard.interruptible(None):
        assert not guard.take_over()


def test_a_section_within_a_section_changes_nothing() -> None:
    guard = StopGuard()

    def outer() -> list[Event]:
        return []

    guard.begin_steps()
    with guard.interruptible(outer):
        with guard.interruptible(lambda: []):
            assert guard.save_state is outer
        assert guard.take_over()
        guard._work_lock.release()


def test_a_training_that_is_being_ended_does_not_go_on() -> None:
    guard, entered, went_on = StopGuard(), threading.Event(), threading.Event()
    finish = threading.Event()

    def work() -> None:
        guard.begin_steps()
        with guard.interruptible(lambda: []):
            entered.set()
            finish.wait(10)
        went_on.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert entered.wait(10)
    assert guard.take_over()
    finish.set()
    assert not went_on.wait(0.2)
    guard._work_lock.release()  # only here: a real process ends
    assert went_on.wait(10)
