"""One epoch of a training: batches, optimizer steps, step events and pauses to save."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager

from ftlab.core.errors import DataError
from ftlab.runs.events import Event, LogMessage, Saved, Step
from ftlab.training import setup
from ftlab.training.checkpoints import resume_checks
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.devices import distributed
from ftlab.training.feeds.base import RankBatch
from ftlab.training.session import PreparedTraining
from ftlab.training.stopping import ThroughputMeter


def run_epoch(training: PreparedTraining, epoch: int) -> Generator[Event, None, tuple[float, ThroughputMeter]]:
    """Train for one epoch, or for what is left of it after a resume; in epoch 0 nothing is trained.

    Leaves early if a stop is due: `StopController.reason` is set then.

    Args:
        training: the prepared training; its state is advanced.
        epoch: the epoch, counted from 1; 0 is the untrained network, which is only evaluated.

    Yields:
        `Step` and `Saved` events, warnings and notes.

    Returns:
        Learning rate of the last step, and the clock that has run since the epoch began.

    Raises:
        DataError: the folder of the images is gone; the state before that is saved.
    """
    train_state, train_step = training.session.train_state, training.train_step
    catalog, stop_controller = training.session.catalog, training.session.stop_controller
    train_state.epoch, throughput_meter = epoch, ThroughputMeter()
    yield from train_step.begin_epoch(epoch, train_state)
    # A new phase has begun with a new optimizer.
    training.checkpoint_manager.optimizer = train_step.optimizer_unwrapped
    learning_rate = train_step.set_learning_rates(train_state.step - 1, train_state)
    batches = training.feed.iter_train_batches(epoch, train_state.done) if epoch else iter(())
    while (batch := _take_batch(training, batches)) is not None:
        # If the folder is gone no image is to blame, and none must be recorded as unreadable.
        if batch.skipped and resume_checks.is_data_gone(catalog):
            yield from save_checkpoint(training)
            raise DataError("data.gone", folder=catalog.root)
        yield from setup.report_skipped_images(batch.skipped, catalog, "train")
        learning_rate = train_step.set_learning_rates(train_state.step, train_state)
        # Images that could not be read may leave one, on which some networks cannot train.
        if len(batch.labels) >= train_step.micro_batcher.min_size:
            yield from _take_step(training, batch, learning_rate, throughput_meter)
        elif len(batch.labels):
            yield LogMessage(code="lone_image", values={"step": train_state.step + 1}, level="warning")
        # A batch of which no image could be read counts as a step, so that a resume finds the same place.
        train_state.step, train_state.done = train_state.step + 1, train_state.done + 1
        steps_left = training.feed.steps_per_epoch - train_state.done
        if train_state.step % training.step_event_interval == 0 or steps_left == 0:
            yield _make_step_event(training, epoch, learning_rate, throughput_meter)
        save_due = training.checkpoint_manager.should_save(within_epoch=True)
        # Asked after the last step too: all ranks vote after every step.
        if stop_controller.should_pause(save_due=save_due) and steps_left > 0:
            if stop_controller.reason:
                break
            yield from save_checkpoint(training)
    return learning_rate, throughput_meter


def _take_batch(training: PreparedTraining, batches: Iterator[RankBatch]) -> RankBatch | None:
    """Return the next batch, once it is decoded; None after the last one.

    Args:
        training: the prepared training, which may be ended meanwhile.
        batches: of the epoch.
    """
    with interruptible(training):
        return next(batches, None)


def _take_step(
    training: PreparedTraining, batch: RankBatch, learning_rate: float, throughput_meter: ThroughputMeter
) -> Iterator[Event]:
    """Compute the gradients of a batch and apply them, unless the loss is not finite.

    Args:
        training: the prepared training.
        batch: this rank's part of the step, not empty.
        learning_rate: of the step, for the error message.
        throughput_meter: counts the images.

    Yields:
        Notes of the compiler, and of a micro-batch that had to be made smaller.
    """
    train_state, train_step = training.session.train_state, training.train_step
    # What the forward pass changes is saved first, so that the training can be ended during the pass.
    train_step.save_buffers()
    with interruptible(training):
        yield from training.compiler.maybe_compile(batch, train_state)
        logits, loss = train_step.forward_backward(batch, train_state.step)
    train_step.forget_buffers()
    if training.session.stop_controller.loss_is_finite(loss, train_state.step + 1, learning_rate):
        train_step.step(train_state.step)
    training.batched_sums.add_batch(logits, batch.labels, batch.sample_weights)
    throughput_meter.add_images(batch.global_count)
    yield from train_step.report_micro_batch(train_state)


def _make_step_event(
    training: PreparedTraining, epoch: int, learning_rate: float, throughput_meter: ThroughputMeter
) -> Step:
    """Return the event of the steps since the last one, and begin to count anew."""
    training.batched_sums.flush()
    recent_metrics = training.recent_sums.compute_metrics(training.accelerator)
    training.recent_sums.reset()
    return Step(
        step=training.session.train_state.step, epoch=epoch, loss=recent_metrics.loss, accuracy=recent_metrics.top1,
        learning_rate=learning_rate, images_per_second=throughput_meter.get_recent_rate(),
    )  # fmt: skip


def interruptible(training: PreparedTraining) -> AbstractContextManager[None]:
    """Allow another thread to end the training within the block, as it was when the block began.

    Args:
        training: the prepared training. Several ranks save together, at a step only: they are not ended.

    Returns:
        The context.
    """

    def save_state() -> list[Event]:
        if not training.session.train_state.step:  # nothing was trained
            return []
        training.checkpoint_manager.buffer_copies = training.train_step.saved_buffers
        return list(save_checkpoint(training))

    is_alone = training.session.accelerator.num_processes == 1
    return training.session.stop_controller.guard.interruptible(save_state if is_alone else None)


def save_checkpoint(training: PreparedTraining) -> Iterator[Saved]:
    """Write the state to resume from, and the best weights if they are new. All ranks call it, rank 0 writes.

    Args:
        training: the prepared training.

    Yields:
        `Saved` for each file, on rank 0.
    """
    train_state, accelerator = training.session.train_state, training.accelerator
    training.batched_sums.flush()
    # Summed over the ranks: a resume may have another number of them.
    train_state.sums = [
        value
        for metric_sums in (training.epoch_sums, training.recent_sums)
        for value in distributed.all_reduce_sum(accelerator, metric_sums.sums).tolist()
    ]
    train_state.lost = distributed.gather_sets(accelerator, training.image_feed.excluded)
    if accelerator.is_main_process:
        yield from make_saved_events(training.checkpoint_manager.save_state(train_state), train_state)


def make_saved_events(saved_names: list[str], train_state: TrainState) -> Iterator[Saved]:
    """Yield an event for each file that was written: `best`, `last` or `epoch`."""
    for name in saved_names:
        epoch = train_state.best_epoch if name == "best" else train_state.epoch
        yield Saved(what=name, epoch=epoch or 0, step=train_state.step)
