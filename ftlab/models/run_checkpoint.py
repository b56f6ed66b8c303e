"""Reading the checkpoints of a run, for resuming a training and for predicting with its last weights.

Reading lies below `ftlab.training`, so that prediction imports nothing of the training loop; that writes them, in
`ftlab/training/checkpoints/checkpoint.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.runs.directory import Run

TrainStateT = TypeVar("TrainStateT")


@dataclass(frozen=True)
class LoadedCheckpoint(Generic[TrainStateT]):
    """Contents of a checkpoint file.

    Attributes:
        train_state: how far the training is, as the caller's parser returned it.
        tensors: of the trainable part and of the optimizer, on the CPU.
        header: the optimizer's plain numbers, and the loss scale of mixed precision.
        path: the file that was read.
        newer_file_error: what is wrong with the newer generation, if that was passed over; else empty.
    """

    train_state: TrainStateT
    tensors: dict[str, Tensor]
    header: dict[str, Any]
    path: Path
    newer_file_error: str = ""

    @property
    def eval_weights(self) -> dict[str, Tensor]:
        """Trainable weights to evaluate, by their names in the whole network: the averaged ones if the run has some."""
        trainable_weights = select_by_prefix("average.", self.tensors) or select_by_prefix("module.", self.tensors)
        has_backbone = any(name.startswith("backbone.") for name in trainable_weights)
        # In frozen mode the trainable part is the head alone, whose names lack the network's prefix.
        return (
            trainable_weights if has_backbone else {f"head.{name}": value for name, value in trainable_weights.items()}
        )


def load_newest_checkpoint(
    run: Run, parse_train_state: Callable[[dict[str, Any]], TrainStateT]
) -> LoadedCheckpoint[TrainStateT] | None:
    """Read the newest intact checkpoint of a run, and fall back to the generation before it if that one is damaged.

    Args:
        run: a run of any status.
        parse_train_state: makes the caller's train state of the header's `position`. The file counts as damaged if it
            raises KeyError or TypeError.

    Returns:
        The checkpoint; None if the run has none yet.

    Raises:
        RunError: there are checkpoints, and none is intact.
    """  # noqa: DOC501, DOC502 (`make_damage_error` returns a RunError)
    file_errors: dict[Path, Exception] = {}
    for path in (run.last_checkpoint_path, run.previous_checkpoint_path):
        if not os.path.lexists(path):  # a folder or a broken link of this name is a damaged file
            continue
        try:
            tensors, header = weights_file.load_tensors(path)
            newer_file_error = str(next(iter(file_errors.values()), ""))
            return LoadedCheckpoint(parse_train_state(header.pop("position")), tensors, header, path, newer_file_error)
        except (weights_file.CorruptFileError, OSError, KeyError, TypeError) as cause:
            file_errors[path] = cause
    if file_errors:
        # The newest file is the one to name: a person who restores it loses least.
        newest_path, reason = next(iter(file_errors.items()))
        raise make_damage_error(run, newest_path, reason) from reason
    return None


def read_class_names(run: Run) -> tuple[str, ...]:
    """Read the names of a run's classes, in the order of its logits.

    Args:
        run: a run of any status.

    Returns:
        The names.

    Raises:
        RunError: `model.json` is missing or damaged.
    """
    class_names = run.read_json("model.json").get("classes")
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise RunError("run.file", run=run.name, file="model.json")
    return tuple(class_names)


def make_damage_error(run: Run, path: Path, cause: Exception) -> RunError:
    """Return the error for a file of a run that cannot be read.

    Args:
        run: whose file it is.
        path: of the file.
        cause: what reading it raised. Only the first line is quoted: torch lists every mismatched key on a line each.

    Returns:
        The error, to be raised by the caller.
    """
    first_line = (str(cause).splitlines() or [""])[0].rstrip(":")
    return RunError("run.damaged", run=run.name, file=path, cause=first_line or type(cause).__name__)


def select_by_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return the tensors whose names start with a prefix, under their names without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
