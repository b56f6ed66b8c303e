"""One optimizer step: forward, loss, backward, clipping, update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.models import freezing, network
from ftlab.models.activations.split_backbone import BackboneSplit
from ftlab.models.blocks import get_block_path
from ftlab.models.buffer_snapshot import BufferSnapshot, preserve_buffers
from ftlab.models.execution import lean_activations
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
from ftlab.training.trial import batch_sizes

ModelOutput = Tensor | tuple[Tensor, ...]


class TrainStep:
    """Model, loss, optimizer and learning rates of a training.

    Attributes:
        trainable: the module whose weights may change: the network, or its head.
        prepared_model: the module that batches go through, wrapped by accelerate for gradient exchange.
        unwrapped_model: the same module without the wrapper: the network; its head for cached features; the part above
            the boundary for cached activations.
        compiled_model: the compiled module or CUDA graph for batches of the usual size; None if there is none.
        optimizer_unwrapped: the optimizer without accelerate's wrapper.
        ema: moving average of the weights; None if none is kept.
        micro_batcher: divides a batch that does not fit into the device's memory.
        saved_buffers: during a forward pass the buffers as they were before it, by the address of their memory.
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
        split: BackboneSplit | None = None,
    ) -> None:
        """Prepare the model, and the optimizer of the phase that the training is in.

        Args:
            net: the network, on its device.
            spec: its backbone.
            config: the resolved configuration.
            accelerator: device, precision and ranks.
            train_state: phase and micro-batch size of a training that is resumed.
            feed: its labels give the class weights, and its steps the length of the schedule.
            lr_factor: fraction of the peak learning rate by step (0-based), in place of the schedule.
            split: boundary below which the activations are cached; None where they are not.
        """
        self.lr_factor, self._split = lr_factor, split
        self.net, self.spec, self.config = net, spec, config
        self.accelerator, self.steps_per_epoch = accelerator, feed.steps_per_epoch
        # BatchNorm in training mode changes the backbone's statistics, which then belong to the checkpoint too.
        head_only = config.mode == "frozen" and config.batchnorm != "train"
        self.trainable: nn.Module = net.head if head_only else net
        self.unwrapped_model: nn.Module = (
            split.bind_upper(net) if split else net.head if config.caches_features else net
        )
        self.criterion = Criterion(config, feed.labels["train"].to(accelerator.device), feed.class_count)
        self.micro_batcher = self._create_micro_batcher(train_state)
        self.prepared_model = device_setup.prepare_model(accelerator, self.unwrapped_model)
        self.compiled_model: Callable[[Tensor], ModelOutput] | None = None
        self._compiled_batch_size, self._whole_batches_only = 0, False
        self._buffer_snapshot = self._create_snapshot()
        self.saved_buffers: dict[int, Tensor] = {}
        self._start_phase(phases.get_phase(config, train_state.phase))
        modules = (net, self.trainable, self.unwrapped_model)
        self.ema = ModelEma(config.ema_decay, *modules, split) if config.ema_decay else None

    def _start_phase(self, phase: Phase) -> None:
        """Create the optimizer of a phase, for all parameters that are trained at the phase's end."""
        self.phase, phase_config = phase, phases.get_phase_config(self.config, phase)
        freezing.freeze_for_epoch(self.net, self.config, phase.last_epoch)
        self.optimizer_unwrapped = optimizers.build_optimizer(
            network.build_param_groups(self.net if self._split else self.unwrapped_model, phase_config), phase_config
        )
        # Without a gradient scaler accelerate's wrapper adds nothing but a search for another package at each step.
        self.optimizer = (
            self.accelerator.prepare_optimizer(self.optimizer_unwrapped)
            if self.accelerator.scaler
            else self.optimizer_unwrapped
        )

    def begin_epoch(self, epoch: int, train_state: TrainState) -> Iterator[LogMessage]:
        """Freeze and unfreeze the parameters for an epoch, and start a phase where one begins.

        Args:
            epoch: the epoch; 0 is frozen as 1.
            train_state: the phase is updated.

        Yields:
            A note if more parameters are trained than before.
        """
        epoch, phase = max(1, epoch), phases.get_epoch_phase(self.config, epoch)
        starts_phase = phase.number != train_state.phase
        unfreezes_blocks = phase.number == 2 and self.config.gradual_unfreezing
        if starts_phase:
            train_state.phase, train_state.plateau = phase.number, PlateauState()
            self._start_phase(phase)
        freezing.freeze_for_epoch(self.net, self.config, epoch)
        self.unwrapped_model.train()
        freezing.set_train_flags(self.net if self._split else self.unwrapped_model, self.config.batchnorm)
        self._buffer_snapshot = self._create_snapshot()
        if self.accelerator.num_processes > 1 and (starts_phase or unfreezes_blocks):
            # DistributedDataParallel fixes the parameters whose gradients it exchanges when it is created.
            self.prepared_model = device_setup.prepare_model(self.accelerator, self.unwrapped_model)
        trainable_count = sum(p.numel() for p in self.net.parameters() if p.requires_grad)
        values: dict[str, object] = {"epoch": epoch, "step": train_state.step, "learning": trainable_count}
        if starts_phase:
            is_last_unfreezing = phases.trains_all_at_last(self.config, phase)
            yield LogMessage(code="all_layers" if is_last_unfreezing else "fine_tuning", values=values)
        elif unfreezes_blocks and not train_state.done:
            trainable_names, previous_names = (
                freezing.list_trainable_names(self.net.backbone, self.config, epoch_number)
                for epoch_number in (epoch, epoch - 1)
            )
            if unfrozen_names := [name for name in trainable_names if name not in set(previous_names)]:
                yield LogMessage(code="unfrozen", values={**values, "block": get_block_path(unfrozen_names)})

    def _create_snapshot(self) -> BufferSnapshot:
        """Return a snapshot of the buffers that a forward pass changes: those of modules in training mode."""
        training_modules = (submodule for submodule in self.unwrapped_model.modules() if submodule.training)
        return BufferSnapshot(buffer for submodule in training_modules for buffer in submodule.buffers(recurse=False))

    def save_buffers(self) -> None:
        """Copy the buffers that a forward pass changes, for whoever saves the training during the pass."""
        self._buffer_snapshot.save()
        self.saved_buffers = self._buffer_snapshot.copies_by_address

    def forget_buffers(self) -> None:
        """Declare the pass done, and its buffers those of the training."""
        self.saved_buffers = {}

    @property
    def eval_module(self) -> nn.Module:
        """Module that is evaluated, and whose weights are kept as the best: the moving average if there is one."""
        return self.ema.eval_module if self.ema else self.unwrapped_model

    def _create_micro_batcher(self, train_state: TrainState) -> MicroBatcher:
        """Return the micro-batcher; with gradient accumulation its micro-batch is one of the batches of a step."""
        world_size = self.accelerator.num_processes
        if self.config.grad_accum_steps > 1 and not train_state.portion:
            train_state.portion = batch_sizes.compute_micro_batch_size(self.config, world_size)
        # A rank that divides its batch alone would exchange gradients in other steps than the others.
        return MicroBatcher(train_state.portion, is_indivisible=world_size > 1)

    def set_learning_rates(self, step: int, train_state: TrainState) -> float:
        """Set the learning rate of each parameter group for a step.

        Args:
            step: number of the step, from 0; -1 counts as 0.
            train_state: has the reductions of the plateau schedule.

        Returns:
            The largest of the rates.
        """
        if self.lr_factor:
            return schedules.set_learning_rates(self.optimizer_unwrapped, self.lr_factor(max(0, step)))
        # Each phase has the whole schedule to itself. Epochs of an earlier one may have had another number of steps.
        phase_epochs = max(1, train_state.epoch) - self.phase.first_epoch
        step = max(0, step - train_state.step + phase_epochs * self.steps_per_epoch + train_state.done)
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
        """Use a compiled module for batches of one size.

        Args:
            compiled_model: the compiled module; None to go on without.
            batch_size: images of the batches that it was compiled for.
            whole_batches_only: it may be called once in a step only, as a CUDA graph; micro-batches go through the
                module itself then.
        """
        self.compiled_model, self._compiled_batch_size = compiled_model, batch_size
        self._whole_batches_only = whole_batches_only

    def _forward_logits(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return logits and auxiliary logits, each [b, K], by the compiled module if it was compiled for this size."""
        # A compiled program or a CUDA graph fits one batch size only.
        usual_size = min(self._compiled_batch_size, self.micro_batcher.micro_batch_size or self._compiled_batch_size)
        fits = len(inputs) == usual_size and not (self._whole_batches_only and usual_size < self._compiled_batch_size)
        if self.compiled_model is None or not fits:
            return network.as_logits_tuple(lean_activations.run_training_forward(self.prepared_model, inputs))
        return network.as_logits_tuple(self.compiled_model(inputs))

    def dry_run_step(self, batch: RankBatch, step: int) -> None:
        """Compute the gradients of a step and discard them, so that the step can be timed; no state changes.

        Args:
            batch: this rank's part of the step.
            step: number of the step, from 0.
        """
        with preserve_buffers(self.prepared_model):
            self.forward_backward(batch, step)
        self.zero_grad()

    def zero_grad(self) -> None:
        """Free the gradients. `Optimizer.zero_grad` does the same within a profiler record, which takes longer."""
        for group in self.optimizer_unwrapped.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def forward_backward(self, batch: RankBatch, step: int) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a step and leave them in the parameters.

        The gradients of micro-batches add up to those of the batch; only BatchNorm sees fewer images at a time.

        Args:
            batch: this rank's part of the step, not empty.
            step: number of the step, from 0; it seeds dropout and mixup.

        Returns:
            Logits [b, K] and the loss, a scalar, both detached.
        """
        # A pass that runs out of memory is repeated in smaller parts, from the same BatchNorm statistics.
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
            # Ranks exchange the accumulated gradients once in a step, with its last micro-batch.
            is_last = rows.stop >= len(batch.labels)
            with nullcontext() if is_last else self.accelerator.no_sync(self.prepared_model):
                with device_setup.autocast(self.accelerator):
                    logits, *auxiliary_logits = self._forward_logits(mixed_batch.inputs[rows])
                # Outside of autocast: the loss is float32, and PyTorch advises against a backward pass under autocast.
                loss = compute_loss(logits, rows)
                for auxiliary in auxiliary_logits:
                    loss = loss + self.spec.auxiliary_weight * compute_loss(auxiliary, rows)
                device_setup.backward(self.accelerator, loss)
            return logits.detach(), loss.detach()

        reset_pass()
        outputs = self.micro_batcher.run_in_slices(len(batch.labels), run_micro_batch, undo_pass)
        # Without a copy in the usual case.
        if len(outputs) == 1:
            return outputs[0]
        return torch.cat([logits for logits, _ in outputs]), torch.stack([loss for _, loss in outputs]).sum()

    def step(self, step: int) -> None:
        """Clip the gradients, and update the weights and their moving average.

        Args:
            step: number of the step in the run, from 0.
        """
        if self.config.grad_clip_norm:
            # Unscale this optimizer only: accelerate's clipping would unscale those of earlier phases too.
            self.accelerator.unscale_gradients(self.optimizer)
            nn.utils.clip_grad_norm_(self.prepared_model.parameters(), self.config.grad_clip_norm)
        self.optimizer.step()
        if self.ema:
            self.ema.update_average(self.trainable, step)

    def report_micro_batch(self, train_state: TrainState) -> Iterator[LogMessage]:
        """Yield a warning if the batch was divided because the device's memory is too small; record the new size."""
        if self.micro_batcher.micro_batch_size != train_state.portion:
            train_state.portion = self.micro_batcher.micro_batch_size
            values: dict[str, object] = {"most": train_state.portion, "step": train_state.step + 1}
            yield LogMessage(code="portions", values=values, level="warning")

    def _seed_dropout(self, step: int) -> None:
        """Make dropout a function of (seed, step, rank): a resumed training draws what an undisturbed one would."""
        # Room for 64 ranks at each step, and for a million steps between the seeds of two runs.
        seed = (self.config.seed * 1_000_003 + step) * 64 + self.accelerator.process_index
        if self.accelerator.device.type == "cpu":
            # The same bits as `torch.manual_seed`, which looks for every other device at each call.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
