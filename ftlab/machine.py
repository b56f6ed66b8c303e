"""What this machine tells of itself: how long it has been awake."""

from __future__ import annotations

import ctypes
import sys
import time


def awake() -> float:
    """Seconds on a clock that all processes of this machine share, that stands still while the machine sleeps, and that
    nobody sets. Only differences mean something."""
    if sys.platform == "win32":  # Python's own clock runs on through a sleep there
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7
    return time.monotonic()
