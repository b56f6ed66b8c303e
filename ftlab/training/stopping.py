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
from ftlab.training.checkpoints.checkpoint import Position
from ftlab.training.devices import device_setup


class Ending:
    """Asked to, out of time, no more progress, or a loss that is no number.

    Attributes:
        reason: of `Ended`, empty as long as the training goes on.
        message: what a person should know of a failure.
    """

    def __init__(self, run: Run, config: TrainConfig, accelerator: Accelerator, clock: float) -> None:
        self.run, self.config, self.accelerator, self.clock = run, config, accelerator, clock
        self.heart, self._worked = run.heart(), time.monotonic()
        self.reason = ""
        self.message: str | None = None
        self._doubt: tuple[Tensor, int, float] | None = None
        self._at = (0, 0.0)

    def wished(self) -> bool:
        """Whether somebody asks for a stop. To be called now and then during any work that takes long: it also says
        that the work goes on."""
        self.heart.beat()
        self._worked = time.monotonic()
        return self.run.stop_asked()

    def asked(self) -> bool:
        """The same, where all processes work at the same and are to be told the same."""
        return any(device_setup.agree(self.accelerator, [self.wished()]))

    def sound(self, loss: Tensor, step: int, rate: float) -> bool:
        """Whether a step may be taken: the loss is a number.

        On a card it is the step before that is judged, for the card has not computed this one yet, and to wait for it
        would cost every step.

        Args:
            loss: scalar, of this process's pictures.
            step: the step, counted from 1.
            rate: its learning rate.
        """
        self._at = (step, rate)
        if loss.device.type == "cpu":
            self.judge(loss.item(), step, rate)
        else:
            doubt, self._doubt = self._doubt, (torch.isfinite(loss), step, rate)
            if doubt is not None and not doubt[0].item():
                self._diverged(*doubt[1:])
        return not self.reason

    def judge(self, loss: float | None, step: int, rate: float) -> None:
        """The same of a loss that is known."""
        if loss is not None and not math.isfinite(loss):
            self._diverged(step, rate)

    def tire(self, epoch: int, accuracy: float | None, loss: float | None, position: Position) -> None:
        """End where no more progress is to be expected, by the figures of an epoch's validation. The untrained network
        is no epoch to compare with, and before the last phase there is always hope."""
        config = self.config
        over = bool(epoch) and config.schedule == "plateau" and position.plateau.watch(config, accuracy, loss)
        since = max(position.best_epoch or 0, config.unfreeze_epoch)
        if config.early_stop and epoch - since >= config.early_stop:
            over = True
        if over and epoch > config.unfreeze_epoch and not self.reason:
            self.reason = "early"

    def _diverged(self, step: int, rate: float) -> None:
        self.reason = "failed"
        self.message = messages.text("log.diverged", step=step, rate=f"{rate:.2g}")

    def pause(self, save: bool) -> bool:
        """Whether to end or to save now. All processes are told the same; call it in all of them after the same step.

        Args:
            save: whether this process finds that it is time to save; the first one decides.
        """
        before, self._worked = self._worked, time.monotonic()
        self.heart.beat(self._worked - before)
        limit = self.config.max_minutes * 60
        late = bool(limit) and time.monotonic() - self.clock > limit
        wishes = [self.reason == "failed", self.run.stop_asked(), late, save and self.accelerator.is_main_process]
        failed, stop, late, save = device_setup.agree(self.accelerator, wishes)
        if failed and not self.reason:  # another process met it
            self._diverged(*self._at)
        elif not self.reason:
            self.reason = "stopped" if stop else "time" if late else ""
        return bool(self.reason) or save

    def event(self, reason: str, position: Position) -> Ended:
        """The last word."""
        return Ended(
            reason=reason,
            epoch=position.epoch if position.done else max(0, position.epoch - 1),
            step=position.step,
            best_epoch=position.best_epoch,
            best_val_accuracy=position.best_accuracy,
            seconds=time.monotonic() - self.clock,
            message=self.message,
        )


class Pace:
    """Pictures per second over an epoch's training, and since it was last asked."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.images = self.since = 0

    def add(self, images: int) -> None:
        self.images += images
        self.since += images

    def recent(self) -> float | None:
        now = time.monotonic()
        rate = self.since / (now - self.last) if now > self.last else None
        self.last, self.since = now, 0
        return rate

    def whole(self) -> float | None:
        return self.images / self.seconds() if self.images else None

    def seconds(self) -> float:
        return time.monotonic() - self.began
