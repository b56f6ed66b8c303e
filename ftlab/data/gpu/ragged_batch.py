"""Batches of whole pictures for a device that scales them itself: decoded ahead, then laid one behind the other.

One thread does that. It takes the interpreter's lock a few times a batch, where threads that scale pictures one by one
take it a dozen times a picture, and hold up whoever gives the device its work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ftlab.core.errors import PictureError
from ftlab.data.gpu import gpu_augment, to_device
from ftlab.data.gpu.gpu_augment import Look
from ftlab.data.gpu.gpu_resize import Scaling
from ftlab.data.images.decode import Pixels
from ftlab.data.loading import thread_pool
from ftlab.data.loading.image_cache import Decoded, Facts
from ftlab.data.transforms.preprocess import Preprocessing

_AHEAD = 3
"""Batches being decoded while one is laid together."""
_READY = 2
"""Batches laid together before one is used."""

Size = tuple[int, int]
"""Height and width in pixels."""
Looks = Callable[[int, Size], list[Look]]
"""(index, its picture's size) -> the ways in which that is seen."""
Locate = Callable[[int], tuple[int, Path]]
"""index -> the name under which its picture is kept, and the file.

Raises:
    PictureError: it is left out.
"""


class Reading(Protocol):
    """Who decode files."""

    def each(self, files: Sequence[Path]) -> list[tuple[Future[list[Pixels | PictureError]], int]]:
        """As `Decoders.each` does it; from several threads."""


@dataclass(frozen=True)
class Pack:
    """Pictures of one step.

    Attributes:
        indices: positions in the split, of the pictures that could be read.
        pixels: the pictures one behind the other, and then the tables that say how they are scaled: uint8 [N].
        sizes: of each.
        looks: all the ways in which each is seen, by way.
        scalings: of each way.
        skipped: positions that could not be read, and why.
    """

    indices: list[int]
    pixels: Tensor
    sizes: list[Size]
    looks: list[list[Look]]
    scalings: list[Scaling]
    skipped: list[tuple[int, PictureError]]

    def ways(self, there: Tensor) -> Iterator[tuple[Scaling, list[Look]]]:
        """For each way, what `batched.seen` wants to know, where `pixels` lie on a device as `there`."""
        start = _whole(sum(3 * height * width for height, width in self.sizes))
        for own, looks in zip(self.scalings, self.looks, strict=True):
            yield own.within(there, start), looks
            start += own.nbytes


@dataclass(frozen=True)
class _Asked:
    """A picture on its way: kept from before, refused, or number `at` of what is being decoded."""

    index: int
    name: tuple[str, int]
    facts: Facts | None = None
    kept: Tensor | None = None
    refused: PictureError | None = None
    decoding: Future[list[Pixels | PictureError]] | None = None
    at: int = 0


@dataclass(frozen=True)
class Source:
    """Where pictures come from, and how they are laid together.

    Attributes:
        prep: how they are scaled.
        kept: where decoded pictures are kept; it may have no room.
        decoders: who decode.
        pinned: lay them in memory that a CUDA device copies from by itself.
    """

    prep: Preprocessing
    kept: Decoded
    decoders: Reading
    pinned: bool


class Packs(Iterator[Pack]):
    """Pieces of a split on their way, each as a pack, in order. The first are begun at once, wherever they are asked
    for; at the end, or when it is closed, nothing goes on.

    Args:
        source: see there.
        split: distinguishes its pictures in what is kept.
        pieces: indices of the split.
        locate, looks: see their types.
        ways: how many looks there are of each picture.
    """

    def __init__(
        self, source: Source, split: str, pieces: Sequence[Sequence[int]], locate: Locate, looks: Looks, ways: int = 1
    ) -> None:
        self._source, self._split, self._locate, self._looks, self._ways = source, split, locate, looks, ways
        self._pieces, self._left = iter(pieces), len(pieces)
        self._asked: deque[list[_Asked]] = deque()
        self._ready: deque[Future[Pack]] = deque()
        self._context = ExitStack()
        self._thread = self._context.enter_context(thread_pool.of_one(1, "pack"))
        for _ in range(_READY + 1):
            self._submit()

    def __next__(self) -> Pack:
        if not self._ready:
            self.close()
            raise StopIteration
        pack = self._ready.popleft().result()
        self._submit()
        return pack

    def close(self) -> None:
        """Leave out what is not begun."""
        self._ready.clear()
        self._left = 0
        self._context.close()

    @property
    def begun(self) -> bool:
        """Whether all have been begun."""
        return not self._left

    def _submit(self) -> None:
        if self._left:
            self._left -= 1
            self._ready.append(self._thread.submit(self._next))

    def _next(self) -> Pack:
        for piece in self._pieces:
            self._asked.append(self._ask(piece))
            if len(self._asked) > _AHEAD:
                break
        return self._packed(self._asked.popleft())

    def _ask(self, piece: Sequence[int]) -> list[_Asked]:
        found: dict[int, _Asked] = {}
        wanted: list[tuple[int, tuple[str, int], Facts | None, Path]] = []
        for index in piece:
            try:
                number, file = self._locate(index)
            except PictureError as refusal:
                found[index] = _Asked(index, (self._split, index), refused=refusal)
                continue
            name = (self._split, number)
            facts, kept = self._source.kept.find(name, file)
            if kept is None:
                wanted.append((index, name, facts, file))
            else:
                found[index] = _Asked(index, name, facts, kept)
        tasks = self._source.decoders.each([file for *_, file in wanted])
        for (index, name, facts, _), (decoding, at) in zip(wanted, tasks, strict=True):
            found[index] = _Asked(index, name, facts, decoding=decoding, at=at)
        return [found[index] for index in piece]

    def _packed(self, asked: list[_Asked]) -> Pack:
        indices, pictures, skipped = [], [], []
        for one in asked:
            picture = self._picture(one)
            if isinstance(picture, PictureError):
                skipped.append((one.index, picture))
            else:
                indices.append(one.index)
                pictures.append(picture)
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        every = [self._looks(index, size) for index, size in zip(indices, sizes, strict=True)]
        looks = [[own[way] for own in every] for way in range(self._ways)]
        scalings = [gpu_augment.scaling(sizes, own, self._source.prep) for own in looks]
        length = sum(picture.numel() for picture in pictures)
        pieces = [picture.view(-1) for picture in pictures] + [torch.zeros(_whole(length) - length, dtype=torch.uint8)]
        pieces += [table.view(-1).view(torch.uint8) for own in scalings for table in own.tables if len(table)]
        with to_device.beside:
            flat = torch.empty(sum(map(len, pieces)), dtype=torch.uint8, pin_memory=self._source.pinned)
        return Pack(indices, torch.cat(pieces, out=flat), sizes, looks, scalings, skipped)

    def _picture(self, one: _Asked) -> Tensor | PictureError:
        """uint8 [H, W, 3], contiguous."""
        if one.refused:
            return one.refused
        if one.kept is not None:
            return one.kept
        assert one.decoding
        found = one.decoding.result()[one.at]
        if isinstance(found, PictureError):
            return found
        picture = torch.from_numpy(found)
        self._source.kept.put(one.name, one.facts, picture)
        return picture


def _whole(length: int) -> int:
    """So many bytes that a table may begin behind them."""
    return -(-length // 8) * 8
