"""A batch goes through a device in portions where its memory does not hold the whole of it."""

from __future__ import annotations

import pytest
import torch

from ftlab.core.errors import RunError
from ftlab.models.execution.micro_batches import MicroBatcher, is_out_of_memory

OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class Memory:
    """Holds so many pictures; remembers what went through."""

    def __init__(self, holds: int) -> None:
        self.holds, self.done, self.undone = holds, list[tuple[int, int]](), 0

    def work(self, some: slice) -> tuple[int, int]:
        if some.stop - some.start > self.holds:
            raise OUT
        self.done.append((some.start, some.stop))
        return some.start, some.stop

    def undo(self) -> None:
        self.undone += 1
        self.done.clear()


def test_a_batch_goes_through_whole_as_long_as_it_fits() -> None:
    memory, portions = Memory(100), MicroBatcher()
    assert portions.run_in_slices(32, memory.work) == [(0, 32)]
    assert portions.micro_batch_size == 0


@pytest.mark.parametrize(
    ("count", "holds", "most", "undone"),
    [(32, 31, 16, 1), (32, 16, 16, 1), (32, 15, 8, 2), (33, 20, 17, 1), (7, 1, 1, 3), (2, 1, 1, 1)],
)
def test_else_it_is_halved_until_it_does_and_begun_anew_each_time(
    count: int, holds: int, most: int, undone: int
) -> None:
    memory, portions = Memory(holds), MicroBatcher()
    done = portions.run_in_slices(count, memory.work, memory.undo)
    assert (portions.micro_batch_size, memory.undone) == (most, undone)
    assert done == memory.done
    assert [index for start, stop in done for index in range(start, min(stop, count))] == list(range(count))


def test_what_was_found_out_holds_for_what_comes_after() -> None:
    memory, portions = Memory(9), MicroBatcher()
    portions.run_in_slices(32, memory.work)
    memory.undo()
    portions.run_in_slices(32, memory.work)
    assert portions.micro_batch_size == 8
    assert memory.done == [(0, 8), (8, 16), (16, 24), (24, 32)]


def test_a_memory_that_holds_no_picture_is_the_persons_to_mend() -> None:
    with pytest.raises(RunError) as caught:
        MicroBatcher().run_in_slices(4, Memory(0).work)
    assert caught.value.code == "run.memory"


def test_a_batch_that_must_stay_whole_is_not_divided() -> None:
    memory, portions = Memory(16), MicroBatcher(is_indivisible=True)
    assert portions.run_in_slices(16, memory.work) == [(0, 16)]
    with pytest.raises(RunError, match="32 pictures") as caught:
        portions.run_in_slices(32, memory.work)
    assert caught.value.code == "run.memory_batch"


def test_an_empty_batch_is_done_once() -> None:
    assert MicroBatcher().run_in_slices(0, lambda some: some.start) == [0]


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        MicroBatcher().run_in_slices(
            4, lambda _some: (_ for _ in ()).throw(RuntimeError("shapes cannot be multiplied"))
        )


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (OUT, True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 400 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_how_devices_say_it(error: Exception, *, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_the_processors_own_allocator_says_it_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_last_micro_batch_that_is_too_small_joins_the_one_before() -> None:
    portions = MicroBatcher(4)
    assert portions.run_in_slices(9, lambda rows: (rows.start, rows.stop)) == [(0, 4), (4, 8), (8, 12)]
    portions.min_size = 2
    assert portions.run_in_slices(9, lambda rows: (rows.start, rows.stop)) == [(0, 4), (4, 9)]
    assert portions.run_in_slices(10, lambda rows: (rows.start, rows.stop)) == [(0, 4), (4, 8), (8, 12)]
