"""Manifests: a list of images and labels (CSV or JSON Lines), and the problems in it by line. No torch.

    path,label,split        path; file, filename, image …    label; class, category …    split; subset, set
    ants/1.jpg,ants,train   {"file_name": "ants/1.jpg", "label": "ants"}

Paths are relative to the manifest's folder and stay below it. Without a split column the split is random.
"""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset.manifest_rows import iter_rows
from ftlab.data.dataset.split import SPLIT_ALIASES
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.sources import links
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass

_SPLIT_BY_ALIAS = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}


@dataclass
class Manifest:
    """Content of a manifest.

    Attributes:
        images_by_split: images by split and class, with their sizes in bytes; key "" for rows without a split.
        line_numbers: line of each image, from 1.
        problems: rows that are not used, or not as the user may expect.
    """

    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)


def is_manifest(file: Path) -> bool:
    """Return whether a file is a manifest: whether it has recognizable columns of paths and labels."""
    try:
        next(iter_rows(file, []), None)
    except DataError:
        return False
    return True


def read_manifest(file: Path) -> Manifest:
    """Read a manifest of the images in its folder and below.

    A file that cannot be read, or that has no columns of paths and labels, raises a `DataError`.

    Args:
        file: absolute path, links resolved.

    Returns:
        The images of the rows that can be used, and a problem for each of the others.
    """
    manifest = Manifest()
    resolver = _PathResolver(file.parent)
    assignments: dict[str, tuple[str, str]] = {}
    conflicting_paths: set[str] = set()
    for line, row in iter_rows(file, manifest.problems):
        label, split = unicodedata.normalize("NFC", row["label"]), _SPLIT_BY_ALIAS.get(row["split"].casefold(), "")
        display_path = row["path"] or file.name
        if not row["path"]:
            manifest.problems.append(DatasetProblem(display_path, "list_no_path", {"line": line}))
        elif not label:
            manifest.problems.append(DatasetProblem(display_path, "list_no_label", {"line": line}))
        elif row["split"] and not split:
            manifest.problems.append(DatasetProblem(display_path, "list_split", {"line": line, "split": row["split"]}))
        else:
            path, size = resolver.resolve_file(row["path"], line, manifest.problems)
            if path in assignments:
                first_split, first_label = assignments[path]
                code, first_value = (
                    ("list_two_labels", first_label) if first_label != label else ("list_two_splits", first_split)
                )
                values: dict[str, str | int] = {
                    "line": line,
                    "first": manifest.line_numbers[path],
                    "other": first_value,
                }
                manifest.problems.append(
                    DatasetProblem(path, code if assignments[path] != (split, label) else "list_twice", values)
                )
                # Which label is right nobody knows; the same label in two splits keeps the first split.
                if first_label != label:
                    conflicting_paths.add(path)
            elif path:
                assignments[path], manifest.line_numbers[path] = (split, label), line
                manifest.images_by_split.setdefault(split, {}).setdefault(label, {})[path] = size
    # Once and at the end: an image may have conflicted in several rows.
    for path in conflicting_paths:
        split, label = assignments[path]
        del manifest.images_by_split[split][label][path]
    return manifest


class _PathResolver:
    """Resolves the paths of a manifest to files, and refuses paths that leave its folder.

    Args:
        root: folder of the manifest, absolute, links resolved.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Resolving links costs system calls for every part of a path, and many images share few folders.
        self.inside_cache: dict[str, bool] = {}

    def resolve_file(self, raw_path: str, line: int, problems: list[DatasetProblem]) -> tuple[str, int]:
        """Resolve a path as written to an image file.

        Args:
            raw_path: as it stands in the manifest.
            line: its line, for the problem.
            problems: extended in place if the file cannot be used.

        Returns:
            The POSIX path relative to the root and the size in bytes; ("", 0) if the file cannot be used.
        """
        path = self._to_relative(raw_path)
        code, disk_path = "", ""
        if path is None:
            code = "list_outside"
        elif format_name := UNSUPPORTED_FORMATS.get(os.path.splitext(path)[1].lower()):  # noqa: PTH122 - for each row
            problems.append(DatasetProblem(path, "format", {"kind": format_name, "line": line}))
            return "", 0
        else:
            # The manifest may use another Unicode form than the disk: macOS decomposes accents.
            for disk_path in dict.fromkeys(
                (path, *(unicodedata.normalize(unicode_form, path) for unicode_form in ("NFC", "NFD")))
            ):
                code, size = self._check_file(disk_path)
                if code != "missing":
                    break
        if code:
            problems.append(DatasetProblem(raw_path, code, {"line": line}))
            return "", 0
        return disk_path, size

    def _to_relative(self, raw_path: str) -> str | None:
        """Return a path as written as a POSIX path relative to the root; None if it leads out of it."""
        path = posixpath.normpath(raw_path.replace("\\", "/"))
        if os.path.isabs(path):  # noqa: PTH117 - on Windows `Path("/x")` is not absolute, and must not be joined either
            folder, name = os.path.split(path)
            try:
                # Only the folder is resolved: the image itself may be a link, which `_check_file` judges.
                path = (Path(folder).resolve() / name).relative_to(self.root).as_posix()
            except (OSError, ValueError, RuntimeError):
                return None
        return None if path.startswith(("../", "/")) or path in ("..", ".") else path

    def _check_file(self, path: str) -> tuple[str, int]:
        """Return the code of the problem with a file ("" for none) and its size in bytes."""
        try:
            path.encode()
            file_stat = os.lstat(self.root / path)
            is_link = stat.S_ISLNK(file_stat.st_mode)
            if not self._is_inside(posixpath.dirname(path)) or (is_link and not self._is_inside(path)):
                return "link_out", 0
            if is_link:
                file_stat = (self.root / path).stat()
        except PermissionError:
            return "permission", 0
        except (OSError, ValueError):  # also a NUL byte, or half a character
            return "missing", 0
        return ("" if stat.S_ISREG(file_stat.st_mode) else "not_a_picture"), file_stat.st_size

    def _is_inside(self, path: str) -> bool:
        """Return whether a path, links resolved, is below the root, or may lead out of it."""
        if not links.are_outside_links_refused():
            return True
        is_inside = self.inside_cache.get(path)
        if is_inside is None:
            is_inside = self.inside_cache[path] = Path(os.path.realpath(self.root / path)).is_relative_to(self.root)
        return is_inside
