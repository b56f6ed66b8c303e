"""Pictures on their way to the device: on a card, the next batch crosses while this one is computed with.

A copy from pinned memory on a stream of its own waits for nothing and holds up nothing; the stream of the computations
waits for it only where it needs the pixels.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

cuda_lock = threading.Lock()
"""Held by a thread that asks CUDA for something beside the training's own, and by that one while it records what it
asks for: CUDA breaks off a record into which somebody else comes."""


class HasPixels(Protocol):
    """A batch."""

    @property
    def pixels(self) -> Tensor:
        """Of its pictures, uint8."""


B = TypeVar("B", bound=HasPixels)
WaitForCopy = Callable[[], Tensor]
"""Called where the pixels are needed: they, on the device."""
StartCopy = Callable[[Tensor], WaitForCopy]
"""Begins to copy pixels."""


def prefetch_to_device(
    batches: Iterator[B],
    device: torch.device,
    *,
    start_copy: StartCopy | None = None,
    prefetch_batches: int | None = None,
) -> Iterator[tuple[B, Tensor]]:
    """Batches, and their pixels on the device.

    Args:
        batches: in pinned memory for a CUDA device, see `needs_pinned_memory`.
        device: where they go.
        start_copy: how they go there; the device's own way if it is left out.
        prefetch_batches: how many are sent before one is used: 1 to a CUDA device, else 0, if it is left out.
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
    """Whether what goes to a device should lie in pinned memory: a copy from there need not be waited for."""
    return device.type == "cuda"


def to_device_async(values: Tensor, device: torch.device) -> Tensor:
    """Labels and the like on the device, without waiting for what it computes."""
    return (values.pin_memory() if needs_pinned_memory(device) else values).to(device, non_blocking=True)


class _CopyStream:
    """A stream for copies only."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def start_copy(self, pixels: Tensor) -> WaitForCopy:
        with torch.cuda.stream(self.stream):
            device_pixels = pixels.to(self.device, non_blocking=True)
            copy_event = self.stream.record_event()

        def wait_for_copy() -> Tensor:
            compute_stream = torch.cuda.current_stream(self.device)
            compute_stream.wait_event(copy_event)
            device_pixels.record_stream(
                compute_stream
            )  # else its memory is the copies' again as soon as nobody names it
            return device_pixels

        return wait_for_copy
