"""Folders of ftlab's own that no data set may reach: uploads, archives and caches of all visitors, and runs. No torch.

A server declares them when it starts, so that the trainings and audits that it starts inherit the declaration. Without
one (on the command line) a person may use any folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ftlab.core import user_dirs

_PRIVATE_FOLDERS_VARIABLE = "FTLAB_PRIVATE_FOLDERS"
"""Environment variable: the declared folders, separated as in `PATH`."""
_PUBLIC_SUBFOLDERS = ("data", "samples")
"""Subfolders of `FTLAB_HOME` that hold published images only: data sets of tutorials, and sample sets."""


def declare_private_folders(folders: Iterable[Path]) -> None:
    """Bar folders from every data set from now on, in this process and in those that it starts.

    Args:
        folders: they need not exist.
    """
    paths = {os.path.realpath(folder) for folder in folders}
    os.environ[_PRIVATE_FOLDERS_VARIABLE] = os.pathsep.join(sorted(paths))


def list_declared_folders() -> tuple[Path, ...]:
    """Return the declared folders, links resolved."""
    return tuple(Path(path) for path in os.environ.get(_PRIVATE_FOLDERS_VARIABLE, "").split(os.pathsep) if path)


def is_barred(root: Path, path: Path, private_folders: Iterable[Path] | None = None) -> bool:
    """Return whether a path lies in a private folder that the way from a root would enter.

    Args:
        root: folder of the data set, or the folder that visitors may use, links resolved. What lies in a private folder
            itself (an unpacked upload) is no longer barred from there.
        path: links resolved.
        private_folders: links resolved; None: the declared ones.
    """
    folders = list_declared_folders() if private_folders is None else private_folders
    crossed_folders = [
        folder for folder in folders if path.is_relative_to(folder) and (root == folder or folder not in root.parents)
    ]
    if not crossed_folders:
        return False
    home = Path(os.path.realpath(user_dirs.get_ftlab_home()))
    is_public = any(path.is_relative_to(home / name) for name in _PUBLIC_SUBFOLDERS)
    return not (is_public and set(crossed_folders) == {home})
