"""Scan a folder, archive or manifest of images into a catalog, or split a catalog again without a new scan.

Three layouts: `train/` and `val/` (and `test/`) with a folder for each class; `train/` and `test/` only, where
validation is split off `train/`; plain class folders, split at random by the seed. A manifest (CSV, JSON Lines)
describes the same three. An archive is unpacked elsewhere first. The folder is never written to. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ftlab.core.errors import ConfigError
from ftlab.data.dataset import class_names, deep_images, shard_scan, verified_cache
from ftlab.data.dataset.catalog import RANDOM_SPLITS_BY_LAYOUT, Catalog, ImageItem, ImageSizes
from ftlab.data.dataset.layout import DatasetLayout, detect_layout
from ftlab.data.dataset.shard_scan import ShardScan
from ftlab.data.dataset.split import SPLITS, stratified_split
from ftlab.data.dataset.trainable_classes import find_trainable_classes, raise_no_images
from ftlab.data.dataset.verify import VerifyProgress, verify_images
from ftlab.data.images.decode_options import ValueRanges
from ftlab.data.shards.shard_list import is_shard_source
from ftlab.data.sources import archive
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass, merge_other_files, natural_key
from ftlab.data.sources.locate import DatasetLocation, locate_dataset


def scan(
    source: Path | str | DatasetLocation,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    holdout: str = "apart",
    layout: str = "auto",
    zip_names: str = "",
    check: bool = True,
    exclude: Iterable[str] = (),
    workers: int | None = None,
    progress: VerifyProgress | None = None,
) -> Catalog:
    """Scan a data set: find its classes and splits, and verify its images unless `check` is off.

    A source that is missing or unreadable, or that has fewer than two classes with usable images, raises a `DataError`,
    and shares that leave nothing to train on a `ConfigError`. What cannot be used is one of the catalog's problems.

    Args:
        source: a folder in one of the three layouts, an archive, a manifest, shards, or a result of `locate_dataset`.
        val_share: fraction for validation, of all images (plain class folders) or of `train/` (`train/` + `test/`).
        test_share: fraction for test, of all images (plain class folders).
        seed: seed of the random split.
        holdout: what validates where the folder has `test/` and no `val/` or the other way round, see `hold_out`.
        layout: how folders are read, see the setting of that name.
        zip_names: encoding of the file names in an archive; empty: it is detected.
        check: decode each file cheaply, unless it was before, so that damaged ones are left out before the split.
        exclude: paths relative to the root that are left out before the split.
        workers: threads that verify; None: one per core, at most 8.
        progress: called in this thread with the number of verified files and of all files.

    Returns:
        The catalog.
    """
    _check_shares(val_share, test_share)
    is_sharded = not isinstance(source, DatasetLocation) and is_shard_source(str(source))
    shards = (
        shard_scan.scan_shards(str(source), check=check, workers=workers, progress=progress) if is_sharded else None
    )
    with archive.name_archives():
        root, dataset_layout = _read_layout(shards or _locate(source, progress, zip_names), layout)
        sizes = shards.sizes if shards else _verify_layout(root, dataset_layout, workers, progress) if check else []
        excluded_paths = _exclude_images(dataset_layout, exclude)  # before the split, as if the files were not there
        classes = find_trainable_classes(root, dataset_layout)
    splits = _build_splits(classes, _assign_splits(dataset_layout, val_share, test_share, seed))
    catalog = Catalog(
        root=root,
        layout=dataset_layout.name,
        classes=classes,
        splits=splits,
        value_ranges=_estimate_value_ranges(root, dataset_layout),  # may find a problem
        problems=_sort_problems(dataset_layout.problems),
        total_bytes=sum(item.size_bytes for items in splits.values() for item in items),
        image_sizes=_summarize_sizes(sizes) if sizes else None,
        excluded_paths=excluded_paths,
        reading=dataset_layout.reading,
        content_hashes=shards.content_hashes if shards else {},
    )
    return hold_out(catalog, holdout, test_share=test_share, seed=seed)


def _locate(source: Path | str | DatasetLocation, progress: VerifyProgress | None, zip_names: str) -> DatasetLocation:
    """Return where a folder, an archive or a manifest is; the arguments are those of `scan`."""
    return source if isinstance(source, DatasetLocation) else locate_dataset(source, progress, zip_names)


def _read_layout(source: DatasetLocation | ShardScan, choice: str) -> tuple[Path, DatasetLayout]:
    """Return the root and the layout of a located data set, or of shards.

    Args:
        source: of the images.
        choice: how folders are read.

    Returns:
        The root and the layout, which has images.
    """
    root, dataset_layout = (
        detect_layout(source, choice) if isinstance(source, DatasetLocation) else (source.root, source.layout)
    )
    dataset_layout.problems += archive.read_unpack_problems(root) + class_names.find_label_problems(root)
    if not any(images for classes in dataset_layout.images_by_split.values() for images in classes.values()):
        raise_no_images(root, dataset_layout)
    return root, dataset_layout


def hold_out(catalog: Catalog, holdout: str, *, test_share: float, seed: int) -> Catalog:
    """Return the catalog with other images held out than its folder or manifest defines.

    Args:
        catalog: result of a scan with the default `holdout`.
        holdout: `apart` changes nothing. `test_as_val`, for a `train/` and `test/` layout: train on all of `train/`
            and validate on `test/`, so that no test split remains; published accuracies are often of that kind.
            `test_from_val`, for a `train/` and `val/` layout: split a fraction of `val/` off as test. A layout that
            the value does not apply to is left unchanged.
        test_share: fraction of `val/` for `test_from_val`.
        seed: seed of the random split.

    Returns:
        The catalog with its new splits and `holdout` as its layout, or the same catalog.
    """
    splits = catalog.splits
    if holdout == "test_as_val" and catalog.layout.endswith("train_test"):
        train_images = _merge_splits(catalog, ("train", "val"))
        images_by_split = {"train": train_images, "val": _merge_splits(catalog, ("test",)), "test": {}}
        return replace(catalog, layout=holdout, splits=_build_splits(catalog.classes, images_by_split))
    if holdout == "test_from_val" and catalog.layout.endswith("split") and not splits["test"]:
        # The part that `_split_per_class` calls `train` is the larger one: what remains of validation.
        images_by_split = _split_per_class(_merge_splits(catalog, ("val",)), 0.0, test_share, seed)
        new_splits = _build_splits(catalog.classes, {"val": images_by_split["train"], "test": images_by_split["test"]})
        return replace(catalog, layout=holdout, splits={**new_splits, "train": splits["train"]})
    return catalog


def resplit(catalog: Catalog, *, val_share: float, test_share: float, seed: int) -> Catalog:
    """Return the catalog that a new scan with these shares and this seed would give, without reading any file.

    Shares that leave nothing to train on raise a `ConfigError`.

    Args:
        catalog: result of a scan with other shares.
        val_share: as for `scan`.
        test_share: as for `scan`.
        seed: as for `scan`.

    Returns:
        The catalog with new random splits; the same catalog where its layout defines the splits.
    """
    _check_shares(val_share, test_share)
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


def _check_shares(val_share: float, test_share: float) -> None:
    """Check that the fractions held out leave something to train on.

    Args:
        val_share: fraction for validation.
        test_share: fraction for test.

    Raises:
        ConfigError: they do not.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ConfigError("config.shares", val=val_share, test=test_share)


