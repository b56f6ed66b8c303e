"""What learns in a training, and how it takes one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config.backbones import Backbone
from ftlab.config.train_config import TrainConfig
from ftlab.models import freezing, network
from ftlab.models.blocks import title
from ftlab.models.execution.micro_batches import Portions
from ftlab.models.network import Network
from ftlab.runs.events import Note
from ftlab.training.checkpoints.checkpoint import Position
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import Feed, Share
from ftlab.training.optim import mixup, optimizers, phases, schedules
from ftlab.training.optim.ema import Average
from ftlab.training.optim.losses import Criterion
from ftlab.training.optim.phases import Phase
from ftlab.training.optim.plateau import Plateau

Answer = Tensor | tuple[Tensor, ...]


class Buffers:
    """A copy of a network's buffers, taken with a kernel for all of a kind: BatchNorm has three a layer."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            kinds.setdefault(buffer.dtype, []).append(buffer)
        self._pairs = [(of_kind, [torch.empty_like(one) for one in of_kind]) for of_kind in kinds.values()]

    @torch.no_grad()
    def save(self) -> None:
        for buffers, kept in self._pairs:
            torch._foreach_copy_(kept, buffers)

    @torch.no_grad()
    def restore(self) -> None:
        for buffers, kept in self._pairs:
            torch._foreach_copy_(buffers, kept)


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """A module's buffers are as before afterwards."""
    kept = Buffers(module.buffers())
    kept.save()
    try:
        yield
    finally:
        kept.restore()


class Learner:
    """A module, its loss and its optimizer.

    Attributes:
        learning: what may change: the network, or its head alone.
        module: what the pictures or features of a step go through, as accelerate prepared it.
        bare: the same without what accelerate puts around it.
        fast: the module compiled for whole batches, where it was.
        raw: the optimizer, without the same.
        average: of the weights, where one is kept.
        portions: how many pictures go through the device at once.
    """

    def __init__(
        self,
        net: Network,
        row: Backbone,
        config: TrainConfig,
        accelerator: Accelerator,
        position: Position,
        feed: Feed,
        rates: Callable[[int], float] | None = None,
    ) -> None:
        """
        Args:
            feed: what it will learn from: the labels of all that are there count, and the steps of an epoch.
            rates: share of the peak rate by step (0-based), in the place of the schedule.
        """
        self.rates = rates
        self.net, self.row, self.config, self.accelerator, self.per_epoch = net, row, config, accelerator, feed.steps
        kept = config.mode == "frozen" and config.batchnorm != "train"
        self.learning: nn.Module = net.head if kept else net
        self.bare: nn.Module = net.head if config.caches_features else net
        self.criterion = Criterion(config, feed.labels["train"].to(accelerator.device), feed.classes)
        self.portions = self._portions(position)
        self.module: nn.Module = accelerator.prepare_model(self.bare)
        self.fast: Callable[[Tensor], Answer] | None = None
        self._whole, self._undivided = 0, False
        self._moving = self._buffers()
        self._begin(phases.of(config, position.phase))
        self.average = Average(config.ema, net, self.learning, self.bare) if config.ema else None

    def _begin(self, phase: Phase) -> None:
        """A phase has an optimizer of its own, for all that will learn in it."""
        self.phase, settings = phase, phases.settings(self.config, phase)
        freezing.freeze(self.net, self.config, phase.last)
        self.raw = optimizers.make(network.groups(self.bare, settings), settings)
        # Without a scaler accelerate's wrapping adds nothing, but looks for another package at each step.
        self.optimizer = self.accelerator.prepare_optimizer(self.raw) if self.accelerator.scaler else self.raw

    def enter(self, epoch: int, position: Position) -> Iterator[Note]:
        """Mark what learns in an epoch, and say so where it is more than before."""
        epoch, phase = max(1, epoch), phases.at(self.config, epoch)
        begins, grows = phase.number != position.phase, phase.number == 2 and self.config.gradual == "yes"
        if begins:
            position.phase, position.plateau = phase.number, Plateau()
            self._begin(phase)
        freezing.freeze(self.net, self.config, epoch)
        freezing.train_flags(self.bare, self.config.batchnorm)
        self._moving = self._buffers()
        if self.accelerator.num_processes > 1 and (begins or grows):
            # Whose gradients are exchanged is settled when a module is prepared.
            self.module = self.accelerator.prepare_model(self.bare)
        count = sum(p.numel() for p in self.net.parameters() if p.requires_grad)
        values: dict[str, object] = {"epoch": epoch, "step": position.step, "learning": count}
        if begins:
            yield Note(code="fine_tuning", values=values)
        elif grows and not position.done:
            now, before = (freezing.learning(self.net.backbone, self.config, one) for one in (epoch, epoch - 1))
            if new := [name for name in now if name not in set(before)]:
                yield Note(code="unfrozen", values={**values, "block": title(new)})

    def _buffers(self) -> Buffers:
        """Those that a forward pass moves."""
        training = (part for part in self.bare.modules() if part.training)
        return Buffers(buffer for part in training for buffer in part.buffers(recurse=False))

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
        if self.rates:
            return schedules.set_rates(self.raw, self.rates(max(0, step)))
        step = max(0, step - (self.phase.first - 1) * self.per_epoch)
        share = schedules.factor(self.config, step, self.phase.epochs * self.per_epoch, self.per_epoch)
        return schedules.set_rates(self.raw, share * position.plateau.share)

    def compile(self, fast: Callable[[Tensor], Answer] | None, whole: int, *, undivided: bool = False) -> None:
        """Let whole batches, which are so many pictures, go through the compiled module; None: no more.

        Args:
            undivided: whether it may be called once a step only: portions go through the module itself then.
        """
        self.fast, self._whole, self._undivided = fast, whole, undivided

    def _answers(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What the module gives for a batch or a portion of one; compiled for its usual size only."""
        usual = min(self._whole, self.portions.most or self._whole)
        fits = len(inputs) == usual and not (self._undivided and usual < self._whole)
        module = self.module if self.fast is None or not fits else self.fast
        return network.answers(module(inputs))

    def attempt(self, share: Share, step: int) -> None:
        """Compute the gradients of a step that is not taken; all is then as before."""
        with kept_buffers(self.module):
            self.gradients(share, step)
        self.forget()

    def forget(self) -> None:
        """Let the gradients go. The optimizer's own way tells a profiler of it each time, which takes longer."""
        for group in self.raw.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def gradients(self, share: Share, step: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a step in the parameters; its logits [b, K], and its loss as a scalar.

        In portions, the gradients add up to those of the whole step; only BatchNorm sees fewer pictures at a time.
        """
        self._moving.save()
        scale = self.criterion.scale(share.count, self.accelerator.num_processes)

        def begin() -> None:
            self._seed(step)
            self.forget()

        def undo() -> None:
            self._moving.restore()
            begin()

        mixture = mixup.mix(share.inputs, self.config, step)
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
                with device_setup.casts(self.accelerator):
                    logits, *inner = self._answers(mixture.inputs[some])
                loss = part(logits, some)
                for one in inner:
                    loss = loss + self.row.auxiliary_weight * part(one, some)
                device_setup.backward(self.accelerator, loss)
            return logits.detach(), loss.detach()

        begin()
        parts = self.portions.over(len(share.labels), learn, undo)
        if len(parts) == 1:
            return parts[0]
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
        seed = (self.config.seed * 1_000_003 + step) * 64 + self.accelerator.process_index
        if self.accelerator.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the same bits: `manual_seed` asks for every other device too
        else:
            torch.manual_seed(seed)
