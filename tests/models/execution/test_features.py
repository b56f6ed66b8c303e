"""Features of a frozen backbone: each view of each picture once, in the pictures' order, whatever the threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.core.errors import ImageError
from ftlab.models import network
from ftlab.models.execution import feature_extraction, features
from ftlab.models.execution.engines import TorchEngine
from ftlab.models.execution.feature_rows import unpack_rows
from ftlab.models.execution.features import Features

CPU = torch.device("cpu")


class Mean(nn.Module):
    """The mean of each channel: [B, 3, h, w] -> [B, 3]."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.mean(dim=(2, 3))


One = Callable[[int, int], Tensor]
"""(index, view) -> uint8 [3, side, side]."""


def read(index: int, view: int) -> Tensor:
    """Channels (index, view, 7); some take longer."""
    time.sleep(0.002 * (index % 3))
    return torch.tensor([index, view, 7], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4).contiguous()


def every(reader: One, views: int) -> feature_extraction.ReadViews:
    return lambda index: torch.stack([reader(index, view) for view in range(views)])


def computed(
    backbone: nn.Module, count: int, views: int = 2, workers: int = 2, reader: One = read
) -> tuple[list[int], Features]:
    work = features.compute_features(
        TorchEngine(backbone, Tensor.float, CPU), count, views, every(reader, views), CPU, workers
    )
    *told, last = work
    assert isinstance(last, Features)
    return [done for done in told if isinstance(done, int)], last


@pytest.fixture
def mobilenet() -> nn.Module:
    return network.build_network(backbones.get_backbone_spec("mobilenet_v2"), 2, pretrained=False).backbone


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_view_of_every_picture_in_order(workers: int) -> None:
    told, found = computed(Mean(), 11, views=3, workers=workers)
    assert told == [4, 8, 11]
    assert found.vectors.shape == (3, 11, 3)
    assert found.vectors.dtype == torch.float32
    assert found.indices == list(range(11))
    assert found.vectors[2, 9].tolist() == [9, 2, 7]
    assert found.vectors[..., 0].tolist() == [[float(index) for index in range(11)]] * 3
    assert found.skipped == []


@pytest.mark.parametrize("count", [0, 1, 8, 9, 11, 16, 17])
@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_look_at_each_picture_once_and_speak_as_often(count: int, world: int) -> None:
    parts, most_chunks = [], -(-len(range(0, count, world)) // 4)
    for rank in range(world):
        part = features.RankPart(rank, world, lambda own: max(own, most_chunks))
        *told, found = features.compute_features(
            TorchEngine(Mean(), Tensor.float, CPU), count, 1, every(read, 1), CPU, 2, rank_part=part
        )
        assert isinstance(found, Features)
        assert [float(found.vectors[0, index, 0]) for index in found.indices] == found.indices
        parts.append((len(told), found.indices))
    assert sorted(index for _, indices in parts for index in indices) == list(range(count))
    assert len({times for times, _ in parts}) == 1, "or one would wait for what another has to say"


def test_half_precision_is_gathered_in_half_the_room() -> None:
    work = features.compute_features(
        TorchEngine(Mean(), Tensor.float, CPU), 5, 2, every(read, 2), CPU, 2, precision="fp16"
    )
    *_, found = work
    assert isinstance(found, Features)
    assert (found.vectors.dtype, found.vectors.shape) == (torch.float16, (2, 5, 4))
    assert torch.equal(unpack_rows(found.vectors), computed(Mean(), 5)[1].vectors)


def test_pictures_that_cannot_be_read_are_left_out_and_named() -> None:
    def fussy(index: int, view: int) -> Tensor:
        if index in (0, 4, 5, 6, 7) and view == 1:
            raise ImageError("empty", file=f"{index}.jpg")
        return read(index, view)

    told, found = computed(Mean(), 9, reader=fussy)
    assert told[-1] == 9
    assert found.indices == [1, 2, 3, 8]
    assert found.vectors[0, :, 0].tolist() == [1, 2, 3, 8]
    assert [(index, refusal.values["file"]) for index, refusal in found.skipped] == [
        (index, f"{index}.jpg") for index in (0, 4, 5, 6, 7)
    ]


def test_no_picture_at_all_is_no_features() -> None:
    def none(_index: int, _view: int) -> Tensor:
        raise ImageError("empty", file="x")

    assert computed(Mean(), 3, reader=none)[1].vectors.shape == (2, 0, 0)
    assert computed(Mean(), 0)[1].indices == []


def test_the_bits_do_not_depend_on_the_threads(mobilenet: nn.Module) -> None:
    def noisy(index: int, view: int) -> Tensor:
        generator = torch.Generator().manual_seed(10 * index + view)
        return torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8, generator=generator)

    one, three = (computed(mobilenet, 9, workers=workers, reader=noisy)[1] for workers in (1, 3))
    assert torch.equal(one.vectors, three.vectors)
    assert len(one.vectors.flatten(0, 1).unique(dim=0)) == 18


def test_the_backbone_and_the_threads_are_left_as_they_were(mobilenet: nn.Module) -> None:
    mobilenet.train()
    before = {key: value.clone() for key, value in mobilenet.state_dict().items()}
    threads = torch.get_num_threads()
    computed(mobilenet, 4, reader=lambda _index, _view: torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert all(torch.equal(before[key], value) for key, value in mobilenet.state_dict().items())
    assert mobilenet.training
    assert torch.get_num_threads() == threads


def test_giving_up_on_the_way_stops_the_reading() -> None:
    asked: list[int] = []

    def counted(index: int, view: int) -> Tensor:
        asked.append(index)
        return read(index, view)

    threads = torch.get_num_threads()
    work = features.compute_features(TorchEngine(Mean(), Tensor.float, CPU), 4000, 1, every(counted, 1), CPU, 2)
    assert next(work) == 4
    work.close()  # type: ignore[attr-defined]
    assert len(asked) < 400
    assert torch.get_num_threads() == threads


def test_a_card_gets_the_same_features_in_whole_batches() -> None:
    shapes: list[tuple[int, ...]] = []

    def run(pixels: Tensor) -> Tensor:
        shapes.append(tuple(pixels.shape))
        return pixels.float().mean(dim=(2, 3))

    pieces = feature_extraction.split_into_chunks(range(70), 64)
    views = feature_extraction.read_view_batches(pieces, every(read, 2), 2, pin_memory=False)
    parts = list(feature_extraction.extract_on_gpu(views, 2, run))
    assert shapes == [(64, 3, 4, 4)] * 4, "the last is filled up"
    indices, vectors, _ = parts[1]
    assert indices == list(range(64, 70))
    assert vectors[1, 0].tolist() == [64, 1, 7]
