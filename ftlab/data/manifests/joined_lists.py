"""Join the text files of data sets such as CUB-200: image paths, classes and splits in files of their own. No torch.

images.txt               1 001.Black_footed_Albatross/0046.jpg
image_class_labels.txt   1 1
train_test_split.txt     1 1
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.data.manifests.column_names import has_image_suffix
from ftlab.data.manifests.text_files import TableRow, read_text
from ftlab.data.sources.listing import DatasetProblem

LABELS_FILE_NAME, SPLIT_FILE_NAME = "image_class_labels.txt", "train_test_split.txt"
"""Files beside a list of image ids and paths that give the number of the class, and 1 for training, by image id."""


@dataclass(frozen=True)
class JoinedRows:
    """Rows of a joined list.

    Attributes:
        names: of the columns.
        rows: line in the list of images, and cells.
    """

    names: list[str]
    rows: list[TableRow]


def join_rows(file: Path, text: str, problems: list[DatasetProblem]) -> JoinedRows | None:
    """Return the rows of a list of ids and paths joined with its labels; None if it is none or has none beside it.

    A file of labels that cannot be read raises a `DataError`.

    Args:
        file: the list of images.
        text: its content.
        problems: extended in place.

    Returns:
        Columns `path`, `label` and, if there is a file of splits, `is_training_image`.
    """
    labels_file, split_file = file.with_name(LABELS_FILE_NAME), file.with_name(SPLIT_FILE_NAME)
    if not labels_file.is_file() or file == labels_file:
        return None
    images = [(line, words) for line, words in _split_lines(text) if len(words) == 2 and has_image_suffix(words[1])]
    if not images:
        return None
    labels = _read_values(labels_file, problems)
    splits = _read_values(split_file, problems) if split_file.is_file() else {}
    names = ["path", "label", *(["is_training_image"] if splits else [])]
    rows = []
    for line, (image_id, path) in images:
        split = [splits.get(image_id, "")] if splits else []
        rows.append((line, [path, labels.get(image_id, ""), *split]))
    return JoinedRows(names, rows)


def is_part(file: Path) -> bool:
    """Return whether a file gives labels or splits to another list, so that it is none itself."""
    return file.name in (LABELS_FILE_NAME, SPLIT_FILE_NAME)


def _read_values(file: Path, problems: list[DatasetProblem]) -> dict[str, str]:
    """Return the value of each image id in a file."""
    return {words[0]: words[1] for _, words in _split_lines(read_text(file, problems)) if len(words) == 2}


def _split_lines(text: str) -> list[tuple[int, list[str]]]:
    """Return the number of each line that is not blank, and its first word and the rest."""
    return [(line, content.split(maxsplit=1)) for line, content in enumerate(text.splitlines(), 1) if content.strip()]
