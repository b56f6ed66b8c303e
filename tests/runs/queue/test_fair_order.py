"""Whose turn it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.runs.directory import Run
from ftlab.runs.queue.fair_order import ActiveJob, QueuedJob, merge_turns, order_jobs, share_device
from ftlab.runs.queue.marker import QueueMarker


def job(name: str, time: float, owner: str = "") -> QueuedJob:
    return QueuedJob(Run(Path(name)), QueueMarker(time, owner))


def order(jobs: list[QueuedJob], turns: dict[str, float] | None = None) -> list[str]:
    return [queued.run.name for queued in order_jobs(jobs, turns or {})]


def test_one_person_alone_is_served_in_the_order_of_asking() -> None:
    assert order([job("c", 3), job("a", 1), job("b", 2)]) == ["a", "b", "c"]
    assert order([]) == []


def test_people_take_turns_and_each_one_keeps_the_order_of_their_own() -> None:
    jobs = [
        *(job(f"a{n}", n, "ann") for n in range(3)),
        job("b0", 10, "bob"),
        job("b1", 11, "bob"),
        job("c0", 12, "cy"),
    ]
    # Ann has waited alone for longest; from then on they alternate.
    assert order(jobs) == ["a0", "b0", "c0", "a1", "b1", "a2"]


@pytest.mark.parametrize("asked_at", [0.5, 1000.0])
def test_one_run_of_a_newcomer_waits_for_one_turn_of_another_person_at_most(asked_at: float) -> None:
    """Ann has fifty; her first has just started, at 100."""
    anns = [job(f"a{n:02}", n / 100, "ann") for n in range(50)]
    names = order([*anns, job("b", asked_at, "bob")], {"ann": 100.0})
    assert names.index("b") <= 1
    assert [name for name in names if name != "b"] == [f"a{n:02}" for n in range(50)]


def test_ever_new_people_do_not_keep_one_from_their_turn() -> None:
    newcomers = [job(f"n{n}", 20.0 + n, f"newcomer {n}") for n in range(10)]
    assert order([*newcomers, job("a", 1.0, "ann")], {"ann": 19.0})[0] == "a"


def test_whoever_had_the_latest_turn_comes_last() -> None:
    jobs = [job("a", 1, "ann"), job("b", 2, "bob"), job("c", 3, "cy")]
    assert order(jobs, {"ann": 30.0, "bob": 20.0, "cy": 10.0}) == ["c", "b", "a"]


def test_a_lost_database_is_replaced_by_what_the_active_runs_tell() -> None:
    active = [ActiveJob(Run(Path("x")), "ann", "auto", 50.0)]
    assert merge_turns({}, active) == {"ann": 50.0}
    assert merge_turns({"ann": 70.0, "bob": 1.0}, active) == {"ann": 70.0, "bob": 1.0}
    assert order([job("a", 1, "ann"), job("b", 2, "bob")], merge_turns({}, active)) == ["b", "a"]


def test_only_two_devices_that_are_both_named_are_different_ones() -> None:
    assert share_device("cpu", "cpu")
    assert share_device("auto", "cpu")
    assert share_device("cuda", "auto")
    assert not share_device("cuda", "cpu")
