"""What learns in a training, and how it takes one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.backbones import Backbone
from ftlab.config import TrainConfig
from ftlab.events import Note
from ftlab.models import network
from ftlab.models.network import Network
from ftlab.models.portions import Portions
from ftlab.training import mixing, optim, schedules
from ftlab.training.checkpoint import Position
from ftlab.training.ema import Average
from ftlab.training.feeds import Feed, Share
from ftlab.training.losses import Criterion


class Learner:
    """A module, its loss and its optimizer.

    Attributes:
        learning: what may change: the network, or its head alone.
        module: what the pictures or features of a step go through, as accelerate prepared it.
        bare: the same without what accelerate puts around it.
        raw: the optimizer, without the same.
        average: of the weights, where one is kept.
        portions: how many pictures go through the device at once.
    """

    def __init__(
        self, net: Network, row: Backbone, config: TrainConfig, accelerator: Accelerator, position: Position, feed: Feed
    ) -> None:
        """`feed` is what it will learn from: the labels of all that are there count, and the steps of an epoch."""
        self.row, self.config, self.accelerator, self.per_epoch = row, config, accelerator, feed.steps
        self.learning = net.head if config.mode == "frozen" else net
        module = net.head if config.caches_features else net
        self.criterion = Criterion(config, feed.labels["train"].to(accelerator.device), feed.classes)
        self.portions = self._portions(position)
        self.raw = optim.make(network.groups(module, config), config)
        self.module, self.optimizer = accelerator.prepare(module, self.raw)
        self.bare: nn.Module = accelerator.unwrap_model(self.module)
        self.average = Average(config.ema, net, self.learning, self.bare) if config.ema else None

    @property
    def judged(self) -> nn.Module:
        """What is scored, and kept where it is the best."""
        return self.average.judged if self.average else self.bare

    def _portions(self, position: Position) -> Portions:
        """A step of several batches goes through as so many portions: their gradients add up."""
        processes = self.accelerator.num_processes
        if self.config.accumulate > 1 and not position.portion:
            position.portion = -(-(self.config.batch_size or 1) // processes)
        return Portions(position.portion, whole=processes > 1)

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

        mixture = mixing.mix(share.inputs, self.config, step)
        others = None if mixture.partners is None else share.labels[mixture.partners]

        def part(logits: Tensor, some: slice) -> Tensor:
            if others is None:
                losses = self.criterion(logits, share.labels[some])
            else:
                losses = self.criterion.mixed(logits, share.labels[some], others[some], mixture.kept)
            return (losses * share.weight[some]).sum() * scale

        def learn(some: slice) -> tuple[Tensor, Tensor]:
            # Processes exchange their gradients once a step, with its last portion.
            last = some.stop >= len(share.labels)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                with self.accelerator.autocast():
                    logits, *inner = network.answers(self.module(mixture.inputs[some]))
                loss = part(logits, some)
                for one in inner:
                    loss = loss + self.row.auxiliary_weight * part(one, some)
                self.accelerator.backward(loss)
            return logits.detach(), loss.detach()

        begin()
        parts = self.portions.over(len(share.labels), learn, undo)
        return torch.cat([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts]).sum()

    def step(self, step: int) -> None:
        """Follow the gradients, at step number `step` (0-based) of the run."""
        if self.config.clip_norm:
            # Of this optimizer only: accelerate's own clipping would unscale those of earlier phases too.
            self.accelerator.unscale_gradients(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        self.optimizer.step()
        if self.average:
            self.average.update(self.learning, step)

    def smaller(self, position: Position) -> Iterator[Note]:
        """Told when the device's memory turned out to be too small for what went through it so far."""
        if self.portions.most != position.portion:
            position.portion = self.portions.most
            yield Note(code="portions", values={"most": self.portions.most, "step": position.step + 1}, level="warning")

    def _seed(self, step: int) -> None:
        """Dropout becomes a function of (seed, step, process): a resumed run draws what an undisturbed one would."""
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 64 + self.accelerator.process_index)
