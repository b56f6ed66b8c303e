"""Agreement between the thread that trains and the one that ends a training which does not hear a stop request.

A stop is heard at the next step. Where that takes long (a step of half a minute, a compilation), the process may be
ended from another thread, but only at places where nothing is half done: the training thread declares them. No torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ftlab.runs.events import Event

SaveState = Callable[[], list[Event]]
"""Saves what a resume needs, as of the beginning of an interruptible section, and returns the events to record."""


class StopGuard:
    """Says when a training may be ended from another thread, and saves it then.

    Until `begin_steps` a training may be ended at any moment: there is nothing to save yet.

    Attributes:
        start_time: when the process began to work on the training, in seconds of the monotonic clock.
        received_signals: numbers of the signals that asked for a stop.
        event_lock: held while an event is written; whoever ends the process keeps it.
        save_state: what is to be called before the training is ended; None where there is nothing to save.
    """

    def __init__(self) -> None:
        """Begin with a training that may be ended at any moment."""
        self.start_time, self.received_signals = time.monotonic(), list[int]()
        self.event_lock = threading.Lock()
        self.save_state: SaveState | None = None
        self._work_lock = threading.Lock()
        self._is_working = self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether the training has got as far as its steps, so that there may be something to save."""
        return self._has_begun

    def begin_steps(self) -> None:
        """Forbid that the training is ended from now on, but for `interruptible` sections."""
        self._work_lock.acquire()
        self._is_working = self._has_begun = True

    @contextmanager
    def interruptible(self, save_state: SaveState | None) -> Iterator[None]:
        """Allow that the training is ended within the block, which takes long and leaves the saved state as it is.

        Args:
            save_state: saves the training as it was when the block began; None to allow nothing.
        """
        # Within another such block, and before the first step, everything is allowed already.
        if not self._is_working or save_state is None:
            yield
            return
        self.save_state, self._is_working = save_state, False
        self._work_lock.release()
        try:
            yield
        finally:
            # If the training is being ended, this waits for the end.
            self._work_lock.acquire()
            self.save_state, self._is_working = None, True

    def take_over(self) -> bool:
        """Return whether the training may be ended now; its thread stays where it is then, for good."""
        return self._work_lock.acquire(blocking=False)
