"""Transfer of batches to the device: to a GPU, the next batch is copied while the current one is computed with.

A copy from pinned memory on a stream of its own neither waits nor blocks; the compute stream waits for it only where it
needs the pixels.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

cuda_lock = threading.Lock()
"""Held by a thread that calls CUDA outside the training loop, and by the loop while it captures a CUDA graph: a call
from another thread aborts the capture.
"""


class HasPixels(Protocol):
    """A batch."""

    @property
    def pixels(self) -> Tensor:
        """Pixels of its images, uint8."""


B = TypeVar("B", bound=HasPixels)
WaitForCopy = Callable[[], Tensor]
"""Returns the copied pixels on the device; called where they are needed."""
StartCopy = Callable[[Tensor], WaitForCopy]
"""Starts to copy pixels to a device."""


def prefetch_to_device(
    batches: Iterator[B],
    device: torch.device,
    *,
    start_copy: StartCopy | None = None,
    prefetch_batches: int | None = None,
) -> Iterator[tuple[B, Tensor]]:
    """Yield batches with their pixels on the device.

    Args:
        batches: batches, in pinned memory for a CUDA device, see `needs_pinned_memory`.
        device: target of the copies.
        start_copy: starts a copy; by default in the way that suits the device.
        prefetch_batches: copies to start before a batch is used; by default 1 for a CUDA device, else 0.
    """
    start_copy = start_copy or (
        _CopyStream(device).start_copy if needs_pinned_memory(device) else lambda pixels: lambda: pixels.to(device)
    )
    prefetch_batches = int(needs_pinned_memory(device)) if prefetch_batches is None else prefetch_batches
    in_flight: deque[tuple[B, WaitForCopy]] = deque()
    for batch in batches:
        in_flight.append((batch, start_copy(batch.pixels)))
        if len(in_flight) > prefetch_batches:
            oldest_batch, wait_for_copy = in_flight.popleft()
            yield oldest_batch, wait_for_copy()
    for batch, wait_for_copy in in_flight:
        yield batch, wait_for_copy()


def needs_pinned_memory(device: torch.device) -> bool:
    """Return whether tensors should be pinned before a copy to the device: such a copy need not be waited for."""
    return device.type == "cuda"


def to_device_async(values: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor, such as labels, to the device without waiting for its computations.

    Args:
        values: tensor on the CPU.
        device: target of the copy.

    Returns:
        The tensor on the device.
    """
    return (values.pin_memory() if needs_pinned_memory(device) else values).to(device, non_blocking=True)


class _CopyStream:
    """A CUDA stream for copies only."""

    def __init__(self, device: torch.device) -> None:
        """Create the stream on a CUDA device."""
        self.device, self.stream = device, torch.cuda.Stream(device)

    def start_copy(self, pixels: Tensor) -> WaitForCopy:
        """Start a copy on the stream; the returned function makes the current stream wait for it.

        Args:
            pixels: tensor in pinned memory.

        Returns:
            A function that returns the pixels on the device.
        """
        with torch.cuda.stream(self.stream):
            device_pixels = pixels.to(self.device, non_blocking=True)
            copy_event = self.stream.record_event()

        def wait_for_copy() -> Tensor:
            compute_stream = torch.cuda.current_stream(self.device)
            compute_stream.wait_event(copy_event)
            # Else the allocator would give the memory to the next copy once the tensor is freed on the CPU.
            device_pixels.record_stream(compute_stream)
            return device_pixels

        return wait_for_copy
