"""The files of a data set on the Hugging Face Hub: image folders as `datasets` reads them, and a data card."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import DatasetCardData

from ftlab import __version__
from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources.listing import natural_key
from ftlab.export.run_card import escape_markdown

_SPLIT_FOLDERS = {"train": "train", "val": "validation", "test": "test"}
"""Folders of the splits, by the names that `datasets` gives them."""
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Categories of the Hub by the number of images that they end before."""
_LARGEST_CATEGORY = "1M<n<10M"


@dataclass(frozen=True)
class DataFiles:
    """Images of a data set by their path in a repository.

    Attributes:
        paths: absolute path of the file by POSIX path in the repository, `SPLIT/CLASS/NAME` or `CLASS/NAME`.
        total_bytes: size of all images.
        image_counts: images by class and by the folder of the split; `train` alone where the data set has no splits.
        has_split_folders: whether the splits are folders: only those that the data set itself has.
        largest_size: width and height in pixels of the largest image; None if they are not known.
    """

    paths: dict[str, Path]
    total_bytes: int
    image_counts: dict[str, dict[str, int]]
    has_split_folders: bool
    largest_size: tuple[int, int] | None


def list_data_files(catalog: Catalog) -> DataFiles:
    """List the images of a data set, where a repository has them.

    Splits that were only drawn at random are none: such images stay together.

    Args:
        catalog: of a scan that has verified the images.

    Returns:
        The files.

    Raises:
        DataError: a class cannot be the name of a folder.
    """
    for name in catalog.classes:
        if name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable() or name != name.strip():
            raise DataError("hub.class_folder", name=name)
    split_folders = {
        split: _SPLIT_FOLDERS["train" if split in catalog.random_splits else split]
        for split in SPLITS
        if catalog.splits[split]
    }
    has_split_folders = len(set(split_folders.values())) > 1
    paths: dict[str, Path] = {}
    counts: dict[str, dict[str, int]] = {name: {} for name in catalog.classes}
    total_bytes = 0
    items = [(folder, item) for split, folder in split_folders.items() for item in catalog.splits[split]]
    # In an order that no seed changes, so that an image has the same path at the next push.
    for split_folder, item in sorted(items, key=lambda entry: (entry[1].label, natural_key(entry[1].path))):
        class_name = catalog.classes[item.label]
        folder = f"{split_folder}/{class_name}" if has_split_folders else class_name
        file = catalog.image_path(item)
        paths[_find_free_path(folder, file.name, paths)] = file
        counts[class_name][split_folder] = counts[class_name].get(split_folder, 0) + 1
        total_bytes += item.size_bytes
    largest_size = catalog.image_sizes.largest if catalog.image_sizes else None
    return DataFiles(paths, total_bytes, counts, has_split_folders, largest_size)


def build_data_card(data_files: DataFiles, title: str, repo_id: str) -> str:
    """Return the data card: metadata, then classes, counts and use. No license is claimed.

    Args:
        data_files: of the data set.
        title: of the data set.
        repo_id: `USER/NAME`.

    Returns:
        Markdown.
    """
    folders = [
        folder
        for folder in _SPLIT_FOLDERS.values()
        if any(folder in counts for counts in data_files.image_counts.values())
    ]
    # Stated, since `datasets` would take a class called "test" for a split.
    patterns = [
        {"split": folder, "path": f"{folder}/*/*" if data_files.has_split_folders else "*/*"} for folder in folders
    ]
    count = len(data_files.paths)
    data = DatasetCardData(
        pretty_name=title,
        task_categories=["image-classification"],
        size_categories=next((name for limit, name in _SIZE_CATEGORIES if count < limit), _LARGEST_CATEGORY),
        tags=["ftlab", "imagefolder"],
        configs=[{"config_name": "default", "drop_labels": False, "data_files": patterns}],
    )
    rows = [
        f"| {escape_markdown(name)} | " + " | ".join(str(counts.get(folder, 0)) for folder in folders) + " |"
        for name, counts in data_files.image_counts.items()
    ]
    header = [f"| class | {' | '.join(folders)} |", "|---" * (len(folders) + 1) + "|"]
    card = messages.get_text(
        "export.data_card",
        title=escape_markdown(title),
        count=f"{count:,}",
        classes=len(data_files.image_counts),
        megabytes=data_files.total_bytes / 1e6,
        largest=" × ".join(map(str, data_files.largest_size)) if data_files.largest_size else "–",
        table="\n".join([*header, *rows]),
        repo=repo_id,
        version=__version__,
    )
    return f"---\n{data.to_yaml()}\n---\n{card}"


def find_located_images(paths: Iterable[Path]) -> list[Path]:
    """Return the images whose metadata says where they were taken (EXIF, GPS).

    Args:
        paths: images that a scan has verified.

    Returns:
        Those with a position, in the order given.
    """
    from PIL import ExifTags, Image

    located = []
    for path in paths:
        try:
            with Image.open(path) as image:
                position = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        # Damaged metadata has no position that anybody could read.
        except Exception:
            continue
        if {ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLongitude} & set(position):
            located.append(path)
    return located


def _find_free_path(folder: str, name: str, paths: dict[str, Path]) -> str:
    """Return a path in a repository that no other image has.

    Args:
        folder: of the class.
        name: of the file; images of one class may come from several folders.
        paths: those that are taken.
    """
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    path, number = f"{folder}/{name}", 1
    while path in paths:
        number += 1
        path = f"{folder}/{stem}-{number}{suffix}"
    return path
