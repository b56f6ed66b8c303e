"""Read the splits whose images lie in no class folders from lists: Tiny ImageNet's `val_annotations.txt`. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ftlab.core.errors import DataError
from ftlab.data.manifests.manifest import ListSource
from ftlab.data.manifests.search import ListSearch
from ftlab.data.sources.listing import DatasetProblem, ImagesByClass


@dataclass(frozen=True)
class ListedSplit:
    """A split that a list describes, beside class folders for training.

    Attributes:
        split: `val` or `test`.
        name: path of the list.
        images_by_class: images of the classes of the training folders.
        problems: of the list.
    """

    split: str
    name: str
    images_by_class: ImagesByClass
    problems: list[DatasetProblem]

    @property
    def class_locations(self) -> dict[tuple[str, str], str]:
        """Return where problems locate each class, by split and class."""
        return {(self.split, class_name): f"{self.name}: {class_name}" for class_name in self.images_by_class}


def read_listed_splits(list_search: ListSearch, images_by_split: Mapping[str, ImagesByClass]) -> list[ListedSplit]:
    """Read the validation and test images that the folders do not sort into the classes of training, but a list does.

    Args:
        list_search: lists of the data set.
        images_by_split: images as the folders sort them.

    Returns:
        The splits; a list with other classes than those of training describes none.
    """
    classes = {name for name, images in images_by_split["train"].items() if images}
    listed_splits = []
    for split in ("val", "test"):
        lists = [found for found in list_search.usable_lists if found.split == split]
        is_sorted = not classes.isdisjoint(name for name, images in images_by_split.get(split, {}).items() if images)
        if len(lists) != 1 or is_sorted:
            continue
        name = lists[0].file.relative_to(list_search.root).as_posix()
        try:
            listed_images = list_search.read([ListSource(lists[0].file, split)])
        except DataError:  # the lists that are not used are named in any case
            continue
        images_by_class = _match_classes(listed_images.images_by_split.get(split, {}), classes)
        if images_by_class:
            listed_splits.append(ListedSplit(split, name, images_by_class, listed_images.problems))
    return listed_splits


def _match_classes(images_by_class: ImagesByClass, classes: Collection[str]) -> ImagesByClass:
    """Return the images by the names of the class folders; empty where the list has other classes.

    Args:
        images_by_class: images by the labels of the list.
        classes: names of the folders: the label `7` is the folder `00007`.
    """
    name_by_number = {int(name): name for name in classes if name.isascii() and name.isdigit()}
    names = {
        label: label if label in classes else name_by_number.get(int(label), "") if label.isdecimal() else ""
        for label in images_by_class
    }
    return {names[label]: images for label, images in images_by_class.items()} if all(names.values()) else {}
