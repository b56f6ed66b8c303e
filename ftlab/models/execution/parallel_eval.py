"""A network in evaluation on the processor: each thread takes a few pictures of a batch, all of whose computations are
its own. That is up to twice as fast as a team of threads on the whole batch, which waits for its last one after each
layer: 1.0 to 2.0 times for eleven architectures on two cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ftlab.data.loading import thread_pool

_EVAL_MICRO_BATCH_SIZE = 4
"""Pictures a thread takes at once: what they are made into between layers then fits a core's cache."""

ForwardSlice = Callable[[slice], Tensor]
"""Some pictures of a batch -> [b, …] of them."""


@contextmanager
def open_parallel_forward(device: torch.device) -> Iterator[Callable[[ForwardSlice, slice], Tensor]]:
    """What applies a `ForwardSlice` to a part of a batch: in one go on a card, or where torch has one thread; else by as many
    threads as torch has, a few pictures at a time. Which thread takes which does not change the bits."""
    thread_count = torch.get_num_threads()
    if device.type != "cpu" or thread_count == 1:
        yield lambda forward_slice, batch_slice: forward_slice(batch_slice)
        return
    with thread_pool.open_worker_pool(thread_count, "abreast") as pool:

        def run_in_parallel(forward_slice: ForwardSlice, batch_slice: slice) -> Tensor:
            micro_batches = [
                slice(start, min(start + _EVAL_MICRO_BATCH_SIZE, batch_slice.stop))
                for start in range(batch_slice.start, batch_slice.stop, _EVAL_MICRO_BATCH_SIZE)
            ]
            return torch.cat(list(pool.map(forward_slice, micro_batches)))

        yield run_in_parallel
