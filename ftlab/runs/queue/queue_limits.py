"""Limits of the queue: how many runs are trained at once, and how many one person may have waiting. No torch.

A server declares them when it starts, so that the processes that it starts have the same ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

WAITING_PER_PERSON, SPACE_WAITING_PER_PERSON = 20, 2
"""Runs that one person may have waiting, on a server for others and on a public Space."""
_RUNNING_VARIABLE, _WAITING_VARIABLE = "FTLAB_QUEUE_RUNNING", "FTLAB_QUEUE_WAITING"


@dataclass(frozen=True)
class QueueLimits:
    """Limits of a queue.

    Attributes:
        running_per_device: runs that are trained at once on each device.
        waiting_per_person: runs that one person may have waiting; None: any number.
    """

    running_per_device: int = 1
    waiting_per_person: int | None = None


def declare_limits(limits: QueueLimits) -> None:
    """Set the limits, in this process and in those that it starts."""
    os.environ[_RUNNING_VARIABLE] = str(limits.running_per_device)
    os.environ.pop(_WAITING_VARIABLE, None)
    if limits.waiting_per_person is not None:
        os.environ[_WAITING_VARIABLE] = str(limits.waiting_per_person)


def read_limits() -> QueueLimits:
    """Return the declared limits, else the defaults."""
    running, waiting = (os.environ.get(name, "") for name in (_RUNNING_VARIABLE, _WAITING_VARIABLE))
    return QueueLimits(
        max(1, int(running)) if running.isdecimal() else 1, int(waiting) if waiting.isdecimal() else None
    )
