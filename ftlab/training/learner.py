"""What learns in a training, and how it takes one step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.backbones import Backbone
from ftlab.config import TrainConfig
from ftlab.events import Note
from ftlab.models import network
from ftlab.models.portions import Portions
from ftlab.training import optim, schedules
from ftlab.training.checkpoint import Position
from ftlab.training.feeds import Share
from ftlab.training.losses import Criterion


class Learner:
    """A module, its loss and its optimizer.

    Attributes:
        module: what the pictures or features of a step go through, as accelerate prepared it.
        bare: the same without what accelerate puts around it.
        raw: the optimizer, without the same.
        portions: how many pictures go through the device at once.
    """

    def __init__(
        self,
        module: nn.Module,
        row: Backbone,
        config: TrainConfig,
        accelerator: Accelerator,
        position: Position,
        per_epoch: int,
    ) -> None:
        """`per_epoch` are the optimizer steps of an epoch."""
        self.row, self.config, self.accelerator, self.per_epoch = row, config, accelerator, per_epoch
        self.criterion = Criterion(config)
        self.portions = Portions(position.portion, whole=accelerator.num_processes > 1)
        self.raw = optim.make(network.groups(module, config), config)
        self.module, self.optimizer = accelerator.prepare(module, self.raw)
        self.bare: nn.Module = accelerator.unwrap_model(self.module)

    def set_rates(self, step: int, position: Position) -> float:
        """Give each group of parameters its rate for a step (0-based); the largest."""
        share = schedules.factor(self.config, step, (self.config.epochs or 1) * self.per_epoch, self.per_epoch)
        return schedules.set_rates(self.raw, share * position.plateau.share)

    def gradients(self, share: Share, step: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a step in the parameters; its logits [b, K], and its loss as a scalar.

        In portions, the gradients add up to those of the whole step; only BatchNorm sees fewer pictures at a time.
        """
        moving = [buffer for part in self.module.modules() if part.training for buffer in part.buffers(recurse=False)]
        before = [buffer.clone() for buffer in moving]
        scale = self.criterion.scale(share.count, self.accelerator.num_processes)

        def begin() -> None:
            self._seed(step)
            self.optimizer.zero_grad(set_to_none=True)

        def undo() -> None:
            for buffer, kept in zip(moving, before, strict=True):
                buffer.copy_(kept)
            begin()

        def part(logits: Tensor, some: slice) -> Tensor:
            return (self.criterion(logits, share.labels[some]) * share.weight[some]).sum() * scale

        def learn(some: slice) -> tuple[Tensor, Tensor]:
            with self.accelerator.autocast():
                logits, *inner = network.answers(self.module(share.inputs[some]))
            loss = part(logits, some)
            for one in inner:
                loss = loss + self.row.auxiliary_weight * part(one, some)
            self.accelerator.backward(loss)
            return logits.detach(), loss.detach()

        begin()
        parts = self.portions.over(len(share.labels), learn, undo)
        return torch.cat([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts]).sum()

    def step(self) -> None:
        """Follow the gradients."""
        self.optimizer.step()

    def smaller(self, position: Position) -> Iterator[Note]:
        """Told when the device's memory turned out to be too small for what went through it so far."""
        if self.portions.most != position.portion:
            position.portion = self.portions.most
            yield Note(code="portions", values={"most": self.portions.most, "step": position.step + 1}, level="warning")

    def _seed(self, step: int) -> None:
        """Dropout becomes a function of (seed, step, process): a resumed run draws what an undisturbed one would."""
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 64 + self.accelerator.process_index)
