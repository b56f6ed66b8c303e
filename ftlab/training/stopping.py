"""Stop and save decisions (user stop, time limit, early stopping, diverged loss), agreed on by all ranks at a step."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.devices import distributed
from ftlab.training.optim import phases

_MAX_STAGE_SECONDS = 1800.0
"""Seconds after which the building of a network, or its trial, counts as hanging."""


class StopController:
    """Decides when a training stops before its last epoch, and when it pauses to save.

    Attributes:
        reason: why the training stops, as `Ended.reason` has it; empty as long as it goes on.
        message: explanation of a failure for the user.
    """

    def __init__(self, run: Run, config: TrainConfig, accelerator: Accelerator, guard: StopGuard) -> None:
        """Start to watch a training.

        Args:
            run: its directory has the stop file and the heartbeat.
            config: time limit and early stopping.
            accelerator: the ranks.
            guard: knows when the training began, and when it may be ended from another thread.
        """
        self.run, self.config, self.accelerator, self.guard = run, config, accelerator, guard
        self.heartbeat, self._last_progress_time = run.liveness.create_heartbeat(), time.monotonic()
        self.reason = ""
        self.message: str | None = None
        # The loss of the step before on a GPU: is it finite, its step and its learning rate.
        self._pending_check: tuple[Tensor, int, float] | None = None
        # For the message, if the loss of another rank diverges.
        self._last_step_and_rate = (0, 0.0)

    def should_end(self) -> bool:
        """Decide whether to end now, and write a heartbeat: call it now and then during long work.

        Returns:
            Whether the user requested a stop, or the time is up; `reason` is set then.
        """
        self._beat()
        return self._decide_end(self.run.liveness.is_stop_requested(), self._is_out_of_time())

    def any_rank_should_end(self, *, time_grace: float = 0.0) -> bool:
        """Decide whether to end now, as any rank sees it; all ranks call it at the same point.

        Args:
            time_grace: fraction of the time limit by which this work may exceed it.

        Returns:
            As `should_end`.
        """
        self._beat()
        flags = [self.run.liveness.is_stop_requested(), self._is_out_of_time(time_grace)]
        return self._decide_end(*distributed.any_rank(self.accelerator, flags))

    def beat_during_stage(self) -> AbstractContextManager[None]:
        """Return a context that sends heartbeats: for work that cannot ask whether to end, as building a network."""
        return self.heartbeat.beat_during(_MAX_STAGE_SECONDS)

    def _beat(self) -> None:
        """Write a heartbeat; what follows is not part of a step's time."""
        self.heartbeat.beat()
        self._last_progress_time = time.monotonic()

    def _is_out_of_time(self, grace: float = 0.0) -> bool:
        """Return whether the time limit is exceeded by more than a fraction of it."""
        limit_seconds = self.config.max_minutes * 60 * (1 + grace)
        return bool(limit_seconds) and time.monotonic() - self.guard.start_time > limit_seconds

    def _decide_end(self, user_stop: bool, out_of_time: bool) -> bool:  # noqa: FBT001 (two flags of a vote)
        """Return whether one of the flags is set, which becomes the reason if there is none yet."""
        if not self.reason:
            self.reason = "stopped" if user_stop else "time" if out_of_time else ""
        return user_stop or out_of_time

    def loss_is_finite(self, loss: Tensor, step: int, learning_rate: float) -> bool:
        """Check the loss of a step before its gradients are applied.

        On a GPU the check is one step late: this loss is not computed yet, and waiting for it would cost each step.

        Args:
            loss: scalar, of this rank's images.
            step: number of the step, from 1.
            learning_rate: its learning rate, for the message.

        Returns:
            Whether the step may be taken: no loss was found to be infinite or NaN.
        """
        self._last_step_and_rate = (step, learning_rate)
        if loss.device.type == "cpu":
            self.check_loss(loss.item(), step, learning_rate)
        else:
            # `isfinite` is queued behind the step; its result is read one step later, when it is there.
            pending_check, self._pending_check = self._pending_check, (torch.isfinite(loss), step, learning_rate)
            if pending_check is not None and not pending_check[0].item():
                self._set_diverged(*pending_check[1:])
        return not self.reason

    def check_loss(self, loss: float | None, step: int, learning_rate: float) -> None:
        """Stop the training if a loss on the CPU is infinite or NaN.

        Args:
            loss: the loss, or None if there was nothing to compute it of.
            step: number of the step, from 1.
            learning_rate: its learning rate, for the message.
        """
        if loss is not None and not math.isfinite(loss):
            self._set_diverged(step, learning_rate)

    def check_early_stopping(
        self, epoch: int, accuracy: float | None, loss: float | None, train_state: TrainState
    ) -> None:
        """Early stopping: set `reason` when the monitored metric has not improved for `early_stopping_patience` epochs.

        The plateau schedule stops the training too, after its last reduction. Never before the last phase.

        Args:
            epoch: the epoch, whose validation is done; 0, the untrained network, is nothing to compare with.
            accuracy: of the validation, in [0, 1].
            loss: of the validation, in nats.
            train_state: has the best epoch and the state of the schedule.
        """
        config = self.config
        should_end = (
            bool(epoch)
            and config.schedule == "plateau"
            and train_state.plateau.record_validation(config, accuracy, loss)
        )
        # Patience begins anew when the last layers are unfrozen.
        epoch_before_last_phase = phases.list_phases(config)[-1].first_epoch - 1
        best_epoch = max(train_state.best_epoch or 0, epoch_before_last_phase)
        if config.early_stopping_patience and epoch - best_epoch >= config.early_stopping_patience:
            should_end = True
        if should_end and epoch > epoch_before_last_phase and not self.reason:
            self.reason = "early"

    def _set_diverged(self, step: int, learning_rate: float) -> None:
        """Record that the loss of a step is infinite or NaN."""
        self.reason = "failed"
        self.message = messages.get_text("log.diverged", step=step, rate=f"{learning_rate:.2g}")

    def should_pause(self, *, save_due: bool) -> bool:
        """Decide whether to stop or to save now; all ranks call it after the same step and get the same answer.

        Args:
            save_due: it is time to save, by the clock of this rank; that of rank 0 counts.

        Returns:
            Whether to stop, in which case `reason` is set, or to save.
        """
        previous_time, self._last_progress_time = self._last_progress_time, time.monotonic()
        # With the duration of the step, by which the page can tell a slow training from one that hangs.
        self.heartbeat.beat(self._last_progress_time - previous_time)
        flags = [
            self.reason == "failed",
            self.run.liveness.is_stop_requested(),
            self._is_out_of_time(),
            save_due and self.accelerator.is_main_process,
        ]
        any_failed, user_stop, out_of_time, save_due = distributed.any_rank(self.accelerator, flags)
        if any_failed and not self.reason:  # on another rank
            self._set_diverged(*self._last_step_and_rate)
        else:
            self._decide_end(user_stop, out_of_time)
        return bool(self.reason) or save_due

    def make_ended_event(self, reason: str, train_state: TrainState) -> Ended:
        """Return the last event of the training.

        Args:
            reason: why it ends.
            train_state: how far it is.
        """
        return Ended(
            reason=reason,
            # Before its first step an epoch has not begun.
            epoch=train_state.epoch if train_state.done else max(0, train_state.epoch - 1),
            step=train_state.step,
            best_epoch=train_state.best_epoch,
            best_val_accuracy=train_state.best_accuracy,
            seconds=time.monotonic() - self.guard.start_time,
            message=self.message,
        )


class ThroughputMeter:
    """Training speed in images per second, over an epoch and since the last report."""

    def __init__(self) -> None:
        """Start the clock."""
        self.start_time = self.last_time = time.monotonic()
        self.image_count = self.recent_images = 0

    def add_images(self, images: int) -> None:
        """Count the images of a step, those of all ranks."""
        self.image_count += images
        self.recent_images += images

    def get_recent_rate(self) -> float | None:
        """Return the speed since the last call, which begins anew; None if no time has passed."""
        now = time.monotonic()
        rate = self.recent_images / (now - self.last_time) if now > self.last_time else None
        self.last_time, self.recent_images = now, 0
        return rate

    def get_epoch_rate(self) -> float | None:
        """Return the speed since the epoch began; None if nothing was trained."""
        return self.image_count / self.get_elapsed_seconds() if self.image_count else None

    def get_elapsed_seconds(self) -> float:
        """Return the seconds since the epoch began."""
        return time.monotonic() - self.start_time
