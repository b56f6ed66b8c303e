"""The pause of a queue: while its file exists, runs that it binds stay where they wait. No torch."""

from __future__ import annotations

from pathlib import Path

PAUSE_FILE = ".queue-paused"
"""File in the runs folder whose existence holds the queue, for all processes that look after it."""


def is_paused(root: Path) -> bool:
    """Return whether the queue of a runs folder is held."""
    return (root / PAUSE_FILE).exists()


def set_paused(root: Path, *, is_paused: bool) -> None:
    """Hold the queue of a runs folder, or let it go on; an `OSError` says that the folder cannot be written.

    Args:
        root: folder of all runs.
        is_paused: whether it is held from now on.
    """
    if is_paused:
        root.mkdir(parents=True, exist_ok=True)
        (root / PAUSE_FILE).touch()
    else:
        (root / PAUSE_FILE).unlink(missing_ok=True)
