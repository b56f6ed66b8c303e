"""The beginning of a training that the queue started: its process waits until its run directory names it.

Whoever starts the process may be killed at any moment. If that happens before the run directory names the process, the
queue starts another one; so this one must end. It learns of it by its standard input, which the system closes then.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ftlab.runs.directory import Run
from ftlab.runs.queue import marker

RUN_FOLDER_ENV = "FTLAB_RUN"
"""Environment variable: the run directory, already created, that `train` uses."""
GATE_ENV = "FTLAB_START_GATE"
"""Environment variable: the run directory of a training that waits for `GO_LINE` on its standard input."""
GO_LINE = b"go\n"


def pass_gate() -> bool:
    """Wait until this process may begin.

    Returns:
        Whether it may. If not, the run was cancelled, or another process was started for it.
    """
    folder = os.environ.pop(GATE_ENV, "")
    if not folder:
        return True
    if sys.stdin.buffer.readline() != GO_LINE:
        return False
    run = Run(Path(folder))
    # The one step that only one process can take.
    if not marker.remove_marker(run):
        return False
    process = run.liveness.find_process()
    # A virtual environment's python on Windows is a launcher: the process that was started is then our parent.
    if process is None or process.pid not in (os.getpid(), os.getppid()):
        run.liveness.set_owner(os.getpid())
    return True
