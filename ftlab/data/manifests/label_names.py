"""Spell out labels that are numbers, from a file of class names beside the list. No torch."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.manifests.path_resolver import ListRow
from ftlab.data.manifests.text_files import read_text
from ftlab.data.sources.listing import DatasetProblem

_TEXT_FILE_NAMES = frozenset(
    ("classes.txt", "class_names.txt", "classnames.txt", "labels.txt", "names.txt", "categories.txt", "label_names.txt")
)
_TABLE_PATTERN = re.compile(r"(?:(?:class|label|sign|category)_?(?:names?|dict|map|mapping)|names|classes|labels)\.csv")
_JSON_PATTERN = re.compile(r".*(?:label|class|categor|id2|idx|names|dataset_info).*\.json")
_MAX_FILE_BYTES = 4 << 20
_MAX_FILES = 50
_WORD = re.compile(r"[^\W\d_]{2}")
_FILE_NUMBER = re.compile(r"[\W_]*(?:\d+[\W_]*)?(?:\.[A-Za-z]{2,5})?$")
_WHOLE_NUMBER = re.compile(r"([-+]?[0-9]+)(\.0*)?")
_MISSING_WORDS = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "missing", "-", "?"))
"""Labels by which tables write that there is none, lower case."""
_MAX_SHOWN_NAMES_CHARS = 100
_ID_AND_NAME = re.compile(r"(\d+)[\s,;:]+(\S.*)")


def unify_labels(rows: list[ListRow], file: Path, problems: list[DatasetProblem]) -> None:
    """Write whole numbers in one way, so that `0` and `0.0` are one class, and report labels that may be missing ones.

    Args:
        rows: changed in place.
        file: the list.
        problems: extended in place.
    """
    labels = {row.label for row in rows}
    missing_labels = {label for label in labels if label.casefold() in _MISSING_WORDS}
    if missing_labels and len(labels) > 1:
        names = ", ".join(sorted(missing_labels))[:_MAX_SHOWN_NAMES_CHARS]
        problems.append(DatasetProblem(file.name, "list_missing_labels", {"names": names}))
    # pandas turns a column of whole numbers into decimals if a cell is empty.
    numbers = {label: _WHOLE_NUMBER.fullmatch(label) for label in labels - missing_labels}
    if any("." in label for label in numbers) and all(numbers.values()):
        for row in rows:
            number = numbers.get(row.label)
            if number and number[2]:
                row.label = str(int(number[1]))


def spell_out_numbers(rows: list[ListRow], file: Path, root: Path, problems: list[DatasetProblem]) -> None:
    """Replace labels that are numbers by names, where a file beside the list or at the root has one for each number.

    Args:
        rows: changed in place.
        file: the list.
        root: root of the data set.
        problems: extended in place by which file gave the names.
    """
    labels = {row.label for row in rows}
    if len(labels) < 2 or not all(label.isascii() and label.isdigit() for label in labels):
        return
    for names_file in _find_name_files(file, root):
        names = _read_names(names_file, max(map(int, labels)))
        used_names = [names.get(int(label), "") for label in labels]
        if all(used_names) and len(set(used_names)) == len(used_names):
            for row in rows:
                row.label = names[int(row.label)]
            problems.append(DatasetProblem(file.name, "list_names", {"names": names_file.name}))
            return
    names_by_label = _find_names_in_paths(rows)
    for row in rows if names_by_label else ():
        row.label = names_by_label[row.label]
    if names_by_label:
        problems.append(DatasetProblem(file.name, "list_path_names"))


def _find_names_in_paths(rows: list[ListRow]) -> dict[str, str]:
    """Return the one name that the paths of each label have in common: a folder, or what the file names begin with.

    Args:
        rows: of a list; at least two for each label on average, so that no name is that of a single image.

    Returns:
        Names by label, all different; empty where the paths do not agree with the labels.
    """
    for get_name in (_get_folder_name, _get_file_prefix):
        names: dict[str, str] = {}
        for row in rows:
            name = get_name(row.raw_path)
            if names.setdefault(row.label, name) != name or not _WORD.search(name):
                break
        else:
            if len({name.casefold() for name in names.values()}) == len(names) and len(rows) >= 2 * len(names):
                return names
    return {}


def _get_folder_name(path: str) -> str:
    """Return the name of the folder in a path, "" for none."""
    return path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]


def _get_file_prefix(path: str) -> str:
    """Return a file name without its ending and the number before it: `Abyssinian` for `Abyssinian_100.jpg`."""
    return _FILE_NUMBER.sub("", path.replace("\\", "/").rpartition("/")[2])


def is_names_file(file: Path) -> bool:
    """Return whether a JSON file gives the names of numbered classes: each number has another name."""
    if file.suffix.lower() != ".json" or not _JSON_PATTERN.fullmatch(file.name.lower()):
        return False
    try:
        content = json.loads(read_text(file, [])) if file.stat().st_size <= _MAX_FILE_BYTES else None
    except (OSError, DataError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        return False
    return all(key.isdigit() for key in content) and len({*content.values()}) == len(content)


def _find_name_files(file: Path, root: Path) -> list[Path]:
    """Return the files that may hold names, in the folder of the list and at the root."""
    files: list[Path] = []
    for folder in dict.fromkeys((file.parent, root)):
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # the list was readable, but its folder cannot be listed: there are no names then
            entries = []
        for entry in entries:
            name = entry.name.lower()
            is_named_so = name in _TEXT_FILE_NAMES or _TABLE_PATTERN.fullmatch(name) or _JSON_PATTERN.fullmatch(name)
            if is_named_so and entry != file and entry.is_file() and entry.stat().st_size <= _MAX_FILE_BYTES:
                files.append(entry)
    return files[:_MAX_FILES]


def _read_names(file: Path, last_number: int) -> dict[int, str]:
    """Return the name of each class by its number; empty where the file holds something else.

    Args:
        file: may hold the names.
        last_number: largest number of a class: names without numbers must be as many.
    """
    try:
        text = read_text(file, [])
        if file.suffix.lower() == ".json":
            return _parse_json_names(json.loads(text), last_number)
        if file.suffix.lower() == ".csv":
            return _parse_table(text)
    except (DataError, ValueError, RecursionError, csv.Error):
        return {}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [match for line in lines if (match := _ID_AND_NAME.fullmatch(line))]
    if len(numbered) == len(lines):
        return {int(match[1]): match[2] for match in numbered}
    return _number_names(lines, last_number)


def _number_names(names: list[str], last_number: int) -> dict[int, str]:
    """Return names by their position, from 0 or from 1; empty where there are not as many as classes."""
    first_number = last_number + 1 - len(names)
    return dict(enumerate(names, first_number)) if first_number in (0, 1) else {}


def _parse_json_names(content: object, last_number: int) -> dict[int, str]:
    """Return the names in a JSON file: by number, by name, or as a list, also below the usual keys.

    Args:
        content: the parsed file, or a part of it.
        last_number: largest number of a class.
    """
    if isinstance(content, dict):
        for key in ("id2label", "names", "classes", "label_map", "class_to_idx", "label2id", "features", "label"):
            if isinstance(content.get(key), (dict, list)) and (names := _parse_json_names(content[key], last_number)):
                return names
        if content and all(isinstance(value, str) and str(key).isdigit() for key, value in content.items()):
            return {int(key): value for key, value in content.items()}
        if content and all(isinstance(value, int) and not isinstance(value, bool) for value in content.values()):
            return {value: str(name) for name, value in content.items()}
    if isinstance(content, list) and content and all(isinstance(name, str) for name in content):
        return _number_names(content, last_number)
    return {}


def _parse_table(text: str) -> dict[int, str]:
    """Return the names in a CSV file with a column of numbers and one of names."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if len(row) >= 2]
    pairs = [(row[0].strip(), row[1].strip()) for row in rows[1:]]
    if not pairs:
        return {}
    if all(number.isdigit() for number, _ in pairs):
        return {int(number): name for number, name in pairs}
    if all(number.isdigit() for _, number in pairs):
        return {int(number): name for name, number in pairs}
    return {}
