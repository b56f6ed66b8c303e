"""Commands as text that a person can paste into a shell."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence


def format_command(arguments: Sequence[str]) -> str:
    """Return a command as one line for the shell of this system."""
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)
