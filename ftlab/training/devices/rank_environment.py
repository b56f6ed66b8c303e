"""Ranks of a training as its launcher describes them in the environment: how many there are, and which one this is.

torchrun sets the variables; no torch is imported to read them. A launcher that sets others would start several
trainings, or one process where several were asked for: `check_launcher` refuses it.
"""

from __future__ import annotations

import os
import platform
import sys

import psutil

from ftlab.core import machine
from ftlab.core.errors import ConfigError

_MPI_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables in which Open MPI, MPICH and MVAPICH give the number of processes."""


def get_world_size() -> int:
    """Return the number of ranks of the training, over all machines; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this is rank 0, the only process of a training that writes files and messages."""
    return int(os.environ.get("RANK", "0")) == 0


def has_launcher() -> bool:
    """Return whether a launcher has started this process as one of the ranks, or as the only one."""
    return "WORLD_SIZE" in os.environ


def check_process_count(process_count: int) -> None:
    """Check that so many processes can train a new run on this machine, or that a launcher has started as many.

    Args:
        process_count: that the configuration asks for; 1 leaves it to the launcher, if there is one.

    Raises:
        ConfigError: there are too few cores, the launcher has started another number, or this is Windows.
    """
    if has_launcher():
        if process_count not in (1, get_world_size()):
            raise ConfigError("config.processes_launched", count=process_count, actual=get_world_size())
        return
    if process_count > machine.count_cpu_cores():
        raise ConfigError("config.processes_cores", count=process_count, cores=machine.count_cpu_cores())
    if process_count > 1 and sys.platform == "win32":
        raise ConfigError("config.processes_system")


def check_has_ranks(process_count: int) -> None:
    """Refuse to train alone where several processes were asked for, and nobody has started them.

    Args:
        process_count: that the configuration asks for.

    Raises:
        ConfigError: this process would train alone, as in a Python program.
    """
    if process_count > 1 and not has_launcher():
        raise ConfigError("config.processes_apart", count=process_count)


def check_launcher(command: str) -> None:
    """Refuse a launcher whose processes would not train together.

    Args:
        command: of ftlab that is run, `train` or `resume`: the error names the torchrun command for it.

    Raises:
        ConfigError: `accelerate launch` has started one process where more were asked for, mpirun has started several
            that do not know of each other, a rank does not know its number, or restarts on several machines would
            fail.
    """
    world_size = get_world_size()
    if not has_launcher():
        # Without torchrun, `accelerate launch` starts one process. It names an address only where more were asked for.
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ:
            raise ConfigError("config.accelerate_launch", command=command)
        if any(int(os.environ.get(name, "1")) > 1 for name in _MPI_SIZE_VARIABLES):
            raise ConfigError("config.mpi_launch", command=command)
    # Accelerate takes a process without a local rank for a training of its own.
    elif world_size > 1 and not {"RANK", "LOCAL_RANK"} <= os.environ.keys():
        raise ConfigError("config.rank_unknown", count=world_size, command=command)
    may_restart = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
    if may_restart and uses_agent_store() and int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:
        raise ConfigError("config.restart_store")


def uses_agent_store() -> bool:
    """Return whether ranks find each other through the store of torchrun's agent, which outlives a restart."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def get_restart_count() -> int:
    """Return how often torchrun has started the ranks again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def get_launch_id() -> str:
    """Return what identifies the call of torchrun that started this process, also after a restart; empty without it.

    It is the `--rdzv-id` of the call, or its process, which is the parent of all ranks on a machine.
    """
    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id is None:
        return ""
    return f"{platform.node()}:{psutil.Process(os.getppid()).create_time()}" if run_id == "none" else run_id
