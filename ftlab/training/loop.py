"""The training loop: a generator that trains a network by a configuration, writes a run directory and yields events.

for event in train(config, run):
    run.append_event(event)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.from_config import DatasetSource
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Event
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.devices import distributed, lost_ranks
from ftlab.training.epoch import interruptible, make_saved_events, run_epoch, save_checkpoint
from ftlab.training.evaluate import evaluate_split
from ftlab.training.metrics import Metrics
from ftlab.training.preparation import prepare_epoch, prepare_training
from ftlab.training.session import PreparedTraining
from ftlab.training.stopping import ThroughputMeter

VALIDATION_TIME_GRACE = 0.1
"""Fraction of the time limit by which a validation may exceed it."""


def train(
    config: TrainConfig,
    run: Run,
    *,
    source: DatasetSource | None = None,
    catalog: Catalog | None = None,
    prefetched: Prefetcher | None = None,
    pretrained: bool = True,
    lr_factor: Callable[[int], float] | None = None,
    guard: StopGuard | None = None,
) -> Iterator[Event]:
    """Train until the last epoch, a stop request or the time limit; resume from the last checkpoint if there is one.

    Any `FtlabError` says what went wrong and what to do about it: ConfigError, DataError, WeightsError or RunError.

    Args:
        config: the configuration as the user gave it; everything resolved from it is written to the run.
        run: the run directory, claimed by this process. Of several ranks only rank 0 writes to it.
        source: data of a new run, as far as it was located before.
        catalog: images of a new run, if they were scanned before.
        prefetched: images of the catalog that are being decoded already.
        pretrained: False uses random weights in place of pretrained ones, where only the speed matters.
        lr_factor: fraction of the peak learning rate by optimizer step (0-based), in place of the schedule.
        guard: says to another thread when the training may be ended; by it the time limit is counted.

    Yields:
        Everything that happens, `Ended` at last.
    """
    guard = guard or StopGuard()
    with lost_ranks.report_lost_ranks(lost_ranks.SHARED_REGISTER, run.name), ExitStack() as stack:
        training = yield from prepare_training(
            config, run, stack,
            source=source, catalog=catalog, prefetched=prefetched, pretrained=pretrained, lr_factor=lr_factor,
            guard=guard,
        )  # fmt: skip
        if training is None:
            return
        guard.begin_steps()
        train_state, stop_controller = training.session.train_state, training.session.stop_controller
        for epoch in range(train_state.epoch, training.epochs + 1):
            training = prepare_epoch(training, stack)
            learning_rate, throughput_meter = yield from run_epoch(training, epoch)
            is_cut_short = bool(epoch) and train_state.done < training.feed.steps_per_epoch
            if stop_controller.reason == "failed" or (stop_controller.reason and is_cut_short):
                break
            # Before the validation, whose time is no training time.
            images_per_second = throughput_meter.get_epoch_rate()
            val_metrics = yield from _evaluate(training)
            if val_metrics is None:
                break
            yield from _record_epoch(training, epoch, val_metrics, learning_rate, images_per_second, throughput_meter)
            if stop_controller.should_pause(save_due=training.checkpoint_manager.should_save()):
                if stop_controller.reason:
                    break
                yield from save_checkpoint(training)
        yield from _finish(training)


def _evaluate(training: PreparedTraining) -> Generator[Event, None, Metrics | None]:
    """Evaluate the validation split after an epoch; if the images are gone, save before the error goes on.

    Args:
        training: the prepared training.

    Yields:
        Progress, warnings, and `Saved` before an error.

    Returns:
        Metrics of the validation split; None if a stop was requested on the way.

    Raises:
        DataError: the folder of the images is gone.
    """
    session, train_step = training.session, training.train_step
    # A validation that is nearly done is worth some seconds beyond the time limit.
    should_end = partial(session.stop_controller.any_rank_should_end, time_grace=VALIDATION_TIME_GRACE)
    try:
        with interruptible(training):
            metrics = yield from evaluate_split(
                train_step.eval_module,
                training.feed,
                "val",
                session.catalog,
                training.accelerator,
                should_end,
                train_step.micro_batcher,
            )
        # After the last batch a time limit leaves the metrics as they are; a stop is answered as within the validation.
        is_stopped = should_end() and session.stop_controller.reason == "stopped"
        return None if is_stopped else metrics
    except DataError:
        yield from save_checkpoint(training)
        raise


def _record_epoch(
    training: PreparedTraining,
    epoch: int,
    val_metrics: Metrics,
    learning_rate: float,
    images_per_second: float | None,
    throughput_meter: ThroughputMeter,
) -> Iterator[Event]:
    """Report an epoch, keep its weights if they are to be kept, move on to the next epoch and check whether to stop.

    Args:
        training: the prepared training.
        epoch: the epoch that is done, with its validation.
        val_metrics: metrics of the validation split.
        learning_rate: learning rate of the last step.
        images_per_second: training speed of the epoch.
        throughput_meter: clock of the epoch.

    Yields:
        `Epoch`, and `Saved` if the weights of the epoch are kept.

    Raises:
        DataError: no image of a split could be read.
    """
    config, train_state = training.session.config, training.session.train_state
    stop_controller, checkpoint_manager = training.session.stop_controller, training.checkpoint_manager
    train_metrics = training.epoch_sums.compute_metrics(training.accelerator)
    training.epoch_sums.reset()
    if not val_metrics.image_count or (epoch and not train_metrics.image_count):
        raise DataError("data.gone", folder=training.session.catalog.root)
    is_best = checkpoint_manager.update_best(train_state, val_metrics.top1, val_metrics.loss, config.monitor)
    yield Epoch(
        epoch=epoch, step=train_state.step, train_loss=train_metrics.loss, train_accuracy=train_metrics.top1,
        val_loss=val_metrics.loss, val_accuracy=val_metrics.top1, learning_rate=learning_rate if epoch else None,
        images_per_second=images_per_second, seconds=throughput_meter.get_elapsed_seconds(), best=is_best,
    )  # fmt: skip
    keeps_epoch = bool(epoch and config.save_every_epochs) and epoch % config.save_every_epochs == 0
    if keeps_epoch and training.accelerator.is_main_process:
        yield from make_saved_events(checkpoint_manager.save_epoch(epoch, val_metrics.top1), train_state)
    train_state.epoch, train_state.done = epoch + 1, 0
    stop_controller.check_loss(val_metrics.loss, train_state.step, learning_rate)
    stop_controller.check_early_stopping(epoch, val_metrics.top1, val_metrics.loss, train_state)


def _finish(training: PreparedTraining) -> Iterator[Event]:
    """Save what is worth keeping, close the process group and end.

    Args:
        training: the prepared training, after its last epoch or at a stop.

    Yields:
        `Saved`, and `Ended` at last.
    """
    train_state, stop_controller = training.session.train_state, training.session.stop_controller
    if stop_controller.reason == "failed":
        # The weights since the last checkpoint are spoilt; the best ones, set aside before, are not.
        if training.accelerator.is_main_process:
            yield from make_saved_events(training.checkpoint_manager.save_best(train_state), train_state)
    else:
        yield from save_checkpoint(training)
    distributed.shutdown(training.accelerator)
    is_finished = train_state.epoch > training.epochs and stop_controller.reason != "failed"
    reason = "finished" if is_finished else stop_controller.reason or "stopped"
    yield stop_controller.make_ended_event(reason, train_state)
