"""Find the images that a command is given: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ftlab.cli.terminal.output import print_problem
from ftlab.core.errors import DataError
from ftlab.core.typed_path import parse_typed_path


def find_image_files(names: list[str]) -> list[Path]:
    """Return the given files and the images in the given folders, in natural order, as a scan lists them.

    What a folder holds besides images is named on standard error.

    Args:
        names: files, folders and patterns such as `*.jpg`, which the shell of Windows does not expand.

    Raises:
        DataError: a name is neither file nor folder, a pattern matches nothing, or there is no image.
    """
    image_files: list[Path] = []
    for path in _expand_names(names):
        if path.is_dir():
            image_files += _list_images(path)
        elif path.exists():
            image_files.append(path)
        else:
            raise DataError("data.no_file", file=path)
    if not image_files:
        raise DataError("data.no_pictures_named", files=", ".join(names))
    return image_files


def _expand_names(names: list[str]) -> Iterator[Path]:
    """Yield the path of each name, and all matches of a name that is a pattern and no path.

    Yields:
        Paths, which need not exist.

    Raises:
        DataError: a pattern matches nothing.
    """
    from ftlab.data.sources.listing import natural_key  # loads NumPy and Pillow, which other commands do not need

    for name in names:
        path = parse_typed_path(name)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 - `**` and `~` as typed
            if not matches:
                raise DataError("data.no_match", file=path)
            yield from map(Path, matches)
        else:
            yield path


def _list_images(folder: Path) -> list[Path]:
    """Return the images below a folder in natural order, and print what is passed over."""
    from ftlab.data.sources.listing import list_recursively, merge_other_files, natural_key

    listing = list_recursively(folder.resolve(), "")
    for problem in merge_other_files(listing.problems):
        print_problem(problem.location, problem, sys.stderr)
    return [folder / name for name in sorted(listing.images, key=natural_key)]
