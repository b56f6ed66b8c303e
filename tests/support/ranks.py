"""Two ranks of a training, as torchrun starts them, forked from one process that has imported everything: without
torchrun's own process, and in a third of the time. On Linux and macOS. What they compile is captured as the real
compiler captures it, and no program is made of it.

    python tests/support/ranks.py train --data …
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import timm  # noqa: F401 (what the ranks need is imported once, here; nothing is computed before the fork)

import ftlab.training.loop  # noqa: F401
from ftlab.cli import main
from ftlab.training import compile
from tests.support import double_precision

WORLD_SIZE = 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_rank(rank: int, port: int, words: list[str]) -> int:
    """Fork a process that runs a command of ftlab as one of the ranks; its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
        **{"WORLD_SIZE": str(WORLD_SIZE), "LOCAL_WORLD_SIZE": str(WORLD_SIZE)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    status = 1
    try:
        status = main.main(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    compile.BACKEND = "aot_eager"
    if os.environ.get(double_precision.VARIABLE):
        double_precision.train_in_double()
    port = free_port()
    started = [start_rank(rank, port, sys.argv[1:]) for rank in range(WORLD_SIZE)]
    sys.exit(max(abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in started))
