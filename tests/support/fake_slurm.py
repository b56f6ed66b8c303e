"""Slurm's commands as scripts of a few lines: what `sbatch` is given is kept, and `sacct` says what a test wants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COMMANDS = {
    "sbatch": 'cat "$1" > "{folder}/script"; echo "Submitted batch job 17"; echo PENDING > "{folder}/state"',
    "srun": "exit 1",
    "sacct": 'echo "JobID|State|NodeList"; echo "17|$(cat "{folder}/state")|"',
    "scancel": 'echo "$@" >> "{folder}/cancelled"; echo CANCELLED > "{folder}/state"',
}


class FakeSlurm:
    """A cluster whose one job waits for its machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, lines in COMMANDS.items():
            self.write_command(name, lines.format(folder=folder))

    def write_command(self, name: str, lines: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
        path.chmod(0o755)

    def set_state(self, state: str) -> None:
        (self.folder / "state").write_text(state, encoding="utf-8")

    def read_options(self) -> dict[str, str]:
        """The options in the script that was submitted."""
        lines = (self.folder / "script").read_text(encoding="utf-8").splitlines()
        options = (line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH"))
        return {name: value for name, _, value in options}

    def read_command(self) -> str:
        """The last line of the script that was submitted."""
        return (self.folder / "script").read_text(encoding="utf-8").strip().splitlines()[-1]


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> FakeSlurm:
    """Let this process find Slurm's commands in a folder."""
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    return FakeSlurm(folder)
