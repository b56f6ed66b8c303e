"""Locate the data set that `--data` names (a folder, an archive or a manifest): its root folder and manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.core.typed_path import parse_typed_path
from ftlab.data.sources import archive, archive_kinds
from ftlab.data.sources.archive_writing import UnpackProgress
from ftlab.data.sources.listing import LOOSE_MANIFEST_SUFFIXES, MANIFEST_SUFFIXES, find_dataset_root, list_folder
from ftlab.data.sources.matlab_files import MATLAB_SUFFIX


@dataclass(frozen=True)
class DatasetLocation:
    """Location of the images of a data set.

    Attributes:
        folder: absolute path, links resolved; a lone wrapping folder is entered.
        manifest_file: the manifest that the user named; None for a folder or an archive.
        manifest_files: files in the folder that may be manifests, and those next to a wrapping folder.
        wrapper_folders: folders around it that were entered, the innermost first.
    """

    folder: Path
    manifest_file: Path | None = None
    manifest_files: tuple[Path, ...] = ()
    wrapper_folders: tuple[Path, ...] = ()


def is_dataset_file(path: Path) -> bool:
    """Return whether a path is an existing archive or manifest, judged by its suffix."""
    suffix = path.suffix.lower()
    is_named_so = archive.is_archive(path) or suffix in MANIFEST_SUFFIXES or suffix in LOOSE_MANIFEST_SUFFIXES
    return is_named_so and path.is_file()


def locate_dataset(source: Path | str, progress: UnpackProgress | None = None, zip_names: str = "") -> DatasetLocation:
    """Locate the images of a source; an archive is unpacked into `FTLAB_HOME` if its content is not there yet.

    Args:
        source: a folder, a zip or tar archive, or a manifest (CSV, JSON Lines, JSON or text), as `parse_typed_path`
            reads it.
        progress: called with the number of files unpacked and of all files.
        zip_names: encoding of the names in an archive; empty: it is detected.

    Returns:
        The folder and the manifests.

    Raises:
        DataError: the source does not exist, is an address or none of these, or cannot be read.
    """
    source_path = parse_typed_path(source)
    try:
        is_matlab = source_path.suffix.lower() == MATLAB_SUFFIX and source_path.is_file()  # refused, with a way out
        names_file = is_matlab or is_dataset_file(source_path)
    except (OSError, ValueError):  # no valid path (a NUL byte, too long): listing it as a folder gives the right error
        names_file = False
    if names_file and archive.is_archive(source_path):
        return _locate_in_folder(archive.ensure_unpacked(source_path, progress, zip_names))
    if names_file:
        try:
            manifest_file = source_path.resolve(strict=True)
        except (OSError, RuntimeError) as cause:
            raise DataError("data.missing", folder=source_path) from cause
        return DatasetLocation(manifest_file.parent, manifest_file=manifest_file)
    archive_kinds.check_no_archive(source_path)
    return _locate_in_folder(source_path)


def _locate_in_folder(path: Path) -> DatasetLocation:
    """Return the root folder below a path, and the manifest candidates on the way to it, the innermost first."""
    folder = find_dataset_root(path)
    start_folder = path.resolve()
    wrapper_folders = tuple(parent for parent in folder.parents if parent.is_relative_to(start_folder))
    manifest_files = (level / name for level in (folder, *wrapper_folders) for name in list_folder(level, "").manifests)
    return DatasetLocation(folder, manifest_files=tuple(manifest_files), wrapper_folders=wrapper_folders)
