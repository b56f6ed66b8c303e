"""What a run keeps on the disk: its best weights, and the state to go on from, in two generations.

Each is one sealed safetensors file (`sealed.py`), so weights, optimizer and position can never be of different moments.
The state's older generation stays until a newer one is whole and in place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.training.optim.plateau import Plateau

_COST_SHARE = 10
"""Saving may take one part in this many of the time, so that a training of milliseconds an epoch is not spent on the
disk. What a crash loses in between is trained again on a resume."""
_WITHIN_EPOCH = 60.0
"""Seconds after which the middle of an epoch is worth saving."""
_REST = 16_000_000
"""Bytes for everything beside the weights: events, log, configuration."""


@dataclass
class Position:
    """How far a training is. `epoch` is the one at work (0: the untrained network is still to be scored), `done` its
    steps, `step` the steps of the whole run, `sums` the epoch's tally so far, `portion` the most pictures that the
    device takes at once (0: any number), `lost` the pictures by split that could not be read, `plateau` what that
    schedule remembers, `phase` the phase whose optimizer is at work."""

    epoch: int = 0
    done: int = 0
    step: int = 0
    best_epoch: int | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    sums: list[float] = field(default_factory=list)
    portion: int = 0
    lost: dict[str, list[int]] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)
    phase: int = 1

    @classmethod
    def of(cls, values: dict[str, Any]) -> Position:
        """From what `dataclasses.asdict` makes of one."""
        return cls(**{**values, "plateau": Plateau(**values.get("plateau", {}))})


@dataclass(frozen=True)
class State:
    """A state as it was read.

    Attributes:
        position: how far it is.
        tensors: of what learns, and of the optimizer.
        plain: the optimizer's bare numbers, and the loss scale of mixed precision.
        file: where it was read from.
        damaged: what is wrong with the newer generation, if that was passed over; else empty.
    """

    position: Position
    tensors: dict[str, Tensor]
    plain: dict[str, Any]
    file: Path
    damaged: str = ""

    @property
    def judged(self) -> dict[str, Tensor]:
        """The weights of what learns that are scored, by their names in the whole network: averaged ones where those
        are judged."""
        own = _below("average.", self.tensors) or _below("module.", self.tensors)
        whole = any(name.startswith("backbone.") for name in own)
        return own if whole else {f"head.{name}": value for name, value in own.items()}


class Keeper:
    """Keeps the best weights and the state to resume from, on the disk as often as it costs little."""

    def __init__(
        self,
        run: Run,
        network: Network,
        learning: nn.Module,
        optimizer: Optimizer,
        scaler: Any | None = None,
        average: nn.Module | None = None,
    ) -> None:
        """
        Args:
            learning: what the optimizer may change: the network, or its head alone.
            scaler: the loss scale of mixed precision in float16.
            average: the like of `learning` with averaged weights, where those are judged.
        """
        self.run, self.network, self.learning, self.optimizer, self.scaler = run, network, learning, optimizer, scaler
        self.average = average
        self._pending: dict[str, Tensor] | None = None
        self._last_is_whole = True
        self._saved_at, self._cost = -1e9, 0.0

    def improves(
        self, position: Position, accuracy: float | None, loss: float | None, best_by: str = "accuracy"
    ) -> bool:
        """Whether these figures are the best yet; then the weights are set aside. `best_by` is `accuracy` (the loss
        breaks a tie) or `loss`."""
        if accuracy is None or loss is None or not math.isfinite(loss):
            return False
        if position.best_accuracy is not None and position.best_loss is not None:
            now, then = (accuracy, -loss), (position.best_accuracy, -position.best_loss)
            if (now[1:] <= then[1:]) if best_by == "loss" else (now <= then):
                return False
        position.best_epoch, position.best_accuracy, position.best_loss = position.epoch, accuracy, loss
        # Only what learns can differ from one best to the next; the rest is read when the file is written.
        self._pending = {k: v.detach().to("cpu", copy=True) for k, v in self._judged.items()}
        return True

    @property
    def _judged(self) -> dict[str, Tensor]:
        """The weights of what learns that were scored."""
        return (self.average or self.learning).state_dict()

    def due(self, *, within_epoch: bool = False) -> bool:
        """Whether enough time has passed since the last saving; the middle of an epoch has more of it."""
        wait = _COST_SHARE * self._cost
        return time.monotonic() - self._saved_at >= (max(wait, _WITHIN_EPOCH) if within_epoch else wait)

    def room(self, kept: int = 0) -> None:
        """Make sure that the disk has room for all that will be written.

        Args:
            kept: epochs whose weights will be kept.

        Raises:
            RunError: it has not.
        """
        # AdamW keeps two numbers beside each parameter.
        state, best = (4 if self.average else 3) * _bytes(self.learning), _bytes(self.network)
        written = (self.run.best, self.run.last, self.run.before, *self.run.epochs.glob("*.safetensors"))
        there = sum(file.stat().st_size for file in written if file.is_file())
        # Both generations and the best stay while another state, or another best, is written beside them.
        needed = (1 + kept) * best + 2 * state + max(best, state) + _REST - there
        free = file_io.free(self.run.path)
        if free < needed:
            raise RunError("run.space", folder=self.run.path.parent, needed=_mega(needed), free=_mega(free))

    def save(self, position: Position) -> list[str]:
        """Write what has changed: the best weights first, so that the state never tells of a best that is not there.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        began = time.monotonic()
        written = [*self.save_best(position), "last"]
        state, plain = _pack(self.optimizer)
        state.update({f"module.{k}": v for k, v in self.learning.state_dict().items()})
        if self.average:
            state.update({f"average.{k}": v for k, v in self.average.state_dict().items()})
        scale = self.scaler.state_dict() if self.scaler is not None else {}
        header = {"position": asdict(position), "optimizer": plain, "scale": scale}
        self.run.settle()  # the state must not know of events that the disk does not
        with self.run.writing():
            # A damaged one must not take the place of the whole one before it.
            weights_file.write(self.run.last, state, header, before=self.run.before if self._last_is_whole else None)
        self._last_is_whole = True
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
        self._write(self.run.best, self._pending, position.best_epoch, position.best_accuracy)
        self._pending = None
        return ["best"]

    def save_epoch(self, epoch: int, accuracy: float | None) -> list[str]:
        """Keep the weights as they were scored after an epoch, whose validation accuracy that is, beside the best.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.run.writing():
            self.run.epochs.mkdir(exist_ok=True)
        self._write(self.run.epochs / f"{epoch:04d}.safetensors", self._judged, epoch, accuracy)
        return ["epoch"]

    def _write(self, file: Path, own: dict[str, Tensor], epoch: int | None, accuracy: float | None) -> None:
        """The whole network, with these weights of what learns."""
        tensors = self.network.state_dict()
        prefix = "head." if self.learning is self.network.head else ""
        tensors.update({prefix + key: value for key, value in own.items()})
        header = {"epoch": epoch, "val_accuracy": accuracy}
        with self.run.writing():
            # Weights say nothing without the names of their classes.
            weights_file.write(file, tensors, {**header, "model": self.run.fingerprint("model.json")})

    def restore(self, state: State) -> None:
        """Put back what `save` wrote, as `read` found it.

        Raises:
            RunError: it does not fit this network or this optimizer.
        """
        self._last_is_whole = state.file == self.run.last
        self._saved_at = time.monotonic()
        try:
            self.learning.load_state_dict(_below("module.", state.tensors))
            if self.average:
                self.average.load_state_dict(_below("average.", state.tensors))
            _unpack(self.optimizer, state.tensors, state.plain["optimizer"])
            if self.scaler is not None and state.plain["scale"]:
                self.scaler.load_state_dict(state.plain["scale"])
        except (KeyError, TypeError, ValueError, RuntimeError) as cause:
            raise damaged(self.run, state.file, cause) from cause


def read(run: Run) -> State | None:
    """The newest state of a run that is whole; None where none was written.

    Raises:
        RunError: there are states, and none is whole.
    """
    wrong: dict[Path, Exception] = {}
    for file in (run.last, run.before):
        if not file.is_file():
            continue
        try:
            tensors, header = weights_file.load(file)
            passed_over = str(next(iter(wrong.values()), ""))
            return State(Position.of(header.pop("position")), tensors, header, file, passed_over)
        except (weights_file.Broken, OSError, KeyError, TypeError) as cause:
            wrong[file] = cause
    if wrong:
        newest, reason = next(iter(wrong.items()))
        raise damaged(run, newest, reason) from reason
    return None


def damaged(run: Run, file: Path, cause: Exception) -> RunError:
    """The error for a file of a run that cannot be read. Of the many lines in which torch tells a misfit, the first."""
    first = (str(cause).splitlines() or [""])[0].rstrip(":")
    return RunError("run.damaged", run=run.name, file=file, cause=first or type(cause).__name__)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _mega(count: int) -> str:
    return f"{max(0, count) / 1e6:,.0f}"


def _pack(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors, and the plain numbers beside them. Rates are functions of the step."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in _entries(optimizer):
        if isinstance(value, Tensor):
            tensors[f"optimizer.{key}"] = value
        else:
            plain[key] = value
    return tensors, plain


def _entries(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    for index, values in optimizer.state_dict()["state"].items():
        yield from ((f"{index}.{name}", value) for name, value in values.items())


def _unpack(optimizer: Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    entries = _below("optimizer.", tensors) | plain
    state: dict[int, dict[str, Any]] = {}
    for key, value in entries.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # A file knows no order in memory, and a fused step takes it for granted that all have their parameter's.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
