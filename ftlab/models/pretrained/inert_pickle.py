"""Reading of torch's pickle files without running any code of theirs: foreign objects become inert stand-ins.

`torch.load(weights_only=True)` refuses every class and function that it does not know, and many checkpoints hold some
beside their weights: NumPy numbers, paths, dates, settings. Here each of these names stands for a class of ours that
keeps what the file says of an object and calls nothing. Names that are known to run code, or that belong to Python's
own library and are no plain records, are refused.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import file_kinds

_MAX_READS = 300
"""Times that a file is read at most: each may find one more name, and checkpoints with 50 are known."""
_RECORD_MODULES = frozenset(
    ("datetime", "pathlib", "pathlib._local", "decimal", "_decimal", "fractions", "uuid", "zoneinfo")
)
"""Modules of Python's library that hold plain values only."""
_RECORD_GLOBALS = frozenset((
    "argparse.Namespace", "types.SimpleNamespace", "random.Random", "re._compile", "re.compile", "functools.partial",
    "copyreg._reconstructor", "copyreg.__newobj__", "time.struct_time", "logging.Logger", "logging.getLogger",
    "collections.UserDict", "collections.UserList", "collections.ChainMap", "ipaddress.IPv4Address",
    *(f"builtins.{name}" for name in (
        "object", "list", "dict", "tuple", "frozenset", "str", "int", "float", "bool", "bytes", "slice", "range",
        "type", "NoneType", "Ellipsis", "NotImplemented", "ValueError", "RuntimeError", "KeyError", "Exception",
    )),
))  # fmt: skip
"""Names of Python's library that are plain records, or that are harmless as long as nobody calls them."""
_MAPPING_GLOBALS = frozenset(("collections.defaultdict", "collections.UserDict"))
_LIST_GLOBALS = frozenset(("collections.deque", "_collections.deque"))
_UNKNOWN_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""Words of torch's error for a name that it does not know. It leaves out `builtins.`."""
_STAND_IN_NAME = re.compile(r"<class '(?:[\w.]+\.)?StandIn\.([^']+)'>")
_WRONG_SHAPE = re.compile(r"Can only (SETITEM|SETITEMS|append|extend)\b")
_UNSUPPORTED_OPERAND = re.compile(r"Unsupported operand (\d+)")


class StandIn:
    """An object of a foreign class as its file describes it; of no behavior.

    Attributes:
        global_name: module and name of the class or function.
        arguments: what it would be called with.
        state: what its attributes would be set from; None if the file does not say.
    """

    global_name: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> StandIn:
        """Keep the arguments."""
        stand_in = object.__new__(cls)
        stand_in.arguments, stand_in.state = arguments, None
        return stand_in

    def __init__(self, *arguments: Any) -> None:
        """Do nothing: `__new__` has kept the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state; nothing becomes an attribute."""
        self.state = state


@dataclass(frozen=True)
class PickleContents:
    """What a pickle file holds.

    Attributes:
        root: the object, with stand-ins for foreign ones.
        foreign_names: module and name of each foreign class and function, sorted.
    """

    root: Any
    foreign_names: tuple[str, ...]


def load_pickle(file: Path) -> PickleContents:
    """Read a file of `torch.save`; no code in it is run.

    Args:
        file: zip or legacy format.

    Returns:
        Its contents; tensors are on the CPU.

    Raises:
        WeightsError: the file is damaged, or names something that runs code.
    """  # noqa: DOC501 (`_make_load_error` returns a WeightsError)
    import torch

    if file_kinds.detect_file_kind(file) == file_kinds.TORCH_ZIP:
        file_kinds.check_zip_checksums(file)
    stand_ins: dict[str, type] = {}
    root: Any = None
    _add_stand_ins(file, _list_foreign_names(file), stand_ins)
    # Without the values of the tensors first: a large file is read once, when all of its names are known.
    for map_location in ("meta", "cpu"):
        for _ in range(_MAX_READS):
            try:
                safe_globals: list[Any] = [(stand_in, name) for name, stand_in in stand_ins.items()]
                with (
                    torch.serialization.safe_globals(safe_globals),
                    warnings.catch_warnings(),
                    file.open("rb") as stream,  # a stream: of a path, torch believes the suffix
                ):
                    warnings.simplefilter("ignore")
                    root = torch.load(stream, map_location=map_location, weights_only=True)
                break
            # torch raises nearly anything for a damaged file: EOFError, KeyError, errors of its own …
            except Exception as cause:
                if _learn_from_error(file, str(cause), stand_ins):
                    continue
                # Some tensors, sparse ones for example, cannot be read without their values.
                if map_location == "meta":
                    break
                raise _make_load_error(file, cause) from cause
        else:
            raise WeightsError("init.damaged", file=file, cause="too many foreign names")
    return PickleContents(root, tuple(sorted(stand_ins)))


