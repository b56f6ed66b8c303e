"""Batches of images decoded and augmented one by one by CPU threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from ftlab.data.gpu import to_device
from ftlab.data.images.decode import ImageArray, read_image
from ftlab.data.loading.image_cache import SupportsNbytes
from ftlab.data.loading.loader import load_batches
from ftlab.data.transforms import augment, preprocess
from ftlab.training.feeds.base import RankBatch
from ftlab.training.feeds.image_base import ImageFeedBase

S = TypeVar("S", bound=SupportsNbytes)


class ImageFeed(ImageFeedBase):
    """Batch source that decodes, augments and normalizes images on the CPU. Its threads end with each iterator."""

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """Iterate over the steps of an epoch, see `BatchSource`.

        Args:
            epoch: counted from 1.
            skip_steps: steps to leave out at the beginning.

        Yields:
            This rank's part of each step.
        """
        index_batches = self._plan_train_batches(epoch)[skip_steps:]
        yield from self._iter_decoded_batches("train", index_batches, partial(self._load_train_image, epoch))

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """Yield the images of a split in order, see `BatchSource`."""
        index_batches = self._plan_eval_batches(split)
        yield from self._iter_decoded_batches(split, index_batches, partial(self._load_eval_image, split))

    def _iter_decoded_batches(
        self, split: str, index_batches: Sequence[list[int]], load_image: Callable[[int], Tensor]
    ) -> Iterator[RankBatch]:
        """Yield this rank's part of each step, its images loaded by threads.

        Args:
            split: of the images.
            index_batches: indices of each step over all ranks.
            load_image: index -> uint8 [3, S, S].
        """
        host_batches = load_batches(
            self._split_by_rank(split, index_batches),
            load_image,
            self.workers,
            pin_memory=to_device.needs_pinned_memory(self.device),
        )
        yield from self._iter_rank_batches(split, index_batches, host_batches, lambda _, pixels: pixels)

    def _load_train_image(self, epoch: int, index: int) -> Tensor:
        """Return an augmented training image, uint8 [3, S, S].

        Args:
            epoch: counted from 1.
            index: as the sampler has it: an image that is repeated in an epoch has another index each time, and so
                another augmentation.
        """
        # Cached before augmentation: what follows is drawn anew in each epoch.
        resized = self._load_cached("train", index % len(self.labels["train"]), "steady", self._decode_and_resize)
        return augment.random_augment(
            resized, self.prep, self.config, augment.make_epoch_rng(self.config.seed, epoch, index)
        )

    def _decode_and_resize(self, pixels: ImageArray) -> augment.PreparedImage:
        """Return what all augmentations of an image have in common, uint8 [H, W, 3] in, which is what is cached."""
        return augment.prepare_image(pixels, self.prep, self.config)

    def _load_eval_image(self, split: str, index: int) -> Tensor:
        """Return an image as it is evaluated, uint8 [3, S, S]."""
        return self._load_cached(split, index, "plain", partial(preprocess.resize_and_center_crop, prep=self.prep))

    def _load_cached(self, split: str, index: int, kind: str, transform: Callable[[ImageArray], S]) -> S:
        """Return `transform(pixels)` of an image, from the cache if it is there.

        Args:
            split: of the image.
            index: of the image in its split.
            kind: name of the transform, part of the cache key.
            transform: uint8 [H, W, 3] -> what is cached and returned.
        """

        def decode_file(path: Path) -> S:
            return transform(read_image(path, self.prep.decode_options))

        return self.image_cache.get((kind, split, index), self._get_image_path(split, index), decode_file)
