"""Parse JSON Lines and JSON into a table of text cells. No torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ftlab.core.errors import DataError
from ftlab.data.manifests.column_names import ID_NAMES, LABEL_NAMES, PATH_NAMES, has_image_suffix, normalize_name
from ftlab.data.manifests.list_splits import parse_split
from ftlab.data.sources.listing import DatasetProblem

MAX_JSON_BYTES = 256 << 20
"""Size of a JSON file in bytes above which it is refused: parsed, it takes many times as much memory."""
LABEL_SEPARATOR = "|"
"""Separates the labels of a picture that has several."""

_RECORD_LIST_KEYS = ("images", "annotations", "data", "items", "samples", "records", "train")
"""Keys below which JSON files keep their list of objects."""
_JSON_SAMPLE_OBJECTS = 100
_MAX_JSON_DEPTH = 3
"""Objects around the entries of a file: one for the splits, one for the kind of entries, and one more."""
_MARKS_KEY = "marks"
"""Key of an entry of Label Studio that marks objects or regions, and has no class."""


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


def holds_json_lines(text: str) -> bool:
    """Return whether a text is JSON Lines: whether its first two lines are objects of their own."""
    lines = (line for line in text.split("\n") if line.strip())
    return all(_parse_object(next(lines, "")) is not None for _ in range(2))


def parse_json(text: str, file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Parse a JSON file that lists pictures: objects, pairs, columns, labels by path, paths by label, or COCO.

    A COCO file must have one category per picture. All but COCO may be sorted into splits:
    `{"train": [...], "test": [...]}`.

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
    records = _collect_records(content)
    if records:
        if all(record.get(_MARKS_KEY) for record in records):
            raise DataError("data.list_detection", file=file)
        return _rows_of_objects(records)
    found = ", ".join(map(str, content)) if isinstance(content, dict) else ""
    raise DataError("data.list_json_keys", file=file, found=found[:200] or "–")


def _collect_records(content: object, depth: int = 0) -> list[dict[str, Any]]:
    """Return the entries of a JSON file as objects; empty where it lists nothing that ftlab knows.

    Args:
        content: the file, or a part of it.
        depth: number of objects around it.
    """
    if isinstance(content, list) and content:
        if all(isinstance(entry, dict) for entry in content):
            return [_flatten_record(entry) for entry in content]
        return _records_of_rows(content) if all(isinstance(entry, list) for entry in content) else []
    if not isinstance(content, dict) or not content or depth > _MAX_JSON_DEPTH:
        return []
    parts = {key: value for key, value in content.items() if isinstance(value, (list, dict))}
    splits = {key: split for key in parts if (split := parse_split(key))}
    if "train" in splits.values() and len(splits) > 1:
        return _records_of_splits({split: content[key] for key, split in splits.items()}, depth)
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):
        names = [str(name) for name in content["columns"]]
        return [dict(zip(names, cells, strict=False)) for cells in content["data"] if isinstance(cells, list)]
    if columns := _find_columns(parts):
        return columns
    lists = [content[key] for key in (*_RECORD_LIST_KEYS, "labels") if isinstance(content.get(key), list)]
    if lists:
        return _collect_records(lists[0], depth + 1)
    if _lists_paths_by_class(content):
        return [{"path": path, "label": label} for label, paths in content.items() for path in paths]
    if all(isinstance(value, (str, int, float, list)) for value in content.values()):
        return [{"path": path, "label": label} for path, label in content.items()]
    if len(parts) == 1:
        return _collect_records(next(iter(parts.values())), depth + 1)
    return _records_by_key(content)


def _records_of_splits(parts: dict[str, Any], depth: int) -> list[dict[str, Any]]:
    """Return the entries of all splits, each with its split; empty where one of them lists nothing that ftlab knows.

    Args:
        parts: content by split.
        depth: as for `_collect_records`.
    """
    records = []
    for split, part in parts.items():
        entries = _collect_records(part, depth + 1)
        if part and not entries:
            return []
        records += [{**entry, "split": split} for entry in entries]
    return records


def _records_of_rows(rows: list[list[Any]]) -> list[dict[str, Any]]:
    """Return rows without names as objects: path and label, or path, number and name of the class in either order.

    Args:
        rows: such as `["cat/1.jpg", 0, "cat"]`, as the splits of CoOp have.

    Returns:
        The objects; empty for rows of another kind.
    """
    widths = {len(row) for row in rows}
    if widths == {2}:
        return [{"path": path, "label": label} for path, label in rows]
    if widths != {3} or not all(isinstance(row[0], str) for row in rows):
        return []
    if all(isinstance(row[2], str) and parse_split(row[2]) for row in rows):
        return [{"path": path, "label": label, "split": split} for path, label, split in rows]
    for number, name in ((1, 2), (2, 1)):
        if all(isinstance(row[number], int) and isinstance(row[name], str) for row in rows):
            return [{"path": row[0], "label": row[name]} for row in rows]
    return []


def _find_columns(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a table that is stored by its columns, as pandas does by default; empty for anything else.

    Args:
        parts: the lists and objects in the file, by key: `{"path": {"0": "a.jpg"}, "label": {"0": "cat"}}`.
    """
    columns = {name: [*value.values()] if isinstance(value, dict) else value for name, value in parts.items()}
    lengths = {len(values) for values in columns.values()}
    if len(columns) < 2 or len(lengths) != 1 or not lengths.pop():
        return []
    keys = {tuple(value) for value in parts.values() if isinstance(value, dict)}
    normalized = {normalize_name(name) for name in columns}
    is_named = not normalized.isdisjoint((*PATH_NAMES, *ID_NAMES)) and not normalized.isdisjoint(LABEL_NAMES)
    holds_images = {isinstance(values[0], str) and has_image_suffix(values[0]) for values in columns.values()}
    if len(keys) > 1 or not (is_named or holds_images == {True, False}) or any(map(has_image_suffix, columns)):
        return []
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _records_by_key(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return objects that are stored by the path or id of the image: `{"a.jpg": {"label": "cat"}}`.

    Args:
        content: the file.
    """
    if not all(isinstance(value, dict) for value in content.values()):
        return []
    has_path = not {normalize_name(name) for value in content.values() for name in value}.isdisjoint(PATH_NAMES)
    key_name = "key" if has_path and not any(map(has_image_suffix, content)) else "path"
    return [{key_name: key, **_flatten_record(value)} for key, value in content.items()]


def _flatten_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the label of objects in it; a task of Label Studio as image and choices."""
    data, annotations = record.get("data"), record.get("annotations", record.get("completions"))
    if isinstance(data, dict) and isinstance(annotations, list):
        return _flatten_task(data, annotations)
    nested = [value for value in record.values() if isinstance(value, dict)]
    labels = {
        name: label
        for value in nested
        for name, label in value.items()
        if normalize_name(name) in LABEL_NAMES and isinstance(label, (str, int, float))
    }
    return {**labels, **record} if labels else record


def _flatten_task(data: dict[str, Any], annotations: list[Any]) -> dict[str, Any]:
    """Return image and choices of a task of Label Studio; without choices, whether it has marks of another kind.

    Args:
        data: of the task, among it the address of the image.
        annotations: the first one that was not cancelled counts.
    """
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    paths = [value for name, value in texts.items() if normalize_name(name) in PATH_NAMES or has_image_suffix(value)]
    done = [entry for entry in annotations if isinstance(entry, dict) and not entry.get("was_cancelled")]
    results = done[0].get("result") if done else None
    values = [entry.get("value") for entry in results or [] if isinstance(entry, dict)]
    choices = [choice for value in values if isinstance(value, dict) for choice in value.get("choices") or []]
    path = unquote(paths[0].rpartition("?d=")[2]) if paths else ""
    return {"path": path, "label": choices} | ({_MARKS_KEY: True} if values and not choices else {})


def _lists_paths_by_class(content: dict[str, Any]) -> bool:
    """Return whether the values are lists of different texts, as Food-101's `{"pizza": ["pizza/1", "pizza/2"]}`."""
    lists = [value for value in content.values() if isinstance(value, list)]
    texts = [text for texts in lists for text in texts if isinstance(text, str)]
    if len(lists) != len(content) or not sum(map(len, lists)) == len(texts) == len(set(texts)):
        return False
    # Labels by path would repeat.
    is_image_list = all(map(has_image_suffix, texts)) and not any(map(has_image_suffix, content))
    return len(texts) > len(lists) > 0 or (bool(texts) and is_image_list)


def _parse_object(raw_line: str) -> dict[str, Any] | None:
    """Return a line of JSON Lines as an object; None where it is none."""
    try:
        values = json.loads(raw_line)
    except (ValueError, RecursionError):  # RecursionError: a line of thousands of brackets
        return None
    return _flatten_record(values) if isinstance(values, dict) else None


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