def describe_foreign(names: Sequence[str]) -> str:
    """Return the names of other programs' classes for a message; those of Python, NumPy and torch are left out."""
    shown = [name for name in names if name.partition(".")[0] not in ("numpy", "torch") and not _is_standard(name)]
    return ", ".join(shown[:3]) + (" …" if len(shown) > 3 else "")


def find_whole_model(contents: PickleContents) -> tuple[str, str] | None:
    """Find a pickled model: an object at the top of a file, or in one of its entries.

    Args:
        contents: of the file.

    Returns:
        Module and name of its class, and the key of the entry (empty for the top); None if there is none.
    """
    root = contents.root
    candidates = {"": root, **(root if isinstance(root, dict) else {})}
    for key, candidate in candidates.items():
        if isinstance(candidate, StandIn) and isinstance(candidate.state, dict):
            return type(candidate).global_name, str(key)
    return None


def _list_foreign_names(file: Path) -> list[str]:
    """Return the names that torch does not know, as far as they can be listed without loading."""
    import torch

    try:
        with file.open("rb") as stream:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(stream))
    # The legacy format cannot be listed, a damaged file neither: loading says what is wrong.
    except Exception:
        return []


def _add_stand_ins(file: Path, names: Sequence[str], stand_ins: dict[str, type]) -> None:
    """Add stand-ins for names; WeightsError for a name that runs code.

    Args:
        file: named in the error.
        names: module and name of foreign classes and functions.
        stand_ins: by name, to be extended.

    Raises:
        WeightsError: a name is no record.
    """  # noqa: DOC501, DOC502 (`make_unsafe_error` returns one)
    for name in names:
        if _is_standard(name) and not _is_record(name):
            raise file_kinds.make_unsafe_error(file, name)
        stand_ins[name] = _make_stand_in(name)


def _is_standard(name: str) -> bool:
    """Return whether a name belongs to Python's own library."""
    return name.partition(".")[0] in sys.stdlib_module_names or name.startswith(("__builtin__.", "commands."))


def _is_record(name: str) -> bool:
    """Return whether a name of Python's library is that of a plain record."""
    records = _RECORD_GLOBALS | _MAPPING_GLOBALS | _LIST_GLOBALS
    return name in records or name.rpartition(".")[0] in _RECORD_MODULES


def _make_stand_in(name: str, shape: str = "") -> type:
    """Make a class that stands for a name: a record, or one whose objects are plain mappings or lists.

    Args:
        name: module and name.
        shape: `mapping` or `list` if torch has found it to be filled as one.

    Returns:
        The class. torch fills exact lists and ordered dictionaries only, so the latter two make these.
    """
    class_name = f"StandIn.{name}"
    if shape == "mapping" or name in _MAPPING_GLOBALS:
        return type(class_name, (), {"__new__": lambda _cls, *_arguments: OrderedDict()})
    if shape == "list" or name in _LIST_GLOBALS:
        return type(class_name, (), {"__new__": lambda _cls, *_arguments: []})
    return type(class_name, (StandIn,), {"global_name": name})


def _learn_from_error(file: Path, message: str, stand_ins: dict[str, type]) -> bool:
    """Add or change the stand-in that an error of torch asks for.

    Args:
        file: that is read.
        message: of the error.
        stand_ins: by name, to be changed.

    Returns:
        Whether there was one.
    """
    shape_match, stand_in_match = _WRONG_SHAPE.search(message), _STAND_IN_NAME.search(message)
    if shape_match and stand_in_match:
        name = stand_in_match[1]
        stand_ins[name] = _make_stand_in(name, "mapping" if shape_match[1].startswith("SETITEM") else "list")
        return True
    global_match = _UNKNOWN_GLOBAL.search(message)
    if not global_match:
        return False
    # torch leaves out the module of built-in names.
    name = global_match[1] if "." in global_match[1] else f"builtins.{global_match[1]}"
    if name in stand_ins:
        return False
    _add_stand_ins(file, [name], stand_ins)
    return True


def _make_load_error(file: Path, cause: Exception) -> WeightsError:
    message = str(cause)
    if "persistent_load" in message:  # the legacy format stores modules with the source code of their classes
        return file_kinds.make_unsafe_error(file, "a whole model")
    if _UNSUPPORTED_OPERAND.search(message):
        return WeightsError(
            "init.protocol", file=file, command=file_kinds.format_conversion(file_kinds.LOAD_EXPRESSION, file)
        )
    if "GLOBAL" in message and (global_match := _UNKNOWN_GLOBAL.search(message)):
        return file_kinds.make_unsafe_error(file, global_match[1])
    return WeightsError("init.damaged", file=file, cause=get_first_line(cause))


def get_first_line(cause: BaseException) -> str:
    """Return the first line of an error's message, or its class if that says more.

    torch's message goes on with the advice to load the file with `weights_only=False`, which would run its code.
    """
    message = (str(cause) or type(cause).__name__).splitlines()[0].strip().rstrip(".:")
    return message if len(message) < 120 and "weights_only" not in message else type(cause).__name__
