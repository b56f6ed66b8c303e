"""What the queue starts runs with: processes of this machine, or jobs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ftlab.runs.directory import Run


class Launcher(Protocol):
    """Starts and ends the training of a run somewhere."""

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        """Start a training that outlives this process; a `RunError` says why it cannot be started.

        The training begins by removing the run's marker, and ends without a trace if it cannot. It must not begin
        before `is_alive` is true for it: if this process is killed in between, the run is launched again.

        Args:
            run: the run directory.
            command: the command, as a person would type it.
            environment: environment variables.
            working_dir: working directory.
        """

    def terminate(self, run: Run) -> None:
        """End a training that does not react; a `RunError` says that there is none."""

    def is_alive(self, run: Run) -> bool:
        """Return whether a training works on the run."""
