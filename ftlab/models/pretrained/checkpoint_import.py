"""Weights from elsewhere: which file a person names, and the tensors in it. Nothing in a file is run.

torch is imported only to read one; `matching` lays the tensors onto a network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, RunError, WeightsError
from ftlab.runs import run_store

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = frozenset((".pth", ".pt", ".ckpt", ".bin", ".tar"))
"""Files of torch's own kind. What in them is more than tensors and plain values is refused, never run."""
SUFFIXES = frozenset((".safetensors", *PICKLED))

_UNSAFE = re.compile(r"GLOBAL ([\w.]+)|TorchScript")


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        tensors: by name; what stands in containers has their names before its own.
        parents: by the same name, the container it was found in, empty for the file itself.
    """

    tensors: dict[str, Tensor]
    parents: dict[str, str] = field(default_factory=dict)


def renames(text: str) -> list[tuple[str, str]]:
    """The pairs of `OLD=NEW,…`.

    Raises:
        ConfigError: one is no pair.
    """
    pairs = [one.strip() for one in text.split(",") if one.strip()]
    for one in pairs:
        if one.count("=") != 1 or one.startswith("="):
            raise ConfigError("config.rename", pair=one)
    return [(old, new) for old, _, new in (one.partition("=") for one in pairs)]


def resolve(settings: TrainConfig, root: Path | str) -> TrainConfig:
    """The same settings with the whole path in `init`: of a file, or of the folder of a run.

    Args:
        settings: as a person gave them; `init` is a file, a run's folder, or a run's name as `runs.find` takes it.
        root: the folder of runs.

    Raises:
        WeightsError: there is no such file, or it is of no kind that is read here.
        RunError: there is no such run, or it has no weights.
        ConfigError: `rename` is not of the form that it must have.
    """
    if not settings.init:
        return settings
    renames(settings.rename)
    given = Path(settings.init).expanduser()
    try:
        place = given.absolute() if given.exists() else None
    except (OSError, ValueError):  # a name that no file can have
        place = None
    if place is None:
        if len(given.parts) > 1 or given.suffix.lower() in SUFFIXES:
            raise WeightsError("init.missing", file=settings.init)
        place = run_store.find(root, settings.init).path
    if place.is_dir():
        if not (place / "best.safetensors").is_file():
            raise RunError("run.no_weights", run=place.name)
    elif place.suffix.lower() not in SUFFIXES:
        raise WeightsError("init.kind", file=place, kinds=", ".join(sorted(SUFFIXES)))
    return replace(settings, init=str(place))


def fingerprint(file: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as cause:
        raise WeightsError("init.unreadable", file=file, cause=cause.strerror or cause) from cause


def read(file: Path) -> Stored:
    """All tensors of a checkpoint. Nothing in it is run.

    Raises:
        WeightsError: it cannot be read, is damaged, holds more than weights, or holds none.
    """
    found = Stored({})
    for name, tensor, parent in _tensors(_load(file)):
        found.tensors[name], found.parents[name] = tensor, parent
    if not found.tensors:
        raise WeightsError("init.empty", file=file)
    return found


def _load(file: Path) -> Any:
    """What the file holds, as its own format gives it."""
    import argparse

    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix.lower() == ".safetensors":
            return load_file(file)
        # Many keep the command line's settings beside the weights: a plain record, which does nothing when it is read.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    # Both raise nearly anything for a damaged file: EOFError, KeyError, their own kinds … It is the file's fault.
    except Exception as cause:
        unsafe = _UNSAFE.search(str(cause))
        if unsafe:
            raise WeightsError("init.unsafe", file=file, what=unsafe[1] or unsafe[0]) from cause
        raise WeightsError("init.damaged", file=file, cause=_first(cause)) from cause


def _first(cause: BaseException) -> str:
    said = (str(cause) or type(cause).__name__).splitlines()[0].strip().rstrip(".:")
    # The advice that follows in torch's message would be to run what the file holds.
    return said if len(said) < 120 and "weights_only" not in said else type(cause).__name__


def _tensors(node: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any, str]]:
    """(name, tensor, container) of all that lies in dictionaries with text for keys, however deep."""
    from torch import Tensor

    if not isinstance(node, Mapping) or depth > 5:
        return
    for key, value in node.items():
        if isinstance(value, Tensor) and isinstance(key, str):
            yield f"{name}{key}", value, name
        elif isinstance(key, str):
            yield from _tensors(value, f"{name}{key}.", depth + 1)
