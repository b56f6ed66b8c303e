"""Import of weights from elsewhere: the file that a person names, and the tensors in it. No code in a file is run.

torch is imported only to read a file; `key_mapping` assigns the tensors to a network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.core.errors import ConfigError, RunError, WeightsError
from ftlab.runs import run_store

if TYPE_CHECKING:
    from torch import Tensor

PICKLE_SUFFIXES = frozenset((".pth", ".pt", ".ckpt", ".bin", ".tar"))
"""Files in torch's own format. One that holds more than tensors and plain values is refused, never run."""
CHECKPOINT_SUFFIXES = frozenset((".safetensors", *PICKLE_SUFFIXES))

_UNSAFE_PATTERN = re.compile(r"GLOBAL ([\w.]+)|TorchScript")
"""Words of torch's errors for a file that holds code: a global that it would import, or TorchScript."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """Contents of a checkpoint file.

    Attributes:
        tensors: by name; tensors in nested dictionaries have the containers' names as a prefix.
        containers: by the same name, the prefix of the container; empty for the top level.
    """

    tensors: dict[str, Tensor]
    containers: dict[str, str] = field(default_factory=dict)


def parse_renames(text: str) -> list[tuple[str, str]]:
    """Parse `OLD=NEW,…`.

    Args:
        text: as a person wrote it.

    Returns:
        Pairs of prefixes.

    Raises:
        ConfigError: an entry is no pair.
    """
    pairs = [pair.strip() for pair in text.split(",") if pair.strip()]
    for pair in pairs:
        if pair.count("=") != 1 or pair.startswith("="):
            raise ConfigError("config.rename", pair=pair)
    return [(old, new) for old, _, new in (pair.partition("=") for pair in pairs)]


def resolve_init(config: TrainConfig, runs_dir: Path | str) -> TrainConfig:
    """Resolve `init_from` to the absolute path of a file, or of a run's folder.

    A run that does not exist gives RunError, a malformed `rename_keys` ConfigError.

    Args:
        config: as a person gave it; `init_from` is a file, a run's folder, or a run's name as `run_store.find_run`
            takes it.
        runs_dir: the folder of runs.

    Returns:
        The configuration with the path; unchanged if `init_from` is empty.

    Raises:
        WeightsError: there is no such file, or it is of no kind that can be read.
        RunError: the run has no weights.
    """
    if not config.init_from:
        return config
    parse_renames(config.rename_keys)
    requested_path = user_dirs.expand_home(config.init_from)
    try:
        init_path = requested_path.absolute() if requested_path.exists() else None
    except (OSError, ValueError):  # too long for a path, or with a NUL character
        init_path = None
    if init_path is None:
        # What looks like a path is no run's name: the error should be about the file.
        if len(requested_path.parts) > 1 or requested_path.suffix.lower() in CHECKPOINT_SUFFIXES:
            raise WeightsError("init.missing", file=config.init_from)
        init_path = run_store.find_run(runs_dir, config.init_from).path
    if init_path.is_dir():
        if not (init_path / "best.safetensors").is_file():
            raise RunError("run.no_weights", run=init_path.name)
    elif not init_path.is_file():  # a pipe, which would be waited for
        raise WeightsError("init.unreadable", file=init_path, cause="Not a regular file")
    elif init_path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise WeightsError("init.kind", file=init_path, kinds=", ".join(sorted(CHECKPOINT_SUFFIXES)))
    return replace(config, init_from=str(init_path))


def compute_sha256(file: Path) -> str:
    """Compute the SHA-256 of a file.

    Args:
        file: to be read.

    Returns:
        64 hex digits.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with file_io.open_regular_file(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as cause:
        raise WeightsError("init.unreadable", file=file, cause=cause.strerror or cause) from cause


def read_checkpoint(file: Path) -> ForeignCheckpoint:
    """Read all tensors of a checkpoint; no code in it is run.

    A file that cannot be read, is damaged, or holds more than weights gives WeightsError too.

    Args:
        file: of any of `CHECKPOINT_SUFFIXES`.

    Returns:
        The tensors.

    Raises:
        WeightsError: the file holds no tensor.
    """
    checkpoint = ForeignCheckpoint({})
    for name, tensor, container in _iter_tensors(_load_untrusted_file(file)):
        checkpoint.tensors[name], checkpoint.containers[name] = tensor, container
    if not checkpoint.tensors:
        raise WeightsError("init.empty", file=file)
    return checkpoint


def _load_untrusted_file(file: Path) -> Any:
    """Load a file by its own format, without running code.

    Args:
        file: from anywhere.

    Returns:
        The object it holds.

    Raises:
        WeightsError: it is damaged, or holds more than weights.
    """
    import argparse

    import torch
    from safetensors.torch import load_file

    try:
        file_io.check_regular_file(file)
        if file.suffix.lower() == ".safetensors":
            return load_file(file)
        # Many checkpoints hold the command line's settings too: a `Namespace` is a plain record and runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    # Both libraries raise nearly anything for a damaged file: EOFError, KeyError, errors of their own …
    except Exception as cause:
        unsafe_match = _UNSAFE_PATTERN.search(str(cause))
        if unsafe_match:
            raise WeightsError("init.unsafe", file=file, what=unsafe_match[1] or unsafe_match[0]) from cause
        raise WeightsError("init.damaged", file=file, cause=_get_first_line(cause)) from cause


def _get_first_line(cause: BaseException) -> str:
    message = (str(cause) or type(cause).__name__).splitlines()[0].strip().rstrip(".:")
    # torch's message goes on with the advice to load the file with `weights_only=False`, which would run its code.
    return message if len(message) < 120 and "weights_only" not in message else type(cause).__name__


def _iter_tensors(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any, str]]:
    """Yield (name, tensor, container) for all tensors in nested dictionaries with string keys, to a depth of five."""
    from torch import Tensor

    # A depth that no checkpoint has: a dictionary may contain itself.
    if not isinstance(node, Mapping) or depth > 5:
        return
    for key, value in node.items():
        if isinstance(value, Tensor) and isinstance(key, str):
            yield f"{prefix}{key}", value, prefix
        elif isinstance(key, str):
            yield from _iter_tensors(value, f"{prefix}{key}.", depth + 1)
