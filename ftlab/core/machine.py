"""Facts about this machine and its processes: clocks, available memory, the allocator, out-of-memory kills."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_OOM_KILL_PREFIX = "oom_kill "
"""Prefix of the counter's line in each of the kernel's files that have one."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
_MAX_BYTES = 2**31 - 1
"""Largest value of a parameter, a C int."""


def read_awake_clock() -> float:
    """Return seconds on a monotonic clock that all processes of this machine share and that stops while it sleeps.

    Nobody can set it. Only differences are meaningful.
    """
    if sys.platform == "win32":  # time.monotonic continues during sleep there
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7  # in units of 100 ns
    return time.monotonic()


def release_free_memory() -> None:
    """Give memory that this process has freed back to the system, where the C library can (glibc).

    It keeps what lies between blocks in use: after work that filled and freed much memory, that is most of it.
    """
    if sys.platform == "linux":
        c_library = ctypes.CDLL(None)
        if hasattr(c_library, "malloc_trim"):  # musl has none
            c_library.malloc_trim(0)


def keep_freed_memory() -> bool:
    """Make glibc's allocator reuse large blocks, for the whole process; other allocators are left as they are.

    By default each tensor above 32 MiB is mapped when it is created and unmapped when it is freed. Its pages are then
    zeroed by the kernel at the first write, some hundred thousand of them in each step of a full fine-tuning. No value
    that is computed changes.

    Returns:
        Whether the allocator took the setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    c_library = ctypes.CDLL(None)
    return all(c_library.mallopt(parameter, _MAX_BYTES) == 1 for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def get_boot_time() -> float:
    """Return when this machine, or the container of this process, was started, in seconds since 1970."""
    start_time = float(psutil.boot_time())
    with suppress(psutil.Error):  # process 1: the container's first process; Windows has none
        start_time = max(start_time, float(psutil.Process(1).create_time()))
    return start_time


def get_process_start_time(process: psutil.Process) -> float:
    """Return when a process started, in seconds from an origin that does not move when the system clock is set.

    Raises `psutil.Error` (from psutil) if the process is gone.
    """
    # Linux counts from boot; psutil adds the boot time, which is computed from the current clock and moves with it.
    return float(process.create_time() - (psutil.boot_time() if sys.platform == "linux" else 0.0))


def find_oom_counter(pid: int, root: Path | str = "/") -> str:
    """Return the kernel's file that counts out-of-memory kills, of a process's cgroup if possible, else of the machine.

    Args:
        pid: process id.
        root: root of the file system; tests use another one.

    Returns:
        Path of the file; empty if there is none. Linux only.
    """
    return next(
        (
            str(counter_file)
            for counter_file in _iter_oom_counters(pid, Path(root))
            if read_oom_kills(str(counter_file)) is not None
        ),
        "",
    )


def read_oom_kills(counter_file: str) -> int | None:
    """Return the number of out-of-memory kills counted in that file; None if it does not say."""
    try:
        with Path(counter_file).open(encoding="ascii") as lines:
            return next(
                (int(line.removeprefix(_OOM_KILL_PREFIX)) for line in lines if line.startswith(_OOM_KILL_PREFIX)), None
            )
    except (OSError, ValueError):
        return None


def get_available_memory(root: Path | str = "/") -> int:
    """Return the bytes of memory that this process can still take without swapping.

    That is what the machine has available, and no more than what the limit of its container leaves.
    """
    available_bytes = [int(psutil.virtual_memory().available), *_iter_cgroup_headroom(os.getpid(), Path(root))]
    return max(0, min(available_bytes))


def _iter_cgroup_headroom(pid: int, root: Path) -> Iterator[int]:
    """Yield the bytes left by the memory limit of each cgroup of a process; reclaimable file cache counts as free."""
    file_names = {True: ("memory.max", "memory.current", "inactive_file ")}
    file_names[False] = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
    for folder, is_cgroup_v2 in _iter_cgroups(pid, root):
        limit_file, usage_file, file_cache_prefix = file_names[is_cgroup_v2]
        # "max" instead of a number means that there is no limit: the ValueError skips the group.
        with suppress(OSError, ValueError):
            limit, usage = (int((folder / name).read_text(encoding="ascii")) for name in (limit_file, usage_file))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            file_cache_bytes = next(
                (int(line.removeprefix(file_cache_prefix)) for line in lines if line.startswith(file_cache_prefix)), 0
            )
            yield limit - usage + file_cache_bytes


def _iter_oom_counters(pid: int, root: Path) -> Iterator[Path]:
    """Yield the candidate files of `find_oom_counter`, the closest to the process first."""
    for folder, is_cgroup_v2 in _iter_cgroups(pid, root):
        yield folder / ("memory.events" if is_cgroup_v2 else "memory.oom_control")
    yield root / "proc/vmstat"


def _iter_cgroups(pid: int, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield folder of each memory cgroup of a process, the closest first, and whether it belongs to cgroup v2."""
    cgroup_root = root / "sys/fs/cgroup"
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Inside a container the path may be that of the host, and its own group mounted at the root: so try all parents
        # too. Their limits apply as well.
        cgroup_path = Path(path.strip("/"))
        candidates = (cgroup_path, *cgroup_path.parents)
        if controllers == "":  # cgroup v2 has one hierarchy for all controllers
            yield from ((cgroup_root / candidate, True) for candidate in candidates)
        elif "memory" in controllers.split(","):
            yield from ((cgroup_root / "memory" / candidate, False) for candidate in candidates)


def count_cpu_cores() -> int:
    """Return the CPU cores this process may use, divided by the processes that torchrun started on this machine."""
    # The affinity mask counts only the cores that a container or `taskset` allows; os.cpu_count counts all.
    core_count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, core_count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
