"""Resolve the paths of a list to image files below a folder, and refuse paths that leave it. No torch."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import private_folders
from ftlab.core.errors import DataError
from ftlab.data.folders.folder_reading import has_same_content
from ftlab.data.images.diagnosis import UNSUPPORTED_FORMATS
from ftlab.data.manifests.image_index import ImageIndex, match_folders, prefer_paths
from ftlab.data.sources import links
from ftlab.data.sources.listing import DatasetProblem

_MAX_MISSING_SHARE = 0.5
"""Fraction of rows without a file up to which the paths are taken as right, so that the files are missing."""
_DRIVE_OR_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/*")


@dataclass(slots=True)
class ListRow:
    """A row of a list with a path and a label.

    Attributes:
        line: from 1.
        raw_path: as written.
        label: name of the class.
        split: as `SPLITS`, "" for none.
        path: POSIX path of the image below the root once it is resolved, "" where there is none.
        size_bytes: size of the file.
        error_code: key of the problem where there is none.
    """

    line: int
    raw_path: str
    label: str
    split: str
    path: str = ""
    size_bytes: int = 0
    error_code: str = ""


class PathResolver:
    """Resolves the paths of lists to files below one folder.

    Args:
        index: images of the data set; its root must not be left.
    """

    def __init__(self, index: ImageIndex) -> None:
        """Store the index, which is read only if the paths are not found as written."""
        self.index, self.root = index, index.root
        self._root_prefix = f"{index.root}{os.sep}"
        # Resolving links costs system calls for every part of a path, and many images share few folders.
        self._inside_cache: dict[str, bool] = {}
        self._copied_folders: dict[tuple[str, str], bool] = {}

    def resolve_rows(self, rows: list[ListRow], file: Path, split: str, problems: list[DatasetProblem]) -> None:
        """Resolve the paths of a list: as written, or else, if most are not found, by their names.

        A list whose names fit several kinds of files raises a `DataError`.

        Args:
            rows: changed in place.
            file: the list; paths are relative to its folder.
            split: split of the list, "" for none.
            problems: extended in place where names are found in several places, or in another form.
        """
        base = _make_base(file.parent, self.root)
        missing_rows = []
        for row in rows:
            row.path, row.size_bytes, row.error_code = self._find_as_written(row.raw_path, base)
            if row.error_code in ("missing", "list_outside"):
                missing_rows.append(row)
        if missing_rows and len(missing_rows) > _MAX_MISSING_SHARE * len(rows):
            candidate_rows = self._find_candidates(missing_rows, file, problems)
            common = _find_common_folders([parts for _, parts, _ in candidate_rows])
            common_count = len(common) if len(missing_rows) == len(rows) else 0
            self._choose_candidates(candidate_rows, common_count, base, split, problems)

    def _find_candidates(
        self, rows: list[ListRow], file: Path, problems: list[DatasetProblem]
    ) -> list[tuple[ListRow, list[str], list[str]]]:
        """Find the images of the names of rows; if most have none, those whose names have the same affix more.

        Args:
            rows: rows whose paths are not found as written.
            file: their list.
            problems: extended in place where an affix is used.

        Returns:
            Of each row with images: the row, the parts of its path, and the images.

        Raises:
            DataError: the names fit several kinds of files.
        """
        named_rows = [(row, parts) for row in rows if (parts := _split_path(row.raw_path))]
        candidate_rows = [
            (row, parts, paths) for row, parts in named_rows if (paths := self.index.find_by_name(parts[-1]))
        ]
        if len(candidate_rows) >= _MAX_MISSING_SHARE * len(rows):
            return candidate_rows
        affixes = self.index.find_affixes(parts[-1] for _, parts in named_rows)
        affix_rows = [
            [(row, parts, paths) for row, parts in named_rows if (paths := self.index.find_by_affix(parts[-1], affix))]
            for affix in affixes
        ]
        if not affix_rows or len(affix_rows[0]) <= len(candidate_rows):
            return candidate_rows
        examples = [posixpath.basename(found[0][2][0]) for found in affix_rows]
        if len(affixes) > 1:
            raise DataError("data.list_affixes", file=file, first=examples[0], other=examples[1])
        values: dict[str, str | int] = {"name": affix_rows[0][0][1][-1], "file": examples[0]}
        problems.append(DatasetProblem(file.name, "list_affix", values))
        found_rows = {row.line for row, _, _ in candidate_rows}
        return candidate_rows + [found for found in affix_rows[0] if found[0].line not in found_rows]

    def _find_as_written(self, raw_path: str, base: str) -> tuple[str, int, str]:
        """Return path, size in bytes and error code ("" for none) of the file that a row names."""
        path = self._to_relative(raw_path, base)
        if path is None:
            return "", 0, "list_outside"
        if os.path.splitext(path)[1].lower() in UNSUPPORTED_FORMATS:  # noqa: PTH122 - for each row
            return path, 0, "format"
        code, size_bytes = self._check_file(path)
        if code == "missing" and not path.isascii():
            # The manifest may use another Unicode form than the disk: macOS decomposes accents.
            for unicode_form in ("NFC", "NFD"):
                other_path = unicodedata.normalize(unicode_form, path)
                code, size_bytes = self._check_file(other_path)
                if code != "missing":
                    return other_path, size_bytes, code
        return path, size_bytes, code

    def _to_relative(self, raw_path: str, base: str) -> str | None:
        """Return a path as written as a POSIX path relative to the root; None if it leads out of it."""
        path = raw_path.replace("\\", "/") if "\\" in raw_path else raw_path
        is_absolute = os.path.isabs(path)  # noqa: PTH117 - on Windows `Path("/x")` is not absolute, and must not be joined
        path = posixpath.normpath(path if is_absolute or not base else f"{base}/{path}")
        if is_absolute:
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
            file_stat = os.lstat(self._root_prefix + path)
            is_link = stat.S_ISLNK(file_stat.st_mode)
            if not self._is_inside(posixpath.dirname(path)) or (is_link and not self._is_inside(path)):
                return "link_out", 0
            if is_link:
                file_stat = os.stat(self._root_prefix + path)  # noqa: PTH116 - the path may be odd in any way
        except PermissionError:
            return "permission", 0
        except (OSError, ValueError):  # also a NUL byte, or half a character
            return "missing", 0
        return ("" if stat.S_ISREG(file_stat.st_mode) else "not_a_picture"), file_stat.st_size

    def _is_inside(self, path: str) -> bool:
        """Return whether a path, links resolved, is below the root, or may lead out of it."""
        if not links.are_outside_links_refused() and not private_folders.list_declared_folders():
            return True
        is_inside = self._inside_cache.get(path)
        if is_inside is None:
            real_path = Path(os.path.realpath(self.root / path))
            is_inside = real_path.is_relative_to(self.root) or not links.are_outside_links_refused()
            is_inside = is_inside and not private_folders.is_barred(self.root, real_path)
            self._inside_cache[path] = is_inside
        return is_inside

    def _choose_candidates(
        self,
        candidate_rows: list[tuple[ListRow, list[str], list[str]]],
        common_count: int,
        base: str,
        split: str,
        problems: list[DatasetProblem],
    ) -> None:
        """Choose the files of rows by as many of the folders that a list writes as are not the same in every row.

        Args:
            candidate_rows: see `_find_candidates`; the rows are changed in place.
            common_count: number of folders that all paths begin with and that may be unknown here.
            base: POSIX path of the list's folder below the root; "" is the root.
            split: split of the list.
            problems: extended in place.
        """
        chosen_folders: dict[str, str] = {}
        for row, parts, candidates in candidate_rows:
            matching = match_folders(candidates, parts[common_count:-1], self.root.name)
            paths = prefer_paths(matching, row.split or split, base) if len(matching) > 1 else matching
            if len(paths) > 1 and self._are_copies(paths):
                paths = paths[:1]
            if len(paths) == 1:
                row.path, row.size_bytes, row.error_code = paths[0], self.index.sizes[paths[0]], ""
                if len(matching) > 1:
                    other_path = next(path for path in matching if path != paths[0])
                    chosen_folders.setdefault(posixpath.dirname(paths[0]), posixpath.dirname(other_path))
            elif paths:
                row.error_code = "list_ambiguous"
        for folder, other_folder in chosen_folders.items():
            values: dict[str, str | int] = {"other": other_folder or self.root.name}
            problems.append(DatasetProblem(folder or self.root.name, "list_folder", values))

    def _are_copies(self, paths: list[str]) -> bool:
        """Return whether images of one name are the same: by their sizes, and by the first one of two folders."""
        first_path = paths[0]
        for path in paths[1:]:
            if self.index.sizes[path] != self.index.sizes[first_path]:
                return False
            folders = posixpath.dirname(first_path), posixpath.dirname(path)
            if folders not in self._copied_folders:
                self._copied_folders[folders] = has_same_content(self.root / first_path, self.root / path)
            if not self._copied_folders[folders]:
                return False
        return True

    def describe_error(self, row: ListRow) -> DatasetProblem:
        """Return the problem of a row without a file."""
        if row.error_code == "format":
            kind = UNSUPPORTED_FORMATS[os.path.splitext(row.path)[1].lower()]  # noqa: PTH122
            return DatasetProblem(row.path, "format", {"kind": kind, "line": row.line})
        if row.error_code == "list_ambiguous":
            paths = self.index.find_by_name(_split_path(row.raw_path)[-1])
            values: dict[str, str | int] = {"line": row.line, "first": paths[0], "other": paths[1]}
            return DatasetProblem(row.raw_path, "list_ambiguous", values)
        return DatasetProblem(row.raw_path, row.error_code, {"line": row.line})


def _make_base(folder: Path, root: Path) -> str:
    """Return the POSIX path of a list's folder below the root; "" is the root, and also for a folder elsewhere."""
    base = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ""
    return "" if base == "." else base


def _split_path(raw_path: str) -> list[str]:
    """Return the parts of a path as written on any system, without drive or scheme, `.` and `..`."""
    path = _DRIVE_OR_SCHEME.sub("", raw_path.replace("\\", "/"), count=1) if ":" in raw_path else raw_path
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _find_common_folders(part_lists: list[list[str]]) -> list[str]:
    """Return the folders that all paths begin with."""
    common = part_lists[0][:-1] if part_lists else []
    for parts in part_lists:
        if parts[: len(common)] != common:
            differs = (index for index, (a, b) in enumerate(zip(common, parts[:-1], strict=False)) if a != b)
            common = common[: next(differs, len(parts) - 1)]
    return common
