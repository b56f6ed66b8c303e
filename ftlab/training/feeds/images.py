"""The loop's batches where pictures are decoded, each epoch anew: by threads, or made ready on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import PictureError
from ftlab.core.machine import cores
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment, ragged_batch, to_device
from ftlab.data.gpu.ragged_batch import Pack, Packs, Reading, Source
from ftlab.data.images.decode import Pixels, read
from ftlab.data.loading.decode_pool import Decoders
from ftlab.data.loading.image_cache import Decoded, Sized
from ftlab.data.loading.loader import Batch, batches, plan
from ftlab.data.loading.prefetch import Ahead
from ftlab.data.loading.sampler import order
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models.execution.features import Views
from ftlab.training.feeds import base
from ftlab.training.feeds.base import Share

_EVALUATION_BATCH, _ON_CARD = 32, 128
"""Pictures that are evaluated at once, and on a card, which has more to do at a time."""
_FEW_CORES = 2
"""Up to which threads decode beside a card: processes would not be faster."""
S = TypeVar("S", bound=Sized)
B = TypeVar("B", Batch, Pack)


_Begun = tuple[list[list[int]], Packs]
"""Pieces of a split, and this process's part of them on their way."""


class PictureFeed:
    """Decodes, varies and normalises pictures, each epoch anew. To be closed at the end."""

    def __init__(
        self,
        catalog: Catalog,
        prep: Preprocessing,
        config: TrainConfig,
        accelerator: Accelerator,
        lost: dict[str, list[int]] | None = None,
        early: Ahead | None = None,
    ) -> None:
        """
        Args:
            lost: pictures by split that are left out, see `lose`.
            early: pictures that were decoded before.
        """
        self.catalog, self.prep, self.config = catalog, prep, config
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.device = accelerator.device
        self.early = early if early and early.at_least == prep.detail else None
        self.workers = config.workers or cores()
        self.lost: dict[str, set[int]] = {split: set((lost or {}).get(split, ())) for split in catalog.splits}
        self.labels = {split: torch.tensor([item.label for item in catalog.splits[split]]) for split in catalog.splits}
        self._contents: dict[tuple[str, int], str] = {}
        self._open = ExitStack()
        self._epoch = 0
        self._foreseen: dict[tuple[str, int, int], _Begun] = {}
        # Processes of one machine share its memory.
        self.decoded = Decoded((config.keep_decoded or 0) * 1_000_000 // self.world)

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return len(plan(range(len(self.catalog.splits["train"])), self.config.step_size))

    @property
    def classes(self) -> int:
        """K, the classes of the labels."""
        return len(self.catalog.classes)

    def train(self, epoch: int, skip: int = 0) -> Iterator[Share]:
        """The steps of an epoch from number `skip` on."""
        if self._whole:
            self._epoch = epoch
            yield from self._packed("train", epoch, skip)
        else:
            yield from self._decoded("train", self._steps(epoch)[skip:], partial(self._varied, epoch))

    def evaluate(self, split: str) -> Iterator[Share]:
        """The pictures of a split in order, each once over all processes."""
        if self._whole:
            full = _ON_CARD if gpu_augment.on_card(self.device) and self.world == 1 else 0
            yield from self._packed(split, full=full)
        else:
            yield from self._decoded(split, self._in_order(split), partial(self._plain, split))

    def close(self) -> None:
        """Let nothing go on."""
        self._open.close()

    def _steps(self, epoch: int) -> list[list[int]]:
        return plan(order(self.config, self.labels["train"].tolist(), epoch), self.config.step_size)

    def _in_order(self, split: str) -> list[list[int]]:
        together = _ON_CARD if gpu_augment.on_card(self.device) else _EVALUATION_BATCH
        return plan(range(len(self.catalog.splits[split])), together)

    @property
    def _whole(self) -> bool:
        """Whether whole pictures go to the device, and are scaled and varied there."""
        return self.config.vary_on == "device" and gpu_augment.possible(self.prep, self.config)

    def every_view(self, split: str, index: int, count: int) -> Tensor:
        """The first `count` views of a picture for cached features, uint8 [count, 3, side, side]."""
        file = self._file(split, index)
        pixels = self.early.take(file) if self.early else None
        pixels = read(file, at_least=self.prep.detail) if pixels is None else pixels
        return torch.stack([augment.view(pixels, self.prep, self.config, number, index) for number in range(count)])

    def keys(self, split: str, index: int, views: int, common: str) -> list[bytes] | None:
        """What the features of a picture's views are kept by: the content of its file, what makes the views of it, and
        `common`, which is what does that to all pictures. None where it is left out or cannot be read."""
        if index in self.lost[split]:
            return None
        content = self._contents.get((split, index))
        if content is None:
            try:
                with open(self.catalog.path(self.catalog.splits[split][index]), "rb") as file:
                    content = self._contents[split, index] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                return None
        described = (augment.described(self.config, number, index) for number in range(views))
        return [hashlib.sha256(f"{common}/{content}/{view}".encode()).digest() for view in described]

    def _varied(self, epoch: int, index: int) -> Tensor:
        """`index` as `sampling.order` has it: a picture's second time in an epoch is another variation of it."""
        same = self._kept("train", index % len(self.labels["train"]), "steady", self._steady)
        return augment.varied(same, self.prep, self.config, augment.randomness(self.config.seed, epoch, index))

    def _look(self, epoch: int, index: int, size: ragged_batch.Size) -> list[gpu_augment.Look]:
        """The same, of a picture that is varied on the device."""
        rng = augment.randomness(self.config.seed, epoch, index)
        return [gpu_augment.trained(size, self.prep, self.config, rng)]

    def _steady(self, pixels: Pixels) -> augment.Steady:
        return augment.steady(pixels, self.prep, self.config)

    def _plain(self, split: str, index: int) -> Tensor:
        return self._kept(split, index, "plain", partial(preprocess.evaluation, prep=self.prep))

    def _kept(self, split: str, index: int, what: str, make: Callable[[Pixels], S]) -> S:
        """What `make`, whose name is `what`, makes of a picture; decoded only where it is not kept from before."""

        def made(file: Path) -> S:
            return make(read(file, at_least=self.prep.detail))

        return self.decoded.get((what, split, index), self._file(split, index), made)

    def lose(self, split: str, refused: list[tuple[int, PictureError]]) -> list[tuple[int, PictureError]]:
        """Leave pictures out from now on, also when they can be read again: a resumed training must not see what the
        one before it did not. Those that were not left out before are given back."""
        new = [one for one in refused if one[0] not in self.lost[split]]
        self.lost[split].update(index for index, _ in new)
        return new

    def _file(self, split: str, index: int) -> Path:
        path = self.catalog.path(self.catalog.splits[split][index])
        if index in self.lost[split]:
            raise PictureError("left_out", file=path)
        return path

    def _decoded(self, split: str, pieces: Sequence[list[int]], picture: Callable[[int], Tensor]) -> Iterator[Share]:
        """Steps of pictures that threads make ready one by one."""
        made = batches(
            base.parts(pieces, self.rank, self.world), picture, self.workers, pinned=to_device.pinned(self.device)
        )
        yield from self._shares(split, pieces, made, lambda _, pixels: pixels)

    def _packed(self, split: str, epoch: int = 0, skip: int = 0, full: int = 0) -> Iterator[Share]:
        """Steps of pictures that are made ready on the device: of an epoch, or 0 for all as they are evaluated."""

        def finished(pack: Pack, pixels: Tensor) -> Tensor:
            ((told, own),) = pack.ways(pixels)
            return gpu_augment.seen(pixels, told, own, self.prep, self.config)

        what = (split, epoch, skip)
        pieces, made = self._foreseen.pop(what) if what in self._foreseen else self._begin(*what)
        self._foresee(None)
        try:
            yield from self._shares(split, pieces, self._watched(made, split), finished, full)
        finally:
            made.close()

    def _begin(self, split: str, epoch: int = 0, skip: int = 0) -> _Begun:
        looks = partial(self._look, epoch) if epoch else lambda _, size: [gpu_augment.plain(size, self.prep)]
        pieces = self._steps(epoch)[skip:] if epoch else self._in_order(split)
        return pieces, self._packs(split, base.parts(pieces, self.rank, self.world), looks)

    def _watched(self, made: Packs, split: str) -> Iterator[Pack]:
        """The same packs. Once no more are to be begun, those of what a training does next are: a card would wait for
        the first one of them."""
        for pack in made:
            if made.begun and not self._foreseen:
                if split == "train":
                    self._foresee(("val", 0, 0))
                elif split == "val" and self._epoch < (self.config.epochs or 1):
                    self._foresee(("train", self._epoch + 1, 0))
            yield pack

    def _foresee(self, what: tuple[str, int, int] | None) -> None:
        for _, made in self._foreseen.values():
            made.close()
        self._foreseen = {what: self._begin(*what)} if what else {}

    @property
    def packs_views(self) -> bool:
        """Whether `views` makes them: on a card, where it can."""
        return gpu_augment.on_card(self.device) and gpu_augment.possible(self.prep, augment.of_views(self.config))

    def views(self, split: str, pieces: Sequence[list[int]], count: int) -> Iterator[Views]:
        """As `features.Whole` has it: what `every_view` makes, in batches on the device."""

        def looks(index: int, size: ragged_batch.Size) -> list[gpu_augment.Look]:
            return [gpu_augment.view(size, self.prep, self.config, number, index) for number in range(count)]

        with closing(self._packs(split, pieces, looks, count)) as made:
            for pack, pixels in to_device.across(made, self.device):
                seen = [gpu_augment.seen(pixels, told, own, self.prep, self.config) for told, own in pack.ways(pixels)]
                yield pack.indices, torch.stack(seen), pack.skipped

    @cached_property
    def _source(self) -> Source:
        """Processes take a second to start: they stay from one split to the next."""
        several = gpu_augment.on_card(self.device) and self.workers > _FEW_CORES
        decoders: Reading | None = self.early if several else None
        if not decoders:
            decoders = self._open.enter_context(Decoders(self.workers, self.prep.detail, processes=several))
        self._open.callback(self._foresee, None)  # before their decoders are closed
        return Source(self.prep, self.decoded, decoders, to_device.pinned(self.device))

    def _packs(self, split: str, pieces: Sequence[list[int]], looks: ragged_batch.Looks, ways: int = 1) -> Packs:
        total = len(self.labels[split])

        def locate(index: int) -> tuple[int, Path]:
            return index % total, self._file(split, index % total)

        return Packs(self._source, split, pieces, locate, looks, ways)

    def _shares(
        self,
        split: str,
        pieces: Sequence[list[int]],
        made: Iterator[B],
        finish: Callable[[B, Tensor], Tensor],
        full: int = 0,
    ) -> Iterator[Share]:
        """What was made of this process's part of each piece.

        Args:
            finish: makes squares of what lies on the device.
            full: pictures that a share is filled up to, by some that do not count: a card takes a second or two to find
                its kernels for a batch of another size.
        """
        for piece, (batch, pixels) in zip(pieces, to_device.across(made, self.device), strict=True):
            idle, total = self.rank >= len(piece), len(self.labels[split])
            labels = self.labels[split][[index % total for index in batch.indices]]
            refused = list({index % total: (index % total, why) for index, why in batch.skipped}.values())
            pixels = finish(batch, pixels)
            weight = torch.ones(len(labels))
            if 0 < len(labels) < full:
                lacking = full - len(labels)
                pixels = torch.cat([pixels, pixels[:1].expand(lacking, -1, -1, -1)])
                labels, weight = F.pad(labels, (0, lacking)), F.pad(weight, (0, lacking))
            if self.world > 1 and not batch.indices:  # none could be read: the others still wait for this process
                idle, labels, weight = True, torch.tensor([0]), torch.ones(1)
                pixels = torch.zeros(1, 3, self.prep.side, self.prep.side, device=self.device)
            yield Share(
                preprocess.normalise(pixels, self.prep),
                to_device.small(labels, self.device),
                to_device.small(weight * (not idle), self.device),
                len(piece) if self.world > 1 else len(batch.indices),
                [one for one in refused if one[0] not in self.lost[split]],
            )
            self.lose(split, refused)
