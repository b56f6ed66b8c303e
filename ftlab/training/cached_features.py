"""Features of a frozen backbone, or activations of its frozen part, computed once or loaded from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib.metadata import version

from accelerate import Accelerator
from torch import nn

import ftlab
from ftlab.config import backbones
from ftlab.core.errors import DataError
from ftlab.data.transforms import preprocess
from ftlab.models.activations.frozen_part import FrozenPart
from ftlab.models.execution import engines, features
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import FeatureCache
from ftlab.models.execution.feature_rows import ROW_DTYPES
from ftlab.models.execution.features import Features
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage
from ftlab.training import network_setup, setup
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import distributed
from ftlab.training.devices.rank_features import SplitTable
from ftlab.training.feeds.feature_progress import FeatureProgress
from ftlab.training.feeds.gpu_images import GpuImageFeed
from ftlab.training.feeds.image_base import ImageFeedBase
from ftlab.training.stopping import StopController

_SPLITS = ("train", "val")


def compute_cached_features(
    part: FrozenPart,
    image_feed: ImageFeedBase,
    run: Run,
    accelerator: Accelerator,
    stop_controller: StopController,
) -> Generator[Event, None, dict[str, Features] | None]:
    """Compute what a frozen part makes of training and validation images, or load it from the cache.

    Args:
        part: the frozen part.
        image_feed: decodes the images.
        run: records the engine that was chosen.
        accelerator: device and ranks.
        stop_controller: asked after each batch.

    Yields:
        Progress, a warning for each image that could not be read, and notes on time and cache.

    Returns:
        Features of `train` and `val`; None if a stop was requested, or the time was up, on the way.
    """
    config, should_stop = image_feed.config, stop_controller.any_rank_should_end
    train_count, val_count = (len(image_feed.catalog.splits[split]) for split in _SPLITS)
    view_counts = {"train": config.views_per_image, "val": 1}
    total_views = train_count * view_counts["train"] + val_count * view_counts["val"]
    store = part.cache
    spec = backbones.get_backbone_spec(config.backbone)
    expected_name = engines.expected_engine(spec, accelerator.device, view_count=total_views, engine_name=config.engine)
    expected_name = distributed.broadcast_object(accelerator, expected_name)
    key_base = _compute_key_base(part, image_feed, expected_name) if store else ""
    if store and not distributed.any_rank(accelerator, [not store.file.exists()])[0]:
        stored_features = yield from _load_stored_features(
            part, image_feed, run, store, key_base, expected_name, view_counts, accelerator, should_stop
        )
        if stored_features or should_stop():
            return stored_features
    with stop_controller.beat_during_stage():
        module = network_setup.restore_backbone(part.module, config, accelerator)
        engine = _choose_engine(module, image_feed, run, accelerator, total_views)
    if image_feed.prefetched and not isinstance(image_feed, GpuImageFeed):
        # Only now, as creating the engine took one core. Threads decode the rest, and the process would compete.
        image_feed.prefetched.cancel_pending()
    if store and engine.name != expected_name:
        key_base = _compute_key_base(part, image_feed, engine.name)
    feature_progress = FeatureProgress(train_count + val_count, part.note)
    features_by_split: dict[str, Features] = {}
    for split in _SPLITS:
        split_features = yield from _extract_split(
            split, view_counts[split], engine, image_feed, accelerator, should_stop, feature_progress, part, key_base
        )  # fmt: skip
        if split_features is None:
            return None
        features_by_split[split] = split_features
    yield from feature_progress.report_totals(features_by_split)
    return features_by_split


def _extract_split(
    split: str,
    view_count: int,
    engine: Engine,
    image_feed: ImageFeedBase,
    accelerator: Accelerator,
    should_stop: Callable[[], bool],
    feature_progress: FeatureProgress,
    part: FrozenPart,
    key_base: str,
) -> Generator[Event, None, Features | None]:
    """Compute the features of a split, all ranks together, except for those in the cache.

    Args:
        split: `train` or `val`.
        view_count: views of each image.
        engine: runs the backbone.
        image_feed: decodes the images; those that cannot be read are excluded from it.
        accelerator: device and ranks.
        should_stop: asked after each batch.
        feature_progress: counts the images of all splits.
        part: the frozen part.
        key_base: hash of what all features depend on, for the cache.

    Yields:
        Progress, and a warning for each image that could not be read.

    Returns:
        The features; None if `should_stop` returned True on the way.
    """
    image_count = len(image_feed.catalog.splits[split])
    features_of_all: Features | None = None
    table = _make_table(part, image_feed, split, view_count, accelerator)
    results = features.compute_features(
        engine,
        image_count,
        view_count,
        partial(image_feed.read_views, split, view_count=view_count),
        accelerator.device,
        image_feed.workers,
        part.cache,
        lambda index: image_feed.get_feature_keys(split, index, view_count, key_base),
        read_batches=partial(image_feed.iter_view_batches, split, view_count=view_count)
        if isinstance(image_feed, GpuImageFeed)
        else None,
        precision=image_feed.config.feature_precision,
        rank_part=table.rank_part,
        allocate_rows=table.allocate_rows,
        read_position=partial(image_feed.get_read_position, split),
    )
    for result in results:
        if isinstance(result, Features):
            features_of_all = table.join_ranks(result)
            yield from _exclude_skipped(features_of_all, split, image_feed)
        elif should_stop():
            return None
        else:  # each rank has a part of the images, of the same size but for one
            yield from feature_progress.report_progress(min(image_count, result * accelerator.num_processes))
    feature_progress.finished_images += image_count
    return features_of_all


def _make_table(
    part: FrozenPart, image_feed: ImageFeedBase, split: str, view_count: int, accelerator: Accelerator
) -> SplitTable:
    """Return where the features of a split are put.

    Args:
        part: the frozen part.
        image_feed: its number of images and precision count.
        split: `train` or `val`.
        view_count: views of each image.
        accelerator: device and ranks, all of which must call this together.
    """
    shape = (view_count, len(image_feed.catalog.splits[split]), part.row_length)
    dtype = ROW_DTYPES[image_feed.config.feature_precision]
    return SplitTable(shape, dtype, accelerator, part.allocate_rows)


def _exclude_skipped(features_of_all: Features, split: str, image_feed: ImageFeedBase) -> Iterator[LogMessage]:
    """Exclude the images that could not be read from the feed.

    Args:
        features_of_all: features of the split over all ranks.
        split: `train` or `val`.
        image_feed: excludes the images.

    Yields:
        A warning for each image.

    Raises:
        DataError: no image could be read, or the folder is gone.
    """
    # If all images are missing at once, it is the folder that is gone and not single files.
    if not features_of_all.indices or (features_of_all.skipped and resume_checks.is_data_gone(image_feed.catalog)):
        raise DataError("data.gone", folder=image_feed.catalog.root)
    new_failures = image_feed.exclude_images(split, features_of_all.skipped)
    yield from setup.report_skipped_images(new_failures, image_feed.catalog, split)


def _choose_engine(
    module: nn.Module, image_feed: ImageFeedBase, run: Run, accelerator: Accelerator, backbone_passes: int
) -> Engine:
    """Create the engine that runs the frozen part, and record its name in the run.

    Args:
        module: the frozen part.
        image_feed: its configuration may name an engine, as that of a resumed run does.
        run: the run directory.
        accelerator: device and ranks.
        backbone_passes: number of images times views: a slow start must be repaid by them.

    Returns:
        The engine named by the configuration, else the one that rank 0 measures to be the fastest.
    """
    config, prep = image_feed.config, image_feed.prep

    def create_engine(engine_name: str) -> Engine:
        spec = backbones.get_backbone_spec(config.backbone)
        normalize = partial(preprocess.normalize_batch, prep=prep)
        engine_args = (module, spec, normalize, prep.side, accelerator.device)
        return engines.choose_engine(*engine_args, view_count=backbone_passes, engine_name=engine_name)

    # All ranks use the same engine: the last bits of features differ between engines.
    main_engine = create_engine(config.engine) if accelerator.is_main_process else None
    name = distributed.broadcast_object(accelerator, main_engine.name if main_engine else "")
    if main_engine and config.engine != name:
        run.update_resolved_config(engine=name)
    return main_engine or create_engine(name)


def _load_stored_features(
    part: FrozenPart,
    image_feed: ImageFeedBase,
    run: Run,
    store: FeatureCache,
    key_base: str,
    engine_name: str,
    view_counts: dict[str, int],
    accelerator: Accelerator,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, dict[str, Features] | None]:
    """Load the features of all images, if all are in the cache; no engine is created for them, which takes a second.

    Args:
        part: the frozen part.
        image_feed: hashes the images.
        run: records the engine.
        store: the feature cache.
        key_base: hash of what all features depend on.
        engine_name: engine that computed the features.
        view_counts: views of an image by split.
        accelerator: device and ranks, each of which loads its part.
        should_stop: asked now and then.

    Yields:
        Progress, and finally a note on the cache.

    Returns:
        Features by split; None if some are missing, or if `should_stop` returned True.
    """
    features_by_split: dict[str, Features] = {}
    image_counts = {split: len(image_feed.catalog.splits[split]) for split in view_counts}
    feature_progress = FeatureProgress(sum(image_counts.values()), part.note)
    for split, view_count in view_counts.items():

        def get_keys(index: int, split: str = split, view_count: int = view_count) -> list[bytes] | None:
            return image_feed.get_feature_keys(split, index, view_count, key_base)

        table = _make_table(part, image_feed, split, view_count, accelerator)
        for result in features.load_cached_features(
            store, get_keys, image_counts[split], view_count, image_feed.workers, table.allocate_rows, table.rank_part
        ):
            if isinstance(result, Features):
                features_by_split[split] = table.join_ranks(result)
            elif should_stop():
                return None
            else:
                yield from feature_progress.report_progress(
                    min(image_counts[split], result * accelerator.num_processes)
                )
        if split not in features_by_split:
            return None
        feature_progress.finished_images += image_counts[split]
    if image_feed.config.engine != engine_name and accelerator.is_main_process:
        run.update_resolved_config(engine=engine_name)
    yield LogMessage(code=f"{part.note}_kept", values=dict.fromkeys(("kept", "images"), feature_progress.total_images))
    return features_by_split


def _compute_key_base(part: FrozenPart, image_feed: ImageFeedBase, engine_name: str) -> str:
    """Return the hash of everything that all features of a training depend on.

    Args:
        part: its weights.
        image_feed: its preprocessing and device.
        engine_name: program that runs the backbone; its version counts, for it may change the last bits.

    Returns:
        SHA-256 in hexadecimal.
    """
    # Any of these may change the last bits of a feature: Pillow decodes and resizes, the engine computes.
    programs = [ftlab.__version__, engine_name, *(version(package) for package in (engine_name, "torch", "pillow"))]
    key_facts = [part.compute_hash(), image_feed.prep.to_json(), programs, image_feed.device.type]
    if image_feed.config.feature_precision != "fp32":  # the entries of earlier versions had no other
        key_facts.append(image_feed.config.feature_precision)
    return hashlib.sha256(json.dumps(key_facts).encode()).hexdigest()
