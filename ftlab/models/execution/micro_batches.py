"""Micro-batching with automatic halving on out-of-memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ftlab.core.errors import RunError

T = TypeVar("T")
_OUT_OF_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")
"""Texts in the plain RuntimeErrors of allocators other than CUDA's."""


class MicroBatcher:
    """Splits batches into micro-batches that fit the device's memory.

    Attributes:
        micro_batch_size: images in a micro-batch, 0 for the whole batch.
        is_indivisible: whether a batch must not be split.
        min_size: fewest images of a micro-batch: some networks cannot train on one.
    """

    def __init__(self, micro_batch_size: int = 0, *, is_indivisible: bool = False) -> None:
        """Create a batcher.

        Args:
            micro_batch_size: images in a micro-batch, 0 for the whole batch whatever its size.
            is_indivisible: a batch must not be split: the other ranks wait for one all-reduce of gradients a step.
        """
        self.micro_batch_size, self.is_indivisible, self.min_size = micro_batch_size, is_indivisible, 1

    def run_in_slices(
        self, count: int, run_slice: Callable[[slice], T], undo: Callable[[], object] = lambda: None
    ) -> list[T]:
        """Run a function on each micro-batch of a batch.

        If the memory does not hold a micro-batch, all of the batch is undone and run again with micro-batches of half
        the size, which later batches keep.

        Args:
            count: images in the batch.
            run_slice: runs some of them.
            undo: reverts what `run_slice` has done to shared state, such as accumulated gradients.

        Returns:
            The results, in order.

        Raises:
            RunError: the memory does not hold a single image, or not a batch that must not be split.
        """  # noqa: DOC501 (other errors of `run_slice` pass through)
        while True:
            size = self.micro_batch_size or max(1, count)
            try:
                # An empty batch runs once too: the other ranks may have images in theirs, and wait.
                return [run_slice(batch_slice) for batch_slice in self._split_batch(max(1, count), size)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size <= self.min_size:
                    raise RunError("run.memory") from error
                if self.is_indivisible:
                    raise RunError("run.memory_batch", count=count) from error
            # Outside the handler: inside, the traceback keeps the tensors of the failed pass alive.
            self.micro_batch_size = -(-min(size, count) // 2)  # rounded up
            undo()
            _empty_device_cache()

    def _split_batch(self, count: int, size: int) -> list[slice]:
        """Return the micro-batches of a batch; a last one that is too small is merged into the one before.

        Args:
            count: images in the batch.
            size: images in a micro-batch.
        """
        starts = list(range(0, count, size))
        if len(starts) > 1 and count - starts[-1] < self.min_size:
            starts.pop()
        return [
            slice(start, end) for start, end in zip(starts, [*starts[1:], max(count, starts[-1] + size)], strict=True)
        ]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a device, or of the machine, is exhausted."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _OUT_OF_MEMORY_MESSAGES)


def _empty_device_cache() -> None:
    """Return the allocator's cached blocks to the device: their sizes are those of the larger micro-batch."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
    elif hasattr(torch, "xpu") and torch.xpu.is_available():
        torch.xpu.empty_cache()
