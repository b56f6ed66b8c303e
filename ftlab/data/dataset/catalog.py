"""The catalog of a data set (classes, splits and problems) and its JSON form in `split.json`. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import RunError
from ftlab.data.dataset.split import SPLITS
from ftlab.data.images.decode_options import ValueRanges, ranges_from_json
from ftlab.data.shards import shard_files
from ftlab.data.sources.listing import DatasetProblem
from ftlab.runs.directory import Run

RANDOM_SPLITS_BY_LAYOUT = {
    "flat": ("val", "test"),
    "list": ("val", "test"),
    "train_test": ("val",),
    "list_train_test": ("val",),
}
"""Splits that are drawn at random, by layout; a layout that is missing here defines all of its splits itself."""


@dataclass(frozen=True)
class ImageItem:
    """An image file and its label.

    Attributes:
        path: POSIX path relative to the catalog's root.
        label: class index.
        size_bytes: size of the file in bytes.
    """

    path: str
    label: int
    size_bytes: int = 0


@dataclass(frozen=True)
class ImageSizes:
    """Width and height in pixels of the images with the smallest, the median and the largest area."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """Reasons for the reading of the folders or the list of a data set.

    Attributes:
        reason: key below `reading.because.` in the message file; empty in runs of versions that did not record it.
        values: placeholders of that message.
    """

    reason: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """Classes, splits and problems of a data set: all that training reads of it besides the image files.

    Attributes:
        root: absolute path of the folder that contains the layout; for a manifest, the folder that contains it.
        layout: `split`, `train_test` or `flat` for folders; `list_split`, `list_train_test` or `list` for a manifest;
            `test_as_val` or `test_from_val` where `hold_out` replaced the splits.
        classes: names in natural order (class2 before class10); a label is an index into them.
        splits: items by `train`, `val`, `test`, each sorted by label and name.
        problems: files that are skipped or suspicious, sorted by name; for a manifest sorted by line.
        total_bytes: size of all items' files together, in bytes.
        image_sizes: None where the images were not verified.
        excluded_paths: paths that the user excluded, in natural order.
        value_ranges: of its deep images, none for the kinds that it does not have.
        reading: why classes and splits are as they are.
        content_hashes: SHA-256 of image files by path, where a scan has read them anyway; not kept in `split.json`.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[ImageItem, ...]]
    problems: tuple[DatasetProblem, ...]
    total_bytes: int
    image_sizes: ImageSizes | None = None
    excluded_paths: tuple[str, ...] = ()
    value_ranges: ValueRanges = ValueRanges()
    reading: Reading = field(default_factory=Reading)
    content_hashes: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def random_splits(self) -> tuple[str, ...]:
        """Splits that the shares and the seed decide: `val`, `test`, both or none."""
        return RANDOM_SPLITS_BY_LAYOUT.get(self.layout, ())

    @property
    def is_remote(self) -> bool:
        """Return whether the images lie on a server, in shards."""
        return shard_files.find_url(self.root) is not None

    def describe_reading(self) -> str:
        """Return one sentence: how many splits and classes, and why they were read so."""
        count = len(self.splits) - sum(not self.splits[split] or split in self.random_splits for split in SPLITS)
        shape = messages.get_text(
            f"reading.{'splits' if count > 1 else 'classes'}", splits=count, classes=len(self.classes)
        )
        if not self.reading.reason:
            return messages.get_text("reading.alone", shape=shape)
        values = {name: messages.escape_control_chars(value) for name, value in self.reading.values.items()}
        reason = messages.get_text(f"reading.because.{self.reading.reason}", **values)
        return messages.get_text("reading.sentence", shape=shape, reason=reason)

    def image_path(self, item: ImageItem) -> Path:
        """Return the absolute path of an item's image file."""
        return self.root / item.path

    def count_images(self) -> dict[str, dict[str, int]]:
        """Return the number of images by class and split: `{"ants": {"train": 124, "val": 70, "test": 0}, …}`."""
        counts = {name: dict.fromkeys(SPLITS, 0) for name in self.classes}
        for split, items in self.splits.items():
            for item in items:
                counts[self.classes[item.label]][split] += 1
        return counts

    def compute_fingerprint(self) -> str:
        """Return the SHA-256 in hex over split, path, label and size of every item.

        Equal fingerprints mean the same images used the same way, as far as a listing shows: the content of the files
        is not read.
        """
        digest = hashlib.sha256()
        for split in SPLITS:
            for item in self.splits[split]:
                # NUL separates the fields because no path can contain it.
                digest.update(f"{split}\0{item.path}\0{item.label}\0{item.size_bytes}\0".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict for `split.json`, with paths and file sizes in bytes nested by split and class."""
        return {
            "root": str(self.root),
            "layout": self.layout,
            "manifest": self.compute_fingerprint(),
            "classes": list(self.classes),
            "bytes": self.total_bytes,
            "sizes": self.image_sizes and {name: list(wh) for name, wh in vars(self.image_sizes).items()},
            "excluded": list(self.excluded_paths),
            "value_ranges": self.value_ranges.to_json(),
            "reading": {
                "sentence": self.describe_reading(),
                "reason": self.reading.reason,
                "values": self.reading.values,
            },
            # The messages of a problem are for users who open the file; code and values are what is read back.
            "problems": [
                {**problem.to_json(), "code": problem.code, "values": problem.values} for problem in self.problems
            ],
            "splits": {
                split: {
                    name: {item.path: item.size_bytes for item in items if item.label == label}
                    for label, name in enumerate(self.classes)
                }
                for split, items in self.splits.items()
            },
        }


def load_run_catalog(run: Run) -> Catalog:
    """Return the catalog in a run's `split.json`.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        catalog = catalog_from_json(run.read_json("split.json"))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as cause:
        raise RunError("run.file", run=run.name, file="split.json") from cause
    sizes = (item.size_bytes for items in catalog.splits.values() for item in items)
    if not all(isinstance(name, str) for name in catalog.classes) or not all(isinstance(size, int) for size in sizes):
        raise RunError("run.file", run=run.name, file="split.json")
    return catalog


def catalog_from_json(values: dict[str, Any]) -> Catalog:
    """Return the catalog that `Catalog.to_json` serialized; its folder need not exist any more."""
    classes = tuple(values["classes"])
    sizes, reading = values["sizes"], values.get("reading", {})
    return Catalog(
        root=Path(values["root"]),
        layout=values["layout"],
        classes=classes,
        splits={
            split: tuple(
                ImageItem(path, label, size)
                for label, name in enumerate(classes)
                for path, size in values["splits"][split].get(name, {}).items()
            )
            for split in SPLITS
        },
        problems=tuple(
            DatasetProblem(problem["file"], problem["code"], problem["values"]) for problem in values["problems"]
        ),
        total_bytes=values["bytes"],
        image_sizes=sizes and ImageSizes(**{name: (wh[0], wh[1]) for name, wh in sizes.items()}),
        # Runs of versions before exclusion lists have no such key.
        excluded_paths=tuple(values.get("excluded", ())),
        # Those of versions before value ranges neither; such a run has its preprocessing recorded.
        value_ranges=ranges_from_json(values.get("value_ranges")) or ValueRanges(),
        # Nor have they a reading.
        reading=Reading(reading.get("reason", ""), reading.get("values", {})),
    )
