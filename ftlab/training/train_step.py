"""What learns in a training, and how it takes one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.models import freezing, network
from ftlab.models.blocks import get_block_path
from ftlab.models.execution.micro_batches import MicroBatcher
from ftlab.models.network import Network
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import BatchSource, RankBatch
from ftlab.training.optim import mixup, optimizers, phases, schedules
from ftlab.training.optim.ema import ModelEma
from ftlab.training.optim.losses import Criterion
from ftlab.training.optim.phases import Phase
from ftlab.training.optim.plateau import PlateauState

ModelOutput = Tensor | tuple[Tensor, ...]


class BufferSnapshot:
    """A copy of a network's buffers, taken with a kernel for all of a kind: BatchNorm has three a layer."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        buffers_by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            buffers_by_dtype.setdefault(buffer.dtype, []).append(buffer)
        self._pairs = [
            (same_dtype, [torch.empty_like(source) for source in same_dtype])
            for same_dtype in buffers_by_dtype.values()
        ]

    @torch.no_grad()
    def save(self) -> None:
        for buffers, copies in self._pairs:
            torch._foreach_copy_(copies, buffers)

    @torch.no_grad()
    def restore(self) -> None:
        for buffers, copies in self._pairs:
            torch._foreach_copy_(buffers, copies)


@contextmanager
def preserve_buffers(module: nn.Module) -> Iterator[None]:
    """A module's buffers are as before afterwards."""
    snapshot = BufferSnapshot(module.buffers())
    snapshot.save()
    try:
        yield
    finally:
        snapshot.restore()


