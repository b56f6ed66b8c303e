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
from ftlab.training.optim.plateau import PlateauState

SAVE_INTERVAL_FACTOR = 10
"""Saving may take one part in this many of the time, so that a training of milliseconds an epoch is not spent on the
disk. What a crash loses in between is trained again on a resume."""
MID_EPOCH_SAVE_SECONDS = 60.0
"""Seconds after which the middle of an epoch is worth saving."""
_RESERVED_BYTES = 16_000_000
"""Bytes for everything beside the weights: events, log, configuration."""


@dataclass
class TrainState:
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
    plateau: PlateauState = field(default_factory=PlateauState)
    phase: int = 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainState:
        """From what `dataclasses.asdict` makes of one."""
        return cls(**{**values, "plateau": PlateauState(**values.get("plateau", {}))})


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A state as it was read.

    Attributes:
        train_state: how far it is.
        tensors: of what learns, and of the optimizer.
        header: the optimizer's bare numbers, and the loss scale of mixed precision.
        path: where it was read from.
        newer_file_error: what is wrong with the newer generation, if that was passed over; else empty.
    """

    train_state: TrainState
    tensors: dict[str, Tensor]
    header: dict[str, Any]
    path: Path
    newer_file_error: str = ""

    @property
    def eval_weights(self) -> dict[str, Tensor]:
        """The weights of what learns that are scored, by their names in the whole network: averaged ones where those
        are judged."""
        trainable_weights = _select_by_prefix("average.", self.tensors) or _select_by_prefix("module.", self.tensors)
        has_backbone = any(name.startswith("backbone.") for name in trainable_weights)
        return (
            trainable_weights if has_backbone else {f"head.{name}": value for name, value in trainable_weights.items()}
        )


class CheckpointManager:
    """Keeps the best weights and the state to resume from, on the disk as often as it costs little."""

    def __init__(
        self,
        run: Run,
        network: Network,
        trainable: nn.Module,
        optimizer: Optimizer,
        scaler: Any | None = None,
        ema_module: nn.Module | None = None,
    ) -> None:
        """
        Args:
            trainable: what the optimizer may change: the network, or its head alone.
            scaler: the loss scale of mixed precision in float16.
            ema_module: the like of `trainable` with averaged weights, where those are judged.
        """
        self.run, self.network, self.trainable, self.optimizer, self.scaler = run, network, trainable, optimizer, scaler
        self.ema_module = ema_module
        self._pending_best: dict[str, Tensor] | None = None
        self._last_is_intact = True
        self._last_save_time, self._save_seconds = -1e9, 0.0

    def update_best(
        self, train_state: TrainState, accuracy: float | None, loss: float | None, monitor: str = "accuracy"
    ) -> bool:
        """Whether these figures are the best yet; then the weights are set aside. `monitor` is `accuracy` (the loss
        breaks a tie) or `loss`."""
        if accuracy is None or loss is None or not math.isfinite(loss):
            return False
        if train_state.best_accuracy is not None and train_state.best_loss is not None:
            current, previous = (accuracy, -loss), (train_state.best_accuracy, -train_state.best_loss)
            if (current[1:] <= previous[1:]) if monitor == "loss" else (current <= previous):
                return False
        train_state.best_epoch, train_state.best_accuracy, train_state.best_loss = train_state.epoch, accuracy, loss
        # Only what learns can differ from one best to the next; the rest is read when the file is written.
        self._pending_best = {k: v.detach().to("cpu", copy=True) for k, v in self._eval_weights.items()}
        return True

    @property
    def _eval_weights(self) -> dict[str, Tensor]:
        """The weights of what learns that were scored."""
        return (self.ema_module or self.trainable).state_dict()

    def should_save(self, *, within_epoch: bool = False) -> bool:
        """Whether enough time has passed since the last saving; the middle of an epoch has more of it."""
        interval_seconds = SAVE_INTERVAL_FACTOR * self._save_seconds
        return time.monotonic() - self._last_save_time >= (
            max(interval_seconds, MID_EPOCH_SAVE_SECONDS) if within_epoch else interval_seconds
        )

    def check_disk_space(self, saved_epochs: int = 0) -> None:
        """Make sure that the disk has room for all that will be written.

        Args:
            saved_epochs: epochs whose weights will be kept.

        Raises:
            RunError: it has not.
        """
        # AdamW keeps two numbers beside each parameter.
        state_bytes, best_bytes = (
            (4 if self.ema_module else 3) * _count_bytes(self.trainable),
            _count_bytes(self.network),
        )
        written_paths = (
            self.run.best_weights_path,
            self.run.last_checkpoint_path,
            self.run.previous_checkpoint_path,
            *self.run.epoch_weights_folder.glob("*.safetensors"),
        )
        existing_bytes = sum(path.stat().st_size for path in written_paths if path.is_file())
        # Both generations and the best stay while another state, or another best, is written beside them.
        needed_bytes = (
            (1 + saved_epochs) * best_bytes
            + 2 * state_bytes
            + max(best_bytes, state_bytes)
            + _RESERVED_BYTES
            - existing_bytes
        )
        free_bytes = file_io.get_free_bytes(self.run.path)
        if free_bytes < needed_bytes:
            raise RunError(
                "run.space",
                folder=self.run.path.parent,
                needed=_format_megabytes(needed_bytes),
                free=_format_megabytes(free_bytes),
            )

    def save_state(self, train_state: TrainState) -> list[str]:
        """Write what has changed: the best weights first, so that the state never tells of a best that is not there.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        start_time = time.monotonic()
        saved_names = [*self.save_best(train_state), "last"]
        tensors, scalars = _pack_optimizer(self.optimizer)
        tensors.update({f"module.{k}": v for k, v in self.trainable.state_dict().items()})
        if self.ema_module:
            tensors.update({f"average.{k}": v for k, v in self.ema_module.state_dict().items()})
        scaler_state = self.scaler.state_dict() if self.scaler is not None else {}
        header = {"position": asdict(train_state), "optimizer": scalars, "scale": scaler_state}
        self.run.flush()  # the state must not know of events that the disk does not
        with self.run.translate_write_errors():
            # A damaged one must not take the place of the whole one before it.
            weights_file.save_tensors(
                self.run.last_checkpoint_path,
                tensors,
                header,
                backup_path=self.run.previous_checkpoint_path if self._last_is_intact else None,
            )
        self._last_is_intact = True
        self._last_save_time = time.monotonic()
        self._save_seconds = self._last_save_time - start_time
        return saved_names

    def save_best(self, train_state: TrainState) -> list[str]:
        """Write the best weights if the disk does not have them yet.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        if self._pending_best is None:
            return []
        self._write_network(
            self.run.best_weights_path, self._pending_best, train_state.best_epoch, train_state.best_accuracy
        )
        self._pending_best = None
        return ["best"]

    def save_epoch(self, epoch: int, accuracy: float | None) -> list[str]:
        """Keep the weights as they were scored after an epoch, whose validation accuracy that is, beside the best.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.run.translate_write_errors():
            self.run.epoch_weights_folder.mkdir(exist_ok=True)
        self._write_network(
            self.run.epoch_weights_folder / f"{epoch:04d}.safetensors", self._eval_weights, epoch, accuracy
        )
        return ["epoch"]

    def _write_network(
        self, path: Path, trainable_weights: dict[str, Tensor], epoch: int | None, accuracy: float | None
    ) -> None:
        """The whole network, with these weights of what learns."""
        tensors = self.network.state_dict()
        prefix = "head." if self.trainable is self.network.head else ""
        tensors.update({prefix + key: value for key, value in trainable_weights.items()})
        header = {"epoch": epoch, "val_accuracy": accuracy}
        with self.run.translate_write_errors():
            # Weights say nothing without the names of their classes.
            weights_file.save_tensors(path, tensors, {**header, "model": self.run.compute_sha256("model.json")})

    def restore_state(self, loaded_checkpoint: LoadedCheckpoint) -> None:
        """Put back what `save_state` wrote, as `load_checkpoint` found it.

        Raises:
            RunError: it does not fit this network or this optimizer.
        """
        self._last_is_intact = loaded_checkpoint.path == self.run.last_checkpoint_path
        self._last_save_time = time.monotonic()
        try:
            self.trainable.load_state_dict(_select_by_prefix("module.", loaded_checkpoint.tensors))
            if self.ema_module:
                self.ema_module.load_state_dict(_select_by_prefix("average.", loaded_checkpoint.tensors))
            _unpack_optimizer(self.optimizer, loaded_checkpoint.tensors, loaded_checkpoint.header["optimizer"])
            if self.scaler is not None and loaded_checkpoint.header["scale"]:
                self.scaler.load_state_dict(loaded_checkpoint.header["scale"])
        except (KeyError, TypeError, ValueError, RuntimeError) as cause:
            raise make_damage_error(self.run, loaded_checkpoint.path, cause) from cause


