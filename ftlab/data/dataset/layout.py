"""Detect how the images of a folder are sorted into classes and splits: by folders or by a manifest. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Reading
from ftlab.data.dataset.listed_splits import read_listed_splits
from ftlab.data.dataset.split_lists import read_split_lists
from ftlab.data.folders.annotations import list_class_images
from ftlab.data.folders.folder_reading import AmbiguousFoldersError, FolderReading, join_names
from ftlab.data.folders.folder_tree import FolderTree
from ftlab.data.folders.folder_words import is_condition_name
from ftlab.data.folders.read_folders import read_folders
from ftlab.data.manifests import manifest, search
from ftlab.data.manifests.manifest import ListSource, Manifest
from ftlab.data.manifests.search import ListSearch
from ftlab.data.sources.listing import DatasetProblem, FolderListing, ImagesByClass, join_path, natural_key
from ftlab.data.sources.locate import DatasetLocation


@dataclass
class DatasetLayout:
    """Classes and splits of a data set as listed, before any image file is opened.

    Attributes:
        name: `split`, `train_test` or `flat` for folders; `list_split`, `list_train_test` or `list` for a manifest.
        split_folders: folder that contains the class folders of each split; for a manifest, its file name.
        reading: why the data set is read so.
        images_by_split: images by split and class, empty classes too.
        class_locations: by split and class, the folder of the class, as a problem names it.
        line_numbers: line of each image of a manifest, from 1.
        problems: files, folders and lines that are skipped or suspicious.
    """

    name: str
    split_folders: dict[str, str]
    reading: Reading
    images_by_split: dict[str, ImagesByClass] = field(default_factory=dict)
    class_locations: dict[tuple[str, str], str] = field(default_factory=dict)
    line_numbers: dict[str, int] = field(default_factory=dict)
    problems: list[DatasetProblem] = field(default_factory=list)

    @property
    def from_manifest(self) -> bool:
        """Return whether a manifest defines the classes and splits."""
        return self.name.startswith("list")


def detect_layout(location: DatasetLocation, choice: str = "auto") -> tuple[Path, DatasetLayout]:
    """Return the folder that paths are relative to, and the layout of the images below it.

    Class folders take precedence over manifests in the same folder; where there are none, or where the folders could
    mean several things, a single manifest or one for each split defines the layout. A manifest that was named by the
    user and cannot be used raises a `DataError`; so do folders that are not what was chosen, and those that could mean
    several things without a list to go by (`AmbiguousFoldersError`).

    Args:
        location: of the data set.
        choice: how its folders are read, see the setting `layout`. A manifest that the user named is used in any case.

    Returns:
        The root and the layout.
    """
    if location.manifest_file:
        root, source = location.manifest_file.parent, ListSource(location.manifest_file)
        return root, layout_from_manifest(manifest.read_manifest(source.file), [source], root)
    if choice == "list":
        return _read_chosen_list(search.search_lists(location))
    tree = FolderTree(location.folder)
    refusal: AmbiguousFoldersError | None = None
    try:
        layout = _layout_from_folders(tree, read_folders(tree, choice))
    except AmbiguousFoldersError as error:
        refusal, layout = error, DatasetLayout("flat", {"train": ""}, Reading(), {"train": {}})
    list_search, has_class_folders = _search_lists_beside(location, layout, choice)
    if has_class_folders and choice == "auto" and list_search.root == location.folder:
        _add_listed_splits(list_search, layout)
    if has_class_folders and choice == "auto" and layout.name == "flat":
        _split_by_lists(list_search, layout)
    list_sources = [] if has_class_folders or choice != "auto" else list_search.choose()
    if list_sources:
        try:
            listed_images = list_search.read(list_sources)
        except DataError as error:
            layout.problems.append(search.describe_unusable(error, list_sources[0].file.name))
        else:
            layout = layout_from_manifest(listed_images, list_sources, list_search.root)
            layout.problems += list_search.describe_not_needed(list_sources)
            return list_search.root, layout
    unused_lists = list_search.describe_unused(
        "list_beside" if has_class_folders else "list_several", with_unusable=not has_class_folders
    )
    layout.problems += [problem for problem in unused_lists if problem.file not in layout.split_folders.values()]
    if refusal is not None:
        # A list is what is missing: say what is wrong with those at hand.
        if refusal.code in ("data.layout.parts", "data.layout.subjects"):
            search.raise_unused_lists(location.folder, layout.problems)
        raise refusal
    return location.folder, layout


def _search_lists_beside(location: DatasetLocation, layout: DatasetLayout, choice: str) -> tuple[ListSearch, bool]:
    """Find the lists beside folders, and decide whether the folders are classes.

    Args:
        location: of the data set.
        layout: of its folders.
        choice: how they are read.

    Returns:
        The lists, and whether there are class folders: a list of the images in folders of variants comes first.
    """
    # More than one: a single folder next to a manifest is usually where the manifest's images are.
    has_class_folders = sum(map(bool, layout.images_by_split["train"].values())) > 1
    may_be_variants = choice == "auto" and _may_be_variants(layout)
    image_folders = [
        path for (split, name), path in layout.class_locations.items() if layout.images_by_split[split][name]
    ]
    list_search = search.search_lists(
        location,
        compare_ids=not has_class_folders or may_be_variants,
        image_folders=[] if has_class_folders else image_folders,
    )
    return list_search, has_class_folders and not (may_be_variants and list_search.choose())


def _may_be_variants(layout: DatasetLayout) -> bool:
    """Return whether class folders may hold variants of the same images: `aligned` beside `original`, as many in each.

    Only a list tells: there are classes of such names too.
    """
    counts = {name: len(images) for name, images in layout.images_by_split["train"].items() if images}
    is_plain = layout.name == "flat" and len(counts) > 1
    return is_plain and len(set(counts.values())) == 1 and all(map(is_condition_name, counts))


def _add_listed_splits(list_search: ListSearch, layout: DatasetLayout) -> None:
    """Add the validation and test images that lie in no class folders but in a list.

    Args:
        list_search: lists of the data set.
        layout: changed in place.
    """
    for listed in read_listed_splits(list_search, layout.images_by_split):
        layout.images_by_split[listed.split] = listed.images_by_class
        layout.split_folders[listed.split] = listed.name
        layout.class_locations |= listed.class_locations
        # A folder without class folders is used after all.
        layout.problems = [
            problem
            for problem in layout.problems
            if problem.code != "unlabeled_split" or problem.values.get("split") != listed.split
        ]
        layout.problems += listed.problems
        layout.name = "split" if "val" in layout.split_folders else "train_test"
        lists = [layout.split_folders[split] for split in ("val", "test") if split in layout.split_folders]
        layout.reading = Reading("listed_splits", {"names": layout.split_folders["train"], "lists": join_names(lists)})


def _split_by_lists(list_search: ListSearch, layout: DatasetLayout) -> None:
    """Split the images of class folders as lists beside them say, where there are such lists.

    Args:
        list_search: lists of the data set.
        layout: changed in place.
    """
    listed = read_split_lists(list_search.split_files, list_search.root, layout.images_by_split["train"])
    layout.problems += listed.problems
    if listed.images_by_split:
        layout.name = "split" if "val" in listed.names else "train_test"
        layout.reading = Reading("split_lists", {"names": join_names([*listed.names.values()])})
        layout.images_by_split, layout.split_folders = listed.images_by_split, listed.names
        layout.class_locations = {
            (split, name): f"{listed.names[split]}: {name}"
            for split, images_by_class in listed.images_by_split.items()
            for name in images_by_class
        }


def _read_chosen_list(list_search: ListSearch) -> tuple[Path, DatasetLayout]:
    """Return root and layout of the list in the folder, or of the lists of its splits.

    Raises:
        DataError: there is none that can be used, or there are several.
    """
    sources = list_search.choose()
    if not sources:
        usable_lists = list_search.usable_lists
        names = join_names([found.file.name for found in usable_lists or list_search.lists])
        code = "several_lists" if usable_lists else "no_list"
        raise DataError(f"data.layout.{code}", folder=list_search.root, names=names or "–")
    return list_search.root, layout_from_manifest(list_search.read(sources), sources, list_search.root)


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
    reading = Reading("list", {"file": default_name})
    splits = set(listed_images.images_by_split) - {""}
    if splits <= {"train"}:
        layout = DatasetLayout("list", {"train": default_name}, reading)
        parts = [listed_images.images_by_split.get(split, {}) for split in ("", "train")]
        layout.images_by_split = {
            "train": {name: {**parts[0].get(name, {}), **parts[1].get(name, {})} for name in _merge_class_names(parts)}
        }
    else:
        layout = DatasetLayout("list_split" if "val" in splits else "list_train_test", {}, reading)
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


def _layout_from_folders(tree: FolderTree, reading: FolderReading) -> DatasetLayout:
    """Return the layout of folders that were read as classes and splits."""
    split_folders = reading.split_folders or {"train": ""}
    name = "split" if "val" in split_folders else "train_test" if "test" in split_folders else "flat"
    layout = DatasetLayout(name, split_folders, Reading(reading.reason, reading.values))
    layout.problems += reading.problems
    for path in dict.fromkeys(reading.containers):
        listing = tree.list_folder(path)
        layout.problems += listing.problems + _find_loose_images(listing)
    layout.images_by_split = {split: {} for split in {"train": "", **split_folders}}
    for class_folder in reading.class_folders:
        listing = list_class_images(tree, class_folder.path)
        layout.problems += listing.problems
        layout.class_locations.setdefault((class_folder.split, class_folder.name), class_folder.path)
        images = layout.images_by_split[class_folder.split].setdefault(class_folder.name, {})
        images |= {join_path(class_folder.path, name): size for name, size in listing.images.items()}
    layout.problems += _find_similar_names(layout)
    return layout


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
