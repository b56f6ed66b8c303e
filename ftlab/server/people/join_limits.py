"""Bounds on wrong codes and on new members by address, so that nobody finds a code by trying, or fills a class."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

MAX_WRONG_CODES, SECONDS_PER_CODE = 20, 3.0
"""Wrong codes that an address may send at once, and seconds after which it may send one more."""
MAX_NEW_MEMBERS, SECONDS_PER_MEMBER = 60, 20.0
"""Members that an address may bring at once: two classes; and seconds after which it may bring one more."""
MAX_KNOWN_ADDRESSES = 4096
"""Addresses that are counted; beyond them, the one that is longest ago is forgotten."""
ALL_ADDRESSES = "*"
"""Key under which what all addresses do counts, ten times as much."""


class AddressBudget:
    """Budget of each address for one kind of action (a token bucket). Thread-safe."""

    def __init__(self, capacity: int, seconds_per_unit: float) -> None:
        """Start with nothing done.

        Args:
            capacity: how often an address may do it at once.
            seconds_per_unit: seconds after which it may do it once more.
        """
        self._capacity, self._seconds_per_unit = capacity, seconds_per_unit
        self._spare_units: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def has_spare(self, address: str) -> bool:
        """Return whether an address may do it now.

        Args:
            address: where the request came from.
        """
        with self._lock:
            return all(self._count_spare(key, factor) >= 1 for key, factor in _list_keys(address))

    def spend(self, address: str) -> None:
        """Count that an address has done it.

        Args:
            address: where the request came from.
        """
        with self._lock:
            for key, factor in _list_keys(address):
                self._spare_units[key] = (time.monotonic(), self._count_spare(key, factor) - 1)
                self._spare_units.move_to_end(key)
            while len(self._spare_units) > MAX_KNOWN_ADDRESSES:
                self._spare_units.popitem(last=False)

    def _count_spare(self, key: str, factor: int) -> float:
        """Return how often it may still be done."""
        now, capacity = time.monotonic(), float(self._capacity * factor)
        last_time, spare_count = self._spare_units.get(key, (now, capacity))
        return min(capacity, spare_count + (now - last_time) * factor / self._seconds_per_unit)


class JoinLimits:
    """Limits on joining a class.

    Attributes:
        wrong_codes: wrong codes of an address.
        new_members: members whom an address brings, as students.
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.wrong_codes = AddressBudget(MAX_WRONG_CODES, SECONDS_PER_CODE)
        self.new_members = AddressBudget(MAX_NEW_MEMBERS, SECONDS_PER_MEMBER)


def _list_keys(address: str) -> tuple[tuple[str, int], ...]:
    return (address, 1), (ALL_ADDRESSES, 10)
