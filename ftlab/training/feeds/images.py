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
from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment, ragged_batch, to_device
from ftlab.data.gpu.ragged_batch import FileDecoder, RaggedBatch, RaggedLoader, RaggedSource
from ftlab.data.images.decode import ImageArray, read_image
from ftlab.data.loading.decode_pool import DecodePool
from ftlab.data.loading.image_cache import ImageCache, SupportsNbytes
from ftlab.data.loading.loader import ImageBatch, batch_indices, load_batches
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.data.loading.sampler import sample_epoch_indices
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models.execution.features import ViewBatch
from ftlab.training.feeds import base
from ftlab.training.feeds.base import RankBatch

_CPU_EVAL_BATCH_SIZE, GPU_EVAL_BATCH_SIZE = 32, 128
"""Pictures that are evaluated at once, and on a card, which has more to do at a time."""
_MAX_DECODE_THREADS = 2
"""Up to which threads decode beside a card: processes would not be faster."""
S = TypeVar("S", bound=SupportsNbytes)
B = TypeVar("B", ImageBatch, RaggedBatch)


_StartedLoader = tuple[list[list[int]], RaggedLoader]
"""Pieces of a split, and this process's part of them on their way."""


class ImageFeed:
    """Decodes, varies and normalises pictures, each epoch anew. To be closed at the end."""

    def __init__(
        self,
        catalog: Catalog,
        prep: Preprocessing,
        config: TrainConfig,
        accelerator: Accelerator,
        excluded: dict[str, list[int]] | None = None,
        prefetched: Prefetcher | None = None,
    ) -> None:
        """
        Args:
            excluded: pictures by split that are left out, see `exclude_images`.
            prefetched: pictures that were decoded before.
        """
        self.catalog, self.prep, self.config = catalog, prep, config
        self.rank, self.world_size = accelerator.process_index, accelerator.num_processes
        self.device = accelerator.device
        self.prefetched = prefetched if prefetched and prefetched.min_side == prep.min_side else None
        self.workers = config.workers or count_cpu_cores()
        self.excluded: dict[str, set[int]] = {split: set((excluded or {}).get(split, ())) for split in catalog.splits}
        self.labels = {split: torch.tensor([item.label for item in catalog.splits[split]]) for split in catalog.splits}
        self._content_hashes: dict[tuple[str, int], str] = {}
        self._exit_stack = ExitStack()
        self._current_epoch = 0
        self._started_loaders: dict[tuple[str, int, int], _StartedLoader] = {}
        # Processes of one machine share its memory.
        self.image_cache = ImageCache((config.keep_decoded or 0) * 1_000_000 // self.world_size)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return len(batch_indices(range(len(self.catalog.splits["train"])), self.config.effective_batch_size))

    @property
    def class_count(self) -> int:
        """K, the classes of the labels."""
        return len(self.catalog.classes)

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """The steps of an epoch from number `skip_steps` on."""
        if self._augments_on_device:
            self._current_epoch = epoch
            yield from self._iter_ragged_batches("train", epoch, skip_steps)
        else:
            yield from self._iter_decoded_batches(
                "train", self._plan_train_batches(epoch)[skip_steps:], partial(self._load_train_image, epoch)
            )

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """The pictures of a split in order, each once over all processes."""
        if self._augments_on_device:
            padded_size = GPU_EVAL_BATCH_SIZE if gpu_augment.on_gpu(self.device) and self.world_size == 1 else 0
            yield from self._iter_ragged_batches(split, padded_size=padded_size)
        else:
            yield from self._iter_decoded_batches(
                split, self._plan_eval_batches(split), partial(self._load_eval_image, split)
            )

    def close(self) -> None:
        """Let nothing go on."""
        self._exit_stack.close()

    def _plan_train_batches(self, epoch: int) -> list[list[int]]:
        return batch_indices(
            sample_epoch_indices(self.config, self.labels["train"].tolist(), epoch), self.config.effective_batch_size
        )

    def _plan_eval_batches(self, split: str) -> list[list[int]]:
        batch_size = GPU_EVAL_BATCH_SIZE if gpu_augment.on_gpu(self.device) else _CPU_EVAL_BATCH_SIZE
        return batch_indices(range(len(self.catalog.splits[split])), batch_size)

    @property
    def _augments_on_device(self) -> bool:
        """Whether whole pictures go to the device, and are scaled and varied there."""
        return self.config.vary_on == "device" and gpu_augment.can_augment_batches(self.prep, self.config)

    def read_views(self, split: str, index: int, view_count: int) -> Tensor:
        """The first `view_count` views of a picture for cached features, uint8 [count, 3, side, side]."""
        path = self._get_image_path(split, index)
        pixels = self.prefetched.take_image(path) if self.prefetched else None
        pixels = read_image(path, min_side=self.prep.min_side) if pixels is None else pixels
        return torch.stack(
            [augment.make_view(pixels, self.prep, self.config, number, index) for number in range(view_count)]
        )

    def get_feature_keys(self, split: str, index: int, view_count: int, key_base: str) -> list[bytes] | None:
        """What the features of a picture's views are kept by: the content of its file, what makes the views of it, and
        `key_base`, which is what does that to all pictures. None where it is left out or cannot be read."""
        if index in self.excluded[split]:
            return None
        content_hash = self._content_hashes.get((split, index))
        if content_hash is None:
            try:
                with open(self.catalog.image_path(self.catalog.splits[split][index]), "rb") as file:
                    content_hash = self._content_hashes[split, index] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                return None
        view_descriptions = (augment.describe_view(self.config, number, index) for number in range(view_count))
        return [hashlib.sha256(f"{key_base}/{content_hash}/{view}".encode()).digest() for view in view_descriptions]

    def _load_train_image(self, epoch: int, index: int) -> Tensor:
        """`index` as `sampling.order` has it: a picture's second time in an epoch is another variation of it."""
        resized = self._load_cached("train", index % len(self.labels["train"]), "steady", self._decode_and_resize)
        return augment.random_augment(
            resized, self.prep, self.config, augment.make_epoch_rng(self.config.seed, epoch, index)
        )

    def _draw_augment_params(
        self, epoch: int, index: int, size: ragged_batch.ImageSize
    ) -> list[gpu_augment.AugmentParams]:
        """The same, of a picture that is varied on the device."""
        rng = augment.make_epoch_rng(self.config.seed, epoch, index)
        return [gpu_augment.draw_train_params(size, self.prep, self.config, rng)]

    def _decode_and_resize(self, pixels: ImageArray) -> augment.PreparedImage:
        return augment.prepare_image(pixels, self.prep, self.config)

    def _load_eval_image(self, split: str, index: int) -> Tensor:
        return self._load_cached(split, index, "plain", partial(preprocess.resize_and_center_crop, prep=self.prep))

    def _load_cached(self, split: str, index: int, kind: str, transform: Callable[[ImageArray], S]) -> S:
        """What `transform`, whose name is `kind`, makes of a picture; decoded only where it is not kept from before."""

        def decode_file(path: Path) -> S:
            return transform(read_image(path, min_side=self.prep.min_side))

        return self.image_cache.get((kind, split, index), self._get_image_path(split, index), decode_file)

    def exclude_images(self, split: str, failures: list[tuple[int, ImageError]]) -> list[tuple[int, ImageError]]:
        """Leave pictures out from now on, also when they can be read again: a resumed training must not see what the
        one before it did not. Those that were not left out before are given back."""
        new_failures = [failure for failure in failures if failure[0] not in self.excluded[split]]
        self.excluded[split].update(index for index, _ in new_failures)
        return new_failures

    def _get_image_path(self, split: str, index: int) -> Path:
        path = self.catalog.image_path(self.catalog.splits[split][index])
        if index in self.excluded[split]:
            raise ImageError("left_out", file=path)
        return path

    def _iter_decoded_batches(
        self, split: str, index_batches: Sequence[list[int]], load_image: Callable[[int], Tensor]
    ) -> Iterator[RankBatch]:
        """Steps of pictures that threads make ready one by one."""
        host_batches = load_batches(
            base.split_by_rank(index_batches, self.rank, self.world_size),
            load_image,
            self.workers,
            pin_memory=to_device.needs_pinned_memory(self.device),
        )
        yield from self._iter_rank_batches(split, index_batches, host_batches, lambda _, pixels: pixels)

    def _iter_ragged_batches(
        self, split: str, epoch: int = 0, skip_steps: int = 0, padded_size: int = 0
    ) -> Iterator[RankBatch]:
        """Steps of pictures that are made ready on the device: of an epoch, or 0 for all as they are evaluated."""

        def augment_pack(pack: RaggedBatch, pixels: Tensor) -> Tensor:
            ((scaling, params),) = pack.iter_views(pixels)
            return gpu_augment.resize_and_augment(pixels, scaling, params, self.prep, self.config)

        loader_key = (split, epoch, skip_steps)
        index_batches, loader = (
            self._started_loaders.pop(loader_key)
            if loader_key in self._started_loaders
            else self.start_loader(*loader_key)
        )
        self._start_next_loader(None)
        try:
            yield from self._iter_rank_batches(
                split, index_batches, self._watch_loader(loader, split), augment_pack, padded_size
            )
        finally:
            loader.close()

    def start_loader(self, split: str, epoch: int = 0, skip_steps: int = 0) -> _StartedLoader:
        draw_params = (
            partial(self._draw_augment_params, epoch)
            if epoch
            else lambda _, size: [gpu_augment.make_eval_params(size, self.prep)]
        )
        index_batches = self._plan_train_batches(epoch)[skip_steps:] if epoch else self._plan_eval_batches(split)
        return index_batches, self._create_ragged_loader(
            split, base.split_by_rank(index_batches, self.rank, self.world_size), draw_params
        )

    def _watch_loader(self, loader: RaggedLoader, split: str) -> Iterator[RaggedBatch]:
        """The same packs. Once no more are to be begun, those of what a training does next are: a card would wait for
        the first one of them."""
        for pack in loader:
            if loader.all_started and not self._started_loaders:
                if split == "train":
                    self._start_next_loader(("val", 0, 0))
                elif split == "val" and self._current_epoch < (self.config.epochs or 1):
                    self._start_next_loader(("train", self._current_epoch + 1, 0))
            yield pack

    def _start_next_loader(self, loader_key: tuple[str, int, int] | None) -> None:
        for _, loader in self._started_loaders.values():
            loader.close()
        self._started_loaders = {loader_key: self.start_loader(*loader_key)} if loader_key else {}

    @property
    def makes_views_on_gpu(self) -> bool:
        """Whether `iter_view_batches` makes them: on a card, where it can."""
        return gpu_augment.on_gpu(self.device) and gpu_augment.can_augment_batches(
            self.prep, augment.view_config(self.config)
        )

    def iter_view_batches(self, split: str, index_batches: Sequence[list[int]], view_count: int) -> Iterator[ViewBatch]:
        """As `features.Whole` has it: what `read_views` makes, in batches on the device."""

        def draw_views(index: int, size: ragged_batch.ImageSize) -> list[gpu_augment.AugmentParams]:
            return [
                gpu_augment.make_view_params(size, self.prep, self.config, number, index)
                for number in range(view_count)
            ]

        with closing(self._create_ragged_loader(split, index_batches, draw_views, view_count)) as loader:
            for pack, pixels in to_device.prefetch_to_device(loader, self.device):
                view_tensors = [
                    gpu_augment.resize_and_augment(pixels, scaling, params, self.prep, self.config)
                    for scaling, params in pack.iter_views(pixels)
                ]
                yield pack.indices, torch.stack(view_tensors), pack.skipped

    @cached_property
    def _ragged_source(self) -> RaggedSource:
        """Processes take a second to start: they stay from one split to the next."""
        use_processes = gpu_augment.on_gpu(self.device) and self.workers > _MAX_DECODE_THREADS
        decoders: FileDecoder | None = self.prefetched if use_processes else None
        if not decoders:
            decoders = self._exit_stack.enter_context(
                DecodePool(self.workers, self.prep.min_side, use_processes=use_processes)
            )
        self._exit_stack.callback(self._start_next_loader, None)  # before their decoders are closed
        return RaggedSource(self.prep, self.image_cache, decoders, to_device.needs_pinned_memory(self.device))

    def _create_ragged_loader(
        self,
        split: str,
        index_batches: Sequence[list[int]],
        draw_params: ragged_batch.ParamsFactory,
        view_count: int = 1,
    ) -> RaggedLoader:
        image_count = len(self.labels[split])

        def locate_image(index: int) -> tuple[int, Path]:
            return index % image_count, self._get_image_path(split, index % image_count)

        return RaggedLoader(self._ragged_source, split, index_batches, locate_image, draw_params, view_count)

    def _iter_rank_batches(
        self,
        split: str,
        index_batches: Sequence[list[int]],
        host_batches: Iterator[B],
        finish: Callable[[B, Tensor], Tensor],
        padded_size: int = 0,
    ) -> Iterator[RankBatch]:
        """What was made of this process's part of each piece.

        Args:
            finish: makes squares of what lies on the device.
            padded_size: pictures that a share is filled up to, by some that do not count: a card takes a second or two to find
                its kernels for a batch of another size.
        """
        for indices, (batch, pixels) in zip(
            index_batches, to_device.prefetch_to_device(host_batches, self.device), strict=True
        ):
            is_idle, image_count = self.rank >= len(indices), len(self.labels[split])
            labels = self.labels[split][[index % image_count for index in batch.indices]]
            failures = list(
                {index % image_count: (index % image_count, error) for index, error in batch.skipped}.values()
            )
            pixels = finish(batch, pixels)
            sample_weights = torch.ones(len(labels))
            if 0 < len(labels) < padded_size:
                padding = padded_size - len(labels)
                pixels = torch.cat([pixels, pixels[:1].expand(padding, -1, -1, -1)])
                labels, sample_weights = F.pad(labels, (0, padding)), F.pad(sample_weights, (0, padding))
            if self.world_size > 1 and not batch.indices:  # none could be read: the others still wait for this process
                is_idle, labels, sample_weights = True, torch.tensor([0]), torch.ones(1)
                pixels = torch.zeros(1, 3, self.prep.side, self.prep.side, device=self.device)
            yield RankBatch(
                preprocess.normalize_batch(pixels, self.prep),
                to_device.to_device_async(labels, self.device),
                to_device.to_device_async(sample_weights * (not is_idle), self.device),
                len(indices) if self.world_size > 1 else len(batch.indices),
                [failure for failure in failures if failure[0] not in self.excluded[split]],
            )
            self.exclude_images(split, failures)
