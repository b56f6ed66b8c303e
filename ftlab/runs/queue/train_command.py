"""The commands that train a run, as a person would type them. No torch."""

from __future__ import annotations

from pathlib import Path

from ftlab.config import train_config
from ftlab.config.train_config import TrainConfig
from ftlab.runs.directory import Run


def build_train_command(config: TrainConfig, root: Path | str) -> list[str]:
    """Return the training command as a person would type it.

    Args:
        config: the configuration.
        root: folder of all runs.
    """
    return ["python", "-m", "ftlab", "train", *train_config.config_to_argv(config), "--runs", str(root)]


def build_resume_command(run: Run) -> list[str]:
    """Return the command that continues a run."""
    return ["python", "-m", "ftlab", "resume", run.name, "--runs", str(run.path.parent)]
