"""Common base of the feeds that decode images anew in each epoch, on the CPU or for the GPU."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment, to_device
from ftlab.data.gpu.ragged_batch import RaggedBatch
from ftlab.data.images import tar_members
from ftlab.data.images.decode import read_image
from ftlab.data.loading.image_cache import ImageCache
from ftlab.data.loading.loader import ImageBatch, batch_indices
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.data.loading.sampler import sample_epoch_indices
from ftlab.data.shards import remote_images
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.training.feeds import base
from ftlab.training.feeds.base import RankBatch

CPU_EVAL_BATCH_SIZE, GPU_EVAL_BATCH_SIZE = 32, 128
"""Images evaluated at once; a GPU needs more of them to be busy."""
B = TypeVar("B", ImageBatch, RaggedBatch)


class ImageFeedBase(ABC):
    """Batch source of images: their order, labels, exclusions and views; close it at the end.

    Attributes:
        catalog: the images by split.
        prep: how they are resized and normalized.
        config: seed, batch size and augmentation.
        rank: of this process.
        world_size: number of ranks.
        device: where batches go.
        prefetched: images decoded before, if they were decoded for the same image size.
        workers: threads or processes that decode.
        excluded: by split, indices of images that are left out, see `exclude_images`.
        labels: by split, int64 [N] on the CPU.
        image_cache: decoded images in memory.
        min_batch_size: fewest images that the network can train on.
    """

    def __init__(
        self,
        catalog: Catalog,
        prep: Preprocessing,
        config: TrainConfig,
        accelerator: Accelerator,
        excluded: dict[str, list[int]] | None = None,
        prefetched: Prefetcher | None = None,
    ) -> None:
        """Create the feed; nothing is decoded yet.

        Args:
            catalog: the images by split.
            prep: how they are resized and normalized.
            config: the resolved configuration.
            accelerator: device and ranks.
            excluded: by split, indices of images that are left out from the beginning.
            prefetched: images that are being decoded already.
        """
        self.catalog, self.prep, self.config = catalog, prep, config
        self.rank, self.world_size = accelerator.process_index, accelerator.num_processes
        self.device = accelerator.device
        # Other options would give other pixels.
        self.prefetched = prefetched if prefetched and prefetched.options == prep.decode_options else None
        self.workers = config.num_workers or count_cpu_cores()
        self.excluded: dict[str, set[int]] = {split: set((excluded or {}).get(split, ())) for split in catalog.splits}
        self.labels = {split: torch.tensor([item.label for item in catalog.splits[split]]) for split in catalog.splits}
        self.min_batch_size = 1
        self._content_hashes: dict[str, bytes] = dict(catalog.content_hashes)
        # The ranks of a machine share its memory.
        self.image_cache = ImageCache((config.image_cache_mb or 0) * 1_000_000 // self.world_size)

    @abstractmethod
    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """Iterate over the steps of an epoch, see `BatchSource`."""

    @abstractmethod
    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """Iterate over the images of a split in order, see `BatchSource`."""

    def close(self) -> None:
        """End what decodes in the background; here nothing does between two iterators."""
        return None

    @cached_property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""
        return len(batch_indices(range(len(self.catalog.splits["train"])), self.config.effective_batch_size))

    @property
    def class_count(self) -> int:
        """Number of classes K."""
        return len(self.catalog.classes)

    def read_views(self, split: str, index: int, view_count: int) -> Tensor:
        """Decode an image and return its first views for cached features.

        Args:
            split: of the image.
            index: of the image in its split.
            view_count: number of views V; the first one is that of the evaluation.

        Returns:
            uint8 [V, 3, S, S].
        """
        path = self._get_image_path(split, index)
        pixels = self.prefetched.take_image(path) if self.prefetched else None
        if pixels is None:
            pixels = read_image(remote_images.load_image_source(path), self.prep.decode_options)
        return torch.stack(
            [augment.make_view(pixels, self.prep, self.config, number, index) for number in range(view_count)]
        )

    def get_feature_keys(self, split: str, index: int, view_count: int, key_base: str) -> list[bytes] | None:
        """Return the keys of the feature cache for the views of an image.

        Args:
            split: of the image.
            index: of the image in its split.
            view_count: number of views.
            key_base: hash of what all features of the training depend on.

        Returns:
            SHA-256 by view of file content, view and `key_base`; None if the image is excluded or cannot be read.
        """
        if index in self.excluded[split]:
            return None
        # By content and not by path: a copied or moved data set finds its features again.
        item = self.catalog.splits[split][index]
        content_hash = self._content_hashes.get(item.path)
        if content_hash is None:
            try:
                path = self.catalog.image_path(item)
                is_remote = self.catalog.is_remote
                with remote_images.read_remote_image(path) if is_remote else tar_members.open_image_file(path) as file:
                    content_hash = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
            except OSError:
                return None
            self._content_hashes[item.path] = content_hash
        view_descriptions = (augment.describe_view(self.config, number, index) for number in range(view_count))
        return [
            hashlib.sha256(f"{key_base}/{content_hash.hex()}/{view}".encode()).digest() for view in view_descriptions
        ]

    def get_read_position(self, split: str, index: int) -> tuple[str, int]:
        """Return the shard that an image lies in, and its position there; else its index: they are read in this order.

        Args:
            split: of the image.
            index: of the image in its split.
        """
        member = tar_members.split_member_path(self.catalog.splits[split][index].path)
        return (member.tar_file, member.offset) if member else ("", index)

    def exclude_images(self, split: str, failures: list[tuple[int, ImageError]]) -> list[tuple[int, ImageError]]:
        """Leave images out from now on, even if they become readable again.

        A resumed training must not see an image that the training before it did not see.

        Args:
            split: of the images.
            failures: index and error of each.

        Returns:
            Those that were not left out before.
        """
        new_failures = [failure for failure in failures if failure[0] not in self.excluded[split]]
        self.excluded[split].update(index for index, _ in new_failures)
        return new_failures

    def _get_image_path(self, split: str, index: int) -> Path:
        # An excluded image fails as one that cannot be read: batches skip both alike.
        path = self.catalog.image_path(self.catalog.splits[split][index])
        if index in self.excluded[split]:
            raise ImageError("left_out", file=path)
        return path

    def _plan_train_batches(self, epoch: int) -> list[list[int]]:
        """Return the sampler's indices of each step of an epoch, over all ranks."""
        return batch_indices(
            sample_epoch_indices(self.config, self.labels["train"].tolist(), epoch), self.config.effective_batch_size
        )

    def _plan_eval_batches(self, split: str) -> list[list[int]]:
        """Return the indices of each batch of an evaluation, over all ranks."""
        batch_size = GPU_EVAL_BATCH_SIZE if gpu_augment.on_gpu(self.device) else CPU_EVAL_BATCH_SIZE
        return batch_indices(range(len(self.catalog.splits[split])), batch_size)

    def _split_by_rank(self, split: str, index_batches: Sequence[list[int]]) -> list[list[int]]:
        """Return this rank's part of each batch, large enough to train on.

        Args:
            split: only for the training images a rank borrows more than one.
            index_batches: indices of each batch over all ranks.
        """
        min_count = self.min_batch_size if split == "train" else 1
        return base.split_by_rank(index_batches, self.rank, self.world_size, min_count)

    def _iter_rank_batches(
        self,
        split: str,
        index_batches: Sequence[list[int]],
        host_batches: Iterator[B],
        finish: Callable[[B, Tensor], Tensor],
        padded_size: int = 0,
    ) -> Iterator[RankBatch]:
        """Move this rank's part of each step to the device, normalize it and add labels and weights.

        Args:
            split: of the images.
            index_batches: indices of each step over all ranks.
            host_batches: this rank's decoded part of each.
            finish: batch and its pixels on the device -> uint8 [b, 3, S, S].
            padded_size: images that a batch is filled up to, by some of weight 0: a GPU takes a second or two to
                select its kernels for a batch of another size.

        Yields:
            This rank's part of each step.
        """
        image_count = len(self.labels[split])
        for indices, (batch, pixels) in zip(
            index_batches, to_device.prefetch_to_device(host_batches, self.device), strict=True
        ):
            # A borrowed image is another rank's too, and must not count twice.
            own_indices = set(indices[self.rank :: self.world_size])
            # The sampler adds multiples of the split's length to the index of a repeated image.
            labels = self.labels[split][[index % image_count for index in batch.indices]]
            # An image that is repeated in a step fails once for each time; it is reported once.
            failures = list(
                {index % image_count: (index % image_count, error) for index, error in batch.skipped}.values()
            )
            pixels = finish(batch, pixels)
            sample_weights = torch.tensor([float(index in own_indices) for index in batch.indices])
            if 0 < len(labels) < padded_size:
                padding = padded_size - len(labels)
                pixels = torch.cat([pixels, pixels[:1].expand(padding, -1, -1, -1)])
                labels, sample_weights = F.pad(labels, (0, padding)), F.pad(sample_weights, (0, padding))
            if self.world_size > 1 and not batch.indices:
                # No image could be read: the other ranks still wait for this one's gradients.
                labels, sample_weights = torch.tensor([0]), torch.zeros(1)
                pixels = torch.zeros(1, 3, self.prep.side, self.prep.side, device=self.device)
            if self.world_size > 1 and split == "train" and len(labels) < self.min_batch_size:
                # One image is left that could be read: it fills the batch up, without weight.
                padding = self.min_batch_size - len(labels)
                pixels = torch.cat([pixels, pixels[:1].expand(padding, -1, -1, -1)])
                labels, sample_weights = F.pad(labels, (0, padding)), F.pad(sample_weights, (0, padding))
            yield RankBatch(
                preprocess.normalize_batch(pixels, self.prep),
                to_device.to_device_async(labels, self.device),
                to_device.to_device_async(sample_weights, self.device),
                len(indices) if self.world_size > 1 else len(batch.indices),
                [failure for failure in failures if failure[0] not in self.excluded[split]],
            )
            self.exclude_images(split, failures)
