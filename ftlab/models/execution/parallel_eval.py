"""A network in evaluation on the processor: each thread takes a few pictures of a batch, all of whose computations are
its own. That is up to twice as fast as a team of threads on the whole batch, which waits for its last one after each
layer: 1.0 to 2.0 times for eleven architectures on two cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ftlab.data.loading import thread_pool

_PIECE = 4
"""Pictures a thread takes at once: what they are made into between layers then fits a core's cache."""

Look = Callable[[slice], Tensor]
"""Some pictures of a batch -> [b, …] of them."""


@contextmanager
def abreast(device: torch.device) -> Iterator[Callable[[Look, slice], Tensor]]:
    """What applies a `Look` to a part of a batch: in one go on a card, or where torch has one thread; else by as many
    threads as torch has, a few pictures at a time. Which thread takes which does not change the bits."""
    count = torch.get_num_threads()
    if device.type != "cpu" or count == 1:
        yield lambda look, some: look(some)
        return
    with thread_pool.of_one(count, "abreast") as pool:

        def apply(look: Look, some: slice) -> Tensor:
            pieces = [slice(start, min(start + _PIECE, some.stop)) for start in range(some.start, some.stop, _PIECE)]
            return torch.cat(list(pool.map(look, pieces)))

        yield apply
