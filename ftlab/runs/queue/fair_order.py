"""Order of the queue: people take turns, and each one's runs come in the order in which they were queued.

A person's place in the round is the time of their last turn, or the time at which they began to wait if that is later.
The earliest is next: whoever comes with one run waits for those that run, and at most one turn of each other person.
Newcomers cannot push back people who have waited for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftlab.runs.directory import Run
from ftlab.runs.queue.marker import ANY_DEVICE, QueueMarker


@dataclass(frozen=True)
class QueuedJob:
    """A run that waits.

    Attributes:
        run: the run.
        marker: its marker.
        is_held: the queue is held, and the pause binds the run.
    """

    run: Run
    marker: QueueMarker
    is_held: bool = False


@dataclass(frozen=True)
class ActiveJob:
    """A run that a process trains.

    Attributes:
        run: the run.
        owner: whose run it is.
        device: the device that it asked for.
        since: when its process took it, in seconds since 1970.
    """

    run: Run
    owner: str
    device: str
    since: float


def order_jobs(jobs: Iterable[QueuedJob], turns: Mapping[str, float]) -> list[QueuedJob]:
    """Return queued jobs in the order in which they will start.

    Args:
        jobs: in any order.
        turns: when each person last had a turn, in seconds since 1970.

    Returns:
        The same jobs.
    """
    waiting: dict[str, list[QueuedJob]] = {}
    for job in sorted(jobs, key=lambda job: (job.marker.time, job.run.name)):
        waiting.setdefault(job.marker.owner, []).append(job)
    rounds = {
        owner: (max(turns.get(owner, 0.0), own_jobs[0].marker.time), own_jobs[0].marker.time)
        for owner, own_jobs in waiting.items()
    }
    # Later than all that has been: whoever is served goes behind everybody who waits now.
    next_turn = max((round_time for round_time, _ in rounds.values()), default=0.0)
    ordered = []
    while waiting:
        owner = min(waiting, key=lambda owner: (*rounds[owner], owner))
        ordered.append(waiting[owner].pop(0))
        next_turn += 1.0
        if waiting[owner]:
            rounds[owner] = (next_turn, waiting[owner][0].marker.time)
        else:
            del waiting[owner]
    return ordered


def merge_turns(turns: Mapping[str, float], active_jobs: Iterable[ActiveJob]) -> dict[str, float]:
    """Return when each person last had a turn, with the runs that are active: the database may have been lost.

    Args:
        turns: as the database has them.
        active_jobs: the runs that are trained.
    """
    merged = dict(turns)
    for job in active_jobs:
        merged[job.owner] = max(job.since, merged.get(job.owner, 0.0))
    return merged


def share_device(first_device: str, second_device: str) -> bool:
    """Return whether two runs may need the same device."""
    return first_device == second_device or ANY_DEVICE in (first_device, second_device)


def count_on_device(device: str, used_devices: Sequence[str]) -> int:
    """Return how many of the runs at work may use a device.

    Args:
        device: the device.
        used_devices: what the runs at work asked for.
    """
    return sum(share_device(device, used_device) for used_device in used_devices)
