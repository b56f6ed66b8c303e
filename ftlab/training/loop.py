"""The training: one loop that yields what happens. Reads a folder and a configuration, writes a run directory.

for event in train(config, run):
    run.append(event)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.models.execution.micro_batches import MicroBatcher
from ftlab.models.execution.parallel_eval import open_parallel_forward
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Event, Progress, Saved, Started, Step
from ftlab.training import cached_features, setup
from ftlab.training.checkpoints import checkpoint, init_from, resume_checks
from ftlab.training.checkpoints.checkpoint import CheckpointManager, TrainState
from ftlab.training.compile import ModelCompiler
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import BatchSource
from ftlab.training.feeds.features import FeatureFeed
from ftlab.training.feeds.images import ImageFeed
from ftlab.training.metrics import BatchedMetricSums, Metrics, MetricSums
from ftlab.training.stopping import StopController, ThroughputMeter
from ftlab.training.train_step import TrainStep

MAX_STEP_EVENTS = 2000
"""Step events of a whole run, at most about this many."""


def train(
    config: TrainConfig,
    run: Run,
    *,
    catalog: Catalog | None = None,
    prefetched: Prefetcher | None = None,
    pretrained: bool = True,
    lr_factor: Callable[[int], float] | None = None,
) -> Iterator[Event]:
    """Train to the end, or until a stop is asked for or the time is up; go on from the last checkpoint if there is one.

    Args:
        config: as the person gave it; what was chosen is written to the run.
        run: its directory, claimed by this process. Of several processes only the first writes to it.
        catalog: the pictures of a new run, where they were listed before.
        prefetched: some of them that were decoded meanwhile.
        pretrained: False puts random weights in place of pretrained ones, where only the speed matters.
        lr_factor: share of the peak rate by optimizer step (0-based), in the place of the schedule.

    Raises:
        ConfigError, DataError, WeightsError, RunError: with what to do, in one sentence.
    """
    with ExitStack() as stack:
        yield from _run_training(config, run, catalog, prefetched, pretrained, lr_factor, stack)


def _run_training(
    config: TrainConfig,
    run: Run,
    scanned_catalog: Catalog | None,
    prefetched: Prefetcher | None,
    pretrained_allowed: bool,
    lr_factor: Callable[[int], float] | None,
    stack: ExitStack,
) -> Iterator[Event]:
    """The same; what is to be closed at the end goes onto the stack."""
    start_time = time.monotonic()
    accelerator = device_setup.create_accelerator(setup.restore_runtime(config, run))
    config, config_notes = setup.resolve_config(config, run, accelerator)
    loaded_checkpoint, is_resume = checkpoint.load_checkpoint(run), (run.path / "split.json").is_file()
    train_state = loaded_checkpoint.train_state if loaded_checkpoint else TrainState()
    catalog = setup.load_catalog(config, run, accelerator, scanned_catalog)
    stop_controller = StopController(run, config, accelerator, start_time)
    initial_weights = (
        init_from.prepare_initial_weights(config, run, catalog.classes, loaded_checkpoint is not None, accelerator)
        if pretrained_allowed
        else None
    )
    yield from initial_weights.notes if initial_weights else ()
    pretrained = (
        pretrained_allowed
        and config.mode != "scratch"
        and not (initial_weights and initial_weights.replaces_pretrained)
    )
    if pretrained and not (yield from setup.download_weights(config, accelerator, stop_controller.stop_requested)):
        yield stop_controller.make_ended_event("stopped", train_state)
        return
    prep = yield from setup.resolve_preprocessing(config, run, catalog, accelerator, stop_controller.stop_requested)
    if prep is None:
        yield stop_controller.make_ended_event("stopped", train_state)
        return
    net = setup.build_network(config, run, catalog, prep, accelerator, pretrained, train_state.epoch)
    if initial_weights:
        initial_weights.apply_to_network(net, run, accelerator)
    spec = backbones.get_backbone_spec(config.backbone)
    image_feed = stack.enter_context(
        closing(ImageFeed(catalog, prep, config, accelerator, train_state.lost, prefetched))
    )
    yield _make_started_event(config, catalog, accelerator, net, image_feed.steps_per_epoch, train_state.step)
    config_notes += setup.report_validation_split(catalog)
    yield from (
        *config_notes,
        *resume_checks.report_damaged_checkpoint(loaded_checkpoint),
        *(resume_checks.report_changed_images(image_feed) if is_resume else ()),
    )

    feed: BatchSource = image_feed
    if config.caches_features:
        features_by_split = None
        for result in cached_features.compute_cached_features(
            net, image_feed, run, accelerator, stop_controller.any_rank_requested_stop, pretrained_allowed
        ):
            if isinstance(result, Event):
                yield result
            else:
                features_by_split = result
        if features_by_split is None:
            yield stop_controller.make_ended_event("stopped", train_state)
            return
        if prefetched:
            prefetched.close()
        image_feed.close()  # nobody decodes any more, and the processes that did would stay beside the head
        accelerator = device_setup.head_accelerator(accelerator, net.head, config.effective_batch_size)
        net.to(accelerator.device)
        image_feed.device = accelerator.device
        feed = FeatureFeed(image_feed, features_by_split)
        device_setup.set_head_threads(net.head, config.effective_batch_size, torch.get_num_threads())

    epochs = config.epochs or 1
    train_step = TrainStep(net, spec, config, accelerator, train_state, feed, lr_factor)
    compiler = ModelCompiler(train_step, config, run, accelerator)
    ema_module = train_step.ema.trainable if train_step.ema else None
    checkpoint_manager = CheckpointManager(
        run, net, train_step.trainable, train_step.optimizer_unwrapped, accelerator.scaler, ema_module
    )
    if loaded_checkpoint:
        checkpoint_manager.restore_state(loaded_checkpoint)
        loaded_checkpoint = None  # its tensors are as many as the network's and the optimizer's together
    if accelerator.is_main_process:
        checkpoint_manager.check_disk_space(epochs // config.keep_every if config.keep_every else 0)
    restored_sums = train_state.sums if accelerator.is_main_process else []  # they are those of all processes
    epoch_sums, recent_sums = (
        MetricSums(accelerator.device, restored_sums[:4]),
        MetricSums(accelerator.device, restored_sums[4:]),
    )
    batched_sums = BatchedMetricSums(epoch_sums, recent_sums)
    step_event_interval = math.ceil(epochs * feed.steps_per_epoch / MAX_STEP_EVENTS)
    if feed.steps_per_epoch != image_feed.steps_per_epoch:  # pictures that could not be read leave fewer steps
        yield _make_started_event(config, catalog, accelerator, net, feed.steps_per_epoch, train_state.step)

    def save_checkpoint() -> Iterator[Saved]:
        batched_sums.flush()
        train_state.sums = [
            x
            for metric_sums in (epoch_sums, recent_sums)
            for x in device_setup.all_reduce_sum(accelerator, metric_sums.sums).tolist()
        ]
        train_state.lost = device_setup.gather_sets(accelerator, image_feed.excluded)
        if accelerator.is_main_process:
            yield from _make_saved_events(checkpoint_manager.save_state(train_state), train_state)

    for epoch in range(train_state.epoch, epochs + 1):
        train_state.epoch, throughput_meter = epoch, ThroughputMeter()
        yield from train_step.begin_epoch(epoch, train_state)
        checkpoint_manager.optimizer = train_step.optimizer_unwrapped
        learning_rate = train_step.set_learning_rates(train_state.step - 1, train_state)
        for batch in feed.iter_train_batches(epoch, train_state.done) if epoch else ():
            if batch.skipped and resume_checks.is_data_gone(catalog):
                yield from save_checkpoint()
                raise DataError("data.gone", folder=catalog.root)
            yield from setup.report_skipped_images(batch.skipped, catalog, "train")
            learning_rate = train_step.set_learning_rates(train_state.step, train_state)
            if len(batch.labels):
                yield from compiler.maybe_compile(batch, train_state)
                logits, loss = train_step.forward_backward(batch, train_state.step)
                if stop_controller.loss_is_finite(loss, train_state.step + 1, learning_rate):
                    train_step.step(train_state.step)
                batched_sums.add_batch(logits, batch.labels, batch.sample_weights)
                throughput_meter.add_images(batch.global_count)
                yield from train_step.report_micro_batch(train_state)
            train_state.step, train_state.done = train_state.step + 1, train_state.done + 1
            if train_state.step % step_event_interval == 0 or train_state.done == feed.steps_per_epoch:
                batched_sums.flush()
                recent_metrics = recent_sums.compute_metrics(accelerator)
                recent_sums.reset()
                yield Step(
                    step=train_state.step, epoch=epoch, loss=recent_metrics.loss, accuracy=recent_metrics.top1,
                    learning_rate=learning_rate, images_per_second=throughput_meter.get_recent_rate(),
                )  # fmt: skip
            if (
                stop_controller.should_pause(checkpoint_manager.should_save(within_epoch=True))
                and train_state.done < feed.steps_per_epoch
            ):
                if stop_controller.reason:
                    break
                yield from save_checkpoint()
        if stop_controller.reason == "failed" or (
            stop_controller.reason and epoch and train_state.done < feed.steps_per_epoch
        ):
            break

        images_per_second = throughput_meter.get_epoch_rate()
        try:
            val_metrics = yield from evaluate_split(
                train_step.eval_module,
                feed,
                "val",
                catalog,
                accelerator,
                stop_controller.any_rank_requested_stop,
                train_step.micro_batcher,
            )
        except DataError:
            yield from save_checkpoint()
            raise
        if val_metrics is None:
            break
        train_metrics = epoch_sums.compute_metrics(accelerator)
        epoch_sums.reset()
        if not val_metrics.image_count or (epoch and not train_metrics.image_count):
            raise DataError("data.gone", folder=catalog.root)
        is_best = checkpoint_manager.update_best(train_state, val_metrics.top1, val_metrics.loss, config.best_by)
        yield Epoch(
            epoch=epoch, step=train_state.step, train_loss=train_metrics.loss, train_accuracy=train_metrics.top1,
            val_loss=val_metrics.loss, val_accuracy=val_metrics.top1, learning_rate=learning_rate if epoch else None,
            images_per_second=images_per_second, seconds=throughput_meter.get_elapsed_seconds(), best=is_best,
        )  # fmt: skip
        if epoch and config.keep_every and epoch % config.keep_every == 0 and accelerator.is_main_process:
            yield from _make_saved_events(checkpoint_manager.save_epoch(epoch, val_metrics.top1), train_state)
        train_state.epoch, train_state.done = epoch + 1, 0
        stop_controller.check_loss(val_metrics.loss, train_state.step, learning_rate)
        stop_controller.check_early_stopping(epoch, val_metrics.top1, val_metrics.loss, train_state)
        if stop_controller.should_pause(checkpoint_manager.should_save()):
            if stop_controller.reason:
                break
            yield from save_checkpoint()

    if (
        stop_controller.reason == "failed"
    ):  # what was learnt since the last checkpoint is spoilt, but not what was set aside
        if accelerator.is_main_process:
            yield from _make_saved_events(checkpoint_manager.save_best(train_state), train_state)
    else:
        yield from save_checkpoint()
    device_setup.shutdown(accelerator)
    is_finished = train_state.epoch > epochs and stop_controller.reason != "failed"
    yield stop_controller.make_ended_event(
        "finished" if is_finished else stop_controller.reason or "stopped", train_state
    )


def evaluate_split(
    module: nn.Module,
    feed: BatchSource,
    split: str,
    catalog: Catalog,
    accelerator: Accelerator,
    should_stop: Callable[[], bool] = lambda: False,
    micro_batcher: MicroBatcher | None = None,
) -> Generator[Event, None, Metrics | None]:
    """Score a module over a split: progress events, and the score as the generator's value; None when `should_stop` said so
    on the way. Training flags are left as they were found.

    Raises:
        DataError: the folder is gone.
    """
    micro_batcher = micro_batcher or MicroBatcher()
    training_flags = {name: submodule.training for name, submodule in module.named_modules()}
    metric_sums, image_count, last_report_time = MetricSums(accelerator.device), 0, time.monotonic()
    start_time = last_report_time
    module.eval()
    try:
        with open_parallel_forward(accelerator.device) as run_parallel:
            for batch in feed.iter_eval_batches(split):
                if batch.skipped and resume_checks.is_data_gone(catalog):
                    raise DataError("data.gone", folder=catalog.root)
                yield from setup.report_skipped_images(batch.skipped, catalog, split)
                if len(batch.labels):
                    forward_rows = partial(_forward_rows, module, batch.inputs, accelerator)
                    logits = torch.cat(
                        micro_batcher.run_in_slices(len(batch.labels), partial(run_parallel, forward_rows))
                    )
                    metric_sums.add_batch(logits, batch.labels, batch.sample_weights)
                image_count += batch.global_count
                if should_stop():
                    return None
                if time.monotonic() - last_report_time > 0.5:
                    last_report_time = time.monotonic()
                    images_per_second = image_count / (last_report_time - start_time)
                    total = len(catalog.splits[split])
                    yield Progress(
                        stage="validation", done=image_count, total=total, images_per_second=images_per_second
                    )
    finally:
        for name, submodule in module.named_modules():
            submodule.training = training_flags[name]
    return metric_sums.compute_metrics(accelerator)


def _forward_rows(module: nn.Module, inputs: Tensor, accelerator: Accelerator, rows: slice) -> Tensor:
    with torch.inference_mode(), device_setup.autocast(accelerator):
        logits: Tensor = module(inputs[rows])
        return logits


def _make_started_event(
    config: TrainConfig, catalog: Catalog, accelerator: Accelerator, net: nn.Module, steps_per_epoch: int, step: int
) -> Started:
    return Started(
        step=step,
        epochs=config.epochs or 1,
        steps_per_epoch=steps_per_epoch,
        device=device_setup.describe_device(accelerator.device),
        train_images=len(catalog.splits["train"]),
        val_images=len(catalog.splits["val"]),
        trainable=sum(p.numel() for p in net.parameters() if p.requires_grad),
        total=sum(p.numel() for p in net.parameters()),
        validation="test" if catalog.layout == "test_as_val" else "val",
    )


def _make_saved_events(saved_names: list[str], train_state: TrainState) -> Iterator[Saved]:
    for kind in saved_names:
        epoch = train_state.best_epoch if kind == "best" else train_state.epoch
        yield Saved(what=kind, epoch=epoch or 0, step=train_state.step)
