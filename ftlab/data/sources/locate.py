"""What `--data` names: a folder, a zip or a list of pictures → the folder where the pictures begin, and lists there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.sources import archive
from ftlab.data.sources.listing import MANIFEST_SUFFIXES, find_dataset_root, list_folder


@dataclass(frozen=True)
class DatasetLocation:
    """Where the pictures are.

    Attributes:
        folder: absolute, links resolved; a lone wrapping folder is entered.
        manifest_file: the list that was asked for; None when it was a folder or a zip.
        manifest_files: lists that lie in the folder, or beside a wrapping one.
    """

    folder: Path
    manifest_file: Path | None = None
    manifest_files: tuple[Path, ...] = ()


def is_dataset_file(path: Path) -> bool:
    """Whether a path names a zip or a list, by its ending, and is there."""
    return (archive.is_archive(path) or path.suffix.lower() in MANIFEST_SUFFIXES) and path.is_file()


def locate_dataset(source: Path | str, progress: archive.UnpackProgress | None = None) -> DatasetLocation:
    """Where the pictures of a source are. A zip is unpacked into `FTLAB_HOME` when its content is not there yet.

    Args:
        source: a folder, a zip, or a list (CSV or JSON lines).
        progress: called with files unpacked and files in all.

    Raises:
        DataError: it is not there, none of these, or cannot be read.
    """
    source_path = Path(source).expanduser()
    try:
        names_file = is_dataset_file(source_path)
    except (OSError, ValueError):  # a name that cannot be one; looking at it as a folder says what is wrong
        names_file = False
    if names_file and archive.is_archive(source_path):
        return _locate_in_folder(archive.ensure_unpacked(source_path, progress))
    if names_file:
        try:
            manifest_file = source_path.resolve(strict=True)
        except (OSError, RuntimeError) as cause:
            raise DataError("data.missing", folder=source_path) from cause
        return DatasetLocation(manifest_file.parent, manifest_file=manifest_file)
    return _locate_in_folder(source_path)


def _locate_in_folder(path: Path) -> DatasetLocation:
    folder = find_dataset_root(path)
    start_folder = path.resolve()
    levels = [folder, *(parent for parent in folder.parents if parent.is_relative_to(start_folder))]
    return DatasetLocation(
        folder, manifest_files=tuple(level / name for level in levels for name in list_folder(level, "").manifests)
    )
