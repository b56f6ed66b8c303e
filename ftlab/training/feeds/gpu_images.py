"""Batches of images decoded by processes and resized and augmented as ragged batches on the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property, partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment, ragged_batch, to_device
from ftlab.data.gpu.ragged_batch import FileDecoder, RaggedBatch, RaggedLoader, RaggedSource
from ftlab.data.loading.decode_pool import DecodePool
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.data.transforms import augment
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models.execution.feature_extraction import ViewBatch
from ftlab.training.feeds import image_base
from ftlab.training.feeds.base import RankBatch
from ftlab.training.feeds.image_base import ImageFeedBase
from ftlab.training.feeds.images import ImageFeed

_MAX_DECODE_THREADS = 2
"""Workers up to which threads decode: so few processes would not be faster."""
_LoaderKey = tuple[str, int, int]
"""Split, epoch (0: as it is evaluated) and first step."""
_StartedLoader = tuple[list[list[int]], RaggedLoader]
"""Indices of each step over all ranks, and the loader of this rank's part of them."""


def create_image_feed(
    catalog: Catalog,
    prep: Preprocessing,
    config: TrainConfig,
    accelerator: Accelerator,
    excluded: dict[str, list[int]] | None = None,
    prefetched: Prefetcher | None = None,
) -> ImageFeedBase:
    """Create the feed that decodes the images of a training, on the CPU or for the GPU.

    Args:
        catalog: the images by split.
        prep: how they are resized and normalized.
        config: the resolved configuration.
        accelerator: device and ranks.
        excluded: by split, indices of images that are left out from the beginning.
        prefetched: images that are being decoded already.

    Returns:
        A `GpuImageFeed` if the configuration augments on the GPU, or caches features on one, and its augmentations
        can be applied to batches; else an `ImageFeed`.
    """
    if config.caches_views:
        # Steps take cached features then: what matters is where the views are made that the backbone looks at.
        augments_on_gpu, augment_config = gpu_augment.on_gpu(accelerator.device), augment.view_config(config)
    else:
        augments_on_gpu, augment_config = config.augment_device == "gpu", config
    uses_gpu = augments_on_gpu and not catalog.is_remote and gpu_augment.can_augment_batches(prep, augment_config)
    feed_type = GpuImageFeed if uses_gpu else ImageFeed
    return feed_type(catalog, prep, config, accelerator, excluded, prefetched)


