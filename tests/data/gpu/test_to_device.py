"""Batches on their way to the device: in order, none lost, one sent before the one before it is used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ftlab.data.gpu import to_device
from ftlab.data.loading.loader import ImageBatch

CPU = torch.device("cpu")


def made(count: int, told: list[str]) -> Iterator[ImageBatch]:
    """Batches that say when they are asked for."""
    for number in range(count):
        told.append(f"read {number}")
        yield ImageBatch([number], torch.full((1, 3, 2, 2), number, dtype=torch.uint8), [])


def sent(told: list[str]) -> to_device.StartCopy:
    """A way to a device that takes its time: the pixels are there only once they are waited for."""

    def send(pixels: Tensor) -> to_device.WaitForCopy:
        number = int(pixels[0, 0, 0, 0])
        told.append(f"send {number}")

        def arrive() -> Tensor:
            told.append(f"wait {number}")
            return pixels

        return arrive

    return send


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_each_batch_arrives_once_and_in_order(count: int, ahead: int) -> None:
    found = list(to_device.prefetch_to_device(made(count, []), CPU, start_copy=sent([]), prefetch_batches=ahead))
    assert [batch.indices for batch, _ in found] == [[number] for number in range(count)]
    assert [int(pixels[0, 0, 0, 0]) for _, pixels in found] == list(range(count))


def test_the_next_batch_is_under_way_before_one_is_used() -> None:
    told: list[str] = []
    for batch, _ in to_device.prefetch_to_device(made(3, told), CPU, start_copy=sent(told), prefetch_batches=1):
        told.append(f"use {batch.indices[0]}")
    whole = "read 0, send 0, read 1, send 1, wait 0, use 0, read 2, send 2, wait 1, use 1, wait 2, use 2"
    assert ", ".join(told) == whole


def test_nothing_is_held_back_on_the_processor() -> None:
    told: list[str] = []
    way = to_device.prefetch_to_device(made(3, told), CPU)
    batch, pixels = next(way)
    assert told == ["read 0"]
    assert pixels is batch.pixels


def test_only_what_goes_to_a_cuda_device_is_pinned() -> None:
    assert {name: to_device.needs_pinned_memory(torch.device(name)) for name in ("cpu", "cuda", "mps", "xpu")} == {
        "cpu": False, "cuda": True, "mps": False, "xpu": False,
    }  # fmt: skip
    labels = torch.tensor([3, 1])
    assert to_device.to_device_async(labels, CPU) is labels


@pytest.mark.parametrize("device", [CPU, *(torch.device("cuda") for _ in range(torch.cuda.is_available()))])
def test_a_device_gets_the_same_pixels(device: torch.device) -> None:
    pictures = torch.randint(0, 256, (6, 4, 3, 8, 8), dtype=torch.uint8)
    pictures = pictures.pin_memory() if to_device.needs_pinned_memory(device) else pictures
    found = to_device.prefetch_to_device((ImageBatch([0], some, []) for some in pictures), device)
    assert torch.equal(torch.stack([pixels.cpu() for _, pixels in found]), pictures)
