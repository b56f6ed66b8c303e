"""Worker threads: results in order, with bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from ftlab.data.loading import thread_pool

pytestmark = pytest.mark.usefixtures("one_thread")


def test_results_come_in_the_order_of_the_items_from_threads_of_one_core_each() -> None:
    def wait(number: int) -> tuple[int, int, str]:
        time.sleep(0.01 * (number % 3))
        return number, torch.get_num_threads(), threading.current_thread().name

    results = list(thread_pool.map_in_order(wait, range(30), 3, "waiting"))
    assert [number for number, _, _ in results] == list(range(30))
    assert {count for _, count, _ in results} == {1}
    assert {name for _, _, name in results} == {"waiting_0", "waiting_1", "waiting_2"}


def test_items_are_taken_only_as_far_ahead_as_the_bound() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = thread_pool.map_in_order(str, endless(), 2, "bounded")
    assert [next(results) for _ in range(100)] == [str(number) for number in range(100)]
    assert len(taken) < 100 + 2 * 32 + 1
    results.close()  # type: ignore[attr-defined]


def test_whoever_stops_waits_for_what_is_in_work_and_for_nothing_else() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        ended.append(number)
        return number

    results = thread_pool.map_in_order(work, range(1000), 2, "stopped")
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 70


def test_an_error_is_raised_at_its_turn() -> None:
    def divide(number: int) -> float:
        return 1 / (2 - number)

    results = thread_pool.map_in_order(divide, range(5), 2, "failing")
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
