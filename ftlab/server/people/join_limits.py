"""Bound on wrong codes, so that nobody finds one by trying."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

MAX_WRONG_CODES = 20
"""Wrong codes that an address may send at once."""
SECONDS_PER_CODE = 3.0
"""Seconds after which it may send one more."""
MAX_KNOWN_ADDRESSES = 4096
"""Addresses that are counted; beyond them, the one that is longest ago is forgotten."""
ALL_ADDRESSES = "*"
"""Key under which the wrong codes of all addresses count, ten times as many."""


class JoinLimits:
    """Counts of wrong codes by address (a token bucket each). Thread-safe."""

    def __init__(self) -> None:
        """Start with no wrong code."""
        self._spare_codes: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def may_try(self, address: str) -> bool:
        """Return whether an address may try a code now.

        Args:
            address: where the request came from.
        """
        with self._lock:
            return all(self._count_spare(key, factor) >= 1 for key, factor in _list_keys(address))

    def count_wrong_code(self, address: str) -> None:
        """Count a wrong code.

        Args:
            address: where the request came from.
        """
        with self._lock:
            for key, factor in _list_keys(address):
                self._spare_codes[key] = (time.monotonic(), self._count_spare(key, factor) - 1)
                self._spare_codes.move_to_end(key)
            while len(self._spare_codes) > MAX_KNOWN_ADDRESSES:
                self._spare_codes.popitem(last=False)

    def _count_spare(self, key: str, factor: int) -> float:
        """Return the wrong codes that may still come."""
        now = time.monotonic()
        last_time, spare_count = self._spare_codes.get(key, (now, float(MAX_WRONG_CODES * factor)))
        return min(float(MAX_WRONG_CODES * factor), spare_count + (now - last_time) * factor / SECONDS_PER_CODE)


def _list_keys(address: str) -> tuple[tuple[str, int], ...]:
    return (address, 1), (ALL_ADDRESSES, 10)
