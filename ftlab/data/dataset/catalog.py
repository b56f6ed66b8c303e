"""A folder of pictures → classes, which picture is whose, what trains and what measures, and what is in the way.

Three layouts: `train/` and `val/` (and `test/`) with a folder a class in each; `train/` and `test/` only, where
validation is carved from `train/`; plain class folders, dealt by the seed. A list (CSV, JSON lines) says the same in
its three ways; a zip is unpacked elsewhere first. The folder is never written to. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftlab.core.errors import ConfigError
from ftlab.data.dataset import class_names, layout, verified_cache
from ftlab.data.dataset.split import SPLITS, stratified_split
from ftlab.data.dataset.verify import VerifyProgress, verify_images
from ftlab.data.sources import archive
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass, natural_key
from ftlab.data.sources.locate import locate_dataset

_RANDOM_SPLITS_BY_LAYOUT = {
    "flat": ("val", "test"),
    "list": ("val", "test"),
    "train_test": ("val",),
    "list_train_test": ("val",),
}


@dataclass(frozen=True)
class ImageItem:
    """One picture.

    Attributes:
        path: posix, relative to the catalog's root.
        label: index of its class.
        size_bytes: of the file, in bytes.
    """

    path: str
    label: int
    size_bytes: int = 0


@dataclass(frozen=True)
class ImageSizes:
    """Width and height in pixels of three pictures: those of the smallest, the median and the largest area."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Catalog:
    """What a training knows of its data.

    Attributes:
        root: absolute path of the folder where the layout begins; that of a list, where one says what is what.
        layout: `split`, `train_test` or `flat`; of a list `list_split`, `list_train_test` or `list`. Where the
            splits are not the folder's or the list's own, `test_as_val` or `test_from_val`, see `hold_out`.
        classes: names in natural order (class2 before class10); a label is an index into them.
        splits: items by `train`, `val`, `test`, each sorted by label and name.
        problems: what is skipped or amiss, sorted by name; that of a list by line.
        total_bytes: of all items' files together.
        image_sizes: None where the pictures were not checked.
        excluded_paths: paths that a person left out, in natural order.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[ImageItem, ...]]
    problems: tuple[DatasetProblem, ...]
    total_bytes: int
    image_sizes: ImageSizes | None = None
    excluded_paths: tuple[str, ...] = ()

    @property
    def random_splits(self) -> tuple[str, ...]:
        """The splits that the shares and the seed decide: `val`, `test`, both or none."""
        return _RANDOM_SPLITS_BY_LAYOUT.get(self.layout, ())

    def image_path(self, item: ImageItem) -> Path:
        """Where the picture is."""
        return self.root / item.path

    def count_images(self) -> dict[str, dict[str, int]]:
        """Pictures by class and split: `{"ants": {"train": 124, "val": 70, "test": 0}, …}`."""
        counts = {name: dict.fromkeys(SPLITS, 0) for name in self.classes}
        for split, items in self.splits.items():
            for item in items:
                counts[self.classes[item.label]][split] += 1
        return counts

    def compute_fingerprint(self) -> str:
        """SHA-256 in hex over split, path, label and size of every item: two equal ones mean the same pictures used
        the same way, as far as a listing can tell."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for item in self.splits[split]:
                digest.update(f"{split}\0{item.path}\0{item.label}\0{item.size_bytes}\0".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A plain dict for `split.json`; paths and their sizes in bytes stand below split and class."""
        return {
            "root": str(self.root),
            "layout": self.layout,
            "manifest": self.compute_fingerprint(),
            "classes": list(self.classes),
            "bytes": self.total_bytes,
            "sizes": self.image_sizes and {name: list(wh) for name, wh in vars(self.image_sizes).items()},
            "excluded": list(self.excluded_paths),
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


def catalog_from_json(values: dict[str, Any]) -> Catalog:
    """The catalog that `to_json` was asked of; the folder need not be there any more."""
    classes = tuple(values["classes"])
    sizes = values["sizes"]
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
        excluded_paths=tuple(values.get("excluded", ())),
    )


def scan(
    folder: Path | str,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    held_out: str = "apart",
    check: bool = True,
    exclude: Iterable[str] = (),
    workers: int | None = None,
    progress: VerifyProgress | None = None,
) -> Catalog:
    """Look through a folder of pictures.

    Args:
        folder: laid out in one of the three ways, one lone wrapping folder inside is entered; or a zip of such a
            folder; or a list.
        val_share: fraction for validation, of all pictures (plain class folders) or of `train/` (`train/` + `test/`).
        test_share: fraction for test, of all pictures (plain class folders).
        seed: of the dealing.
        held_out: what validates where the folder has `test/` and no `val/` or the other way round, see `hold_out`.
        check: decode each file cheaply, so that damaged ones are named and left out before they are dealt; not again
            those that were sound, and that nobody has touched since.
        exclude: paths relative to the root that are left out before the others are dealt.
        workers: threads of the check; None: one a core, at most 8.
        progress: called in this thread with files checked and files in all.

    Returns:
        The catalog. Files and folders that cannot be used are among its problems and stop nothing.

    Raises:
        DataError: the folder is missing, unreadable, or has no two classes with usable pictures; the zip or the list
            cannot be used.
        ConfigError: the shares leave nothing to train on.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ConfigError("config.shares", val=val_share, test=test_share)
    location = locate_dataset(folder, progress)
    root, dataset_layout = layout.detect_layout(location)
    dataset_layout.problems += archive.read_unpack_problems(root) + class_names.find_label_problems(root)
    if not any(images for classes in dataset_layout.images_by_split.values() for images in classes.values()):
        raise layout.no_images_error(root, dataset_layout)

    sizes = None
    if check:
        readable_sizes, unreadable = verify_images(
            root, dataset_layout.images_by_split, workers, progress, verified_cache.open_verified_cache()
        )
        line_numbers = dataset_layout.line_numbers
        dataset_layout.problems += [
            DatasetProblem(
                problem.file,
                problem.code,
                problem.values | ({"line": line_numbers[problem.file]} if problem.file in line_numbers else {}),
            )
            for problem in unreadable
        ]
        if not readable_sizes:
            raise layout.no_images_error(root, dataset_layout)
        sizes_by_area = sorted(readable_sizes, key=lambda wh: (wh[0] * wh[1], wh))
        sizes = ImageSizes(sizes_by_area[0], sizes_by_area[len(sizes_by_area) // 2], sizes_by_area[-1])

    excluded_paths = _exclude_images(dataset_layout, exclude)
    classes = layout.find_trainable_classes(root, dataset_layout)
    images_by_split = dataset_layout.images_by_split
    random_splits = _RANDOM_SPLITS_BY_LAYOUT.get(dataset_layout.name, ())
    if random_splits:
        images_by_split = _split_per_class(
            dataset_layout.images_by_split["train"], val_share, test_share if "test" in random_splits else 0.0, seed
        )
        images_by_split["test"].update(dataset_layout.images_by_split.get("test", {}))
    splits = _build_splits(classes, images_by_split)
    catalog = Catalog(
        root=root,
        layout=dataset_layout.name,
        classes=classes,
        splits=splits,
        problems=tuple(
            sorted(
                dataset_layout.problems, key=lambda problem: (problem.values.get("line", 0), natural_key(problem.file))
            )
        ),
        total_bytes=sum(item.size_bytes for items in splits.values() for item in items),
        image_sizes=sizes,
        excluded_paths=excluded_paths,
    )
    return hold_out(catalog, held_out, test_share=test_share, seed=seed)


def hold_out(catalog: Catalog, holdout: str, *, test_share: float, seed: int) -> Catalog:
    """The catalogue with another part held out than its folder or list says by itself.

    Args:
        catalog: of a scan that held out what is usual.
        holdout: `apart` leaves it. `test_as_val`: of `train/` and `test/` all of `train/` is trained on, and `test/`
            validates, so that nothing is left to test on; published figures are often of that kind. `test_from_val`:
            of `train/` and `val/` a share of `val/` is set aside as test. What a folder has no use for, leaves it too.
        test_share: fraction of `val/` for `test_from_val`.
        seed: of the dealing.
    """
    splits = catalog.splits
    if holdout == "test_as_val" and catalog.layout.endswith("train_test"):
        train_images = _merge_splits(catalog, ("train", "val"))
        images_by_split = {"train": train_images, "val": _merge_splits(catalog, ("test",)), "test": {}}
        return replace(catalog, layout=holdout, splits=_build_splits(catalog.classes, images_by_split))
    if holdout == "test_from_val" and catalog.layout.endswith("split") and not splits["test"]:
        images_by_split = _split_per_class(_merge_splits(catalog, ("val",)), 0.0, test_share, seed)
        new_splits = _build_splits(catalog.classes, {"val": images_by_split["train"], "test": images_by_split["test"]})
        return replace(catalog, layout=holdout, splits={**new_splits, "train": splits["train"]})
    return catalog


def _merge_splits(catalog: Catalog, splits: tuple[str, ...]) -> ImagesByClass:
    """The pictures of some splits by class, with the sizes of their files."""
    images_by_class: ImagesByClass = {name: {} for name in catalog.classes}
    for split in splits:
        for item in catalog.splits[split]:
            images_by_class[catalog.classes[item.label]][item.path] = item.size_bytes
    return images_by_class


def _exclude_images(dataset_layout: layout.DatasetLayout, exclude: Iterable[str]) -> tuple[str, ...]:
    """Take pictures out of the layout; those that are not there are among its problems."""
    excluded_paths = []
    for path in sorted(set(exclude), key=natural_key):
        containing_classes = [
            class_images
            for images_by_class in dataset_layout.images_by_split.values()
            for class_images in images_by_class.values()
            if path in class_images
        ]
        for images in containing_classes:
            del images[path]
        if containing_classes:
            excluded_paths.append(path)
        else:
            dataset_layout.problems.append(DatasetProblem(path, "exclude_gone"))
    return tuple(excluded_paths)


def resplit(catalog: Catalog, *, val_share: float, test_share: float, seed: int) -> Catalog:
    """The catalogue that a new scan with these shares and this seed would give, without looking at the files again.

    Args:
        catalog: of a scan with other shares.
        val_share, test_share, seed: as for `scan`.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ConfigError("config.shares", val=val_share, test=test_share)
    if not catalog.random_splits:
        return catalog
    test_is_random = "test" in catalog.random_splits
    images_by_class = _merge_splits(catalog, SPLITS if test_is_random else ("train", "val"))
    images_by_split = _split_per_class(images_by_class, val_share, test_share if test_is_random else 0.0, seed)
    return replace(
        catalog,
        splits=_build_splits(catalog.classes, images_by_split)
        | ({} if test_is_random else {"test": catalog.splits["test"]}),
    )


def _build_splits(
    classes: tuple[str, ...], images_by_split: dict[str, ImagesByClass]
) -> dict[str, tuple[ImageItem, ...]]:
    return {
        split: tuple(
            ImageItem(path, label, images[path])
            for label, name in enumerate(classes)
            if (images := images_by_split.get(split, {}).get(name, {}))
            for path in sorted(images, key=natural_key)
        )
        for split in SPLITS
    }


def _split_per_class(
    images_by_class: ImagesByClass, val_share: float, test_share: float, seed: int
) -> dict[str, ImagesByClass]:
    images_by_split: dict[str, ImagesByClass] = {split: {} for split in SPLITS}
    for name, images in images_by_class.items():
        paths_by_split = stratified_split(images, val_share=val_share, test_share=test_share, seed=seed)
        for split, paths in paths_by_split.items():
            images_by_split[split][name] = {path: images[path] for path in paths}
    return images_by_split
