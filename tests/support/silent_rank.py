"""Two ranks, the second of which halts in the middle of its steps and keeps its connections: what the first one says.

    python tests/support/silent_rank.py

Prints the error of the rank that has waited for a second.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from accelerate import Accelerator

from ftlab.core.errors import RunError
from ftlab.training.devices import distributed
from ftlab.training.devices.lost_ranks import RankRegister, report_lost_ranks
from tests.support.ranks import free_port

WAIT_SECONDS = 1.0


def take_steps() -> None:
    accelerator, register = Accelerator(cpu=True), RankRegister()
    register.learn(accelerator)
    distributed.MAX_STEP_WAIT_SECONDS = WAIT_SECONDS
    distributed.limit_waiting(accelerator, 0.0)
    with report_lost_ranks(register, "lesson"):
        for step in range(3):
            if step == 2 and accelerator.process_index == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            distributed.any_rank(accelerator, [False])


def start_rank(rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    status = 1
    try:
        take_steps()
    except RunError as error:
        print(error, flush=True)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    free = free_port()
    waiting_pid, halted_pid = (start_rank(rank, free) for rank in range(2))
    status = os.waitstatus_to_exitcode(os.waitpid(waiting_pid, 0)[1])
    os.kill(halted_pid, signal.SIGKILL)
    os.waitpid(halted_pid, 0)
    sys.exit(status)
