"""Why and when a training ends before its last epoch, and when it pauses to save: every process at the same step."""

from __future__ import annotations

import math
import time

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.devices import device_setup


class StopController:
    """Asked to, out of time, no more progress, or a loss that is no number.

    Attributes:
        reason: of `Ended`, empty as long as the training goes on.
        message: what a person should know of a failure.
    """

    def __init__(self, run: Run, config: TrainConfig, accelerator: Accelerator, start_time: float) -> None:
        self.run, self.config, self.accelerator, self.start_time = run, config, accelerator, start_time
        self.heartbeat, self._last_progress_time = run.create_heartbeat(), time.monotonic()
        self.reason = ""
        self.message: str | None = None
        self._pending_check: tuple[Tensor, int, float] | None = None
        self._last_step_and_rate = (0, 0.0)

    def stop_requested(self) -> bool:
        """Whether somebody asks for a stop. To be called now and then during any work that takes long: it also says
        that the work goes on."""
        self.heartbeat.beat()
        self._last_progress_time = time.monotonic()
        return self.run.is_stop_requested()

    def any_rank_requested_stop(self) -> bool:
        """The same, where all processes work at the same and are to be told the same."""
        return any(device_setup.any_rank(self.accelerator, [self.stop_requested()]))

    def loss_is_finite(self, loss: Tensor, step: int, learning_rate: float) -> bool:
        """Whether a step may be taken: the loss is a number.

        On a card it is the step before that is judged, for the card has not computed this one yet, and to wait for it
        would cost every step.

        Args:
            loss: scalar, of this process's pictures.
            step: the step, counted from 1.
            learning_rate: its learning rate.
        """
        self._last_step_and_rate = (step, learning_rate)
        if loss.device.type == "cpu":
            self.check_loss(loss.item(), step, learning_rate)
        else:
            pending_check, self._pending_check = self._pending_check, (torch.isfinite(loss), step, learning_rate)
            if pending_check is not None and not pending_check[0].item():
                self._set_diverged(*pending_check[1:])
        return not self.reason

    def check_loss(self, loss: float | None, step: int, learning_rate: float) -> None:
        """The same of a loss that is known."""
        if loss is not None and not math.isfinite(loss):
            self._set_diverged(step, learning_rate)

    def check_early_stopping(
        self, epoch: int, accuracy: float | None, loss: float | None, train_state: TrainState
    ) -> None:
        """End where no more progress is to be expected, by the figures of an epoch's validation. The untrained network
        is no epoch to compare with, and before the last phase there is always hope."""
        config = self.config
        should_end = (
            bool(epoch)
            and config.schedule == "plateau"
            and train_state.plateau.record_validation(config, accuracy, loss)
        )
        best_epoch = max(train_state.best_epoch or 0, config.unfreeze_epoch)
        if config.early_stop and epoch - best_epoch >= config.early_stop:
            should_end = True
        if should_end and epoch > config.unfreeze_epoch and not self.reason:
            self.reason = "early"

    def _set_diverged(self, step: int, learning_rate: float) -> None:
        self.reason = "failed"
        self.message = messages.get_text("log.diverged", step=step, rate=f"{learning_rate:.2g}")

    def should_pause(self, save_due: bool) -> bool:
        """Whether to end or to save now. All processes are told the same; call it in all of them after the same step.

        Args:
            save_due: whether this process finds that it is time to save; the first one decides.
        """
        previous_time, self._last_progress_time = self._last_progress_time, time.monotonic()
        self.heartbeat.beat(self._last_progress_time - previous_time)
        limit_seconds = self.config.max_minutes * 60
        out_of_time = bool(limit_seconds) and time.monotonic() - self.start_time > limit_seconds
        flags = [
            self.reason == "failed",
            self.run.is_stop_requested(),
            out_of_time,
            save_due and self.accelerator.is_main_process,
        ]
        any_failed, user_stop, out_of_time, save_due = device_setup.any_rank(self.accelerator, flags)
        if any_failed and not self.reason:  # another process met it
            self._set_diverged(*self._last_step_and_rate)
        elif not self.reason:
            self.reason = "stopped" if user_stop else "time" if out_of_time else ""
        return bool(self.reason) or save_due

    def make_ended_event(self, reason: str, train_state: TrainState) -> Ended:
        """The last word."""
        return Ended(
            reason=reason,
            epoch=train_state.epoch if train_state.done else max(0, train_state.epoch - 1),
            step=train_state.step,
            best_epoch=train_state.best_epoch,
            best_val_accuracy=train_state.best_accuracy,
            seconds=time.monotonic() - self.start_time,
            message=self.message,
        )


class ThroughputMeter:
    """Pictures per second over an epoch's training, and since it was last asked."""

    def __init__(self) -> None:
        self.start_time = self.last_time = time.monotonic()
        self.image_count = self.recent_images = 0

    def add_images(self, images: int) -> None:
        self.image_count += images
        self.recent_images += images

    def get_recent_rate(self) -> float | None:
        now = time.monotonic()
        rate = self.recent_images / (now - self.last_time) if now > self.last_time else None
        self.last_time, self.recent_images = now, 0
        return rate

    def get_epoch_rate(self) -> float | None:
        return self.image_count / self.get_elapsed_seconds() if self.image_count else None

    def get_elapsed_seconds(self) -> float:
        return time.monotonic() - self.start_time