def load_checkpoint(run: Run) -> LoadedCheckpoint | None:
    """The newest state of a run that is whole; None where none was written.

    Raises:
        RunError: there are states, and none is whole.
    """
    file_errors: dict[Path, Exception] = {}
    for path in (run.last_checkpoint_path, run.previous_checkpoint_path):
        if not path.is_file():
            continue
        try:
            tensors, header = weights_file.load_tensors(path)
            newer_file_error = str(next(iter(file_errors.values()), ""))
            return LoadedCheckpoint(
                TrainState.from_dict(header.pop("position")), tensors, header, path, newer_file_error
            )
        except (weights_file.CorruptFileError, OSError, KeyError, TypeError) as cause:
            file_errors[path] = cause
    if file_errors:
        newest_path, reason = next(iter(file_errors.items()))
        raise make_damage_error(run, newest_path, reason) from reason
    return None


def make_damage_error(run: Run, path: Path, cause: Exception) -> RunError:
    """The error for a file of a run that cannot be read. Of the many lines in which torch tells a misfit, the first."""
    first_line = (str(cause).splitlines() or [""])[0].rstrip(":")
    return RunError("run.damaged", run=run.name, file=path, cause=first_line or type(cause).__name__)


def _select_by_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _count_bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _format_megabytes(byte_count: int) -> str:
    return f"{max(0, byte_count) / 1e6:,.0f}"


def _pack_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors, and the plain numbers beside them. Rates are functions of the step."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for key, value in _iter_state_entries(optimizer):
        if isinstance(value, Tensor):
            tensors[f"optimizer.{key}"] = value
        else:
            scalars[key] = value
    return tensors, scalars


def _iter_state_entries(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    for index, values in optimizer.state_dict()["state"].items():
        yield from ((f"{index}.{name}", value) for name, value in values.items())


def _unpack_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    entries = _select_by_prefix("optimizer.", tensors) | scalars
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
