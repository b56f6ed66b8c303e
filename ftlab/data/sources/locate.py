"""What `--data` names: a folder, a zip or a list of pictures → the folder where the pictures begin, and lists there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.sources import archive
from ftlab.data.sources.listing import LISTS, look, top


@dataclass(frozen=True)
class Origin:
    """Where the pictures are.

    Attributes:
        folder: absolute, links resolved; a lone wrapping folder is entered.
        named: the list that was asked for; None when it was a folder or a zip.
        lists: lists that lie in the folder, or beside a wrapping one.
    """

    folder: Path
    named: Path | None = None
    lists: tuple[Path, ...] = ()


def is_file(path: Path) -> bool:
    """Whether a path names a zip or a list, by its ending, and is there."""
    return (archive.is_archive(path) or path.suffix.lower() in LISTS) and path.is_file()


def find(source: Path | str, progress: archive.Progress | None = None) -> Origin:
    """Where the pictures of a source are. A zip is unpacked into `FTLAB_HOME` when its content is not there yet.

    Args:
        source: a folder, a zip, or a list (CSV or JSON lines).
        progress: called with files unpacked and files in all.

    Raises:
        DataError: it is not there, none of these, or cannot be read.
    """
    asked = Path(source).expanduser()
    try:
        listed = is_file(asked)
    except (OSError, ValueError):  # a name that cannot be one; looking at it as a folder says what is wrong
        listed = False
    if listed and archive.is_archive(asked):
        return _of_folder(archive.ensure(asked, progress))
    if listed:
        try:
            file = asked.resolve(strict=True)
        except (OSError, RuntimeError) as cause:
            raise DataError("data.missing", folder=asked) from cause
        return Origin(file.parent, named=file)
    return _of_folder(asked)


def _of_folder(asked: Path) -> Origin:
    folder = top(asked)
    begin = asked.resolve()
    levels = [folder, *(one for one in folder.parents if one.is_relative_to(begin))]
    return Origin(folder, lists=tuple(level / name for level in levels for name in look(level, "").lists))
