"""Batches: in order, the same with any number of threads, and no picture that cannot be read ends them."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor

from ftlab.core.errors import ImageError
from ftlab.data.loading import loader
from ftlab.data.loading.loader import batch_indices, load_batches, shuffle_indices


def read(index: int) -> Tensor:
    """A picture that is its number; every second one takes a little longer."""
    time.sleep(0.002 * (index % 2))
    return torch.full((3, 2, 2), index, dtype=torch.uint8)


def test_an_epochs_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    first = shuffle_indices(7, 1, 100)
    assert sorted(first) == list(range(100))
    torch.manual_seed(99)
    assert shuffle_indices(7, 1, 100) == first
    assert len({tuple(shuffle_indices(seed, epoch, 100)) for seed in (0, 1, 7) for epoch in (1, 2, 3)}) == 9


def test_asking_for_an_order_does_not_touch_the_process_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    shuffle_indices(0, 1, 10)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(8, 4, [4, 4]), (9, 4, [4, 5]), (10, 4, [4, 4, 2]), (3, 4, [3]), (1, 4, [1]), (0, 4, []), (5, 1, [1, 1, 1, 2])],
)
def test_a_last_picture_alone_joins_its_neighbours(count: int, size: int, lengths: list[int]) -> None:
    pieces = batch_indices(range(count), size)
    assert [len(piece) for piece in pieces] == lengths
    assert [index for piece in pieces for index in piece] == list(range(count))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_what_comes_out_does_not_depend_on_the_threads(workers: int) -> None:
    pieces = batch_indices(shuffle_indices(0, 1, 23), 4)
    made = list(load_batches(pieces, read, workers))
    assert [batch.indices for batch in made] == pieces
    assert [batch.pixels[:, 0, 0, 0].tolist() for batch in made] == pieces
    assert all(batch.pixels.dtype == torch.uint8 for batch in made)


def test_a_picture_that_cannot_be_read_is_left_out_and_named() -> None:
    def fussy(index: int) -> Tensor:
        if index in (1, 4, 5):
            raise ImageError("truncated", file=f"{index}.jpg")
        return read(index)

    first, second, third = load_batches([[0, 1], [2, 3], [4, 5]], fussy, 2)
    assert (first.indices, [index for index, _ in first.skipped]) == ([0], [1])
    assert first.skipped[0][1].values == {"file": "1.jpg"}
    assert (second.indices, second.skipped) == ([2, 3], [])
    assert (third.indices, len(third.pixels), len(third.skipped)) == ([], 0, 2)


def test_a_bug_is_not_taken_for_a_bad_picture() -> None:
    def broken(_index: int) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(load_batches([[0]], broken, 1))


def test_only_a_few_batches_are_prepared_ahead() -> None:
    asked: list[int] = []

    def watched(index: int) -> Tensor:
        asked.append(index)
        return read(index)

    source = load_batches([[index] for index in range(50)], watched, 2)
    next(source)
    assert len(asked) <= 1 + loader.PREFETCH_BATCHES
    source.close()  # type: ignore[attr-defined]
    assert len(asked) <= 1 + loader.PREFETCH_BATCHES
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_pictures_are_read_with_one_of_torch_s_threads_and_nobody_else_s_number_changes() -> None:
    """A team in each reading thread takes the cores from the network's own, which then waits."""
    before = torch.get_num_threads()
    seen: list[int] = []

    def look(index: int) -> Tensor:
        seen.append(torch.get_num_threads())
        return read(index)

    torch.set_num_threads(2)
    try:
        for _ in load_batches([[0, 1], [2, 3]], look, 2):
            assert torch.get_num_threads() == 2
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [1, 1, 1, 1, 2]
    finally:
        torch.set_num_threads(before)
