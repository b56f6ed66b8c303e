"""Collective operations of the ranks of one training, each a no-op where there is one process.

Every rank must call them in the same order, or all of them wait forever. With a single process no communication library
is touched: the value is returned as it is.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from ftlab.training.devices import rank_environment

T = TypeVar("T")
_BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
"""Communication library by type of device, those that accelerate chooses."""
MAX_STEP_WAIT_SECONDS = 300.0
"""Seconds after which a rank that others wait for in a step counts as lost: a link that drops packets tells nobody.

Rank 0 alone writes checkpoints: a gigabyte takes 100 s on a disk of 10 MB/s, and the others wait meanwhile.
"""
_MAX_WAIT_STEPS = 20
"""Steps of the trial's length that a rank may be late, where that is longer."""


def join_restarted_group(device_type: str) -> None:
    """Join the process group of ranks that torchrun may start again; accelerate uses it then.

    torchrun's agent keeps one store for all attempts on a machine, and ranks of a second one would read there the
    addresses of the first: gloo then fails to connect, or waits for a minute to do so. Here each attempt has keys of
    its own. Without restarts, or with a store for each attempt, accelerate joins the group itself.

    Args:
        device_type: `cpu`, `cuda` or another type of device.
    """
    group_exists = torch.distributed.is_available() and torch.distributed.is_initialized()
    has_ranks = rank_environment.get_world_size() > 1 and rank_environment.uses_agent_store()
    if group_exists or not has_ranks or device_type not in _BACKENDS:
        return
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent_store = torch.distributed.TCPStore(address, port, is_master=False)  # type: ignore[attr-defined]
    # Agents of several machines may count restarts differently: there `check_launcher` demands a store for each.
    attempt_key = f"attempt_{rank_environment.get_restart_count()}"
    torch.distributed.init_process_group(
        _BACKENDS[device_type],
        store=torch.distributed.PrefixStore(attempt_key, agent_store),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=rank_environment.get_world_size(),
    )


def limit_waiting(accelerator: Accelerator, step_seconds: float) -> None:
    """Limit how long a rank waits for the others from now on: they compute the same steps.

    Before, while one rank scans a folder or downloads weights for all, the limit is that of PyTorch: half an hour on a
    CPU, ten minutes on GPUs.

    Args:
        accelerator: communicates between the ranks.
        step_seconds: seconds of a step, as far as it is known.
    """
    if accelerator.num_processes == 1:
        return
    limit = timedelta(seconds=max(MAX_STEP_WAIT_SECONDS, _MAX_WAIT_STEPS * step_seconds))
    if hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout(limit)
    else:  # before PyTorch 2.15
        torch.distributed.distributed_c10d._set_pg_timeout(limit)


def all_reduce_sum(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Return the elementwise sum of a tensor over all ranks, same shape and dtype."""
    if accelerator.num_processes == 1:
        return values
    reduced: Tensor = accelerator.reduce(values, "sum")
    return reduced


def any_rank(accelerator: Accelerator, flags: list[bool]) -> list[bool]:
    """Return for each flag whether it is set on any rank.

    All ranks must leave a loop at the same step, so a decision that one of them takes alone is put to the vote first.

    Args:
        accelerator: communicates between the ranks.
        flags: this rank's flags, of the same number and meaning on all ranks.

    Returns:
        The flags, combined with a logical or over all ranks.
    """
    if accelerator.num_processes == 1:
        return flags
    # Not every backend reduces booleans; a sum of ones and zeros is exact in float32.
    votes = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return [count > 0 for count in accelerator.reduce(votes, "sum").tolist()]


def gather_sets(accelerator: Accelerator, local_sets: dict[str, set[int]]) -> dict[str, list[int]]:
    """Return the union over all ranks of sets of indices, by the name of the set.

    Args:
        accelerator: communicates between the ranks.
        local_sets: this rank's sets, with the same names on all ranks.

    Returns:
        The union of each set, sorted.
    """
    rank_sets = gather_object([local_sets]) if accelerator.num_processes > 1 else [local_sets]
    return {name: sorted(set().union(*(sets.get(name, ()) for sets in rank_sets))) for name in local_sets}


def broadcast_object(accelerator: Accelerator, value: T) -> T:
    """Broadcast an object from rank 0 to all ranks.

    Args:
        accelerator: communicates between the ranks.
        value: the object of rank 0; that of the other ranks is ignored.

    Returns:
        The object of rank 0.
    """
    if accelerator.num_processes == 1:
        return value
    objects = [value]
    broadcast_object_list(objects)
    return objects[0]


def shutdown(accelerator: Accelerator) -> None:
    """Wait for all ranks and close the process group."""
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        # A process that exits while the group is open is aborted by the threads of the communication library.
        accelerator.end_training()
