"""Import of weights from elsewhere: the file that a person names, and the tensors in it. No code in a file is run.

torch is imported only to read a file; `key_mapping` assigns the tensors to a network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.core.errors import ConfigError, WeightsError
from ftlab.models.pretrained import file_kinds, hub_access, inert_pickle, stored_classes, tensor_search
from ftlab.models.pretrained.stored_classes import ClassList
from ftlab.runs import run_store
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from torch import Tensor

PICKLE_SUFFIXES = frozenset((".pth", ".pt", ".ckpt", ".bin", ".tar"))
"""Files in torch's own format. One that holds more than tensors and plain values is refused, never run."""
CHECKPOINT_SUFFIXES = frozenset((".safetensors", *PICKLE_SUFFIXES))

_MODEL_FILE_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Weights in a folder of Hugging Face's library, the first that exists is taken."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """Contents of a checkpoint file.

    Attributes:
        tensors: by name; tensors in nested dictionaries have the containers' names as a prefix.
        containers: by the same name, the prefix of the container; empty for the top level.
        class_lists: names of classes in the file or next to it, one of which may be that of its head.
        foreign_names: classes of other programs whose objects were passed over, for a message; empty for none.
    """

    tensors: dict[str, Tensor]
    containers: dict[str, str] = field(default_factory=dict)
    class_lists: tuple[ClassList, ...] = ()
    foreign_names: str = ""


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
            takes it; or a model on the Hugging Face Hub, whose address gets its commit.
        runs_dir: the folder of runs.

    Returns:
        The configuration with the path; unchanged if `init_from` is empty.

    Raises:
        WeightsError: there is no such file, or it is of no kind that can be read.
        RunError: the run has no weights.
    """  # noqa: DOC502 (`_find_model_file` raises it)
    if not config.init_from:
        return config
    parse_renames(config.rename_keys)
    if hub_access.is_hub_address(config.init_from):
        _, pinned_address = hub_access.download_model(hub_access.parse_address(config.init_from))
        return replace(config, init_from=str(pinned_address))
    requested_path = user_dirs.expand_home(config.init_from)
    try:
        init_path = requested_path.absolute() if requested_path.exists() else None
    except (OSError, ValueError):  # too long for a path, or with a NUL character
        init_path = None
    if init_path is None:
        # What looks like a path is no run's name: the error should be about the file.
        if len(requested_path.parts) > 1 or requested_path.suffix.lower() in CHECKPOINT_SUFFIXES:
            raise WeightsError("init.missing", file=config.init_from)
        init_path = run_store.find_usable_run(runs_dir, config.init_from).path
    if init_path.is_dir() and not (init_path / "best.safetensors").is_file():
        init_path = _find_model_file(init_path)
    if not init_path.is_dir():
        try:
            file_kinds.check_file_kind(init_path)
        except WeightsError as error:
            # With another suffix, a file that nobody would call weights is more likely a wrong choice than damaged.
            is_other_file = error.code in ("init.damaged", "init.is.text") or (
                error.code == "init.is.archive" and not file_kinds.find_inner_weights(init_path)
            )
            if is_other_file and init_path.suffix.lower() not in CHECKPOINT_SUFFIXES:
                kinds = ", ".join(sorted(CHECKPOINT_SUFFIXES))
                raise WeightsError("init.kind", file=init_path, kinds=kinds) from error
            raise
    return replace(config, init_from=str(init_path))


def locate_init(init_from: str) -> Path:
    """Return the file or folder of a resolved `init_from`; a model on the Hugging Face Hub is downloaded if necessary.

    Args:
        init_from: as `resolve_init` has it.

    Returns:
        The path.
    """
    if hub_access.is_hub_address(init_from):
        return hub_access.download_model(hub_access.parse_address(init_from))[0]
    return Path(init_from)


def _find_model_file(folder: Path) -> Path:
    """Return the file of weights in a folder that is no run of ours with weights.

    Args:
        folder: of a model, or a run.

    Returns:
        The file.

    Raises:
        RunError: the folder is a run without weights.
        WeightsError: the folder has no file of a usual name.
    """  # noqa: DOC502 (`make_no_weights_error` returns a RunError)
    model_file = next((folder / name for name in _MODEL_FILE_NAMES if (folder / name).is_file()), None)
    if model_file is not None:
        return model_file
    if (folder / "config.json").is_file() or run_store.is_run_name(folder.name):
        raise Run(folder).make_no_weights_error()
    raise WeightsError("init.folder", file=folder, names=", ".join(_MODEL_FILE_NAMES))


def is_safetensors(path: Path) -> bool:
    """Return whether initial weights are read without torch's pickle format: a safetensors file, or a run's folder."""
    return path.is_dir() or file_kinds.check_file_kind(path) == file_kinds.SAFETENSORS


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
    """Read all tensors of a checkpoint, and the class names in it; no code in it is run.

    Args:
        file: of any name: its content says what it is.

    Returns:
        The tensors.

    Raises:
        WeightsError: the file cannot be read, is damaged, is no checkpoint, or holds no usable tensor.
    """  # noqa: DOC501 (`make_unsafe_error` returns a WeightsError)
    side_lists = stored_classes.read_side_class_lists(file)
    if file_kinds.check_file_kind(file) == file_kinds.SAFETENSORS:
        tensors, metadata = _read_safetensors(file)
        class_lists = stored_classes.find_metadata_class_lists(metadata) + side_lists
        checkpoint = ForeignCheckpoint(tensors, class_lists=class_lists)
    else:
        contents = inert_pickle.load_pickle(file)
        checkpoint = ForeignCheckpoint(
            {},
            class_lists=stored_classes.find_class_lists(contents.root) + side_lists,
            foreign_names=inert_pickle.describe_foreign(contents.foreign_names),
        )
        for name, tensor, container in tensor_search.find_tensors(contents.root):
            checkpoint.tensors[name], checkpoint.containers[name] = tensor, container
        if not checkpoint.tensors and tensor_search.holds_optimizer(contents.root):
            raise WeightsError("init.optimizer", file=file)
        whole_model = inert_pickle.find_whole_model(contents)
        if not checkpoint.tensors and whole_model:
            raise file_kinds.make_unsafe_error(file, f"a whole model of the class {whole_model[0]}", key=whole_model[1])
    if not checkpoint.tensors:
        raise WeightsError("init.empty", file=file)
    tensor_search.check_tensors(file, checkpoint.tensors)
    return checkpoint


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a safetensors file and its metadata.

    Args:
        file: in this format, whatever its suffix.

    Returns:
        Tensors on the CPU by name, and texts by name.

    Raises:
        WeightsError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stream:
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (not a dict)
            return tensors, dict(stream.metadata() or {})
    # A header that claims what the file does not hold raises errors of several kinds.
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as cause:
        raise WeightsError("init.damaged", file=file, cause=inert_pickle.get_first_line(cause)) from cause
