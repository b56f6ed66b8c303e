"""Checkpoints of a run: its best weights, and the state to resume from, in two generations.

Each is one safetensors file with a checksum (`weights_file.py`), so that weights, optimizer and train state are always
of the same moment. The older generation of the state stays until the newer one is complete and in place.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.models import run_checkpoint, weights_file
from ftlab.models.network import Network
from ftlab.runs import run_quota
from ftlab.runs.directory import Run
from ftlab.training.checkpoints import optimizer_state
from ftlab.training.optim.plateau import PlateauState

SAVE_INTERVAL_FACTOR = 10
"""Ratio of training to saving: an interval between two saves is at least this many times as long as a save took. So a
training whose epochs take milliseconds does not spend its time writing; a crash loses a short time of training."""
MID_EPOCH_SAVE_SECONDS = 60.0
"""Shortest interval between two saves within an epoch."""
_RESERVED_BYTES = 16_000_000
"""Disk space kept free for everything but weights: events, log, configuration."""


@dataclass
class TrainState:
    """State of a training besides its tensors; the names of its fields are those in the checkpoint.

    Attributes:
        epoch: the current epoch; 0 before the untrained network is evaluated.
        done: optimizer steps taken in the current epoch.
        step: optimizer steps taken in the whole run.
        best_epoch: epoch of the best weights.
        best_accuracy: its validation accuracy, in [0, 1].
        best_loss: its validation loss, in nats.
        sums: training metrics of the epoch, then those since the last `Step` event, over all ranks, see `MetricSums`.
        portion: images of a micro-batch; 0 if batches are not divided.
        lost: by split, indices of the images that could not be read.
        plateau: state of the plateau schedule.
        phase: number of the phase that the optimizer belongs to.
    """

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
        """Return the train state of which `dataclasses.asdict` made `values`; a field missing there has its default."""
        return cls(**{**values, "plateau": PlateauState(**values.get("plateau", {}))})


LoadedCheckpoint = run_checkpoint.LoadedCheckpoint[TrainState]
"""A checkpoint as it was read, with the whole state of the training."""


class CheckpointManager:
    """Saves the best weights and the state to resume from, as often as it costs little time.

    Attributes:
        buffer_copies: what to save in place of buffers that a forward pass is changing, by the address of their memory.
    """

    def __init__(
        self,
        run: Run,
        network: Network,
        trainable: nn.Module,
        optimizer: Optimizer,
        scaler: Any | None = None,
        ema_module: nn.Module | None = None,
    ) -> None:
        """Manage the checkpoints of a training; nothing is written yet.

        Args:
            run: the run directory.
            network: the whole network.
            trainable: the module that the optimizer may change: the network, or its head.
            optimizer: that of the current phase; to be replaced when a phase begins.
            scaler: the gradient scaler of float16.
            ema_module: copy of `trainable` with averaged weights, if those are evaluated.
        """
        self.run, self.network, self.trainable, self.optimizer, self.scaler = run, network, trainable, optimizer, scaler
        self.ema_module = ema_module
        self.buffer_copies: dict[int, Tensor] = {}
        self._pending_best: dict[str, Tensor] | None = None
        self._last_is_intact = True
        # So long ago that the first save is always due.
        self._last_save_time, self._save_seconds = -1e9, 0.0

    def update_best(
        self, train_state: TrainState, accuracy: float | None, loss: float | None, monitor: str = "accuracy"
    ) -> bool:
        """Set the weights aside, in CPU memory, if the validation of the epoch is the best so far.

        Args:
            train_state: its best epoch is updated.
            accuracy: of the validation.
            loss: of the validation; not the best if it is infinite or NaN.
            monitor: `accuracy`, where the loss breaks a tie, or `loss`.

        Returns:
            Whether it is the best so far.
        """
        if accuracy is None or loss is None or not math.isfinite(loss):
            return False
        # Only a strict improvement counts, so that of equal epochs the first one stays.
        if train_state.best_accuracy is not None and train_state.best_loss is not None:
            current, previous = (accuracy, -loss), (train_state.best_accuracy, -train_state.best_loss)
            if (current[1:] <= previous[1:]) if monitor == "loss" else (current <= previous):
                return False
        train_state.best_epoch, train_state.best_accuracy, train_state.best_loss = train_state.epoch, accuracy, loss
        # Only the trainable part differs from one best epoch to the next; the rest is read when the file is written.
        # A copy: the next steps change the weights in place.
        self._pending_best = {k: v.detach().to("cpu", copy=True) for k, v in self._eval_weights.items()}
        return True

    @property
    def _eval_weights(self) -> dict[str, Tensor]:
        """Weights of the trainable module that were evaluated."""
        return (self.ema_module or self.trainable).state_dict()

    def should_save(self, *, within_epoch: bool = False) -> bool:
        """Return whether enough time has passed since the last save; within an epoch the interval is longer."""
        interval_seconds = SAVE_INTERVAL_FACTOR * self._save_seconds
        return time.monotonic() - self._last_save_time >= (
            max(interval_seconds, MID_EPOCH_SAVE_SECONDS) if within_epoch else interval_seconds
        )

    def check_disk_space(self, saved_epochs: int = 0) -> None:
        """Check that the disk has space for everything that the training will write.

        Args:
            saved_epochs: number of epochs whose weights will be kept.

        Raises:
            RunError: the free space is too small.
        """
        # AdamW keeps two numbers for each parameter.
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
        # Both generations and the best weights stay while a new state, or new best weights, are written.
        needed_bytes = (
            (1 + saved_epochs) * best_bytes
            + 2 * state_bytes
            + max(best_bytes, state_bytes)
            + _RESERVED_BYTES
            - existing_bytes
        )
        run_quota.check_run(self.run, max(0, needed_bytes - _RESERVED_BYTES))
        free_bytes = file_io.get_free_bytes(self.run.path)
        if free_bytes < needed_bytes:
            raise RunError(
                "run.space",
                folder=self.run.path.parent,
                needed=_format_megabytes(needed_bytes),
                free=_format_megabytes(free_bytes),
            )

    def save_state(self, train_state: TrainState) -> list[str]:
        """Write the state to resume from, and before it the best weights if they are new.

        In this order the state never names a best epoch whose weights are missing. A disk that is full, or a folder
        that cannot be written, raises a `RunError`.

        Args:
            train_state: how far the training is.

        Returns:
            Names of what was written: `best`, `last`.
        """
        start_time = time.monotonic()
        saved_names = [*self.save_best(train_state), "last"]
        tensors, scalars = optimizer_state.pack_optimizer(self.optimizer)
        module_state = self.trainable.state_dict().items()
        tensors.update({f"module.{k}": self.buffer_copies.get(v.data_ptr(), v) for k, v in module_state})
        if self.ema_module:
            tensors.update({f"average.{k}": v for k, v in self.ema_module.state_dict().items()})
        scaler_state = self.scaler.state_dict() if self.scaler is not None else {}
        header = {"position": asdict(train_state), "optimizer": scalars, "scale": scaler_state}
        # Events up to this state must be on the disk before it: a resume appends those that follow.
        self.run.flush()
        with self.run.translate_write_errors():
            # A damaged file must not replace the intact generation before it.
            weights_file.save_tensors(
                self.run.last_checkpoint_path,
                tensors,
                header,
                backup_path=self.run.previous_checkpoint_path if self._last_is_intact else None,
            )
        self._last_is_intact = True
        self._last_save_time = time.monotonic()
        # Measured each time, as the disk may become slower or faster.
        self._save_seconds = self._last_save_time - start_time
        return saved_names

    def save_best(self, train_state: TrainState) -> list[str]:
        """Write the best weights if they are new; errors as for `save_state`.

        Args:
            train_state: names the best epoch.

        Returns:
            `best` if it was written.
        """
        if self._pending_best is None:
            return []
        self._write_network(
            self.run.best_weights_path, self._pending_best, train_state.best_epoch, train_state.best_accuracy
        )
        self._pending_best = None
        return ["best"]

    def save_epoch(self, epoch: int, accuracy: float | None) -> list[str]:
        """Write the weights that were evaluated after an epoch to a file of their own; errors as for `save_state`.

        Args:
            epoch: the epoch.
            accuracy: its validation accuracy.

        Returns:
            `epoch`.
        """
        run_quota.check_run(self.run, _count_bytes(self.network))
        with self.run.translate_write_errors():
            self.run.epoch_weights_folder.mkdir(exist_ok=True)
        self._write_network(
            self.run.epoch_weights_folder / f"{epoch:04d}.safetensors", self._eval_weights, epoch, accuracy
        )
        return ["epoch"]

    def _write_network(
        self, path: Path, trainable_weights: dict[str, Tensor], epoch: int | None, accuracy: float | None
    ) -> None:
        """Write the whole network with other weights of its trainable part.

        Args:
            path: of the file.
            trainable_weights: by their names in the trainable module.
            epoch: of the weights.
            accuracy: its validation accuracy.
        """
        tensors = self.network.state_dict()
        # The head alone has names without the network's prefix.
        prefix = "head." if self.trainable is self.network.head else ""
        tensors.update({prefix + key: value for key, value in trainable_weights.items()})
        header = {"epoch": epoch, "val_accuracy": accuracy}
        with self.run.translate_write_errors():
            # The hash ties the weights to `model.json`, which names their classes.
            weights_file.save_tensors(path, tensors, {**header, "model": self.run.compute_sha256("model.json")})

    def restore_state(self, loaded_checkpoint: LoadedCheckpoint) -> None:
        """Restore weights, averaged weights, optimizer and gradient scaler.

        Args:
            loaded_checkpoint: result of `load_checkpoint`.

        Raises:
            RunError: the checkpoint does not fit this network or this optimizer.
        """  # noqa: DOC501, DOC502 (`make_damage_error` returns a RunError)
        self._last_is_intact = loaded_checkpoint.path == self.run.last_checkpoint_path
        self._last_save_time = time.monotonic()
        try:
            self.trainable.load_state_dict(run_checkpoint.select_by_prefix("module.", loaded_checkpoint.tensors))
            if self.ema_module:
                self.ema_module.load_state_dict(run_checkpoint.select_by_prefix("average.", loaded_checkpoint.tensors))
            optimizer_state.unpack_optimizer(
                self.optimizer, loaded_checkpoint.tensors, loaded_checkpoint.header["optimizer"]
            )
            if self.scaler is not None and loaded_checkpoint.header["scale"]:
                self.scaler.load_state_dict(loaded_checkpoint.header["scale"])
        except (KeyError, TypeError, ValueError, RuntimeError) as cause:
            raise run_checkpoint.make_damage_error(self.run, loaded_checkpoint.path, cause) from cause


def load_checkpoint(run: Run) -> LoadedCheckpoint | None:
    """Return the newest intact checkpoint of a run, or None; a `RunError` if there are some and none is intact."""
    return run_checkpoint.load_newest_checkpoint(run, TrainState.from_dict)


def _count_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _format_megabytes(byte_count: int) -> str:
    """Return a number of bytes in megabytes, with separators of thousands; a negative one as 0."""
    return f"{max(0, byte_count) / 1e6:,.0f}"
