"""Folders that a page may name. Every path that comes from a page goes through `resolve_inside`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ftlab.core import private_folders, shell, user_dirs
from ftlab.core.errors import DataError

_GRADIO_VARIABLES = ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE")
"""Environment variables with folders of Gradio: uploads, files to download, cached examples."""
MAX_SHOWN_CHARACTERS = 160
"""Characters of a path that a message repeats."""


def resolve_inside(root: Path | None, path: str | Path) -> Path:
    """Return the real path of what a page sent, if it lies below `root`; symlinks are resolved before the check.

    Args:
        root: the folder allowed; None: none is.
        path: as typed: absolute, from `~`, or relative to `root`; to the home folder where `root` is a whole drive.

    Returns:
        The absolute path, which need not exist.

    Raises:
        DataError: it lies outside, or is not a valid path. Existence is not checked, so that the answer tells nothing
            about files outside.
    """
    if root is None:
        raise DataError("page.no_folders")
    typed_path = str(path).strip()
    try:
        base = Path.home() if root == Path(root.anchor) else root
        real_path = (base / Path(typed_path).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as cause:  # a NUL byte, a loop of links, "~nobody"
        raise DataError("page.no_path", folder=_shorten(typed_path)) from cause
    # Uploads and runs may lie below the root (the home folder), and belong to their visitors alone.
    real_root = root.resolve()
    if (
        not real_path.is_relative_to(real_root)
        or real_path.is_relative_to(get_visitors_dir().resolve())
        or private_folders.is_barred(real_root, real_path, list_private_folders())
    ):
        raise DataError("page.outside", **describe_outside(root, typed_path))
    _check_usable(real_path, typed_path)
    return real_path


def describe_outside(root: Path, typed_path: str) -> dict[str, object]:
    """Return the values of the error `page.outside`, which says by which command a folder could be named.

    Args:
        root: folder allowed.
        typed_path: as it was typed, which tells nothing about what exists.
    """
    folder = _shorten(typed_path)
    command = shell.format_command(["python", "-m", "ftlab", "app", "--data-root", folder])
    return {"folder": folder, "root": root, "command": command}


def _check_usable(real_path: Path, typed_path: str) -> None:
    """Check that the system can look a path up, whether or not there is anything.

    Args:
        real_path: inside the allowed folder.
        typed_path: as it was typed, for the error.

    Raises:
        DataError: it is too long, or a folder on the way may not be entered.
    """
    try:
        real_path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as cause:
        raise DataError("page.no_path", folder=_shorten(typed_path)) from cause


def _shorten(typed_path: str) -> str:
    """Return a path for a message: without the middle of a long one, and what is no text escaped."""
    if len(typed_path) > MAX_SHOWN_CHARACTERS:
        typed_path = f"{typed_path[: MAX_SHOWN_CHARACTERS // 2]}…{typed_path[-MAX_SHOWN_CHARACTERS // 2 :]}"
    return typed_path.encode("utf-8", "backslashreplace").decode()


def list_private_folders(runs_dir: Path | None = None) -> list[Path]:
    """Return the folders that no path of a page may lead to, links resolved: ftlab's own, Gradio's, and the runs.

    Args:
        runs_dir: folder of the runs; None: those that were declared.
    """
    own_folders = [
        user_dirs.get_ftlab_home(),
        Path(tempfile.gettempdir()) / "gradio",
        *([runs_dir] if runs_dir else []),
    ]
    gradio_folders = [Path(folder) for name in _GRADIO_VARIABLES if (folder := os.environ.get(name))]
    return [
        *(Path(os.path.realpath(folder)) for folder in (*own_folders, *gradio_folders)),
        *private_folders.list_declared_folders(),
    ]


def get_default_uploads_dir() -> Path:
    """Return the folder of ftlab's own for the files that pages send, and for those that are made to be shown."""
    return user_dirs.get_ftlab_home() / "uploads"


def get_uploads_dir() -> Path:
    """Return the folder that Gradio keeps such files in: the one that the environment names, else ftlab's own."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or get_default_uploads_dir())


def get_visitors_dir() -> Path:
    """Return the folder of the unpacked uploads of all visitors.

    Each upload is found by a secret random name, so no typed path may lead there.
    """
    return user_dirs.get_ftlab_home() / "visitors"
