"""Samples of many shards as one stream: in order or shuffled, a part of them for each reader, from any sample on.

Shuffled, the shards of an epoch come in an order of their own, and the samples in blocks of `buffer_size` that are
reordered. Both orders are hashes of seed, epoch and place, so that a position is five numbers and none of the samples
before it is read again but those of its block. Memory: a block, and the keys of one shard. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ftlab.core import json_fields
from ftlab.core.errors import DataError
from ftlab.data.shards.reader import iter_shard
from ftlab.data.shards.shard_list import ShardList
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample


@dataclass(frozen=True)
class ReaderPart:
    """The part of the samples that one of several readers gets, such as a worker of a rank.

    Attributes:
        index: of the reader, from 0: `rank * workers + worker`.
        count: number of readers.
    """

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class StreamPosition:
    """Place in a stream: what a checkpoint keeps to go on from there.

    Attributes:
        epoch: number, from 0.
        shard: number of the shard in the order of the epoch, where the block begins.
        offset: position in bytes in that shard where the block begins.
        ordinal: number of samples of the shards before the block, of all readers that share them.
        delivered: samples of the block that were delivered.
    """

    epoch: int = 0
    shard: int = 0
    offset: int = 0
    ordinal: int = 0
    delivered: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the position as plain numbers."""
        return asdict(self)


def position_from_json(values: dict[str, Any]) -> StreamPosition:
    """Return the position that `StreamPosition.to_json` gave.

    Raises:
        DataError: the values are none.
    """
    try:
        return json_fields.build_dataclass(StreamPosition, values)
    except (TypeError, ValueError, KeyError) as cause:
        raise DataError("shards.position") from cause


@dataclass(frozen=True)
class _Place:
    """End of a sample: `shard`, `offset` and `ordinal` as in `StreamPosition`."""

    shard: int
    offset: int
    ordinal: int


class ShardStream:
    """An iterator over the samples of one epoch.

    Attributes:
        position: after the last sample that was delivered.
    """

    def __init__(
        self,
        shards: ShardList,
        *,
        position: StreamPosition = StreamPosition(),
        seed: int = 0,
        buffer_size: int = 0,
        part: ReaderPart = ReaderPart(),
        needs_class: bool = True,
        on_problem: Callable[[ShardProblem], None] = lambda _: None,
    ) -> None:
        """Prepare an epoch; no shard is opened yet.

        Args:
            shards: to read.
            position: from which to go on; its epoch decides the order. Everything else must be as it was.
            seed: of the order.
            buffer_size: samples that are reordered at a time, all in memory; 0: in order, shards too.
            part: that this reader gets: whole shards, or single samples where there are fewer shards than readers.
            needs_class: leave out samples without a class, or with one that is not in the index.
            on_problem: called with each thing that is not used. It may be called again where a stream goes on.

        Raises:
            DataError: the position is none of these shards.
        """
        self.position = position
        self._seed, self._buffer_size, self._part = seed, buffer_size, part
        self._classes = shards.classes if needs_class else ()
        self._needs_class, self._on_problem = needs_class, on_problem
        self._shares_shards = len(shards.locations) < part.count
        numbers = list(range(len(shards.locations)))
        if buffer_size:
            numbers.sort(key=lambda number: self._hash("shard", number))
        own_numbers = numbers if self._shares_shards else numbers[part.index :: part.count]
        self._locations = [shards.locations[number] for number in own_numbers]
        self._expected_counts = shards.sample_counts and [shards.sample_counts[number] for number in own_numbers]
        if min(asdict(position).values()) < 0 or position.shard > len(own_numbers):
            raise DataError("shards.position")
        if part.index == 0 and position == StreamPosition(position.epoch):
            self._tell_of_list(shards)
        self._samples = self._iter_shuffled() if buffer_size else self._iter_in_order()

    def __iter__(self) -> Iterator[ShardSample]:
        """Return the stream itself."""
        return self

    def __next__(self) -> ShardSample:
        """Return the next sample, and move the position."""
        return next(self._samples)

    def _iter_in_order(self) -> Iterator[ShardSample]:
        """Yield the samples as they stand."""
        for sample, place in self._iter_places():
            self.position = StreamPosition(self.position.epoch, place.shard, place.offset, place.ordinal)
            yield sample

    def _iter_shuffled(self) -> Iterator[ShardSample]:
        """Yield the samples block by block, each block reordered."""
        places = self._iter_places()
        start, is_last = self.position, False
        while not is_last:
            block: list[ShardSample | None] = []
            end: _Place | None = None
            while len(block) < self._buffer_size and not is_last:
                entry = next(places, None)
                if entry is None:
                    is_last = True
                else:
                    end = entry[1]
                    block.append(entry[0])
            order = sorted(range(len(block)), key=lambda number: self._hash(start.shard, start.offset, number))
            for delivered, number in enumerate(order[start.delivered :], start.delivered + 1):
                sample, block[number] = block[number], None  # let go of what was delivered
                self.position = replace(start, delivered=delivered)
                if delivered == len(block) and end is not None:
                    self.position = StreamPosition(start.epoch, end.shard, end.offset, end.ordinal)
                assert sample is not None
                yield sample
            if end is not None:
                start = StreamPosition(start.epoch, end.shard, end.offset, end.ordinal)

    def _iter_places(self) -> Iterator[tuple[ShardSample, _Place]]:
        """Read the samples of this reader, from the position on.

        Yields:
            Each sample, with the place behind it.
        """
        start, ordinal = self.position, self.position.ordinal  # the position moves meanwhile
        for shard, location in enumerate(self._locations[start.shard :], start.shard):
            start_offset = start.offset if shard == start.shard else 0
            count = 0
            results = iter_shard(
                location, start_offset=start_offset, classes=self._classes, needs_class=self._needs_class
            )
            for result in results:
                if isinstance(result, ShardProblem):
                    if not self._shares_shards or self._part.index == 0:
                        self._on_problem(result)
                    continue
                count += 1
                ordinal += 1
                if not self._shares_shards or (ordinal - 1) % self._part.count == self._part.index:
                    yield result, _Place(shard, result.end_offset, ordinal)
            if start_offset == 0:
                self._check_count(shard, count)

    def _check_count(self, shard: int, count: int) -> None:
        """Tell of a shard that has fewer or more samples than its index says."""
        expected = self._expected_counts[shard] if self._expected_counts else count
        if expected != count and (not self._shares_shards or self._part.index == 0):
            name = self._locations[shard].rpartition("/")[2]
            self._on_problem(ShardProblem(name, 0, "shard_fewer_samples", {"found": count, "expected": expected}))

    def _tell_of_list(self, shards: ShardList) -> None:
        """Tell of shards that are named twice, and of fewer shards than readers."""
        for name in shards.repeated:
            self._on_problem(ShardProblem(name, 0, "shard_listed_twice"))
        if self._shares_shards:
            values: dict[str, str | int] = {"shards": len(shards.locations), "readers": self._part.count}
            self._on_problem(ShardProblem(shards.source, 0, "shard_few", values))

    def _hash(self, *values: object) -> bytes:
        """Return a number for an order, of the seed, the epoch and some values."""
        text = "\0".join(map(str, (self._seed, self.position.epoch, *values)))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()
