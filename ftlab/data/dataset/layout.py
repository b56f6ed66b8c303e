"""How the pictures of a folder are sorted into classes and splits: by folders, or by a list. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset import manifest
from ftlab.data.dataset.split import SPLIT_ALIASES
from ftlab.data.sources.listing import (
    DatasetProblem,
    FolderListing,
    ImagesByClass,
    join_path,
    list_folder,
    list_recursively,
    natural_key,
)
from ftlab.data.sources.locate import DatasetLocation


@dataclass
class DatasetLayout:
    """What was found, before any picture is looked into.

    Attributes:
        name: `split`, `train_test` or `flat` for folders; `list_split`, `list_train_test` or `list` for a list.
        split_folders: the folder that holds the class folders of each split; for a list its name.
        images_by_split: pictures by split and class, empty classes too.
        class_locations: by split and class, the folder that holds the class, as a problem names it.
        line_numbers: line of each picture of a list.
        problems: what is in the way.
    """

    name: str
    split_folders: dict[str, str]
    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    class_locations: dict[tuple[str, str], str] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)

    @property
    def from_manifest(self) -> bool:
        """Whether a list says what is what."""
        return self.name.startswith("list")


def detect_layout(location: DatasetLocation) -> tuple[Path, DatasetLayout]:
    """The folder that paths are relative to, and how the pictures below it are sorted.

    Class folders win over a list that lies beside them; where there are none, a lone list says what is what.

    Raises:
        DataError: a list was asked for and cannot be used.
    """
    if location.manifest_file:
        return location.manifest_file.parent, _layout_from_manifest(location.manifest_file)
    layout = _layout_from_folders(location.folder)
    manifest_files = [file for file in location.manifest_files if manifest.is_manifest(file)]
    has_class_folders = sum(map(bool, layout.images_by_split["train"].values())) > 1
    if len(manifest_files) == 1 and not has_class_folders:
        return manifest_files[0].parent, _layout_from_manifest(manifest_files[0])
    for file in manifest_files:
        if file.parent == location.folder:
            layout.problems.append(DatasetProblem(file.name, "list_beside" if has_class_folders else "list_several"))
    return location.folder, layout


def _layout_from_manifest(file: Path) -> DatasetLayout:
    listed_images = manifest.read_manifest(file)
    splits = set(listed_images.images_by_split) - {""}
    if splits <= {"train"}:
        layout = DatasetLayout("list", {"train": file.name})
        parts = [listed_images.images_by_split.get(split, {}) for split in ("", "train")]
        layout.images_by_split = {
            "train": {name: {**parts[0].get(name, {}), **parts[1].get(name, {})} for name in _merge_class_names(parts)}
        }
    else:
        layout = DatasetLayout("list_split" if "val" in splits else "list_train_test", dict.fromkeys(splits, file.name))
        layout.images_by_split = {split: listed_images.images_by_split.get(split, {}) for split in {"train"} | splits}
        layout.split_folders.setdefault("train", file.name)
        for images in listed_images.images_by_split.get("", {}).values():
            listed_images.problems += [
                DatasetProblem(path, "list_no_split", {"line": listed_images.line_numbers[path]}) for path in images
            ]
    layout.line_numbers, layout.problems = listed_images.line_numbers, listed_images.problems
    for split, images_by_class in layout.images_by_split.items():
        layout.class_locations |= {(split, name): f"{file.name}: {name}" for name in images_by_class}
    layout.problems += _find_similar_names(layout)
    return layout


def _merge_class_names(parts: list[ImagesByClass]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _layout_from_folders(root: Path) -> DatasetLayout:
    listing = list_folder(root, "")
    split_folders = {
        split: min(matches, key=_alias_rank_key(aliases))
        for split, aliases in SPLIT_ALIASES.items()
        if (matches := [folder_name for folder_name in listing.folders if folder_name.casefold() in aliases])
    }
    if "train" not in split_folders or len(split_folders) == 1:
        layout = DatasetLayout("flat", {"train": ""})
    else:
        layout = DatasetLayout("split" if "val" in split_folders else "train_test", split_folders)
        layout.problems += listing.problems
        layout.problems += _find_loose_images(listing)
        for name in listing.folders:
            if name not in split_folders.values() and list_recursively(root, name).images:
                layout.problems.append(DatasetProblem(name, "beside", {"train": split_folders["train"]}))
    for split, path in layout.split_folders.items():
        _add_class_folders(root, split, path, layout)
    layout.problems += _find_similar_names(layout)
    return layout


def _alias_rank_key(aliases: tuple[str, ...]) -> Callable[[str], int]:
    return lambda folder_name: aliases.index(folder_name.casefold())


def _add_class_folders(root: Path, split: str, path: str, layout: DatasetLayout) -> None:
    """The pictures below the class folders of one folder, empty ones too.

    A class goes by its name with accents composed, so that `train/` from Linux and `val/` from a Mac's zip agree.
    """
    listing = list_folder(root, path)
    layout.problems += listing.problems
    layout.problems += _find_loose_images(listing)
    normalized_names = [unicodedata.normalize("NFC", name) for name in listing.folders]
    images_by_class = layout.images_by_split[split] = {}
    for folder_name, name in zip(listing.folders, normalized_names, strict=True):
        if normalized_names.count(name) > 1 or folder_name in layout.images_by_split["train"]:
            name = folder_name
        folder = list_recursively(root, join_path(path, folder_name))
        layout.problems += folder.problems
        layout.class_locations[split, name] = folder.path
        images_by_class[name] = {join_path(folder.path, image_name): size for image_name, size in folder.images.items()}


def _find_loose_images(listing: FolderListing) -> list[DatasetProblem]:
    count = len(listing.images)
    return [DatasetProblem(listing.path or ".", "loose", {"count": count})] if count else []


def _find_similar_names(layout: DatasetLayout) -> list[DatasetProblem]:
    """Classes whose names some systems take for one, and people too."""
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
    """The classes that can be learnt: those with a picture to train on. What is amiss with the others is added to
    the layout's problems.

    Raises:
        DataError: there are no two such classes, or none of them has a picture in a validation part that is there.
    """
    split_folders, images_by_split, problems = layout.split_folders, layout.images_by_split, layout.problems
    classes = tuple(sorted((name for name, images in images_by_split["train"].items() if images), key=natural_key))
    prefix = "list_" if layout.from_manifest else ""
    if not classes:
        raise DataError(f"data.{prefix}no_train", folder=root / split_folders["train"])
    if len(classes) == 1:
        raise DataError(
            f"data.{prefix}one_class", folder=root / split_folders["train"], name=classes[0], skipped=len(problems)
        )
    if "val" in split_folders and not any(images_by_split["val"].get(name) for name in classes):
        raise DataError(f"data.{prefix}no_val", folder=root / split_folders["val"])
    for split, images_by_class in images_by_split.items():
        for name, images in images_by_class.items():
            location = layout.class_locations[split, name]
            if images and name not in classes:
                problems.append(DatasetProblem(location, "not_in_train", {"train": split_folders["train"]}))
            elif not images and not (split == "val" and name in classes):
                problems.append(DatasetProblem(location, "empty_class"))
            elif split == "train" and len(images) == 1:
                problems.append(DatasetProblem(location, "few"))
    if "val" in split_folders:
        unvalidated_classes = (name for name in classes if not images_by_split["val"].get(name))
        locations = (
            layout.class_locations.get(("val", name)) or _expected_val_location(layout, name)
            for name in unvalidated_classes
        )
        problems += [DatasetProblem(location, "not_in_val") for location in locations]
    return classes


def _expected_val_location(layout: DatasetLayout, name: str) -> str:
    """Where a class that has no place in validation would have it."""
    return (
        layout.class_locations["train", name] if layout.from_manifest else join_path(layout.split_folders["val"], name)
    )


def no_images_error(root: Path, layout: DatasetLayout) -> DataError:
    """Why there is no picture to use, by what is most likely in the way."""
    problems = layout.problems
    source_path = root / layout.split_folders["train"] if layout.from_manifest else root
    loose_problem = next((problem for problem in problems if problem.code == "loose"), None)
    if loose_problem:
        return DataError("data.loose", folder=root / loose_problem.file, count=loose_problem.values["count"])
    if problems:
        first_problem = min(problems, key=lambda problem: natural_key(problem.file))
        values = {"file": first_problem.location, "problem": first_problem.problem, "remedy": first_problem.remedy}
        return DataError("data.all_bad", folder=source_path, count=len(problems), **values)
    return DataError("data.list_no_pictures" if layout.from_manifest else "data.no_pictures", folder=source_path)
