"""Lower priority of the trainings of a server for others, so that its answers do not wait for them. No torch.

The system gives a training all of the processor while nothing else wants it. While predictions wait, a thread of a
training gets four fifths of the time that one of theirs gets (weights 820 and 1024 of Linux' scheduler).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import psutil

PRIORITY_ENV = "FTLAB_LOW_PRIORITY"
"""Environment variable: trainings started with it lower their own priority."""
NICENESS = 1
"""Added to the niceness of a training: 10 would leave it a tenth, and a class that asks without pause would stop it."""


def declare_low_priority(*, is_low: bool) -> None:
    """Let the trainings that this process starts from now on lower their priority, or not.

    Args:
        is_low: whether they do.
    """
    os.environ.pop(PRIORITY_ENV, None)
    if is_low:
        os.environ[PRIORITY_ENV] = "1"


def apply_declared_priority() -> None:
    """Lower the priority of this process, if whoever started it has declared so.

    Call it before the first thread: those that exist already keep their priority on Linux.
    """
    if not os.environ.get(PRIORITY_ENV):
        return
    process = psutil.Process()
    # A container may forbid it: the training goes on as it is.
    with suppress(psutil.Error, OSError):
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else process.nice() + NICENESS)
