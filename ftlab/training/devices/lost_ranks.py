"""Ranks that are gone or cannot be reached: the others end with one line that names them, and what to do."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from accelerate import Accelerator
from accelerate.utils import gather_object

from ftlab.core import machine
from ftlab.core.errors import RunError
from ftlab.runs import process_record
from ftlab.training.devices import rank_environment

_LOOK_SECONDS = 2.0
"""Seconds in which a rank of this machine whose connection has broken ends."""
_CONNECTION_PATTERN = re.compile(r"gloo|nccl|c10d|TCPStore", re.IGNORECASE)
"""What an error of the communication between ranks names: the library, its store or its source file."""
_PLACE_PATTERN = re.compile(r"^\[[^\]]*\]\s*")
"""The line of source code that such an error begins with."""


@dataclass(frozen=True)
class _RankProcess:
    """Process of a rank; the start time identifies it, as the system gives its number to others later."""

    rank: int
    host: str
    pid: int
    created: float


class RankRegister:
    """Which process of which machine each rank is."""

    def __init__(self) -> None:
        """Know of no rank yet."""
        self._processes: list[_RankProcess] = []

    def learn(self, accelerator: Accelerator) -> None:
        """Learn the processes of all ranks, all of which must call this together.

        Args:
            accelerator: communicates between the ranks.
        """
        if accelerator.num_processes == 1:
            return
        created = machine.get_process_start_time(psutil.Process())
        own_process = _RankProcess(accelerator.process_index, platform.node(), os.getpid(), created)
        self._processes = gather_object([own_process])

    def find_ended(self) -> list[_RankProcess]:
        """Return the ranks of this machine whose process has ended, or ends within two seconds; empty if none does."""
        own_host, end_time = platform.node(), time.monotonic() + _LOOK_SECONDS
        while True:
            local_processes = [process for process in self._processes if process.host == own_host]
            ended = [
                entry for entry in local_processes if process_record.find_process(entry.pid, entry.created) is None
            ]
            if ended or time.monotonic() > end_time:
                return ended
            time.sleep(0.05)

    def describe_other_ranks(self) -> str:
        """Return the other machines, and which ranks they have; if there are none, the other ranks of this machine."""
        own_host, own_pid = platform.node(), os.getpid()
        ranks_by_host: dict[str, list[str]] = {}
        for process in self._processes:
            if (process.host, process.pid) != (own_host, own_pid):
                ranks_by_host.setdefault(process.host, []).append(str(process.rank))
        if len(ranks_by_host) > 1:
            # Processes of one machine reach each other.
            ranks_by_host.pop(own_host, None)
        return ", ".join(f"{host} (rank {', '.join(ranks)})" for host, ranks in sorted(ranks_by_host.items()))


@contextmanager
def report_lost_ranks(register: RankRegister, run_name: str) -> Iterator[None]:
    """Raise an error of the communication with other ranks as one line that says which of them is gone.

    Args:
        register: knows the processes of the ranks, once they have met.
        run_name: of the run that can be resumed.

    Raises:
        RunError: a rank has ended, or cannot be reached. Any other exception is passed on as it is.
    """  # noqa: DOC501
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if rank_environment.get_world_size() == 1 or not _CONNECTION_PATTERN.search(str(error)):
            raise
        cause = _PLACE_PATTERN.sub("", str(error).splitlines()[0])
        ended = register.find_ended()
        if ended:
            ranks = ", ".join(f"{process.rank} (PID {process.pid})" for process in ended)
            raise RunError(
                "run.rank_ended", ranks=ranks, count=rank_environment.get_world_size(), host=platform.node(),
                run=run_name,
            ) from error  # fmt: skip
        hosts = register.describe_other_ranks() or platform.node()
        raise RunError("run.rank_unreachable", hosts=hosts, cause=cause, run=run_name) from error


SHARED_REGISTER = RankRegister()
"""The ranks that train with this process, which belongs to one process group at most."""
