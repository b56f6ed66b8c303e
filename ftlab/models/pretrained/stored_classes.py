"""Class names that a checkpoint holds, or that lie in a file next to it: they say which row of its head is whose.

Programs write them under many names (`classes`, `class_to_idx`, `id2label`, `names`, `vocab` …) and in several forms: a
list, a name by index, an index by name. torch is not imported.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.models.pretrained.inert_pickle import StandIn

_INDEX_BY_NAME_KEYS = frozenset((
    "classtoidx", "classtoindex", "classtoid", "class2idx", "class2index", "class2id", "label2id", "label2idx",
    "labeltoid", "labeltoidx", "classindices", "nametoidx", "name2idx", "cat2idx", "cattoidx",
))  # fmt: skip
_NAME_BY_INDEX_KEYS = frozenset((
    "idxtoclass", "indextoclass", "idtoclass", "idx2class", "index2class", "id2class", "id2label", "idx2label",
    "idtolabel", "idxtolabel", "idxtoname", "idx2name", "idx2cat",
))  # fmt: skip
_LIST_KEYS = frozenset((
    "classes", "classnames", "classlist", "classlabels", "names", "labels", "labelnames", "labelmap", "vocab",
    "categories", "modelnames", "modelclasses", "targetnames", "classmap",
))  # fmt: skip
_PLACEHOLDER_NAME = re.compile(r"LABEL_\d+")
"""Names that Hugging Face's library gives to classes without any."""
_NUMBERED_LINE = re.compile(r"(\d+)[\s:,]+(\S.*)")
_SIDE_FILES = (
    *("config.json", "model.json", "class_to_idx.json", "class_indices.json", "idx_to_class.json", "id2label.json"),
    *("classes.json", "labels.json", "class_names.json", "classes.txt", "labels.txt", "class_names.txt"),
)
"""Files next to a checkpoint that may name its classes."""
_MAX_SIDE_FILE_BYTES = 4_000_000
_MAX_DEPTH, _MAX_CLASSES = 5, 100_000


@dataclass(frozen=True)
class ClassList:
    """Names of the classes of a head, in the order of its rows.

    Attributes:
        key: where they were found, for a message.
        names: one for each row.
        is_side_file: they come from a file next to the checkpoint.
    """

    key: str
    names: tuple[str, ...]
    is_side_file: bool = False


def find_class_lists(contents: Any) -> tuple[ClassList, ...]:
    """Find the lists of class names in a checkpoint.

    Args:
        contents: nested mappings, lists and stand-ins; tensors in them are passed over.

    Returns:
        The lists, the outermost first.
    """
    return tuple(sorted(_iter_class_lists(contents), key=lambda class_list: class_list.key.count(".")))


def find_metadata_class_lists(metadata: Mapping[str, str]) -> tuple[ClassList, ...]:
    """Return the lists of class names in the metadata of a safetensors file, whose values are texts."""
    return find_class_lists({key: _parse_text(value) for key, value in metadata.items()})


def read_side_class_lists(file: Path) -> tuple[ClassList, ...]:
    """Read the lists of class names in the files next to a checkpoint, as Hugging Face's `config.json` is.

    Args:
        file: the checkpoint.

    Returns:
        The lists; files that cannot be read, or hold something else, are passed over.
    """
    class_lists: list[ClassList] = []
    side_paths = [file.with_name(name) for name in _SIDE_FILES]
    if file.parent.name in ("epochs", "last"):  # weights of an epoch of one of our own runs
        side_paths.append(file.parent.parent / "model.json")
    for side_path in side_paths:
        try:
            if not side_path.is_file() or side_path.stat().st_size > _MAX_SIDE_FILE_BYTES:
                continue
            text = side_path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            continue
        contents = _parse_text(text) if side_path.suffix == ".json" else _split_lines(text)
        direct_names = _parse_names(_normalize_key(side_path.stem), contents)
        found = [ClassList(side_path.name, direct_names)] if direct_names else find_class_lists(contents)
        class_lists += [ClassList(side_path.name, class_list.names, is_side_file=True) for class_list in found]
    return tuple(class_lists)


def match_class_names(stored_names: Sequence[str], class_names: Sequence[str]) -> dict[int, int]:
    """Match the classes of a run with those of a checkpoint by name.

    Names that agree exactly come first; then case, Unicode form, spaces, underscores and hyphens are ignored. A name
    that fits several others matches none of them.

    Args:
        stored_names: of the checkpoint.
        class_names: of the run.

    Returns:
        Index in the checkpoint by index in the run.
    """
    matches: dict[int, int] = {}
    for normalize in (str, _normalize_name):
        stored_indices: dict[str, list[int]] = {}
        for index, name in enumerate(stored_names):
            if index not in matches.values():
                stored_indices.setdefault(normalize(name), []).append(index)
        open_indices: dict[str, list[int]] = {}
        for index, name in enumerate(class_names):
            if index not in matches:
                open_indices.setdefault(normalize(name), []).append(index)
        for name, indices in open_indices.items():
            candidates = stored_indices.get(name, [])
            if len(indices) == len(candidates) == 1:
                matches[indices[0]] = candidates[0]
    return matches


def _iter_class_lists(node: Any, path: str = "", depth: int = 0) -> Iterator[ClassList]:
    """Yield the class lists below a node; `path` names it, `depth` ends the search in a node that contains itself."""
    fields = _get_fields(node)
    if fields is None or depth > _MAX_DEPTH:
        return
    for key, value in fields.items():
        if not isinstance(key, str):
            continue
        names = _parse_names(_normalize_key(key), value)
        if names:
            yield ClassList(f"{path}{key}", names)
        else:
            yield from _iter_class_lists(value, f"{path}{key}.", depth + 1)


