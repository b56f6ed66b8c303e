"""Decide which classes of a layout can be learned, and name what is in the way of the others. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from ftlab.core.errors import DataError
from ftlab.data.dataset.layout import DatasetLayout
from ftlab.data.manifests import search
from ftlab.data.sources.listing import OTHER_FILES_CODE, DatasetProblem, join_path, merge_other_files, natural_key


def find_trainable_classes(root: Path, layout: DatasetLayout) -> tuple[str, ...]:
    """Return the classes that can be learned: those with at least one training image.

    Problems of the other classes are added to the layout.

    Args:
        root: folder that paths are relative to.
        layout: its images; its problems are extended in place.

    Returns:
        Class names in natural order, at least two.

    Raises:
        DataError: there are fewer than two such classes, or a validation split without an image of any of them.
    """
    split_folders, images_by_split, problems = layout.split_folders, layout.images_by_split, layout.problems
    classes = tuple(sorted((name for name, images in images_by_split["train"].items() if images), key=natural_key))
    prefix = "list_" if layout.from_manifest else ""
    if not classes:
        raise DataError(f"data.{prefix}no_train", folder=root / split_folders["train"])
    if len(classes) == 1:
        search.raise_unused_lists(root, layout.problems)
        raise DataError(
            f"data.{prefix}one_class", folder=root / split_folders["train"], name=classes[0], skipped=len(problems)
        )
    if "val" in split_folders and not any(images_by_split["val"].get(name) for name in classes):
        raise DataError(f"data.{prefix}no_val", folder=root / split_folders["val"])
    problems += _find_class_problems(layout, classes)
    if "val" in split_folders:
        problems += _find_unvalidated_classes(layout, classes)
    return classes


def _find_class_problems(layout: DatasetLayout, classes: tuple[str, ...]) -> list[DatasetProblem]:
    """Find the classes of all splits that cannot be learned, have no images, or a single training image.

    Args:
        layout: images by split and class.
        classes: the classes that can be learned.

    Returns:
        A problem for each, by split.
    """
    problems: list[DatasetProblem] = []
    for split, images_by_class in layout.images_by_split.items():
        for name, images in images_by_class.items():
            location = layout.class_locations[split, name]
            if images and name not in classes:
                problems.append(DatasetProblem(location, "not_in_train", {"train": layout.split_folders["train"]}))
            # `_find_unvalidated_classes` reports a class without validation images, also if it has no folder there.
            elif not images and not (split == "val" and name in classes):
                problems.append(DatasetProblem(location, "empty_class"))
            elif split == "train" and len(images) == 1:
                problems.append(DatasetProblem(location, "few"))
    return problems


def _find_unvalidated_classes(layout: DatasetLayout, classes: tuple[str, ...]) -> list[DatasetProblem]:
    """Find the classes that can be learned but have no validation images.

    Args:
        layout: images by split and class, with a validation split.
        classes: the classes that can be learned.

    Returns:
        A problem for each, in the order of `classes`.
    """
    unvalidated_classes = (name for name in classes if not layout.images_by_split["val"].get(name))
    locations = (
        layout.class_locations.get(("val", name)) or _expected_val_location(layout, name)
        for name in unvalidated_classes
    )
    return [DatasetProblem(location, "not_in_val") for location in locations]


def _expected_val_location(layout: DatasetLayout, name: str) -> str:
    """Return where the validation images of a class would be that has none."""
    return (
        layout.class_locations["train", name] if layout.from_manifest else join_path(layout.split_folders["val"], name)
    )


def raise_no_images(root: Path, layout: DatasetLayout) -> NoReturn:
    """Raise the error that names the most likely reason why a data set has no usable image.

    Args:
        root: folder that paths are relative to.
        layout: its problems give the reason.

    Raises:
        DataError: always.
    """
    problems = merge_other_files(layout.problems)
    search.raise_unused_lists(root, layout.problems)
    source_path = root / layout.split_folders["train"] if layout.from_manifest else root
    loose_problem = next((problem for problem in problems if problem.code == "loose"), None)
    if loose_problem:
        raise DataError("data.loose", folder=root / loose_problem.file, count=loose_problem.values["count"])
    other_files = next((problem for problem in problems if problem.code == OTHER_FILES_CODE), None)
    if other_files and len(problems) == 1:
        raise DataError("data.only_other_files", folder=source_path, **other_files.values)
    problems = [problem for problem in problems if problem.code not in search.LIST_NOTE_CODES]
    if problems:
        first_problem = min(problems, key=lambda problem: natural_key(problem.file))
        values = {"file": first_problem.location, "problem": first_problem.problem, "remedy": first_problem.remedy}
        raise DataError("data.all_bad", folder=source_path, count=len(problems), **values)
    raise DataError("data.list_no_pictures" if layout.from_manifest else "data.no_pictures", folder=source_path)
