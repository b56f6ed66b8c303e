"""Keep freed memory in the process, so that the next training step need not ask the kernel for it again."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
_MAX_BYTES = 2**31 - 1
"""Largest value of a parameter, a C int."""


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
