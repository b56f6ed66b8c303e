"""Turns of threads: as many at a time as allowed, the only one knows that it is, and an error gives the turn back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ftlab.models.execution.caller_turns import CallerTurns


def test_the_only_caller_is_alone_and_a_second_is_not() -> None:
    turns = CallerTurns(2)
    with turns.take_turn() as is_first_alone:
        with turns.take_turn() as is_second_alone:
            pass
        with turns.take_turn() as is_third_alone:
            pass
    with turns.take_turn() as is_last_alone:
        pass
    assert (is_first_alone, is_second_alone, is_third_alone, is_last_alone) == (True, False, False, True)


def test_no_more_compute_at_a_time_than_allowed() -> None:
    turns, lock, current_count, counts = CallerTurns(3), threading.Lock(), 0, list[int]()

    def take_turn(_number: int) -> bool:
        nonlocal current_count
        with turns.take_turn() as is_alone:
            with lock:
                current_count += 1
                counts.append(current_count)
            threading.Event().wait(0.002)
            with lock:
                current_count -= 1
        return is_alone

    with ThreadPoolExecutor(30) as pool:
        alone_count = sum(pool.map(take_turn, range(90)))
    assert (len(counts), max(counts)) == (90, 3)
    assert alone_count < 90


def test_an_error_gives_the_turn_back() -> None:
    turns = CallerTurns(1)

    def fail() -> None:
        with turns.take_turn() as is_alone:
            assert is_alone
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
