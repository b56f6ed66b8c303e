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

from ftlab.core.errors import ImageError
from ftlab.data.gpu import gpu_augment, to_device
from ftlab.data.gpu.gpu_augment import AugmentParams
from ftlab.data.gpu.gpu_resize import ResizePlan
from ftlab.data.images.decode import ImageArray
from ftlab.data.loading import thread_pool
from ftlab.data.loading.image_cache import FileSignature, ImageCache
from ftlab.data.transforms.preprocess import Preprocessing

_PREFETCH_BATCHES = 3
"""Batches being decoded while one is laid together."""
_READY_BATCHES = 2
"""Batches laid together before one is used."""

ImageSize = tuple[int, int]
"""Height and width in pixels."""
ParamsFactory = Callable[[int, ImageSize], list[AugmentParams]]
"""(index, its picture's size) -> the ways in which that is seen."""
ImageLocator = Callable[[int], tuple[int, Path]]
"""index -> the name under which its picture is kept, and the file.

Raises:
    PictureError: it is left out.
"""


class FileDecoder(Protocol):
    """Who decode files."""

    def submit_each(self, files: Sequence[Path]) -> list[tuple[Future[list[ImageArray | ImageError]], int]]:
        """As `DecodePool.submit_each` does it; from several threads."""


@dataclass(frozen=True)
class RaggedBatch:
    """Pictures of one step.

    Attributes:
        indices: positions in the split, of the pictures that could be read.
        pixels: the pictures one behind the other, and then the tables that say how they are scaled: uint8 [N].
        sizes: of each.
        params_by_view: all the ways in which each is seen, by way.
        resize_plans: of each way.
        skipped: positions that could not be read, and why.
    """

    indices: list[int]
    pixels: Tensor
    sizes: list[ImageSize]
    params_by_view: list[list[AugmentParams]]
    resize_plans: list[ResizePlan]
    skipped: list[tuple[int, ImageError]]

    def iter_views(self, device_buffer: Tensor) -> Iterator[tuple[ResizePlan, list[AugmentParams]]]:
        """For each way, what `gpu_augment.resize_and_augment` wants to know, where `pixels` lie on a device as `device_buffer`."""
        start = _align_bytes(sum(3 * height * width for height, width in self.sizes))
        for resize_plan, params in zip(self.resize_plans, self.params_by_view, strict=True):
            yield resize_plan.view_in_buffer(device_buffer, start), params
            start += resize_plan.nbytes


@dataclass(frozen=True)
class _PendingImage:
    """A picture on its way: kept from before, refused, or number `position` of what is being decoded."""

    index: int
    key: tuple[str, int]
    signature: FileSignature | None = None
    cached_image: Tensor | None = None
    error: ImageError | None = None
    decode_task: Future[list[ImageArray | ImageError]] | None = None
    position: int = 0


@dataclass(frozen=True)
class RaggedSource:
    """Where pictures come from, and how they are laid together.

    Attributes:
        prep: how they are scaled.
        cache: where decoded pictures are kept; it may have no room.
        decoder: who decode.
        pin_memory: lay them in memory that a CUDA device copies from by itself.
    """

    prep: Preprocessing
    cache: ImageCache
    decoder: FileDecoder
    pin_memory: bool


class RaggedLoader(Iterator[RaggedBatch]):
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
        self,
        source: RaggedSource,
        split: str,
        index_batches: Sequence[Sequence[int]],
        locate_image: ImageLocator,
        make_params: ParamsFactory,
        view_count: int = 1,
    ) -> None:
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
        for _ in range(_READY_BATCHES + 1):
            self._submit_next()

    def __next__(self) -> RaggedBatch:
        if not self._ready_batches:
            self.close()
            raise StopIteration
        ragged_batch = self._ready_batches.popleft().result()
        self._submit_next()
        return ragged_batch

    def close(self) -> None:
        """Leave out what is not begun."""
        self._ready_batches.clear()
        self._remaining_batches = 0
        self._context.close()

    @property
    def all_started(self) -> bool:
        """Whether all have been begun."""
        return not self._remaining_batches

    def _submit_next(self) -> None:
        if self._remaining_batches:
            self._remaining_batches -= 1
            self._ready_batches.append(self._executor.submit(self._load_next))

    def _load_next(self) -> RaggedBatch:
        for indices in self._index_batches:
            self._pending_batches.append(self._request_images(indices))
            if len(self._pending_batches) > _PREFETCH_BATCHES:
                break
        return self._pack_batch(self._pending_batches.popleft())

    def _request_images(self, indices: Sequence[int]) -> list[_PendingImage]:
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
        tasks = self._source.decoder.submit_each([file for *_, file in to_decode])
        for (index, key, signature, _), (decode_task, position) in zip(to_decode, tasks, strict=True):
            pending_images[index] = _PendingImage(index, key, signature, decode_task=decode_task, position=position)
        return [pending_images[index] for index in indices]

    def _pack_batch(self, pending_images: list[_PendingImage]) -> RaggedBatch:
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
        image_bytes = sum(image.numel() for image in images)
        buffer_parts = [image.view(-1) for image in images] + [
            torch.zeros(_align_bytes(image_bytes) - image_bytes, dtype=torch.uint8)
        ]
        buffer_parts += [
            table.view(-1).view(torch.uint8) for entry in resize_plans for table in entry.tables if len(table)
        ]
        with to_device.cuda_lock:
            buffer = torch.empty(sum(map(len, buffer_parts)), dtype=torch.uint8, pin_memory=self._source.pin_memory)
        return RaggedBatch(indices, torch.cat(buffer_parts, out=buffer), sizes, params_by_view, resize_plans, skipped)

    def _resolve_image(self, pending_image: _PendingImage) -> Tensor | ImageError:
        """uint8 [H, W, 3], contiguous."""
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
    """So many bytes that a table may begin behind them."""
    return -(-byte_count // 8) * 8
