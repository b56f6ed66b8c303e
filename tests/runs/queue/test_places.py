"""Place in the queue and minutes until the turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.runs.directory import Run
from ftlab.runs.queue import places
from ftlab.runs.queue.fair_order import ActiveJob, QueuedJob
from ftlab.runs.queue.job_queue import JobQueue, QueueState
from ftlab.runs.queue.marker import QueueMarker
from ftlab.runs.queue.places import PlaceTable, QueuePlace, describe_place, estimate_places, format_ordinal
from tests.support import fabricated_runs
from tests.support.fake_jobs import FakeLauncher, add


def state(active: str, waiting: str) -> QueueState:
    """Devices by their first letter: `a` any, `c` cpu, `g` cuda."""
    devices = {"a": "auto", "c": "cpu", "g": "cuda"}
    run = Run(Path("x"))
    return QueueState(
        [ActiveJob(run, "", devices[letter], 0.0) for letter in active],
        [QueuedJob(run, QueueMarker(0.0, device=devices[letter])) for letter in waiting],
    )


@pytest.mark.parametrize(
    ("active", "seconds_left", "waiting", "durations", "limit", "starts"),
    [
        ("a", [100.0], "aaa", [60.0, 30.0, 10.0], 1, [100.0, 160.0, 190.0]),
        ("", [], "aa", [60.0, 30.0], 1, [0.0, 60.0]),
        ("a", [100.0], "aaa", [60.0, None, 10.0], 1, [100.0, 160.0, None]),
        ("a", [None], "aa", [60.0, 60.0], 1, [None, None]),
        # Two at once: the third begins when the first of both has ended.
        ("aa", [100.0, 20.0], "aaa", [200.0, 30.0, 10.0], 2, [20.0, 100.0, 130.0]),
        ("aa", [None, 20.0], "aa", [30.0, 30.0], 2, [20.0, 50.0]),
        # Other devices are not waited for.
        ("cg", [100.0, 20.0], "gc", [50.0, 50.0], 1, [20.0, 100.0]),
    ],
)
def test_each_starts_when_those_before_it_have_ended(
    active: str,
    seconds_left: list[float | None],
    waiting: str,
    durations: list[float | None],
    limit: int,
    starts: list[float | None],
) -> None:
    estimated = estimate_places(state(active, waiting), durations, seconds_left, limit)
    assert [place.seconds for place in estimated] == starts
    assert [place.number for place in estimated] == [*range(1, len(waiting) + 1)]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (QueuePlace(3, 250.0), "You are 3rd, about 4 min."),
        (QueuePlace(1, 20.0), "You are 1st, less than a minute."),
        (QueuePlace(2, None), "You are 2nd."),
        (QueuePlace(2, None, is_held=True), "You are 2nd. The teacher has paused new trainings."),
        (None, ""),
    ],
)
def test_place_and_minutes_are_told_in_a_sentence(place: QueuePlace | None, text: str) -> None:
    assert describe_place(place) == text


def test_nobody_is_told_minutes_while_the_queue_is_held() -> None:
    held = [QueuedJob(Run(Path("x")), QueueMarker(0.0, is_pausable=True), is_held=True) for _ in range(2)]
    free = state("a", "a")
    estimated = estimate_places(QueueState(free.active, [*free.waiting, *held]), [60.0] * 3, [100.0], 1)
    assert estimated == [
        QueuePlace(1, 100.0),
        QueuePlace(2, None, is_held=True),
        QueuePlace(3, None, is_held=True),
    ]


def test_ordinals_are_those_of_english() -> None:
    numbers = (1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 101, 111)
    assert " ".join(map(format_ordinal, numbers)) == "1st 2nd 3rd 4th 10th 11th 12th 13th 21st 22nd 101st 111th"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    launcher = FakeLauncher(60.0)
    yield JobQueue(tmp_path / "runs", launcher)
    launcher.clear()


def test_durations_are_those_of_finished_runs_within_the_time_limit(queue: JobQueue) -> None:
    """Finished ones took 83 s."""
    for reason in ("finished", "stopped"):
        fabricated_runs.make(queue.root, [*fabricated_runs.story(), fabricated_runs.ended(reason)])
    running = add(queue)
    queue.dispatch()
    runs = [add(queue, max_minutes=minutes) for minutes in (0.0, 0.5, 10.0, 0.0)]
    table = PlaceTable(queue)
    found = [table.find_place(run) for run in runs]
    assert [place and place.number for place in found] == [1, 2, 3, 4]
    seconds = [place.seconds or 0.0 for place in found if place]
    assert seconds[0] == pytest.approx(83.0, abs=5.0)
    assert [later - seconds[0] for later in seconds] == pytest.approx([0.0, 83.0, 113.0, 196.0])
    assert table.find_place(running) is None


def test_without_any_finished_run_only_the_place_is_told(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PlaceTable(queue).read_places() == {}
    add(queue)
    queue.dispatch()
    run = add(queue)
    table = PlaceTable(queue)
    assert table.find_place(run) == QueuePlace(1, None)
    # One look serves all pages for a second.
    monkeypatch.setattr(places, "_SHARED_SECONDS", 1000.0)
    add(queue)
    assert len(table.read_places()) == 1
