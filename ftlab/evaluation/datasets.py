"""Labelled images to evaluate on: a split of a run, or a folder that the training never saw."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from ftlab.config.train_config import FIELDS
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog, ImageItem, load_run_catalog
from ftlab.data.dataset.layout import DatasetLayout, detect_layout
from ftlab.data.sources import archive, locate
from ftlab.data.sources.listing import merge_other_files, natural_key
from ftlab.data.sources.locate import DatasetLocation
from ftlab.evaluation.results import EvaluationDataset
from ftlab.models import run_checkpoint
from ftlab.runs.directory import Run


def load_split_dataset(run: Run, split: str) -> EvaluationDataset:
    """Return the images of a split, as the run's `split.json` lists them.

    Propagates `RunError` where the run has no readable `split.json`, and `DataError` where the split is empty.

    Args:
        run: the run.
        split: `train`, `val` or `test`. Where the run validated on its test images, `test` is `val`.

    Returns:
        The split as a data set.
    """
    return select_split(load_run_catalog(run), split, run.name)


def select_split(catalog: Catalog, split: str, run_name: str) -> EvaluationDataset:
    """Return the images of a split of a catalog that was read from `split.json` already; see `load_split_dataset`.

    Args:
        catalog: of the run.
        split: `train`, `val` or `test`.
        run_name: for the error.

    Returns:
        The split as a data set.

    Raises:
        DataError: the split is empty.
    """
    # `split.json` of such a run lists the test images as `val` and has no test split.
    if split == "test" and catalog.layout == "test_as_val":
        split = "val"
    if not catalog.splits[split]:
        raise DataError("data.empty_split", split=split, run=run_name)
    return EvaluationDataset(split, catalog.root, catalog.splits[split])


def read_class_names(run: Run) -> list[str]:
    """Return the class names of a run's model, in the order of its outputs.

    Raises:
        RunError: the run has no model yet, or its weights are gone.
    """  # noqa: DOC502 (`make_no_weights_error` returns a RunError)
    if not run.best_weights_path.is_file():
        raise run.make_no_weights_error()
    return list(run_checkpoint.read_class_names(run))


def load_folder_dataset(folder: Path | str, class_names: Sequence[str]) -> EvaluationDataset:
    """Return all images of a folder, zip or list whose class the model knows; one common class is enough.

    The splits of the folder are merged. Propagates `DataError` where it cannot be read.

    Args:
        folder: path, in any of the layouts that a training accepts.
        class_names: class names of the model, in the order of its outputs.

    Returns:
        The images, sorted by class and path, and the classes that were left out.

    Raises:
        DataError: the folder has no image of any class of the model.
    """
    # NFC: macOS stores accents decomposed, other systems composed; both must name the same class.
    label_by_name = {unicodedata.normalize("NFC", name): class_index for class_index, name in enumerate(class_names)}
    root, folder_layout = _detect_known_layout(locate.locate_dataset(folder), label_by_name)
    items: list[ImageItem] = []
    unknown_counts: Counter[str] = Counter()
    for class_images in (
        class_entry for split in folder_layout.images_by_split.values() for class_entry in split.items()
    ):
        label = label_by_name.get(unicodedata.normalize("NFC", class_images[0]))
        if label is None:
            unknown_counts[class_images[0]] += len(class_images[1])
        else:
            items += (ImageItem(path, label, size) for path, size in class_images[1].items())
    if not items:
        folder_classes = ", ".join(sorted(unknown_counts, key=natural_key)[:5]) or "–"
        raise DataError("data.no_known_class", folder=folder, found=folder_classes, names=", ".join(class_names[:8]))
    items.sort(key=lambda entry: (entry.label, natural_key(entry.path)))
    # Names the file of the result: paths may be too long or have characters that a file name must not have.
    root_digest = hashlib.sha256(str(root).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    unknown_classes = ((name, count) for name, count in unknown_counts.items() if count)
    return EvaluationDataset(
        f"folder-{root_digest}",
        root,
        tuple(items),
        tuple(sorted(unknown_classes, key=lambda entry: natural_key(entry[0]))),
        tuple(merge_other_files(folder_layout.problems)),
    )


def _detect_known_layout(location: DatasetLocation, known_names: Collection[str]) -> tuple[Path, DatasetLayout]:
    """Return root and layout of a folder in the reading that has the most images of the model's classes.

    The classes are known, so that nobody need choose a reading. Propagates `DataError` where no reading has any of
    them and the automatic one is refused.

    Args:
        location: of the folder.
        known_names: class names of the model, in Unicode normal form C.

    Returns:
        The layout; of equal ones the automatic one, also where no reading has a class of the model.
    """
    best: tuple[Path, DatasetLayout] | None = None
    best_count = 0
    for choice in FIELDS["layout"][0].choices if location.manifest_file is None else ():
        try:
            root, folder_layout = detect_layout(location, str(choice))
        except DataError:  # this reading does not apply
            continue
        counts = {
            is_known: sum(
                len(images)
                for classes in folder_layout.images_by_split.values()
                for name, images in classes.items()
                if (unicodedata.normalize("NFC", name) in known_names) == is_known
            )
            for is_known in (True, False)
        }
        if counts[True] > best_count:
            best, best_count = (root, folder_layout), counts[True]
        if counts[True] and not counts[False]:
            break
    with archive.name_archives():
        return best or detect_layout(location)
