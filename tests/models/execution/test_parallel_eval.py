"""Evaluation on the processor: a few pictures a thread, and nothing changes but the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.models import network
from ftlab.models.execution.parallel_eval import open_parallel_forward

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def seen_by(device: torch.device, some: slice) -> tuple[list[slice], Tensor]:
    """What parts of a batch were looked at, and what came of it."""
    parts: list[slice] = []

    def look(part: slice) -> Tensor:
        parts.append(part)
        return torch.arange(part.start, part.stop)

    with open_parallel_forward(device) as apply:
        found = apply(look, some)
    return sorted(parts, key=lambda part: part.start), found


def test_a_batch_is_looked_at_in_pieces_and_put_together_in_order() -> None:
    parts, found = seen_by(CPU, slice(3, 14))
    assert parts == [slice(3, 7), slice(7, 11), slice(11, 14)]
    assert found.tolist() == list(range(3, 14))


def test_each_thread_computes_alone_and_the_caller_s_threads_stay_as_many() -> None:
    seen: set[tuple[str, int]] = set()
    both = threading.Barrier(2)

    def look(_part: slice) -> Tensor:
        both.wait(timeout=60)
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return torch.zeros(1)

    with open_parallel_forward(CPU) as apply:
        apply(look, slice(0, 8))
        assert torch.get_num_threads() == 2
    assert len(seen) == 2
    assert {number for _, number in seen} == {1}
    assert torch.get_num_threads() == 2


def test_a_card_and_a_single_thread_take_the_batch_whole() -> None:
    assert seen_by(torch.device("cuda"), slice(0, 9))[0] == [slice(0, 9)]
    torch.set_num_threads(1)
    assert seen_by(CPU, slice(0, 9))[0] == [slice(0, 9)]


def test_what_a_look_raises_is_raised_to_the_caller() -> None:
    def look(part: slice) -> Tensor:
        raise MemoryError(str(part))

    with pytest.raises(MemoryError), open_parallel_forward(CPU) as apply:
        apply(look, slice(0, 8))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
def test_a_network_answers_as_for_the_whole_batch_and_the_same_bits_each_time(name: str) -> None:
    net: nn.Module = network.build_network(backbones.get_backbone_spec(name), 3, pretrained=False).eval()
    pictures = torch.randn(10, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def look(part: slice) -> Tensor:
        with torch.inference_mode():
            answer: Tensor = net(pictures[part])
            return answer

    whole = look(slice(0, 10))
    with open_parallel_forward(CPU) as apply:
        answers = [apply(look, slice(0, 10)) for _ in range(3)]
    assert torch.allclose(answers[0], whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert all(torch.equal(answers[0], one) for one in answers[1:])
