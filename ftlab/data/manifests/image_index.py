"""Find the images of a data set by their names, as lists write them: without folders or endings. No torch."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ftlab.data.manifests.column_names import has_image_suffix
from ftlab.data.manifests.list_splits import find_split
from ftlab.data.sources.listing import join_path, list_folder

MAX_INDEXED_FOLDERS = 200_000
"""Folders after which the index stops: a list may lie in a home folder."""
MAX_INDEXED_IMAGES = 10_000_000
_MASK_WORDS = frozenset(
    (
        *("mask", "masks", "trimap", "trimaps", "segmentation", "segmentations", "annotation", "annotations"),
        *("groundtruth", "gt", "seg", "segmentationclass", "segmentationobject"),
    )
)
"""Words of folders that hold masks of the images, under the same names."""
_UPLOAD_PREFIX = re.compile(r"(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{4,8}-(?=.)")
"""What Label Studio writes before the name of a file that was uploaded."""
_WHOLE_NUMBER = re.compile(r"0*(\d+?)(?:\.0+)?")
_NAME_PART = re.compile(r"[^\W\d_]+|\d+|[\W_]")
"""Letters, a number or a separator: where the name of a list may begin and end within that of a file."""
_AFFIX_SAMPLE_IMAGES, _MAX_NAME_PARTS, _MAX_AFFIX_CANDIDATES = 500, 24, 8
_MIN_AFFIX_SHARE, _MIN_AFFIX_IMAGES, _RIVAL_AFFIX_SHARE = 0.5, 2, 0.1
"""Fraction of the names, or of the images if they are fewer, that an affix must find; fraction of these for a rival."""


@dataclass(frozen=True)
class NameAffix:
    """What the names of files have more than those in a list: `train_1_aligned.jpg` for `train_1.jpg`.

    Attributes:
        prefix: letters before the name in the list, lower case.
        suffix: letters after it and before the ending; both are empty if the files only have another ending.
    """

    prefix: str
    suffix: str


class ImageIndex:
    """Images below a folder by their names; the folder is listed when the first one is asked for.

    Args:
        root: absolute path, links resolved.
    """

    def __init__(self, root: Path) -> None:
        """Store the root; nothing is read yet."""
        self.root = root

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size in bytes of each image by its POSIX path below the root."""
        sizes: dict[str, int] = {}
        pending = [""]
        # Links may lead to the same folder in several ways, or in a circle.
        visited_folders: set[str] = set()
        for folder in pending:
            folder_path = os.path.realpath(self.root / folder)
            if folder_path in visited_folders:
                continue
            visited_folders.add(folder_path)
            listing = list_folder(self.root, folder)
            sizes.update({join_path(folder, name): size for name, size in listing.images.items()})
            pending += [join_path(folder, name) for name in listing.folders]
            if len(pending) > MAX_INDEXED_FOLDERS or len(sizes) > MAX_INDEXED_IMAGES:
                break
        return sizes

    @cached_property
    def _paths_by_name(self) -> dict[str, list[str]]:
        """Paths by the name of the file, see `_fold_name`."""
        paths = defaultdict(list)
        for path in self.sizes:
            paths[_fold_name(path.rpartition("/")[2])].append(path)
        return dict(paths)

    @cached_property
    def _paths_by_stem(self) -> dict[str, list[str]]:
        """Paths by the name of the file without its ending."""
        paths = defaultdict(list)
        for name, named_paths in self._paths_by_name.items():
            paths[name.rpartition(".")[0] or name].extend(named_paths)
        return dict(paths)

    @cached_property
    def _paths_by_number(self) -> dict[str, list[str]]:
        """Paths of files whose names are numbers, by the number without leading zeros."""
        paths = defaultdict(list)
        for stem, stem_paths in self._paths_by_stem.items():
            if stem.isascii() and stem.isdigit():
                paths[stem.lstrip("0") or "0"].extend(stem_paths)
        return dict(paths)

    def find_by_name(self, name: str) -> list[str]:
        """Return the images of a name: with its ending, else without, else as a number with other leading zeros.

        Args:
            name: last part of a path as written in a list.

        Returns:
            POSIX paths below the root; those with the same case if there are any.
        """
        folded_name = _fold_name(name)
        if has_image_suffix(name):
            paths = self._paths_by_name.get(folded_name, [])
        else:
            paths = self._paths_by_name.get(folded_name) or self._paths_by_stem.get(folded_name, [])
            if not paths and (number := _WHOLE_NUMBER.fullmatch(name)):
                paths = self._paths_by_number.get(number[1], [])
        if not paths and (prefix := _UPLOAD_PREFIX.match(name)):
            return self.find_by_name(name[prefix.end() :])
        same_case = [path for path in paths if path.rpartition("/")[2].startswith(name)] if len(paths) > 1 else paths
        return same_case or paths

    def can_find(self, value: str) -> bool:
        """Return whether a value, such as `train/cat.1` or `cat.1.jpg`, is the name of an image."""
        name = _get_name(value)
        return bool(name) and bool(self.find_by_name(name))

    def count_found(self, values: Sequence[str]) -> int:
        """Return how many values are names of images, or if none is, how many are with an affix that is clear."""
        count = sum(map(self.can_find, values))
        if count:
            return count
        affixes = self.find_affixes(map(_get_name, values))
        if len(affixes) != 1:
            return 0
        return sum(bool(self.find_by_affix(_get_name(value), affixes[0])) for value in values)

    def find_by_affix(self, name: str, affix: NameAffix) -> list[str]:
        """Return the images whose names have an affix more than a name in a list; with its ending if there are any."""
        paths = self._paths_by_stem.get(affix.prefix + _fold_stem(name) + affix.suffix, [])
        ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - for each of many rows
        return [path for path in paths if path.lower().endswith(ending)] or paths if has_image_suffix(name) else paths

    def find_affixes(self, names: Iterable[str]) -> list[NameAffix]:
        """Find what leads from the names of a list, of which no image has one, to images.

        Args:
            names: last parts of the paths in the list.

        Returns:
            The affix that finds most of the images; and a second one if it finds other images for the same names, so
            that it is open which are meant. Empty if there is none.
        """
        stems = {_fold_stem(name) for name in names} - {""}
        found_stems = {
            affix: {stem for stem in stems if affix.prefix + stem + affix.suffix in self._paths_by_stem}
            for affix, _ in self._count_affixes(stems).most_common(_MAX_AFFIX_CANDIDATES)
        }
        affixes = sorted(found_stems, key=lambda affix: -len(found_stems[affix]))
        max_count = min(len(stems), len(self._paths_by_stem))
        if not affixes or len(found_stems[affixes[0]]) < max(_MIN_AFFIX_IMAGES, _MIN_AFFIX_SHARE * max_count):
            return []
        best_stems = found_stems[affixes[0]]
        rivals = [
            affix
            for affix in affixes[1:]
            if len(found_stems[affix] & best_stems) >= max(1, _RIVAL_AFFIX_SHARE * len(best_stems))
        ]
        return [affixes[0], *rivals[:1]]

    def _count_affixes(self, stems: set[str]) -> Counter[NameAffix]:
        """Count the affixes by which the names of a sample of the images contain names of a list.

        Args:
            stems: names in the list, without endings.

        Returns:
            The number of images by affix.
        """
        affixes: Counter[NameAffix] = Counter()
        image_stems = [*self._paths_by_stem]
        for image_stem in image_stems[:: 1 + len(image_stems) // _AFFIX_SAMPLE_IMAGES]:
            cuts = [0, *(match.end() for match in _NAME_PART.finditer(image_stem))][: _MAX_NAME_PARTS + 1]
            if cuts[-1] != len(image_stem):
                cuts.append(len(image_stem))
            for start, end in itertools.combinations(cuts, 2):
                if image_stem[start:end] in stems:
                    affix = NameAffix(image_stem[:start], image_stem[end:])
                    # A mask is no picture of the list, although it is named after one.
                    if _MASK_WORDS.isdisjoint(re.findall(r"[^\W\d_]+", f"{affix.prefix} {affix.suffix}")):
                        affixes[affix] += 1
        return affixes


def match_folders(paths: Iterable[str], folders: list[str], root_name: str) -> list[str]:
    """Return the paths whose folders end with the given ones.

    Args:
        paths: POSIX paths below the root.
        folders: names of folders, the innermost last.
        root_name: name of the root, which a list may write too.

    Returns:
        The paths that match.
    """
    wanted = [_fold_name(folder) for folder in folders]
    return [
        path
        for path in paths
        if not wanted or [_fold_name(part) for part in (root_name, *path.split("/")[:-1])][-len(wanted) :] == wanted
    ]


def prefer_paths(paths: list[str], split: str, base: str) -> list[str]:
    """Return the most likely of several images of one name.

    Masks come last; then those in the folder of the list's split, of the list itself, or of training images win.

    Args:
        paths: POSIX paths below the root.
        split: split of the row or of its list; "" for none.
        base: POSIX path of the list's folder; "" is the root.

    Returns:
        One path where it is clear, else several.
    """
    for is_preferred in (
        lambda path: _MASK_WORDS.isdisjoint(re.findall(r"[^\W\d_]+", path.rpartition("/")[0].casefold())),
        lambda path: bool(base) and path.startswith(f"{base}/"),
        lambda path: any(find_split(part) == (split or "train") for part in path.split("/")[:-1]),
    ):
        preferred = [path for path in paths if is_preferred(path)]
        paths = preferred or paths
        if len(paths) == 1:
            break
    return paths


def _get_name(value: str) -> str:
    """Return the last part of a path as a list writes it."""
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _fold_stem(name: str) -> str:
    """Return a name as it is compared, without the ending of an image."""
    return _fold_name(os.path.splitext(name)[0] if has_image_suffix(name) else name)  # noqa: PTH122


def _fold_name(name: str) -> str:
    """Return a name as it is compared: regardless of case and of how its accents are stored."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
