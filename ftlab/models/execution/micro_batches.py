"""When the memory of a device does not hold a whole batch: the batch goes through in portions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ftlab.core.errors import RunError

T = TypeVar("T")
_OUT_OF_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")
"""How the allocators of devices other than CUDA's tell it, in a bare RuntimeError."""


class MicroBatcher:
    """How many pictures go through a device at once: any number, until its memory was too small for some."""

    def __init__(self, micro_batch_size: int = 0, *, is_indivisible: bool = False) -> None:
        """
        Args:
            micro_batch_size: the largest portion, 0 for a whole batch whatever its size.
            is_indivisible: batches must not be divided: other processes wait for one exchange of gradients a step.
        """
        self.micro_batch_size, self.is_indivisible = micro_batch_size, is_indivisible

    def run_in_slices(
        self, count: int, run_slice: Callable[[slice], T], undo: Callable[[], object] = lambda: None
    ) -> list[T]:
        """What `run_slice` gives for each portion of `count` pictures, in order.

        Where the memory does not hold a portion, what was done is undone and all of it done anew with portions half as
        large, now and from then on.

        Raises:
            RunError: the memory does not hold a single picture, or not a batch that must stay whole.
        """
        while True:
            size = self.micro_batch_size or max(1, count)
            try:
                return [run_slice(slice(start, start + size)) for start in range(0, max(1, count), size)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise RunError("run.memory") from error
                if self.is_indivisible:
                    raise RunError("run.memory_batch", count=count) from error
            # Outside the handler: what the failed pass holds is let go only there.
            self.micro_batch_size = -(-min(size, count) // 2)
            undo()
            _empty_device_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory, or the machine's, is too small."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _OUT_OF_MEMORY_MESSAGES)


def _empty_device_cache() -> None:
    """Let the device's allocator give back what it keeps for later: its pieces have the wrong size now."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
    elif hasattr(torch, "xpu") and torch.xpu.is_available():
        torch.xpu.empty_cache()