def _verify_layout(
    root: Path, dataset_layout: DatasetLayout, workers: int | None, progress: VerifyProgress | None
) -> list[tuple[int, int]]:
    """Return the sizes of the readable images; the others are removed from the layout and added to its problems."""
    readable_sizes, unreadable = verify_images(
        root, dataset_layout.images_by_split, workers, progress, verified_cache.open_verified_cache()
    )
    # `verify_images` knows nothing of manifests: the line is added here for the message.
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
        raise_no_images(root, dataset_layout)
    return readable_sizes


def _summarize_sizes(sizes: list[tuple[int, int]]) -> ImageSizes:
    """Return the smallest, the median and the largest of the images' widths and heights in pixels."""
    sizes_by_area = sorted(sizes, key=lambda wh: (wh[0] * wh[1], wh))
    return ImageSizes(sizes_by_area[0], sizes_by_area[len(sizes_by_area) // 2], sizes_by_area[-1])


def _estimate_value_ranges(root: Path, dataset_layout: DatasetLayout) -> ValueRanges:
    """Return the value ranges of the images that are trained on, or may be after a random split.

    Splits whose images look black or white at these ranges are added to the layout's problems. The ranges do not depend
    on the seed, so that trainings with other splits see the same pixels.
    """
    paths_by_split = {
        split: sorted((path for images in images_by_class.values() for path in images), key=natural_key)
        for split, images_by_class in dataset_layout.images_by_split.items()
    }
    value_ranges, problems = deep_images.estimate_value_ranges(root, paths_by_split.pop("train"))
    dataset_layout.problems += problems
    for split, paths in paths_by_split.items():
        dataset_layout.problems += deep_images.find_unlike_split(root, split, paths, value_ranges)
    return value_ranges


def _exclude_images(dataset_layout: DatasetLayout, exclude: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that were removed from the layout; those that it does not have are added to its problems."""
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


def _assign_splits(
    dataset_layout: DatasetLayout, val_share: float, test_share: float, seed: int
) -> dict[str, ImagesByClass]:
    """Return the images by split: those of the layout, or a random split of its `train` images."""
    random_splits = RANDOM_SPLITS_BY_LAYOUT.get(dataset_layout.name, ())
    if not random_splits:
        return dataset_layout.images_by_split
    images_by_split = _split_per_class(
        dataset_layout.images_by_split["train"], val_share, test_share if "test" in random_splits else 0.0, seed
    )
    images_by_split["test"].update(dataset_layout.images_by_split.get("test", {}))
    return images_by_split


def _sort_problems(problems: list[DatasetProblem]) -> tuple[DatasetProblem, ...]:
    """Return the problems by line of the manifest, then by file, those without a line first; other files merged."""
    merged_problems = merge_other_files(problems)
    return tuple(
        sorted(merged_problems, key=lambda problem: (problem.values.get("line", 0), natural_key(problem.file)))
    )


def _merge_splits(catalog: Catalog, splits: tuple[str, ...]) -> ImagesByClass:
    """Return the images of several splits by class, with the sizes of their files in bytes."""
    images_by_class: ImagesByClass = {name: {} for name in catalog.classes}
    for split in splits:
        for item in catalog.splits[split]:
            images_by_class[catalog.classes[item.label]][item.path] = item.size_bytes
    return images_by_class


def _build_splits(
    classes: tuple[str, ...], images_by_split: dict[str, ImagesByClass]
) -> dict[str, tuple[ImageItem, ...]]:
    """Return the items of each split, sorted by label and path; images of other classes are dropped."""
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
    """Return a stratified random split, each class by itself; every split has every class, empty ones too."""
    images_by_split: dict[str, ImagesByClass] = {split: {} for split in SPLITS}
    for name, images in images_by_class.items():
        paths_by_split = stratified_split(images, val_share=val_share, test_share=test_share, seed=seed)
        for split, paths in paths_by_split.items():
            images_by_split[split][name] = {path: images[path] for path in paths}
    return images_by_split
