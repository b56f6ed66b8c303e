"""Parse JSON Lines and JSON into a table of text cells. No torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ftlab.core.errors import DataError
from ftlab.data.sources.listing import DatasetProblem

MAX_JSON_BYTES = 256 << 20
"""Size of a JSON file in bytes above which it is refused: parsed, it takes many times as much memory."""
LABEL_SEPARATOR = "|"
"""Separates the labels of a picture that has several."""

_RECORD_LIST_KEYS = ("images", "annotations", "data", "items", "samples", "records", "train")
"""Keys below which JSON files keep their list of objects."""
_JSON_SAMPLE_OBJECTS = 100


def parse_json_lines(
    text: str, file: Path, problems: list[DatasetProblem]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Parse JSON Lines; the columns are the keys of the first object.

    Args:
        text: content of the file.
        file: its name, for errors and problems.
        problems: extended in place by lines that are not read.

    Returns:
        Names of the columns; line numbers and cells.

    Raises:
        DataError: the first line is no JSON object.
    """
    # Not `splitlines`: it also splits at characters such as U+2028, which may stand in a JSON string.
    lines = ((line, raw_line) for line, raw_line in enumerate(text.split("\n"), 1) if raw_line.strip())
    first_line, first_text = next(lines, (1, ""))
    first_object = _parse_object(first_text)
    if first_object is None:
        raise DataError("data.list_json", file=file, line=first_line)
    names = list(first_object)

    def iter_rows() -> Iterator[tuple[int, list[str]]]:
        """Yield the rows, the first one too."""
        yield first_line, [_value_to_text(first_object[name]) for name in names]
        for line, raw_line in lines:
            values = _parse_object(raw_line)
            if values is None:
                problems.append(DatasetProblem(file.name, "list_line", {"line": line}))
            else:
                yield line, [_value_to_text(values.get(name)) for name in names]

    return names, iter_rows()


def parse_json(text: str, file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Parse a JSON file that lists pictures: objects, pairs, labels by path or paths by label, or COCO.

    A COCO file must have one category per picture.

    Args:
        text: content of the file.
        file: its name, for errors.

    Returns:
        Names of the columns; numbers of the entries, from 1, and cells.

    Raises:
        DataError: the file is no JSON, too large, or lists nothing that ftlab knows.
    """
    if len(text) > MAX_JSON_BYTES:
        raise DataError("data.list_large", file=file, limit=MAX_JSON_BYTES >> 20)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise DataError("data.list_json_file", file=file) from cause
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
        return _parse_coco(content, file)
    if isinstance(content, dict):
        lists = [content[key] for key in (*_RECORD_LIST_KEYS, "labels") if isinstance(content.get(key), list)]
        if lists:
            content = lists[0]
        elif _lists_paths_by_class(content):
            content = [[path, label] for label, paths in content.items() for path in paths]
        elif content and all(isinstance(value, (str, int, float, list)) for value in content.values()):
            content = [[path, label] for path, label in content.items()]
    if isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content):
        return _rows_of_objects(content)
    if isinstance(content, list) and content and all(isinstance(entry, list) and len(entry) == 2 for entry in content):
        return ["path", "label"], enumerate(([_value_to_text(cell) for cell in entry] for entry in content), 1)
    found = ", ".join(map(str, content)) if isinstance(content, dict) else ""
    raise DataError("data.list_json_keys", file=file, found=found[:200] or "–")


def _lists_paths_by_class(content: dict[str, Any]) -> bool:
    """Return whether the values are lists of different texts, as Food-101's `{"pizza": ["pizza/1", "pizza/2"]}`."""
    lists = [value for value in content.values() if isinstance(value, list)]
    texts = [text for texts in lists for text in texts if isinstance(text, str)]
    # Labels by path would repeat.
    return (
        len(lists) == len(content)
        and sum(map(len, lists)) == len(texts) == len(set(texts))
        and len(texts) > len(lists) > 0
    )


def _parse_object(raw_line: str) -> dict[str, Any] | None:
    """Return a line of JSON Lines as an object; None where it is none."""
    try:
        values = json.loads(raw_line)
    except (ValueError, RecursionError):  # RecursionError: a line of thousands of brackets
        return None
    return values if isinstance(values, dict) else None


def _rows_of_objects(objects: list[dict[str, Any]]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the keys of the first objects as columns, and the rows."""
    names = list(dict.fromkeys(name for values in objects[:_JSON_SAMPLE_OBJECTS] for name in values))
    return names, enumerate(([_value_to_text(values.get(name)) for name in names] for values in objects), 1)


def _parse_coco(content: dict[str, Any], file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Parse a COCO file in which every picture has annotations of one category, as iNaturalist's.

    Args:
        content: the parsed file.
        file: its name, for errors.

    Returns:
        The columns `path` and `label`, and the rows.

    Raises:
        DataError: it is malformed, or pictures have objects of several categories: it is made for detection.
    """
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        paths = {image["id"]: str(image["file_name"]) for image in content["images"]}
        labels_by_image: dict[Any, set[str]] = {}
        for annotation in content["annotations"]:
            labels_by_image.setdefault(annotation["image_id"], set()).add(names[annotation["category_id"]])
    except (KeyError, TypeError) as cause:
        raise DataError("data.list_json_keys", file=file, found=", ".join(content)[:200]) from cause
    label_counts = Counter(len(labels) for labels in labels_by_image.values())
    if sum(label_counts[count] for count in label_counts if count > 1):
        raise DataError("data.list_detection", file=file)
    rows = ([path, *labels_by_image.get(image_id, [""])] for image_id, path in paths.items())
    return ["path", "label"], enumerate(rows, 1)


def _value_to_text(value: object) -> str:
    """Return a JSON value as text; "" for null and for objects that are neither a label nor a path.

    Whole numbers have no decimals, so that `1` and `1.0` are one class.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, (str, int)):
        return str(value).strip()
    if isinstance(value, dict):  # as Hugging Face's `datasets` writes an image
        return _value_to_text(value.get("path") or value.get("file_name"))
    if isinstance(value, list):
        return LABEL_SEPARATOR.join(_iter_texts(value))
    return ""


def _iter_texts(values: Iterable[object]) -> Iterator[str]:
    """Yield the texts and numbers of a JSON list."""
    for value in values:
        if isinstance(value, (str, int, float)):
            yield _value_to_text(value)