def _get_fields(node: Any) -> Mapping[Any, Any] | None:
    """Return the entries of a mapping, or the attributes of a stand-in; None for anything else."""
    if isinstance(node, StandIn):
        return node.state if isinstance(node.state, Mapping) else None
    return node if isinstance(node, Mapping) else None


def _parse_names(key: str, value: Any) -> tuple[str, ...]:
    """Return the class names that a value holds, in the order of their indices.

    Args:
        key: normalized; a value under another than the usual keys holds none.
        value: a list, a mapping, or a stand-in for one.

    Returns:
        The names; empty if the value is of no known form.
    """
    if key not in _INDEX_BY_NAME_KEYS | _NAME_BY_INDEX_KEYS | _LIST_KEYS:
        return ()
    names: tuple[str, ...] = ()
    value = _to_plain(value)
    if isinstance(value, Mapping) and len(value) <= _MAX_CLASSES:
        names = _parse_name_mapping(key, {_to_plain(name): _to_plain(index) for name, index in value.items()})
    elif isinstance(value, (list, tuple)) and len(value) <= _MAX_CLASSES:
        plain_values = [_to_plain(name) for name in value]
        if all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in plain_values):
            names = tuple(str(name) for name in plain_values)
    is_placeholder = bool(names) and all(_PLACEHOLDER_NAME.fullmatch(name) for name in names)
    return names if len(names) > 1 and len(set(names)) == len(names) and not is_placeholder else ()


def _parse_name_mapping(key: str, values: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return the names in a mapping between names and indices, by index; empty if it is no such mapping."""
    keys_are_numbers, values_are_numbers = (all(map(_is_number, side)) for side in (values.keys(), values.values()))
    # Classes may be numbers themselves: where both sides are, the key of the mapping decides, or else their types.
    is_name_by_index = keys_are_numbers and (
        not values_are_numbers or key in _NAME_BY_INDEX_KEYS or all(isinstance(value, str) for value in values.values())
    )
    if not (is_name_by_index or values_are_numbers):
        return ()
    pairs = values.items() if is_name_by_index else ((index, name) for name, index in values.items())
    name_by_index = {int(index): str(name) for index, name in pairs}
    size = len(values)
    return tuple(name_by_index[index] for index in range(size)) if set(name_by_index) == set(range(size)) else ()


def _is_number(value: Any) -> bool:
    """Return whether a value is an integer, or the digits of one."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdigit())


def _to_plain(value: Any) -> Any:
    """Return the plain value that a stand-in describes (a NumPy scalar or array, a list-like); else the value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, StandIn):
        return value
    name, arguments, state = type(value).global_name, value.arguments, value.state
    if name.endswith("multiarray.scalar") and len(arguments) == 2:
        decoded = _decode_array_bytes(arguments[0], arguments[1])
        return decoded[0] if decoded else value
    if name.endswith("multiarray._reconstruct") and isinstance(state, tuple) and len(state) == 5:
        return state[4] if isinstance(state[4], list) else _decode_array_bytes(state[2], state[4])
    if name == "numpy.str_" and arguments:
        return arguments[0]
    if isinstance(state, Mapping) and "items" in state:  # fastai's list of categories
        return _to_plain(state["items"])
    if isinstance(arguments, tuple) and len(arguments) == 1 and isinstance(arguments[0], (list, tuple, Mapping)):
        return arguments[0]
    return value


def _decode_array_bytes(dtype: Any, data: Any) -> list[Any]:
    """Return the integers or texts in the bytes of a NumPy array of one dimension; empty for other types.

    Args:
        dtype: stand-in for `numpy.dtype`; its argument is the code of the type, such as `i8` or `U5`.
        data: bytes of the array.
    """
    code = dtype.arguments[0] if isinstance(dtype, StandIn) and dtype.arguments else ""
    if not isinstance(code, str) or not isinstance(data, bytes) or not re.fullmatch(r"[iuUS]\d{1,6}", code):
        return []
    byte_order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    is_big_endian = byte_order == ">"
    item_bytes = int(code[1:]) * (4 if code[0] == "U" else 1)
    if not item_bytes:
        return []
    items = [data[start : start + item_bytes] for start in range(0, len(data), item_bytes)]
    if code[0] in "iu":
        return [int.from_bytes(item, "big" if is_big_endian else "little", signed=code[0] == "i") for item in items]
    encoding = "latin-1" if code[0] == "S" else "utf-32-be" if is_big_endian else "utf-32-le"
    return [item.decode(encoding, "replace").rstrip("\0") for item in items]


def _parse_text(text: str) -> Any:
    """Return the value of a text: JSON, else the parts between commas or line ends."""
    try:
        return json.loads(text)
    except ValueError:
        return [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]


def _split_lines(text: str) -> list[str]:
    """Return the lines of a list of labels, without their numbers if they are numbered from 0 (`0 cat`)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [_NUMBERED_LINE.fullmatch(line) for line in lines]
    if lines and all(match and int(match[1]) == index for index, match in enumerate(numbered)):
        return [match[2] for match in numbered if match]
    return lines


def _normalize_key(key: str) -> str:
    return re.sub(r"[\W_]+", "", key).casefold()


def _normalize_name(name: str) -> str:
    """Return a name without differences of case, Unicode form, spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()
