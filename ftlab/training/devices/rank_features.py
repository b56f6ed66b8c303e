"""Features that several ranks compute: one table for all ranks of a machine, of which each fills its own rows.

The table is a file that they map into memory, so that neither memory nor disk holds a row twice. Between machines the
rows that each has computed are exchanged: a row is some kilobytes, and computing it takes a thousand times as long as
sending it. Ranks of one machine exchange no rows at all.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, distributed

from ftlab.core.errors import ImageError, RunError
from ftlab.models.activations import mapped_rows
from ftlab.models.execution.features import ALL_IMAGES, AllocateRows, Features, RankPart, compact_rows
from ftlab.training.devices.distributed import MAX_STEP_WAIT_SECONDS

_EXCHANGE_BATCH_IMAGES = 2048
"""Images whose features the machines exchange at a time: it bounds the memory that this takes."""


class SplitTable:
    """Table of the features of a split: of this process alone, or one that the ranks of a machine share.

    Attributes:
        rank_part: the images that this rank computes.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: torch.dtype, accelerator: Accelerator, allocate_alone: AllocateRows
    ) -> None:
        """Prepare the table; all ranks must do so together, and a `RunError` says that its file cannot be written.

        Args:
            shape: [V, N, W].
            dtype: float16 or float32.
            accelerator: tells the ranks.
            allocate_alone: makes the table of a process without other ranks.
        """
        self._accelerator, self._allocate_alone = accelerator, allocate_alone
        self._is_alone = accelerator.num_processes == 1
        self.rank_part = (
            ALL_IMAGES
            if self._is_alone
            else RankPart(
                accelerator.process_index, accelerator.num_processes, lambda count: max(gather_object([count]))
            )
        )
        self._shared_rows = torch.empty(0) if self._is_alone else _allocate_shared_rows(shape, dtype, accelerator)

    def allocate_rows(self, shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
        """Return the table, see `AllocateRows`."""
        return self._allocate_alone(shape, dtype) if self._is_alone else self._shared_rows

    def join_ranks(self, local_features: Features) -> Features:
        """Join the features of all ranks, bit-identical to those of a single process; all ranks must do so together.

        Args:
            local_features: features of this rank's images.

        Returns:
            Features of all images that could be read on any rank.
        """
        if self._is_alone:
            return local_features
        accelerator, rows = self._accelerator, self._shared_rows
        skipped = [(index, error.code, dict(error.values)) for index, error in local_features.skipped]
        # A rank's rows are written before its summary is sent: with all summaries, all rows of the machine are there.
        summaries = gather_object(
            [(_find_leader(accelerator), local_features.indices, skipped, local_features.cached_count)]
        )
        leaders = sorted({leader for leader, _, _, _ in summaries})
        if len(leaders) > 1:
            machine_indices = [
                index for leader, indices, _, _ in summaries if leader == _find_leader(accelerator) for index in indices
            ]
            _exchange_rows(rows, torch.tensor(machine_indices, dtype=torch.int64), leaders, accelerator)
        indices = sorted(index for _, rank_indices, _, _ in summaries for index in rank_indices)
        if accelerator.is_local_main_process:
            compact_rows(rows, torch.tensor(indices, dtype=torch.int64))
        accelerator.wait_for_everyone()
        failures = sorted(
            ((index, ImageError(code, **values)) for _, _, errors, _ in summaries for index, code, values in errors),
            key=lambda entry: entry[0],
        )
        cached_count = sum(count for _, _, _, count in summaries)
        return Features(rows[:, : len(indices)], indices, failures, cached_count)


def _allocate_shared_rows(shape: tuple[int, int, int], dtype: torch.dtype, accelerator: Accelerator) -> Tensor:
    """Return an empty table that all ranks of a machine share; each machine has its own.

    Its file is deleted at once: it vanishes with the processes, however they end.

    Args:
        shape: of the table, [V, N, W].
        dtype: float16 or float32.
        accelerator: tells the ranks, all of which must call this together.

    Raises:
        RunError: on some machine the file cannot be written.
    """
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    path, cause = "", ""
    if accelerator.is_local_main_process:
        try:
            path = str(mapped_rows.create_shared_file(shape, dtype))
        except OSError as error:
            cause = str(error.strerror or error)
    results = gather_object([(path, cause)])
    try:
        for _, rank_cause in results:
            if rank_cause:
                raise RunError("run.write", folder=mapped_rows.find_free_space()[0], cause=rank_cause)
        machine_path = Path(results[_find_leader(accelerator)][0])
        rows = mapped_rows.map_shared_file(machine_path, shape, dtype)
        # Once all ranks have mapped the file it needs its name no longer.
        accelerator.wait_for_everyone()
    finally:
        if path:
            Path(path).unlink(missing_ok=True)
    return rows


def _find_leader(accelerator: Accelerator) -> int:
    """Return the number of the first rank of this machine; those of a machine have consecutive numbers."""
    leader: int = accelerator.process_index - accelerator.local_process_index
    return leader


def _exchange_rows(rows: Tensor, own_indices: Tensor, leaders: list[int], accelerator: Accelerator) -> None:
    """Fill the rows that other machines have computed.

    The first ranks of the machines exchange them over gloo, whatever the ranks use for gradients: rows lie on the CPU.

    Args:
        rows: the table of this machine's ranks, [V, N, W].
        own_indices: int64, of the images that they have computed.
        leaders: first rank of each machine.
        accelerator: tells the ranks, all of which must call this together.
    """
    group = distributed.new_group(leaders, backend="gloo", timeout=timedelta(seconds=MAX_STEP_WAIT_SECONDS))
    is_own = torch.zeros(rows.shape[1], dtype=torch.bool)
    is_own[own_indices] = True
    for start in range(0, rows.shape[1], _EXCHANGE_BATCH_IMAGES):
        if accelerator.is_local_main_process:
            assert isinstance(group, distributed.ProcessGroup), "this rank belongs to it"
            batch_slice = slice(start, start + _EXCHANGE_BATCH_IMAGES)
            # Each row is one machine's and zero bytes on all others, so that sums of bytes are its bytes: of floats,
            # the sign of a negative zero would be lost.
            batch_rows = rows[:, batch_slice].clone()
            batch_rows[:, ~is_own[batch_slice]] = 0
            distributed.all_reduce(batch_rows.view(torch.uint8), group=group)
            rows[:, batch_slice] = batch_rows
        # After each batch, as ranks give up one that they wait for too long, and all of them take minutes.
        accelerator.wait_for_everyone()
    if accelerator.is_local_main_process:
        distributed.destroy_process_group(group)
