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

PICKLE_SUFFIXES = frozenset((".pth", ".pt", ".ckpt", ".bin", ".tar"))
"""Files of torch's own kind. What in them is more than tensors and plain values is refused, never run."""
CHECKPOINT_SUFFIXES = frozenset((".safetensors", *PICKLE_SUFFIXES))

_UNSAFE_PATTERN = re.compile(r"GLOBAL ([\w.]+)|TorchScript")


@dataclass(frozen=True)
class ForeignCheckpoint:
    """What a file holds.

    Attributes:
        tensors: by name; what stands in containers has their names before its own.
        containers: by the same name, the container it was found in, empty for the file itself.
    """

    tensors: dict[str, Tensor]
    containers: dict[str, str] = field(default_factory=dict)


def parse_renames(text: str) -> list[tuple[str, str]]:
    """The pairs of `OLD=NEW,…`.

    Raises:
        ConfigError: one is no pair.
    """
    pairs = [pair.strip() for pair in text.split(",") if pair.strip()]
    for pair in pairs:
        if pair.count("=") != 1 or pair.startswith("="):
            raise ConfigError("config.rename", pair=pair)
    return [(old, new) for old, _, new in (pair.partition("=") for pair in pairs)]


def resolve_init(config: TrainConfig, runs_dir: Path | str) -> TrainConfig:
    """The same settings with the whole path in `init`: of a file, or of the folder of a run.

    Args:
        config: as a person gave them; `init` is a file, a run's folder, or a run's name as `runs.find` takes it.
        runs_dir: the folder of runs.

    Raises:
        WeightsError: there is no such file, or it is of no kind that is read here.
        RunError: there is no such run, or it has no weights.
        ConfigError: `rename` is not of the form that it must have.
    """
    if not config.init:
        return config
    parse_renames(config.rename)
    requested_path = Path(config.init).expanduser()
    try:
        init_path = requested_path.absolute() if requested_path.exists() else None
    except (OSError, ValueError):  # a name that no file can have
        init_path = None
    if init_path is None:
        if len(requested_path.parts) > 1 or requested_path.suffix.lower() in CHECKPOINT_SUFFIXES:
            raise WeightsError("init.missing", file=config.init)
        init_path = run_store.find_run(runs_dir, config.init).path
    if init_path.is_dir():
        if not (init_path / "best.safetensors").is_file():
            raise RunError("run.no_weights", run=init_path.name)
    elif init_path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise WeightsError("init.kind", file=init_path, kinds=", ".join(sorted(CHECKPOINT_SUFFIXES)))
    return replace(config, init=str(init_path))


def compute_sha256(file: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as cause:
        raise WeightsError("init.unreadable", file=file, cause=cause.strerror or cause) from cause


def read_checkpoint(file: Path) -> ForeignCheckpoint:
    """All tensors of a checkpoint. Nothing in it is run.

    Raises:
        WeightsError: it cannot be read, is damaged, holds more than weights, or holds none.
    """
    checkpoint = ForeignCheckpoint({})
    for name, tensor, container in _iter_tensors(_load_untrusted_file(file)):
        checkpoint.tensors[name], checkpoint.containers[name] = tensor, container
    if not checkpoint.tensors:
        raise WeightsError("init.empty", file=file)
    return checkpoint


def _load_untrusted_file(file: Path) -> Any:
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
        unsafe_match = _UNSAFE_PATTERN.search(str(cause))
        if unsafe_match:
            raise WeightsError("init.unsafe", file=file, what=unsafe_match[1] or unsafe_match[0]) from cause
        raise WeightsError("init.damaged", file=file, cause=_get_first_line(cause)) from cause


def _get_first_line(cause: BaseException) -> str:
    message = (str(cause) or type(cause).__name__).splitlines()[0].strip().rstrip(".:")
    # The advice that follows in torch's message would be to run what the file holds.
    return message if len(message) < 120 and "weights_only" not in message else type(cause).__name__


def _iter_tensors(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any, str]]:
    """(name, tensor, container) of all that lies in dictionaries with text for keys, however deep."""
    from torch import Tensor

    if not isinstance(node, Mapping) or depth > 5:
        return
    for key, value in node.items():
        if isinstance(value, Tensor) and isinstance(key, str):
            yield f"{prefix}{key}", value, prefix
        elif isinstance(key, str):
            yield from _iter_tensors(value, f"{prefix}{key}.", depth + 1)
