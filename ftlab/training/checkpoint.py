"""Checkpoints: safetensors files that are there whole or not at all.

A file is written beside its target, flushed to the disk and put in place by one rename. What belongs together is in
one file: the progress travels as JSON in the header of the tensors it belongs to.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ftlab.errors import RunError
from ftlab.models.network import Network
from ftlab.runs import Run

_OWN_KEY = "ftlab"
_COST_SHARE = 10
"""Saving may take one part in this many of the time, so that a training of milliseconds an epoch is not spent on the
disk. What a crash loses in between is trained again on a resume."""


@dataclass
class Position:
    """How far a training is. `epoch` is the one at work (0: the untrained network is still to be scored), `done` its
    steps, `step` the steps of the whole run, `sums` the epoch's tally so far."""

    epoch: int = 0
    done: int = 0
    step: int = 0
    best_epoch: int | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    sums: list[float] = field(default_factory=list)


class Keeper:
    """Keeps the best weights and the state to resume from, on the disk as often as it costs little."""

    def __init__(self, run: Run, network: Network, learning: nn.Module, optimizer: Optimizer) -> None:
        """`learning` is what the optimizer may change: the network, or its head alone."""
        self.run, self.network, self.learning, self.optimizer = run, network, learning, optimizer
        self._pending: dict[str, Tensor] | None = None
        self._saved_at, self._cost = -1e9, 0.0

    def improves(self, position: Position, accuracy: float | None, loss: float | None) -> bool:
        """Whether these figures are the best yet (the loss breaks a tie); then the weights are set aside."""
        if accuracy is None or loss is None or not math.isfinite(loss):
            return False
        best = (position.best_accuracy, -(position.best_loss or 0.0))
        if position.best_accuracy is not None and (accuracy, -loss) <= best:
            return False
        position.best_epoch, position.best_accuracy, position.best_loss = position.epoch, accuracy, loss
        # Only what learns can differ from one best to the next; the rest is read when the file is written.
        self._pending = {k: v.detach().to("cpu", copy=True) for k, v in self.learning.state_dict().items()}
        return True

    def due(self) -> bool:
        """Whether enough time has passed since the last saving."""
        return time.monotonic() - self._saved_at >= _COST_SHARE * self._cost

    def save(self, position: Position) -> list[str]:
        """Write what has changed: the best weights first, so that the state never tells of a best that is not there.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        began = time.monotonic()
        written = [*self.save_best(position), "last"]
        state, settings = _pack(self.optimizer)
        state.update({f"module.{k}": v for k, v in self.learning.state_dict().items()})
        self._write(self.run.last, state, {"position": asdict(position), "optimizer": settings})
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began
        return written

    def save_best(self, position: Position) -> list[str]:
        """Write the best weights if the disk does not have them yet.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        if self._pending is None:
            return []
        tensors = self.network.state_dict()
        prefix = "head." if self.learning is self.network.head else ""
        tensors.update({prefix + key: value for key, value in self._pending.items()})
        self._write(self.run.best, tensors, {"epoch": position.best_epoch, "val_accuracy": position.best_accuracy})
        self._pending = None
        return ["best"]

    def _write(self, path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        try:
            write(path, tensors, header)
        except (OSError, SafetensorError) as cause:
            raise RunError("run.write", folder=self.run.path.parent, cause=cause) from cause

    def restore(self) -> Position | None:
        """Put back what `save` wrote; None where nothing was.

        Raises:
            RunError: the file is damaged.
        """
        if not self.run.last.is_file():
            return None
        try:
            tensors, header = load(self.run.last)
            own = {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
            self.learning.load_state_dict(own)
            _unpack(self.optimizer, tensors, header["optimizer"])
            return Position(**header["position"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as cause:
            raise damaged(self.run, self.run.last, cause) from cause


def reached(run: Run) -> Position:
    """From where a resumed run goes on; the very beginning for a new one. Reads the header only.

    Raises:
        RunError: the file is damaged.
    """
    if not run.last.is_file():
        return Position()
    try:
        with safe_open(run.last, framework="pt") as file:
            return Position(**json.loads((file.metadata() or {})[_OWN_KEY])["position"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as cause:
        raise damaged(run, run.last, cause) from cause


def damaged(run: Run, file: Path, cause: Exception) -> RunError:
    """The error for a file of a run that cannot be read. Of the many lines in which torch tells a misfit, the first."""
    first = (str(cause).splitlines() or [""])[0].rstrip(":")
    return RunError("run.damaged", run=run.name, file=file, cause=first or type(cause).__name__)


def write(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Put tensors and a JSON header into a safetensors file in one go.

    Raises:
        OSError: the file cannot be written; what stood there before still does.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, {_OWN_KEY: json.dumps(header)})
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the processor, and the header of a file as `write` makes it.

    Raises:
        SafetensorError, OSError: it is missing or damaged.
    """
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get(_OWN_KEY, "{}"))
        return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (it is no dict)


def _pack(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors, and the plain numbers beside them. Rates are functions of the step."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                plain[f"{index}.{name}"] = value
    return tensors, plain


def _unpack(optimizer: Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    for key, value in plain.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
