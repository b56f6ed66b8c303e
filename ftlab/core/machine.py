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

_OOM_KILL_PREFIX = "oom_kill "
"""How the line of the counter begins, in each of the kernel's files that have it."""


def read_awake_clock() -> float:
    """Seconds on a clock that all processes of this machine share, that stands still while the machine sleeps, and that
    nobody sets. Only differences mean something."""
    if sys.platform == "win32":  # Python's own clock runs on through a sleep there
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7
    return time.monotonic()


def get_boot_time() -> float:
    """When this machine, or the container that this process is in, was started; seconds since 1970."""
    start_time = float(psutil.boot_time())
    with suppress(psutil.Error):  # no such process on Windows; in a container, the first
        start_time = max(start_time, float(psutil.Process(1).create_time()))
    return start_time


def get_process_start_time(process: psutil.Process) -> float:
    """When a process began, in seconds from a point that stays where it is when the clock is set.

    Raises:
        psutil.Error: it is gone.
    """
    # Linux counts from the start of the machine, to which psutil adds that start by the clock of now.
    return float(process.create_time() - (psutil.boot_time() if sys.platform == "linux" else 0.0))


def find_oom_counter(pid: int, root: Path | str = "/") -> str:
    """The file in which the kernel counts processes of this one's group (else of the machine) that it ended for want of
    memory; empty where there is none. Linux only."""
    return next(
        (
            str(counter_file)
            for counter_file in _iter_oom_counters(pid, Path(root))
            if read_oom_kills(str(counter_file)) is not None
        ),
        "",
    )


def read_oom_kills(counter_file: str) -> int | None:
    """How many the kernel has counted in that file; None where it tells nothing."""
    try:
        with open(counter_file, encoding="ascii") as lines:
            return next(
                (int(line.removeprefix(_OOM_KILL_PREFIX)) for line in lines if line.startswith(_OOM_KILL_PREFIX)), None
            )
    except (OSError, ValueError):
        return None


def get_available_memory(root: Path | str = "/") -> int:
    """Bytes of memory that this process can still take without driving anything to the disk: what the machine has, and
    no more than what a container's limit leaves."""
    available_bytes = [int(psutil.virtual_memory().available), *_iter_cgroup_headroom(os.getpid(), Path(root))]
    return max(0, min(available_bytes))


def _iter_cgroup_headroom(pid: int, root: Path) -> Iterator[int]:
    """What the limit of each group that a process is in leaves. What only caches files can be had back."""
    file_names = {True: ("memory.max", "memory.current", "inactive_file ")}
    file_names[False] = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
    for folder, is_cgroup_v2 in _iter_cgroups(pid, root):
        limit_file, usage_file, file_cache_prefix = file_names[is_cgroup_v2]
        # "max" is no number, and stands for none.
        with suppress(OSError, ValueError):
            limit, usage = (int((folder / name).read_text(encoding="ascii")) for name in (limit_file, usage_file))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            file_cache_bytes = next(
                (int(line.removeprefix(file_cache_prefix)) for line in lines if line.startswith(file_cache_prefix)), 0
            )
            yield limit - usage + file_cache_bytes


def _iter_oom_counters(pid: int, root: Path) -> Iterator[Path]:
    for folder, is_cgroup_v2 in _iter_cgroups(pid, root):
        yield folder / ("memory.events" if is_cgroup_v2 else "memory.oom_control")
    yield root / "proc/vmstat"


def _iter_cgroups(pid: int, root: Path) -> Iterator[tuple[Path, bool]]:
    """Folders of the groups whose memory a process shares, the nearest first, and whether they are of the one tree that
    newer kernels have (cgroup v2)."""
    cgroup_root = root / "sys/fs/cgroup"
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # In a container the path may be that of the host, and the group what is mounted.
        cgroup_path = Path(path.strip("/"))
        candidates = (cgroup_path, *cgroup_path.parents)
        if controllers == "":
            yield from ((cgroup_root / candidate, True) for candidate in candidates)
        elif "memory" in controllers.split(","):
            yield from ((cgroup_root / "memory" / candidate, False) for candidate in candidates)


def count_cpu_cores() -> int:
    """Processor cores that this process may use; where torchrun has started several on a machine, its share of them."""
    core_count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, core_count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
