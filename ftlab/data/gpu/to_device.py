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

beside = threading.Lock()
"""Held by a thread that asks CUDA for something beside the training's own, and by that one while it records what it
asks for: CUDA breaks off a record into which somebody else comes."""


class Pixels(Protocol):
    """A batch."""

    @property
    def pixels(self) -> Tensor:
        """Of its pictures, uint8."""


B = TypeVar("B", bound=Pixels)
Arrive = Callable[[], Tensor]
"""Called where the pixels are needed: they, on the device."""
Send = Callable[[Tensor], Arrive]
"""Begins to copy pixels."""


def across(
    batches: Iterator[B], device: torch.device, *, send: Send | None = None, ahead: int | None = None
) -> Iterator[tuple[B, Tensor]]:
    """Batches, and their pixels on the device.

    Args:
        batches: in pinned memory for a CUDA device, see `pinned`.
        device: where they go.
        send: how they go there; the device's own way if it is left out.
        ahead: how many are sent before one is used: 1 to a CUDA device, else 0, if it is left out.
    """
    send = send or (_Stream(device).send if pinned(device) else lambda pixels: lambda: pixels.to(device))
    ahead = int(pinned(device)) if ahead is None else ahead
    under_way: deque[tuple[B, Arrive]] = deque()
    for batch in batches:
        under_way.append((batch, send(batch.pixels)))
        if len(under_way) > ahead:
            earliest, arrive = under_way.popleft()
            yield earliest, arrive()
    for batch, arrive in under_way:
        yield batch, arrive()


def pinned(device: torch.device) -> bool:
    """Whether what goes to a device should lie in pinned memory: a copy from there need not be waited for."""
    return device.type == "cuda"


def small(values: Tensor, device: torch.device) -> Tensor:
    """Labels and the like on the device, without waiting for what it computes."""
    return (values.pin_memory() if pinned(device) else values).to(device, non_blocking=True)


class _Stream:
    """A stream for copies only."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def send(self, pixels: Tensor) -> Arrive:
        with torch.cuda.stream(self.stream):
            there = pixels.to(self.device, non_blocking=True)
            copied = self.stream.record_event()

        def arrive() -> Tensor:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(copied)
            there.record_stream(current)  # else its memory is the copies' again as soon as nobody names it
            return there

        return arrive
