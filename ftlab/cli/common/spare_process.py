"""A process that imports what a training needs, waits for one command line, and becomes the process of that command.

Whoever keeps it writes one line of JSON to its standard input (`ftlab.runs.jobs.warm_worker`). If that end of the pipe
is closed before, as when the server was killed, the process ends at once, also in the middle of an import.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from ftlab.core import lazy_import
from ftlab.runs.queue import marker

_MODULES = ("ftlab.training.loop", "torchvision", "timm")
"""What a training imports: torch with the loop, and the libraries of the backbones, of which it needs one."""


def await_command() -> list[str]:
    """Import what a training needs, and wait for the command line.

    Returns:
        The arguments of the command, as after `python -m ftlab`. This process has its environment variables, working
        directory and log by then. If it gets none, it ends here.
    """
    lines: list[bytes] = []

    def read_line() -> None:
        lines.append(sys.stdin.buffer.readline())
        if not lines[0].endswith(b"\n"):
            # Nobody needs this process any more, and nothing of it is to be saved.
            os._exit(0)

    reader = threading.Thread(target=read_line, name="spare", daemon=True)
    reader.start()
    import_libraries()
    reader.join()
    return _become(json.loads(lines[0]))


def import_libraries() -> None:
    """Import what a training needs. Nothing of it begins to use a GPU: a CUDA context would take its memory."""
    for name in _MODULES:
        lazy_import.import_module(name)


def _become(job: dict[str, Any]) -> list[str]:
    """Take over environment, working directory and log of a command.

    Args:
        job: as the warm worker has sent it.

    Returns:
        The arguments of the command.
    """
    for name in marker.DECLARED_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(job["environment"])
    os.chdir(job["working_dir"])
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)
    return [str(argument) for argument in job["arguments"]]
