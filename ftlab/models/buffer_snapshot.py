"""Snapshots of a network's buffers, to undo what a forward pass changes, such as BatchNorm's running statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn


class BufferSnapshot:
    """Copy of a network's buffers, made with one kernel for each dtype: BatchNorm has three buffers in each layer."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        """Allocate the copy of these buffers; nothing is copied yet."""
        buffers_by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            buffers_by_dtype.setdefault(buffer.dtype, []).append(buffer)
        self._pairs = [
            (same_dtype, [torch.empty_like(source) for source in same_dtype])
            for same_dtype in buffers_by_dtype.values()
        ]

    @torch.no_grad()
    def save(self) -> None:
        """Copy the buffers."""
        for buffers, copies in self._pairs:
            torch._foreach_copy_(copies, buffers)

    @cached_property
    def copies_by_address(self) -> dict[int, Tensor]:
        """The copies by the address of the buffer's memory, by which a state dict can be searched."""
        return {
            buffer.data_ptr(): copied
            for buffers, copies in self._pairs
            for buffer, copied in zip(buffers, copies, strict=True)
        }

    @torch.no_grad()
    def restore(self) -> None:
        """Set the buffers to the copy."""
        for buffers, copies in self._pairs:
            torch._foreach_copy_(buffers, copies)


@contextmanager
def preserve_buffers(module: nn.Module) -> Iterator[None]:
    """Restore a module's buffers at the end of the block, also after an error."""
    snapshot = BufferSnapshot(module.buffers())
    snapshot.save()
    try:
        yield
    finally:
        snapshot.restore()
