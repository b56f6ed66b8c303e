"""Blocks that were freed are reused without page faults."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

from ftlab.training.devices import allocator

_COUNT_FAULTS = """
import resource, sys
from ftlab.training.devices import allocator
if sys.argv[1] == "kept":
    assert allocator.keep_freed_memory() == (sys.argv[2] == "glibc")
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


def test_another_allocator_is_left_as_it_is(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", None)  # a call would fail
    assert not allocator.keep_freed_memory()
