"""What the machine tells of a process stays the same whatever is done to the clock, and is read where it stands."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ftlab.core import machine


def written(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V1 = "10:cpu:/a\n4:memory:/box/7\n0::/\n"
V2 = "0::/user.slice/app.scope\n"
COUNTED = "low 0\noom 3\noom_kill 2\n"


@pytest.mark.parametrize(
    ("groups", "files", "counter"),
    [
        (V2, {"sys/fs/cgroup/user.slice/app.scope/memory.events": COUNTED}, "app.scope/memory.events"),
        (V2, {"sys/fs/cgroup/memory.events": COUNTED, "proc/vmstat": COUNTED}, "cgroup/memory.events"),
        (V1, {"sys/fs/cgroup/memory/box/7/memory.oom_control": COUNTED}, "box/7/memory.oom_control"),
        (V1, {"sys/fs/cgroup/memory/memory.oom_control": COUNTED}, "memory/memory.oom_control"),
        (V2, {"proc/vmstat": f"nr_free_pages 7\n{COUNTED}"}, "proc/vmstat"),
        (V2, {"sys/fs/cgroup/memory.events": "low 0\n", "proc/vmstat": COUNTED}, "proc/vmstat"),
    ],
    ids=[
        "group",
        "group of a container",
        "old group",
        "old group of a container",
        "machine",
        "group that tells nothing",
    ],
)
def test_the_count_nearest_to_the_process_is_taken(
    tmp_path: Path, groups: str, files: dict[str, str], counter: str
) -> None:
    root = written(tmp_path, {"proc/42/cgroup": groups, **files})
    found = machine.find_oom_counter(42, root)
    assert Path(found).as_posix().endswith(counter)
    assert machine.read_oom_kills(found) == 2


def test_memory_that_was_freed_between_blocks_in_use_is_given_back() -> None:
    """Where the C library can: elsewhere nothing happens."""
    c_library, process = ctypes.CDLL(None), psutil.Process()
    c_library.malloc.restype, c_library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [c_library.malloc(10_000) for _ in range(10_000)]
    for block in blocks:
        ctypes.memset(block, 1, 10_000)
    for block in blocks[:-1]:
        c_library.free(block)
    full = process.memory_info().rss
    machine.release_free_memory()
    if hasattr(c_library, "malloc_trim"):
        assert process.memory_info().rss < full - 80e6
    c_library.free(blocks[-1])


def test_the_machine_was_started_before_this_process() -> None:
    assert psutil.boot_time() <= machine.get_boot_time() <= psutil.Process().create_time() + 1.0


def test_where_nothing_is_counted_nothing_is_told(tmp_path: Path) -> None:
    assert machine.find_oom_counter(42, tmp_path) == ""
    assert machine.read_oom_kills(str(tmp_path / "gone")) is None
    assert machine.read_oom_kills(str(written(tmp_path, {"odd": "oom_kill many\n"}) / "odd")) is None


def test_a_birth_stays_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.get_process_start_time(psutil.Process())
    if hasattr(psutil, "LINUX") and psutil.LINUX:
        boot = psutil.boot_time()
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + 3600)
    assert abs(machine.get_process_start_time(psutil.Process(os.getpid())) - before) < 0.01


FILES = "anon 5\ninactive_file 100\n"


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        (V2, {"user.slice/app.scope/memory.max": "1000", "user.slice/app.scope/memory.current": "300"}, 800),
        (V2, {"user.slice/memory.max": "1000", "user.slice/memory.current": "600"}, 500),
        (V2, {"memory.max": "1000", "memory.current": "2000"}, 0),
        (V2, {"memory.max": "max", "memory.current": "300"}, None),
        (V1, {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "300"}, 740),
    ],
    ids=["group", "group around it", "full", "no limit", "old group of a container"],
)
def test_a_containers_limit_counts(tmp_path: Path, groups: str, files: dict[str, str], left: int | None) -> None:
    statistics = {str(Path(name).parent / "memory.stat"): FILES + "total_inactive_file 40\n" for name in files}
    tree = {f"sys/fs/cgroup/{name}": text for name, text in {**files, **statistics}.items()}
    root = written(tmp_path, {f"proc/{os.getpid()}/cgroup": groups, **tree})
    found = machine.get_available_memory(root)
    machines = psutil.virtual_memory().available
    assert found == left if left is not None else found == pytest.approx(machines, rel=0.2)
    assert 0 < machine.get_available_memory() <= psutil.virtual_memory().total


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = machine.count_cpu_cores()
    assert alone >= 1
    for processes in (1, 2, 1000):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert machine.count_cpu_cores() == max(1, alone // processes)


_COUNT_FAULTS = """
import resource, sys
from ftlab.core import machine
if sys.argv[1] == "kept":
    assert machine.keep_freed_memory() == (sys.argv[2] == "glibc")
bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(choice: str) -> int:
    """Return the page faults of four blocks of 64 MiB, in a process of its own: the setting holds for a process."""
    command = [sys.executable, "-c", _COUNT_FAULTS, choice, platform.libc_ver()[0]]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_large_blocks_are_reused_without_page_faults_where_glibc_allocates() -> None:
    kept_faults, default_faults = count_faults("kept"), count_faults("default")
    if platform.libc_ver()[0] == "glibc":
        assert kept_faults < default_faults / 10
    else:
        assert kept_faults <= default_faults * 2


def test_another_allocator_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", None)  # a call would fail
    assert not machine.keep_freed_memory()
