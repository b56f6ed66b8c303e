"""Preparation of a training up to its next step: data, network, batches, optimizer, and the state to resume from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing

import torch
from accelerate import Accelerator

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import kv_cache
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.from_config import DatasetSource
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models import freezing, stored_backbone
from ftlab.models.activations import frozen_part
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import Event
from ftlab.runs.stop_guard import StopGuard
from ftlab.training import activation_plan, cached_features, network_setup, setup
from ftlab.training.checkpoints import checkpoint, class_order, init_from, resume_checks
from ftlab.training.checkpoints.checkpoint import CheckpointManager, LoadedCheckpoint, TrainState
from ftlab.training.checkpoints.init_from import InitialWeights
from ftlab.training.compile import ModelCompiler
from ftlab.training.devices import device_setup, distributed, lost_ranks, rank_environment
from ftlab.training.feeds.base import BatchSource
from ftlab.training.feeds.features import FeatureFeed
from ftlab.training.feeds.gpu_images import create_image_feed
from ftlab.training.feeds.image_base import ImageFeedBase
from ftlab.training.metrics import BatchedMetricSums, MetricSums
from ftlab.training.session import PreparedTraining, Session
from ftlab.training.stopping import StopController
from ftlab.training.train_step import TrainStep
from ftlab.training.trial import start_trial
from ftlab.training.trial.step_trial import TrialResult

MAX_STEP_EVENTS = 2000
"""Approximate upper bound of the number of `Step` events of a whole run: what a plot of the curves can show."""


def prepare_training(
    config: TrainConfig,
    run: Run,
    stack: ExitStack,
    *,
    source: DatasetSource | None = None,
    catalog: Catalog | None = None,
    prefetched: Prefetcher | None = None,
    pretrained: bool = True,
    lr_factor: Callable[[int], float] | None = None,
    guard: StopGuard,
) -> Generator[Event, None, PreparedTraining | None]:
    """Prepare a training, new or to be resumed, up to its next step.

    The arguments are those of `loop.train`; `stack` closes the image feed at the end.

    Yields:
        What happens: downloads, warnings, the start, progress of the feature extraction.

    Returns:
        The prepared training; None if it was stopped on the way, with `Ended` as the last event.
    """
    accelerator = _join_ranks(config, run)
    config, config_notes = setup.resolve_config(config, run, accelerator)
    loaded_checkpoint = checkpoint.load_checkpoint(run)
    is_resume = (run.path / "split.json").is_file()  # asked before `load_catalog`, which writes the file
    train_state = loaded_checkpoint.train_state if loaded_checkpoint else TrainState()
    catalog = setup.load_catalog(config, run, accelerator, catalog, source)
    stop_controller = StopController(run, config, accelerator, guard)
    session = Session(config, run, accelerator, catalog, train_state, stop_controller)
    network_parts = yield from _prepare_network(session, loaded_checkpoint, pretrained_allowed=pretrained)
    if network_parts is None:
        yield stop_controller.make_ended_event(stop_controller.reason or "stopped", train_state)
        return None
    net, prep, initial_weights, trial_result = network_parts
    plan = activation_plan.plan_activations(session, net, prep.side)
    config, session = plan.config, dataclasses.replace(session, config=plan.config, split=plan.split)
    image_feed = create_image_feed(catalog, prep, session.phase_config, accelerator, train_state.lost, prefetched)
    stack.enter_context(closing(image_feed)).min_batch_size = trial_result.min_batch_size
    if initial_weights:
        if initial_weights.head_fit.is_order_unknown:
            config_notes += class_order.choose_class_order(net, image_feed, run, accelerator)
        initial_weights.save_start(net, run, accelerator)
    yield setup.make_started_event(config, catalog, train_state.step, accelerator, net, image_feed.steps_per_epoch)
    yield from (
        *(config_notes + list(plan.notes)),
        *setup.report_validation_split(catalog),
        *resume_checks.report_damaged_files(loaded_checkpoint, run),
        *(resume_checks.report_changed_images(image_feed) if is_resume else ()),
    )
    feed_parts = yield from _choose_feed(session, net, image_feed, prefetched, use_cache=pretrained)
    if feed_parts is None:
        yield stop_controller.make_ended_event(stop_controller.reason or "stopped", train_state)
        return None
    feed, accelerator = feed_parts
    with stop_controller.beat_during_stage():
        prepared = _prepare_steps(session, accelerator, net, image_feed, feed, loaded_checkpoint, lr_factor)
    if feed.steps_per_epoch != image_feed.steps_per_epoch:  # images that could not be read leave fewer steps
        yield setup.make_started_event(config, catalog, train_state.step, accelerator, net, feed.steps_per_epoch)
    return prepared


def _join_ranks(config: TrainConfig, run: Run) -> Accelerator:
    """Return the accelerator of a training, once all of its ranks have met.

    Args:
        config: the configuration as the user gave it. A `ConfigError` says that its processes or device are not there.
        run: the run directory, which has recorded the device if it is resumed.
    """
    rank_environment.check_has_ranks(config.processes)
    accelerator = device_setup.create_accelerator(setup.restore_runtime(config, run))
    lost_ranks.SHARED_REGISTER.learn(accelerator)
    return accelerator


def _prepare_network(
    session: Session, loaded_checkpoint: LoadedCheckpoint | None, *, pretrained_allowed: bool
) -> Generator[Event, None, tuple[Network, Preprocessing, InitialWeights | None, TrialResult] | None]:
    """Build the network with the weights that the training starts from, and try whether it can train.

    Args:
        session: the training.
        loaded_checkpoint: the state to resume from, whose weights will replace these.
        pretrained_allowed: False leaves the weights random.

    Yields:
        Notes on the weights and progress of what takes long.

    Returns:
        Network, preprocessing, initial weights and result of the trial; None if a stop was requested on the way.
    """
    config, run, accelerator, catalog = session.config, session.run, session.accelerator, session.catalog
    initial_weights = (
        init_from.prepare_initial_weights(
            config, run, catalog.classes, accelerator, resumed=loaded_checkpoint is not None
        )
        if pretrained_allowed
        else None
    )
    yield from initial_weights.notes if initial_weights else ()
    has_other_weights = bool(initial_weights and initial_weights.replaces_pretrained)
    pretrained = pretrained_allowed and config.mode != "scratch" and not has_other_weights
    should_end = session.stop_controller.should_end
    if pretrained and not (yield from network_setup.download_weights(config, accelerator, should_end)):
        return None
    prep = yield from network_setup.resolve_preprocessing(config, run, catalog, accelerator, should_end)
    if prep is None:
        return None
    with session.stop_controller.beat_during_stage():
        net = network_setup.build_network(
            config, run, catalog, prep, accelerator, pretrained=pretrained, epoch=session.train_state.epoch
        )
        if initial_weights:
            initial_weights.apply_to_network(net)
        trial_result = yield from start_trial.try_training_step(
            net, run, config, prep.side, len(catalog.splits["train"]), accelerator, session.train_state.portion
        )
    # A step that takes long must not look as if it hangs: how long it takes is known from the trial.
    session.stop_controller.heartbeat.beat(trial_result.seconds)
    distributed.limit_waiting(accelerator, trial_result.seconds)
    if session.stop_controller.any_rank_should_end():
        return None
    # Again: without auxiliary classifiers fewer parameters are trained.
    freezing.freeze_for_epoch(net, config, max(1, session.train_state.epoch))
    return net, prep, initial_weights, trial_result


def _choose_feed(
    session: Session, net: Network, image_feed: ImageFeedBase, prefetched: Prefetcher | None, *, use_cache: bool
) -> Generator[Event, None, tuple[BatchSource, Accelerator] | None]:
    """Choose what the steps iterate over: images, or what a frozen part makes of them, which is computed first.

    Args:
        session: the training.
        net: network with the frozen backbone, moved to the device that trains its head.
        image_feed: decodes the images; closed once the features are there.
        prefetched: images that were decoded before; closed with it.
        use_cache: load features that were computed before, and keep these for later.

    Yields:
        Progress and notes of the feature extraction.

    Returns:
        The feed and the accelerator of the steps; None if a stop was requested on the way.
    """
    config, accelerator = session.config, session.accelerator
    if not image_feed.config.caches_views:
        return image_feed, accelerator
    # All ranks look into the caches of their machines together, or none does.
    use_cache = use_cache and not distributed.any_rank(accelerator, [not kv_cache.get_feature_budget()])[0]
    spec = backbones.get_backbone_spec(config.backbone)
    part = frozen_part.create_frozen_part(net, spec.width, session.split, config.feature_precision, use_cache=use_cache)
    features_by_split = yield from cached_features.compute_cached_features(
        part, image_feed, session.run, accelerator, session.stop_controller
    )
    if features_by_split is None:
        return None
    if part.cache and accelerator.is_main_process:
        stored_backbone.record_backbone(net, config, session.catalog)
    # Nothing is decoded any more, and the decoding processes would compete with the head for the CPU.
    if prefetched:
        prefetched.close()
    image_feed.close()
    if session.split:
        return FeatureFeed(image_feed, features_by_split, torch.device("cpu")), accelerator
    accelerator = device_setup.head_accelerator(accelerator, net.head, config.effective_batch_size)
    net.to(accelerator.device)
    image_feed.device = accelerator.device
    feed = FeatureFeed(image_feed, features_by_split)
    device_setup.set_head_threads(net.head, config.effective_batch_size, torch.get_num_threads())
    return feed, accelerator


def _prepare_steps(
    session: Session,
    accelerator: Accelerator,
    net: Network,
    image_feed: ImageFeedBase,
    feed: BatchSource,
    loaded_checkpoint: LoadedCheckpoint | None,
    lr_factor: Callable[[int], float] | None,
) -> PreparedTraining:
    """Create optimizer, compiler, checkpoint manager and metrics, and restore the state to resume from.

    Args:
        session: the training.
        accelerator: device and ranks of the training steps.
        net: the network, on its device.
        image_feed: the decoded images.
        feed: what the steps iterate over.
        loaded_checkpoint: the state to resume from.
        lr_factor: fraction of the peak learning rate by step, in place of the schedule.

    Returns:
        The training, ready for its next step.
    """
    config, run, train_state = session.config, session.run, session.train_state
    epochs = config.epochs or 1
    train_step = _create_train_step(session, accelerator, net, image_feed, feed, lr_factor)
    # The checkpoint holds tensors of the trainable part only; the rest is that of the pretrained backbone.
    ema_module = train_step.ema.trainable if train_step.ema else None
    checkpoint_manager = CheckpointManager(
        run, net, train_step.trainable, train_step.optimizer_unwrapped, accelerator.scaler, ema_module
    )
    if loaded_checkpoint:
        checkpoint_manager.restore_state(loaded_checkpoint)
    if accelerator.is_main_process:
        checkpoint_manager.check_disk_space(epochs // config.save_every_epochs if config.save_every_epochs else 0)
    # The saved sums are those of all ranks: on every rank they would be counted several times.
    restored_sums = train_state.sums if accelerator.is_main_process else []
    epoch_sums = MetricSums(accelerator.device, restored_sums[:4])
    recent_sums = MetricSums(accelerator.device, restored_sums[4:])
    return PreparedTraining(
        session, accelerator, image_feed, feed, train_step, ModelCompiler(train_step, config, run, accelerator),
        checkpoint_manager, epoch_sums, recent_sums, BatchedMetricSums(epoch_sums, recent_sums),
        # By all images: those that could not be read are not known yet where a later phase is resumed.
        epochs, step_event_interval=math.ceil(epochs * image_feed.steps_per_epoch / MAX_STEP_EVENTS),
    )  # fmt: skip


def _create_train_step(
    session: Session,
    accelerator: Accelerator,
    net: Network,
    image_feed: ImageFeedBase,
    feed: BatchSource,
    lr_factor: Callable[[int], float] | None,
) -> TrainStep:
    """Return what computes the steps on the batches of a feed; the arguments are those of `_prepare_steps`."""
    config, train_state = session.config, session.train_state
    spec = backbones.get_backbone_spec(config.backbone)
    split = None if feed is image_feed else session.split
    train_step = TrainStep(net, spec, config, accelerator, train_state, feed, lr_factor, split)
    if not config.caches_features:
        train_step.micro_batcher.min_size = image_feed.min_batch_size
    return train_step


def prepare_epoch(training: PreparedTraining, stack: ExitStack) -> PreparedTraining:
    """Go on with images where the next epoch trains layers whose results were cached: as a resume there would do.

    Args:
        training: the prepared training.
        stack: closes the image feed at the end.

    Returns:
        The training with other batches, and the whole network to pass them through; mostly the same as before.
    """
    session, old_feed, old_step = training.session, training.image_feed, training.train_step
    config = session.phase_config
    if training.feed is old_feed or config.caches_views:
        return training
    with session.stop_controller.beat_during_stage():
        excluded = {split: sorted(indices) for split, indices in old_feed.excluded.items()}
        image_feed = create_image_feed(old_feed.catalog, old_feed.prep, config, training.accelerator, excluded)
        stack.enter_context(closing(image_feed)).min_batch_size = old_feed.min_batch_size
        train_step = _create_train_step(
            session, training.accelerator, old_step.net, image_feed, image_feed, old_step.lr_factor
        )
    if train_step.ema and old_step.ema:
        train_step.ema.trainable.load_state_dict(old_step.ema.trainable.state_dict())
        training.checkpoint_manager.ema_module = train_step.ema.trainable
    compiler = ModelCompiler(train_step, session.config, session.run, training.accelerator)
    return dataclasses.replace(
        training, image_feed=image_feed, feed=image_feed, train_step=train_step, compiler=compiler
    )
