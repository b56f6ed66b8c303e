"""Large packages come and go: torch and its kin are two thousand modules. Neither looking for garbage while they are
loaded nor taking them apart at the end is of use to anybody, and the two are a fifth of a short training."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType


def import_module(name: str) -> ModuleType:
    """Import a module by its full name. The search for garbage rests meanwhile, and leaves alone, from then on, what
    there is now: modules stay. Any number of threads may load; the first to begin brings the search back.

    Raises:
        ImportError: there is no such module.
    """
    if name in sys.modules:
        return importlib.import_module(name)  # which waits where another thread is at it
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if gc_was_enabled:
            gc.enable()


# At the end everything is taken apart in Python's own order, unless that is left out altogether.
atexit.register(gc.unfreeze)


def exit_without_teardown() -> Callable[[int], None]:
    """From now on, this process ends without taking its modules apart, once it is told its exit status by what is
    returned here; if it never is, as after an error, it ends in Python's own way.

    Threads are waited for, and whatever was registered with `atexit` after this runs, as ever: what was registered
    first runs last.
    """
    exit_statuses: list[int] = []

    def exit_process() -> None:
        if exit_statuses:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_statuses[0])

    atexit.register(exit_process)
    return exit_statuses.append