class TrainStep:
    """A module, its loss and its optimizer.

    Attributes:
        trainable: what may change: the network, or its head alone.
        prepared_model: what the pictures or features of a step go through, as accelerate prepared it.
        unwrapped_model: the same without what accelerate puts around it.
        compiled_model: the module compiled for whole batches, where it was.
        optimizer_unwrapped: the optimizer, without the same.
        ema: of the weights, where one is kept.
        micro_batcher: how many pictures go through the device at once.
    """

    def __init__(
        self,
        net: Network,
        spec: BackboneSpec,
        config: TrainConfig,
        accelerator: Accelerator,
        train_state: TrainState,
        feed: BatchSource,
        lr_factor: Callable[[int], float] | None = None,
    ) -> None:
        """
        Args:
            feed: what it will learn from: the labels of all that are there count, and the steps of an epoch.
            lr_factor: share of the peak rate by step (0-based), in the place of the schedule.
        """
        self.lr_factor = lr_factor
        self.net, self.spec, self.config, self.accelerator, self.steps_per_epoch = (
            net,
            spec,
            config,
            accelerator,
            feed.steps_per_epoch,
        )
        head_only = config.mode == "frozen" and config.batchnorm != "train"
        self.trainable: nn.Module = net.head if head_only else net
        self.unwrapped_model: nn.Module = net.head if config.caches_features else net
        self.criterion = Criterion(config, feed.labels["train"].to(accelerator.device), feed.class_count)
        self.micro_batcher = self._create_micro_batcher(train_state)
        self.prepared_model: nn.Module = accelerator.prepare_model(self.unwrapped_model)
        self.compiled_model: Callable[[Tensor], ModelOutput] | None = None
        self._compiled_batch_size, self._whole_batches_only = 0, False
        self._buffer_snapshot = self._create_snapshot()
        self._start_phase(phases.get_phase(config, train_state.phase))
        self.ema = ModelEma(config.ema, net, self.trainable, self.unwrapped_model) if config.ema else None

    def _start_phase(self, phase: Phase) -> None:
        """A phase has an optimizer of its own, for all that will learn in it."""
        self.phase, phase_config = phase, phases.get_phase_config(self.config, phase)
        freezing.freeze_for_epoch(self.net, self.config, phase.last_epoch)
        self.optimizer_unwrapped = optimizers.build_optimizer(
            network.build_param_groups(self.unwrapped_model, phase_config), phase_config
        )
        # Without a scaler accelerate's wrapping adds nothing, but looks for another package at each step.
        self.optimizer = (
            self.accelerator.prepare_optimizer(self.optimizer_unwrapped)
            if self.accelerator.scaler
            else self.optimizer_unwrapped
        )

    def begin_epoch(self, epoch: int, train_state: TrainState) -> Iterator[LogMessage]:
        """Mark what learns in an epoch, and say so where it is more than before."""
        epoch, phase = max(1, epoch), phases.get_epoch_phase(self.config, epoch)
        starts_phase, unfreezes_blocks = (
            phase.number != train_state.phase,
            phase.number == 2 and self.config.gradual == "yes",
        )
        if starts_phase:
            train_state.phase, train_state.plateau = phase.number, PlateauState()
            self._start_phase(phase)
        freezing.freeze_for_epoch(self.net, self.config, epoch)
        freezing.set_train_flags(self.unwrapped_model, self.config.batchnorm)
        self._buffer_snapshot = self._create_snapshot()
        if self.accelerator.num_processes > 1 and (starts_phase or unfreezes_blocks):
            # Whose gradients are exchanged is settled when a module is prepared.
            self.prepared_model = self.accelerator.prepare_model(self.unwrapped_model)
        trainable_count = sum(p.numel() for p in self.net.parameters() if p.requires_grad)
        values: dict[str, object] = {"epoch": epoch, "step": train_state.step, "learning": trainable_count}
        if starts_phase:
            yield LogMessage(code="fine_tuning", values=values)
        elif unfreezes_blocks and not train_state.done:
            trainable_names, previous_names = (
                freezing.list_trainable_names(self.net.backbone, self.config, epoch_number)
                for epoch_number in (epoch, epoch - 1)
            )
            if unfrozen_names := [name for name in trainable_names if name not in set(previous_names)]:
                yield LogMessage(code="unfrozen", values={**values, "block": get_block_path(unfrozen_names)})

    def _create_snapshot(self) -> BufferSnapshot:
        """Those that a forward pass moves."""
        training_modules = (submodule for submodule in self.unwrapped_model.modules() if submodule.training)
        return BufferSnapshot(buffer for submodule in training_modules for buffer in submodule.buffers(recurse=False))

    @property
    def eval_module(self) -> nn.Module:
        """What is scored, and kept where it is the best."""
        return self.ema.eval_module if self.ema else self.unwrapped_model

    def _create_micro_batcher(self, train_state: TrainState) -> MicroBatcher:
        """A step of several batches goes through as so many portions: their gradients add up."""
        world_size = self.accelerator.num_processes
        if self.config.accumulate > 1 and not train_state.portion:
            train_state.portion = -(-(self.config.batch_size or 1) // world_size)
        return MicroBatcher(train_state.portion, is_indivisible=world_size > 1)

    def set_learning_rates(self, step: int, train_state: TrainState) -> float:
        """Give each group of parameters its rate for a step (0-based); the largest."""
        if self.lr_factor:
            return schedules.set_learning_rates(self.optimizer_unwrapped, self.lr_factor(max(0, step)))
        step = max(0, step - (self.phase.first_epoch - 1) * self.steps_per_epoch)
        factor = schedules.compute_lr_factor(
            self.config, step, self.phase.epoch_count * self.steps_per_epoch, self.steps_per_epoch
        )
        return schedules.set_learning_rates(self.optimizer_unwrapped, factor * train_state.plateau.share)

    def set_compiled_model(
        self,
        compiled_model: Callable[[Tensor], ModelOutput] | None,
        batch_size: int,
        *,
        whole_batches_only: bool = False,
    ) -> None:
        """Let whole batches, which are so many pictures, go through the compiled module; None: no more.

        Args:
            whole_batches_only: whether it may be called once a step only: portions go through the module itself then.
        """
        self.compiled_model, self._compiled_batch_size, self._whole_batches_only = (
            compiled_model,
            batch_size,
            whole_batches_only,
        )

    def _forward_logits(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What the module gives for a batch or a portion of one; compiled for its usual size only."""
        usual_size = min(self._compiled_batch_size, self.micro_batcher.micro_batch_size or self._compiled_batch_size)
        fits = len(inputs) == usual_size and not (self._whole_batches_only and usual_size < self._compiled_batch_size)
        module = self.prepared_model if self.compiled_model is None or not fits else self.compiled_model
        return network.as_logits_tuple(module(inputs))

    def dry_run_step(self, batch: RankBatch, step: int) -> None:
        """Compute the gradients of a step that is not taken; all is then as before."""
        with preserve_buffers(self.prepared_model):
            self.forward_backward(batch, step)
        self.zero_grad()

    def zero_grad(self) -> None:
        """Let the gradients go. The optimizer's own way tells a profiler of it each time, which takes longer."""
        for group in self.optimizer_unwrapped.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def forward_backward(self, batch: RankBatch, step: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a step in the parameters; its logits [b, K], and its loss as a scalar.

        In portions, the gradients add up to those of the whole step; only BatchNorm sees fewer pictures at a time.
        """
        self._buffer_snapshot.save()
        loss_scale = self.criterion.get_loss_scale(batch.global_count, self.accelerator.num_processes)

        def reset_pass() -> None:
            self._seed_dropout(step)
            self.zero_grad()

        def undo_pass() -> None:
            self._buffer_snapshot.restore()
            reset_pass()

        mixed_batch = mixup.mix_batch(batch.inputs, self.config, step)
        partner_labels = None if mixed_batch.partner_indices is None else batch.labels[mixed_batch.partner_indices]

        def compute_loss(logits: Tensor, rows: slice) -> Tensor:
            if partner_labels is None:
                losses = self.criterion(logits, batch.labels[rows])
            else:
                losses = self.criterion.compute_mixed_loss(
                    logits, batch.labels[rows], partner_labels[rows], mixed_batch.own_weight
                )
            return (losses * batch.sample_weights[rows]).sum() * loss_scale

        def run_micro_batch(rows: slice) -> tuple[Tensor, Tensor]:
            # Processes exchange their gradients once a step, with its last portion.
            is_last = rows.stop >= len(batch.labels)
            with nullcontext() if is_last else self.accelerator.no_sync(self.prepared_model):
                with device_setup.autocast(self.accelerator):
                    logits, *auxiliary_logits = self._forward_logits(mixed_batch.inputs[rows])
                loss = compute_loss(logits, rows)
                for auxiliary in auxiliary_logits:
                    loss = loss + self.spec.auxiliary_weight * compute_loss(auxiliary, rows)
                device_setup.backward(self.accelerator, loss)
            return logits.detach(), loss.detach()

        reset_pass()
        outputs = self.micro_batcher.run_in_slices(len(batch.labels), run_micro_batch, undo_pass)
        if len(outputs) == 1:
            return outputs[0]
        return torch.cat([logits for logits, _ in outputs]), torch.stack([loss for _, loss in outputs]).sum()

    def step(self, step: int) -> None:
        """Follow the gradients, at step number `step` (0-based) of the run."""
        if self.config.clip_norm:
            # Of this optimizer only: accelerate's own clipping would unscale those of earlier phases too.
            self.accelerator.unscale_gradients(self.optimizer)
            nn.utils.clip_grad_norm_(self.prepared_model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        if self.ema:
            self.ema.update_average(self.trainable, step)

    def report_micro_batch(self, train_state: TrainState) -> Iterator[LogMessage]:
        """Told when the device's memory turned out to be too small for what went through it so far."""
        if self.micro_batcher.micro_batch_size != train_state.portion:
            train_state.portion = self.micro_batcher.micro_batch_size
            yield LogMessage(
                code="portions",
                values={"most": self.micro_batcher.micro_batch_size, "step": train_state.step + 1},
                level="warning",
            )

    def _seed_dropout(self, step: int) -> None:
        """Dropout becomes a function of (seed, step, process): a resumed run draws what an undisturbed one would."""
        seed = (self.config.seed * 1_000_003 + step) * 64 + self.accelerator.process_index
        if self.accelerator.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the same bits: `manual_seed` asks for every other device too
        else:
            torch.manual_seed(seed)
