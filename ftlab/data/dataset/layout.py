"""Detect how the images of a folder are sorted into classes and splits: by folders or by a manifest. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ftlab.core.errors import DataError
from ftlab.data.dataset.listed_splits import read_listed_splits
from ftlab.data.dataset.split import SPLIT_ALIASES
from ftlab.data.manifests import manifest, search
from ftlab.data.manifests.manifest import ListSource, Manifest
from ftlab.data.sources.listing import (
    OTHER_FILES_CODE,
    DatasetProblem,
    FolderListing,
    ImagesByClass,
    join_path,
    list_folder,
    list_recursively,
    merge_other_files,
    natural_key,
)
from ftlab.data.sources.locate import DatasetLocation


@dataclass
class DatasetLayout:
    """Classes and splits of a data set as listed, before any image file is opened.

    Attributes:
        name: `split`, `train_test` or `flat` for folders; `list_split`, `list_train_test` or `list` for a manifest.
        split_folders: folder that contains the class folders of each split; for a manifest, its file name.
        images_by_split: images by split and class, empty classes too.
        class_locations: by split and class, the folder of the class, as a problem names it.
        line_numbers: line of each image of a manifest, from 1.
        problems: files, folders and lines that are skipped or suspicious.
    """

    name: str
    split_folders: dict[str, str]
    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    class_locations: dict[tuple[str, str], str] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)

    @property
    def from_manifest(self) -> bool:
        """Return whether a manifest defines the classes and splits."""
        return self.name.startswith("list")


def detect_layout(location: DatasetLocation) -> tuple[Path, DatasetLayout]:
    """Return the folder that paths are relative to, and the layout of the images below it.

    Class folders take precedence over manifests in the same folder; where there are none, a single manifest or one for
    each split defines the layout. A manifest that was named by the user and cannot be used raises a `DataError`.
    """
    if location.manifest_file:
        root, source = location.manifest_file.parent, ListSource(location.manifest_file)
        return root, layout_from_manifest(manifest.read_manifest(source.file), [source], root)
    layout = _layout_from_folders(location.folder)
    # More than one: a single folder next to a manifest is usually where the manifest's images are.
    has_class_folders = sum(map(bool, layout.images_by_split["train"].values())) > 1
    list_search = search.search_lists(location, compare_ids=not has_class_folders)
    if has_class_folders and list_search.root == location.folder:
        for listed in read_listed_splits(list_search, layout.images_by_split):
            layout.images_by_split[listed.split] = listed.images_by_class
            layout.split_folders[listed.split] = listed.name
            layout.class_locations |= listed.class_locations
            layout.problems += listed.problems
            layout.name = "split" if "val" in layout.split_folders else "train_test"
    list_sources = [] if has_class_folders else list_search.choose()
    if list_sources:
        try:
            listed_images = list_search.read(list_sources)
        except DataError as error:
            layout.problems.append(search.describe_unusable(error, list_sources[0].file.name))
        else:
            return list_search.root, layout_from_manifest(listed_images, list_sources, list_search.root)
    layout.problems += list_search.describe_unused(
        "list_beside" if has_class_folders else "list_several", with_unusable=not has_class_folders
    )
    return location.folder, layout


def layout_from_manifest(listed_images: Manifest, sources: Sequence[ListSource], root: Path) -> DatasetLayout:
    """Return the layout that manifests describe.

    Rows without a split are split at random where the manifest names no other split than `train`, else they are
    reported and left out.

    Args:
        listed_images: content of the manifests.
        sources: the manifests.
        root: folder that paths are relative to.

    Returns:
        The layout.
    """
    names = [source.file.relative_to(root).as_posix() for source in sources]
    default_name = names[0] if len(names) == 1 else ", ".join(names)
    name_by_split = {source.split: name for source, name in zip(sources, names, strict=True) if source.split}
    splits = set(listed_images.images_by_split) - {""}
    if splits <= {"train"}:
        layout = DatasetLayout("list", {"train": default_name})
        parts = [listed_images.images_by_split.get(split, {}) for split in ("", "train")]
        layout.images_by_split = {
            "train": {name: {**parts[0].get(name, {}), **parts[1].get(name, {})} for name in _merge_class_names(parts)}
        }
    else:
        layout = DatasetLayout("list_split" if "val" in splits else "list_train_test", {})
        layout.images_by_split = {split: listed_images.images_by_split.get(split, {}) for split in {"train"} | splits}
        layout.split_folders = {split: name_by_split.get(split, default_name) for split in layout.images_by_split}
        for images in listed_images.images_by_split.get("", {}).values():
            listed_images.problems += [
                DatasetProblem(path, "list_no_split", {"line": listed_images.line_numbers[path]}) for path in images
            ]
    layout.line_numbers, layout.problems = listed_images.line_numbers, listed_images.problems
    for split, images_by_class in layout.images_by_split.items():
        list_name = layout.split_folders[split]
        layout.class_locations |= {(split, name): f"{list_name}: {name}" for name in images_by_class}
    layout.problems += _find_similar_names(layout)
    return layout


def _merge_class_names(parts: list[ImagesByClass]) -> list[str]:
    """Return the class names of all parts, each once, in the order of their first appearance."""
    return list(dict.fromkeys(name for part in parts for name in part))


def _layout_from_folders(root: Path) -> DatasetLayout:
    """Return the layout of split folders or, without `train/` and another split, of plain class folders."""
    listing = list_folder(root, "")
    split_folders = {
        split: min(matches, key=_alias_rank_key(aliases))
        for split, aliases in SPLIT_ALIASES.items()
        if (matches := [folder_name for folder_name in listing.folders if folder_name.casefold() in aliases])
    }
    # `train/` alone has nothing to validate on, so it is taken for a class of that name.
    if "train" not in split_folders or len(split_folders) == 1:
        layout = DatasetLayout("flat", {"train": ""})
    else:
        layout = DatasetLayout("split" if "val" in split_folders else "train_test", split_folders)
        layout.problems += listing.problems
        layout.problems += _find_loose_images(listing)
        for name in listing.folders:
            # A class folder next to `train/` is most likely misplaced; without this message nobody would miss it.
            if name not in split_folders.values() and list_recursively(root, name).images:
                layout.problems.append(DatasetProblem(name, "beside", {"train": split_folders["train"]}))
    for split, path in layout.split_folders.items():
        _add_class_folders(root, split, path, layout)
    layout.problems += _find_similar_names(layout)
    return layout


def _alias_rank_key(aliases: tuple[str, ...]) -> Callable[[str], int]:
    """Return a sorting key for folder names: the position of the name in `aliases`, regardless of case."""
    return lambda folder_name: aliases.index(folder_name.casefold())


def _add_class_folders(root: Path, split: str, path: str, layout: DatasetLayout) -> None:
    """Add the class folders of a split to the layout, with all images below them, empty classes too.

    A class is named in Unicode normal form C (composed accents), so that `train/` from Linux and `val/` from a Mac's
    zip agree.

    Args:
        root: folder that paths are relative to.
        split: name of the split.
        path: POSIX path of the folder that contains the class folders.
        layout: changed in place.
    """
    listing = list_folder(root, path)
    layout.problems += listing.problems
    layout.problems += _find_loose_images(listing)
    normalized_names = [unicodedata.normalize("NFC", name) for name in listing.folders]
    images_by_class = layout.images_by_split[split] = {}
    for folder_name, name in zip(listing.folders, normalized_names, strict=True):
        # Two folders whose names differ in their Unicode form only keep their own names: they must not be merged.
        if normalized_names.count(name) > 1 or folder_name in layout.images_by_split["train"]:
            name = folder_name
        folder = list_recursively(root, join_path(path, folder_name))
        layout.problems += folder.problems
        layout.class_locations[split, name] = folder.path
        images_by_class[name] = {join_path(folder.path, image_name): size for image_name, size in folder.images.items()}


def _find_loose_images(listing: FolderListing) -> list[DatasetProblem]:
    """Return a problem for images that are in no class folder, if there are any."""
    count = len(listing.images)
    return [DatasetProblem(listing.path or ".", "loose", {"count": count})] if count else []


def _find_similar_names(layout: DatasetLayout) -> list[DatasetProblem]:
    """Return a problem for each class whose name differs from another one in case or Unicode form only."""
    first_names: dict[str, str] = {}
    problems: dict[str, DatasetProblem] = {}
    for (_, name), location in sorted(
        layout.class_locations.items(), key=lambda class_location: natural_key(class_location[1])
    ):
        first_name = first_names.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if first_name != name:
            problems.setdefault(name, DatasetProblem(location, "alike", {"other": first_name}))
    return [*problems.values()]


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
    if problems:
        first_problem = min(problems, key=lambda problem: natural_key(problem.file))
        values = {"file": first_problem.location, "problem": first_problem.problem, "remedy": first_problem.remedy}
        raise DataError("data.all_bad", folder=source_path, count=len(problems), **values)
    raise DataError("data.list_no_pictures" if layout.from_manifest else "data.no_pictures", folder=source_path)
