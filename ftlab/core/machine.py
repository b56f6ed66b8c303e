"""What this machine tells of itself and of a process: time awake, birth, free memory, what was ended for want of it."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_KILLS = "oom_kill "
"""How the line of the counter begins, in each of the kernel's files that have it."""


def awake() -> float:
    """Seconds on a clock that all processes of this machine share, that stands still while the machine sleeps, and that
    nobody sets. Only differences mean something."""
    if sys.platform == "win32":  # Python's own clock runs on through a sleep there
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7
    return time.monotonic()


def started() -> float:
    """When this machine, or the container that this process is in, was started; seconds since 1970."""
    begin = float(psutil.boot_time())
    with suppress(psutil.Error):  # no such process on Windows; in a container, the first
        begin = max(begin, float(psutil.Process(1).create_time()))
    return begin


def born(process: psutil.Process) -> float:
    """When a process began, in seconds from a point that stays where it is when the clock is set.

    Raises:
        psutil.Error: it is gone.
    """
    # Linux counts from the start of the machine, to which psutil adds that start by the clock of now.
    return float(process.create_time() - (psutil.boot_time() if sys.platform == "linux" else 0.0))


def kill_counter(pid: int, root: Path | str = "/") -> str:
    """The file in which the kernel counts processes of this one's group (else of the machine) that it ended for want of
    memory; empty where there is none. Linux only."""
    return next((str(file) for file in _counters(pid, Path(root)) if kills(str(file)) is not None), "")


def kills(counter: str) -> int | None:
    """How many the kernel has counted in that file; None where it tells nothing."""
    try:
        with open(counter, encoding="ascii") as lines:
            return next((int(line.removeprefix(_KILLS)) for line in lines if line.startswith(_KILLS)), None)
    except (OSError, ValueError):
        return None


def free_memory(root: Path | str = "/") -> int:
    """Bytes of memory that this process can still take without driving anything to the disk: what the machine has, and
    no more than what a container's limit leaves."""
    free = [int(psutil.virtual_memory().available), *_left(os.getpid(), Path(root))]
    return max(0, min(free))


def _left(pid: int, root: Path) -> Iterator[int]:
    """What the limit of each group that a process is in leaves. What only caches files can be had back."""
    names = {True: ("memory.max", "memory.current", "inactive_file ")}
    names[False] = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
    for folder, unified in _groups(pid, root):
        most, used, cached = names[unified]
        # "max" is no number, and stands for none.
        with suppress(OSError, ValueError):
            limit, taken = (int((folder / name).read_text(encoding="ascii")) for name in (most, used))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            files = next((int(line.removeprefix(cached)) for line in lines if line.startswith(cached)), 0)
            yield limit - taken + files


def _counters(pid: int, root: Path) -> Iterator[Path]:
    for folder, unified in _groups(pid, root):
        yield folder / ("memory.events" if unified else "memory.oom_control")
    yield root / "proc/vmstat"


def _groups(pid: int, root: Path) -> Iterator[tuple[Path, bool]]:
    """Folders of the groups whose memory a process shares, the nearest first, and whether they are of the one tree that
    newer kernels have (cgroup v2)."""
    groups = root / "sys/fs/cgroup"
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # In a container the path may be that of the host, and the group what is mounted.
        own = Path(path.strip("/"))
        places = (own, *own.parents)
        if controllers == "":
            yield from ((groups / place, True) for place in places)
        elif "memory" in controllers.split(","):
            yield from ((groups / "memory" / place, False) for place in places)


def cores() -> int:
    """Processor cores that this process may use; where torchrun has started several on a machine, its share of them."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, found // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
