"""Folders that a page may name. Every path that comes from a page goes through `resolve_inside`."""

from __future__ import annotations

from pathlib import Path

from ftlab.core import user_dirs
from ftlab.core.errors import DataError


def resolve_inside(root: Path | None, path: str | Path) -> Path:
    """Return the real path of what a page sent, if it lies below `root`; symlinks are resolved before the check.

    Args:
        root: the folder allowed; None: none is.
        path: as typed: absolute, from `~`, or relative to `root`.

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
        real_path = (root / Path(typed_path).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as cause:  # a NUL byte, a loop of links, "~nobody"
        raise DataError("page.no_path", folder=typed_path) from cause
    # Unpacked uploads may lie below the root (the home folder), and belong to their visitors alone.
    if not real_path.is_relative_to(root.resolve()) or real_path.is_relative_to(get_visitors_dir().resolve()):
        raise DataError("page.outside", folder=typed_path, root=root)
    return real_path


def get_visitors_dir() -> Path:
    """Return the folder of the unpacked uploads of all visitors.

    Each upload is found by a secret random name, so no typed path may lead there.
    """
    return user_dirs.get_ftlab_home() / "visitors"