class GpuImageFeed(ImageFeedBase):
    """Batch source that sends full-size decoded images to the device, where they are resized and augmented in batches.

    Decoding processes and the loader of what comes next stay from one split to the next; `close` ends them.
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
        """Create the feed; nothing is decoded yet. See `ImageFeedBase` for the arguments."""
        super().__init__(catalog, prep, config, accelerator, excluded, prefetched)
        self._exit_stack = ExitStack()
        self._current_epoch = 0
        self._started_loaders: dict[_LoaderKey, _StartedLoader] = {}

    def close(self) -> None:
        """End the decoding processes and the loader of what comes next."""
        self._exit_stack.close()

    def iter_train_batches(self, epoch: int, skip_steps: int = 0) -> Iterator[RankBatch]:
        """Iterate over the steps of an epoch, see `BatchSource`.

        Args:
            epoch: counted from 1.
            skip_steps: steps to leave out at the beginning.

        Yields:
            This rank's part of each step.
        """
        self._current_epoch = epoch
        yield from self._iter_ragged_batches("train", epoch, skip_steps)

    def iter_eval_batches(self, split: str) -> Iterator[RankBatch]:
        """Yield the images of a split in order, see `BatchSource`."""
        # A rank's part of a batch is smaller: it would compute mostly padding.
        is_padded = gpu_augment.on_gpu(self.device) and self.world_size == 1
        yield from self._iter_ragged_batches(split, padded_size=image_base.GPU_EVAL_BATCH_SIZE if is_padded else 0)

    def iter_view_batches(self, split: str, index_batches: Sequence[list[int]], view_count: int) -> Iterator[ViewBatch]:
        """Make what `read_views` makes, in batches on the device.

        Args:
            split: of the images.
            index_batches: indices in the split, by batch.
            view_count: number of views V.

        Yields:
            Indices of the images that could be read, their views as uint8 [V, B, 3, S, S], and the other indices with
            their errors.
        """

        def make_params(index: int, size: ragged_batch.ImageSize) -> list[gpu_augment.AugmentParams]:
            return [
                gpu_augment.make_view_params(size, self.prep, self.config, number, index)
                for number in range(view_count)
            ]

        with closing(self._create_ragged_loader(split, index_batches, make_params, view_count)) as loader:
            for pack, pixels in to_device.prefetch_to_device(loader, self.device):
                view_tensors = [
                    gpu_augment.resize_and_augment(pixels, resize_plan, params, self.prep, self.config)
                    for resize_plan, params in pack.iter_views(pixels)
                ]
                yield pack.indices, torch.stack(view_tensors), pack.skipped

    def _iter_ragged_batches(
        self, split: str, epoch: int = 0, skip_steps: int = 0, padded_size: int = 0
    ) -> Iterator[RankBatch]:
        """Yield this rank's part of each step, resized and augmented on the device.

        Args:
            split: of the images.
            epoch: counted from 1; 0 for all images as they are evaluated.
            skip_steps: steps to leave out at the beginning.
            padded_size: images that a batch is filled up to.
        """

        def augment_pack(pack: RaggedBatch, pixels: Tensor) -> Tensor:
            ((resize_plan, params),) = pack.iter_views(pixels)
            return gpu_augment.resize_and_augment(pixels, resize_plan, params, self.prep, self.config)

        loader_key = (split, epoch, skip_steps)
        index_batches, loader = (
            self._started_loaders.pop(loader_key)
            if loader_key in self._started_loaders
            else self.start_loader(*loader_key)
        )
        # What was started for another continuation than this one, such as an epoch that is entered in the middle.
        self._start_next_loader(None)
        try:
            yield from self._iter_rank_batches(
                split, index_batches, self._watch_loader(loader, split), augment_pack, padded_size
            )
        finally:
            loader.close()

    def start_loader(self, split: str, epoch: int = 0, skip_steps: int = 0) -> _StartedLoader:
        """Start to load a split.

        Args:
            split: of the images.
            epoch: counted from 1; 0 for all images as they are evaluated.
            skip_steps: steps to leave out at the beginning.

        Returns:
            Indices of each step over all ranks, and the loader of this rank's part.
        """
        draw_params = (
            partial(self._draw_augment_params, epoch)
            if epoch
            else lambda _, size: [gpu_augment.make_eval_params(size, self.prep)]
        )
        # Augmentation depends on (seed, epoch, index) only, so that skipped steps need not be drawn.
        index_batches = self._plan_train_batches(epoch)[skip_steps:] if epoch else self._plan_eval_batches(split)
        return index_batches, self._create_ragged_loader(split, self._split_by_rank(split, index_batches), draw_params)

    def _draw_augment_params(
        self, epoch: int, index: int, size: ragged_batch.ImageSize
    ) -> list[gpu_augment.AugmentParams]:
        """Draw the augmentation of a training image from the generator that `ImageFeed` uses: the images are the same.

        Args:
            epoch: counted from 1.
            index: as the sampler has it.
            size: height and width of the decoded image.

        Returns:
            Parameters of the one view.
        """
        rng = augment.make_epoch_rng(self.config.seed, epoch, index)
        return [gpu_augment.draw_train_params(size, self.prep, self.config, rng)]

    def _watch_loader(self, loader: RaggedLoader, split: str) -> Iterator[RaggedBatch]:
        """Yield the loader's batches; once it has started its last one, start what a training does next.

        Otherwise the GPU would wait for the first batch of each epoch and of each validation.
        """
        for pack in loader:
            if loader.all_started and not self._started_loaders:
                if split == "train":
                    self._start_next_loader(("val", 0, 0))
                elif split == "val" and self._current_epoch < (self.config.epochs or 1):
                    self._start_next_loader(("train", self._current_epoch + 1, 0))
            yield pack

    def _start_next_loader(self, loader_key: _LoaderKey | None) -> None:
        """Close the loader that was started ahead, if any, and start another one; None starts nothing."""
        for _, loader in self._started_loaders.values():
            loader.close()
        self._started_loaders = {loader_key: self.start_loader(*loader_key)} if loader_key else {}

    @cached_property
    def _ragged_source(self) -> RaggedSource:
        """Decoders and cache of all loaders; processes take a second to start, so they stay from split to split."""
        # Threads are slowed down by the interpreter lock, which the training loop needs too.
        use_processes = gpu_augment.on_gpu(self.device) and self.workers > _MAX_DECODE_THREADS
        decoders: FileDecoder | None = self.prefetched if use_processes else None
        if not decoders:
            decoders = self._exit_stack.enter_context(
                DecodePool(self.workers, self.prep.decode_options, use_processes=use_processes)
            )
        # The stack unwinds in reverse: the loader ends before the decoders it waits for.
        self._exit_stack.callback(self._start_next_loader, None)
        return RaggedSource(self.prep, self.image_cache, decoders, to_device.needs_pinned_memory(self.device))

    def _create_ragged_loader(
        self,
        split: str,
        index_batches: Sequence[list[int]],
        draw_params: ragged_batch.ParamsFactory,
        view_count: int = 1,
    ) -> RaggedLoader:
        """Create a loader, which starts at once.

        Args:
            split: of the images.
            index_batches: indices of this rank's images, by batch.
            draw_params: index and size of an image -> augmentation parameters by view.
            view_count: number of views.

        Returns:
            The loader, to be closed.
        """
        image_count = len(self.labels[split])

        def locate_image(index: int) -> tuple[int, Path]:
            return index % image_count, self._get_image_path(split, index % image_count)

        return RaggedLoader(self._ragged_source, split, index_batches, locate_image, draw_params, view_count)
