"""Samples that were there before, in any shard: by a hash of key and image, eight bytes each. No torch."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from ftlab.data.shards.shard_sample import ShardSample

_FIRST_SLOTS = 1 << 12
_MAX_FILL = 0.6
"""Share of the slots that are used before their number doubles: above it a search takes many steps."""


class SeenSamples:
    """A set of samples, by 64-bit hashes in one array: 13 to 27 bytes a sample, where a set of texts has over 100.

    A sample counts as seen if key and image are the same. Shards of other programs may begin to count their keys anew,
    so that the key alone says nothing. Two different samples have the same hash with a probability of 3e-8 among a
    million, and of 3e-2 among a billion.
    """

    def __init__(self) -> None:
        """Begin without samples."""
        self._slots: npt.NDArray[np.uint64] = np.zeros(_FIRST_SLOTS, np.uint64)
        self._count = 0

    def add(self, sample: ShardSample) -> bool:
        """Add a sample.

        Args:
            sample: from a stream.

        Returns:
            Whether it is new.
        """
        digest = hashlib.blake2b(sample.image, digest_size=8, key=hashlib.sha256(sample.key.encode()).digest())
        # Zero is an empty slot.
        value = int.from_bytes(digest.digest(), "little") or 1
        if self._count >= _MAX_FILL * len(self._slots):
            self._double()
        slot = self._find_slot(value)
        if self._slots[slot]:
            return False
        self._slots[slot] = value
        self._count += 1
        return True

    def _find_slot(self, value: int) -> int:
        """Return the slot that holds a value, or the empty one where it belongs."""
        mask = len(self._slots) - 1
        slot = value & mask
        while self._slots[slot] and self._slots[slot] != value:
            slot = (slot + 1) & mask
        return slot

    def _double(self) -> None:
        """Double the number of slots."""
        values = self._slots[self._slots != 0]
        self._slots = np.zeros(2 * len(self._slots), np.uint64)
        for value in values.tolist():
            self._slots[self._find_slot(value)] = value
