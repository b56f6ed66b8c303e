"""Turns of the threads that compute on the same cores: as many at a time as there are cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CallerTurns:
    """Lets a number of threads compute at a time, and tells each whether it is the only one. Thread-safe."""

    def __init__(self, max_callers: int) -> None:
        """Start with nobody computing.

        Args:
            max_callers: threads that compute at a time; at least 1.
        """
        self._free_turns = threading.Semaphore(max_callers)
        self._count_lock = threading.Lock()
        self._caller_count = 0

    @contextmanager
    def take_turn(self) -> Iterator[bool]:
        """Wait for a turn and keep it for the block.

        Yields:
            Whether no other thread has a turn: the block may then use all cores.
        """
        with self._free_turns:
            with self._count_lock:
                is_alone = self._caller_count == 0
                self._caller_count += 1
            try:
                yield is_alone
            finally:
                with self._count_lock:
                    self._caller_count -= 1
