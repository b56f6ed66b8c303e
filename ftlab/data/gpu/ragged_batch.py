"""Ragged batches: full-size decoded images packed into one buffer, resized on the GPU.

One thread packs them. It takes the interpreter lock a few times per batch, where threads that resize images one by one
take it a dozen times per image and hold up the thread that launches the GPU's kernels.
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

from ftlab.core.errors import ImageError
from ftlab.data.gpu import gpu_augment, to_device
from ftlab.data.gpu.gpu_augment import AugmentParams
from ftlab.data.gpu.gpu_resize import ResizePlan
from ftlab.data.images.decode import ImageArray
from ftlab.data.loading import thread_pool
from ftlab.data.loading.image_cache import FileSignature, ImageCache
from ftlab.data.transforms.preprocess import Preprocessing

_PREFETCH_BATCHES = 3
"""Batches that are decoded while one is packed."""
_READY_BATCHES = 2
"""Batches that are packed before one is used."""

ImageSize = tuple[int, int]
"""Height and width in pixels."""
ParamsFactory = Callable[[int, ImageSize], list[AugmentParams]]
"""(index, size of its image) -> parameters of each of its views."""
ImageLocator = Callable[[int], tuple[int, Path]]
"""index -> cache key of its image, and the file; raises an `ImageError` if the image is left out."""


class FileDecoder(Protocol):
    """A pool that decodes files, such as `DecodePool` or `Prefetcher`."""

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """Decode files as `DecodePool.submit_each` does; several threads may call it."""


@dataclass(frozen=True)
class RaggedBatch:
    """Images of one step.

    Attributes:
        indices: positions in the split of the images that could be read.
        pixels: uint8 [N]: the images, concatenated, then the tables of the resize plans.
        sizes: height and width of each image.
        params_by_view: for each view, the parameters of all images.
        resize_plans: one for each view.
        skipped: positions that could not be read, with the error of each.
    """

    indices: list[int]
    pixels: Tensor
    sizes: list[ImageSize]
    params_by_view: list[list[AugmentParams]]
    resize_plans: list[ResizePlan]
    skipped: list[tuple[int, ImageError]]

    def iter_views(self, device_buffer: Tensor) -> Iterator[tuple[ResizePlan, list[AugmentParams]]]:
        """Yield plan and parameters of each view for `gpu_augment.resize_and_augment`.

        Args:
            device_buffer: `pixels` on a device, which the tables of the plans are views into.
        """
        start = _align_bytes(sum(3 * height * width for height, width in self.sizes))
        for resize_plan, params in zip(self.resize_plans, self.params_by_view, strict=True):
            yield resize_plan.view_in_buffer(device_buffer, start), params
            start += resize_plan.nbytes


@dataclass(frozen=True)
class _PendingImage:
    """An image on its way: cached, refused with an error, or result number `position` of a decode task."""

    index: int
    key: tuple[str, int]
    signature: FileSignature | None = None
    cached_image: Tensor | None = None
    error: ImageError | None = None
    decode_task: Future[list[ImageArray | ImageError]] | None = None
    position: int = 0


@dataclass(frozen=True)
class RaggedSource:
    """Source of the images of a ragged batch, and how they are packed.

    Attributes:
        prep: sizes and interpolation.
        cache: decoded images in memory; its budget may be 0.
        decoder: decodes the others.
        pin_memory: allocate batches in page-locked memory, from which a CUDA device copies asynchronously.
    """

    prep: Preprocessing
    cache: ImageCache
    decoder: FileDecoder
    pin_memory: bool


class RaggedLoader(Iterator[RaggedBatch]):
    """Iterator over ragged batches, in order. It starts loading at once; when exhausted or closed, its thread ends."""

    def __init__(
        self,
        source: RaggedSource,
        split: str,
        index_batches: Sequence[Sequence[int]],
        locate_image: ImageLocator,
        make_params: ParamsFactory,
        view_count: int = 1,
    ) -> None:
        """Start loading the first batches.

        Args:
            source: where the images come from.
            split: part of the images' cache keys.
            index_batches: indices of each batch.
            locate_image: finds the file of an index.
            make_params: makes the parameters of its views.
            view_count: views of each image.
        """
        self._source, self._split, self._locate_image, self._make_params, self._view_count = (
            source,
            split,
            locate_image,
            make_params,
            view_count,
        )
        self._index_batches, self._remaining_batches = iter(index_batches), len(index_batches)
        self._pending_batches: deque[list[_PendingImage]] = deque()
        self._ready_batches: deque[Future[RaggedBatch]] = deque()
        self._context = ExitStack()
        self._executor = self._context.enter_context(thread_pool.open_worker_pool(1, "pack"))
        for _ in range(_READY_BATCHES + 1):  # one of them is being packed
            self._submit_next()

    def __next__(self) -> RaggedBatch:
        """Return the next batch.

        Raises:
            StopIteration: all were returned; the loader is closed then.
        """
        if not self._ready_batches:
            self.close()
            raise StopIteration
        ragged_batch = self._ready_batches.popleft().result()
        self._submit_next()
        return ragged_batch

    def close(self) -> None:
        """Cancel what has not begun, and end the thread."""
        self._ready_batches.clear()
        self._remaining_batches = 0
        self._context.close()

    @property
    def all_started(self) -> bool:
        """Return whether loading of every batch has been started."""
        return not self._remaining_batches

    def _submit_next(self) -> None:
        """Start loading another batch, if there is one."""
        if self._remaining_batches:
            self._remaining_batches -= 1
            self._ready_batches.append(self._executor.submit(self._load_next))

    def _load_next(self) -> RaggedBatch:
        """Return the next batch; files of the following ones are submitted for decoding before it is waited for."""
        # All batches are loaded by the one thread in turn, so that this needs no lock.
        for indices in self._index_batches:
            self._pending_batches.append(self._request_images(indices))
            if len(self._pending_batches) > _PREFETCH_BATCHES:
                break
        return self._pack_batch(self._pending_batches.popleft())

    def _request_images(self, indices: Sequence[int]) -> list[_PendingImage]:
        """Return the images of a batch as far as they are in the cache, and submit the others for decoding."""
        pending_images: dict[int, _PendingImage] = {}
        to_decode: list[tuple[int, tuple[str, int], FileSignature | None, Path]] = []
        for index in indices:
            try:
                image_number, file = self._locate_image(index)
            except ImageError as error:
                pending_images[index] = _PendingImage(index, (self._split, index), error=error)
                continue
            key = (self._split, image_number)
            signature, cached_image = self._source.cache.find_entry(key, file)
            if cached_image is None:
                to_decode.append((index, key, signature, file))
            else:
                pending_images[index] = _PendingImage(index, key, signature, cached_image)
        # One call for the batch: the decoder divides the files into tasks of a few.
        tasks = self._source.decoder.submit_each([file for *_, file in to_decode])
        for (index, key, signature, _), (decode_task, position) in zip(to_decode, tasks, strict=True):
            pending_images[index] = _PendingImage(index, key, signature, decode_task=decode_task, position=position)
        return [pending_images[index] for index in indices]

    def _pack_batch(self, pending_images: list[_PendingImage]) -> RaggedBatch:
        """Return the batch of images, once all are decoded."""
        indices, images, skipped = [], [], []
        for pending_image in pending_images:
            image = self._resolve_image(pending_image)
            if isinstance(image, ImageError):
                skipped.append((pending_image.index, image))
            else:
                indices.append(pending_image.index)
                images.append(image)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        params_by_image = [self._make_params(index, size) for index, size in zip(indices, sizes, strict=True)]
        params_by_view = [[entry[view] for entry in params_by_image] for view in range(self._view_count)]
        resize_plans = [gpu_augment.plan_batch_resize(sizes, entry, self._source.prep) for entry in params_by_view]
        # The tables travel in the same buffer as the images: a copy to the GPU costs more than their bytes.
        image_bytes = sum(image.numel() for image in images)
        buffer_parts = [image.view(-1) for image in images] + [
            torch.zeros(_align_bytes(image_bytes) - image_bytes, dtype=torch.uint8)
        ]
        buffer_parts += [
            table.view(-1).view(torch.uint8) for entry in resize_plans for table in entry.tables if len(table)
        ]
        with to_device.cuda_lock:  # pinning calls CUDA, which must not happen while a CUDA graph is captured
            buffer = torch.empty(sum(map(len, buffer_parts)), dtype=torch.uint8, pin_memory=self._source.pin_memory)
        return RaggedBatch(indices, torch.cat(buffer_parts, out=buffer), sizes, params_by_view, resize_plans, skipped)

    def _resolve_image(self, pending_image: _PendingImage) -> Tensor | ImageError:
        """Return the image, uint8 [H, W, 3], contiguous, or its error; a decoded image goes into the cache."""
        if pending_image.error:
            return pending_image.error
        if pending_image.cached_image is not None:
            return pending_image.cached_image
        assert pending_image.decode_task
        pixels = pending_image.decode_task.result()[pending_image.position]
        if isinstance(pixels, ImageError):
            return pixels
        image = torch.from_numpy(pixels)
        self._source.cache.put(pending_image.key, pending_image.signature, image)
        return image


def _align_bytes(byte_count: int) -> int:
    """Return the next multiple of 8 bytes, at which a table of int64 may begin."""
    # Rounded up by two negations.
    return -(-byte_count // 8) * 8
