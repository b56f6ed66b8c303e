"""Measurement of how fast this machine trains, by the events of a real training on a few images."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psutil

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core import interruption
from ftlab.core.machine import count_cpu_cores
from ftlab.data import channel_stats
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.runs import run_store
from ftlab.runs.events import Ended, Epoch, Event, LogMessage, Progress, Started
from ftlab.runs.jobs.time_estimate import MeasuredSpeed
from ftlab.training.loop import train

TARGET_SECONDS = 3.0
"""Approximate time of a forward pass over the images of the measurement, by the backbone's speed on two cores."""

SHORT_RUN_SETTINGS: dict[str, Any] = {
    **{
        "max_minutes": 0.0,
        "early_stopping_patience": 0,
        "plateau_max_reductions": 0,
        "save_every_epochs": 0,
        "compile": "no",
        "processes": 1,
    },
    **{"unfreeze_epoch": 0, "unfreeze_all_epoch": 0, "gradual_unfreezing": False},
    **{"phase2_lr": 0.0, "phase2_optimizer": "same", "phase3_lr": 0.0},
}
"""Settings with which two epochs are two epochs, with all trainable parameters trained from the beginning."""


def measure_throughput(config: TrainConfig) -> MeasuredSpeed:
    """Train two epochs on a few images of a data set, with random weights of the same shape as the pretrained ones.

    Two more follow where all layers are trained after the upper ones.

    A folder that cannot be used raises a `DataError`.

    Args:
        config: the configuration to be measured.

    Returns:
        Speeds and fixed times of the parts of a training.
    """
    normalization = config.normalization
    epochs = {"epochs": 4, "unfreeze_all_epoch": 2} if config.unfreeze_all_epoch else {"epochs": 2}
    settings = {**SHORT_RUN_SETTINGS, **epochs, "seed": 0, "normalization": "weights"}
    config = replace(fill_defaults(config), **settings)
    # The time of imports is part of what a training costs.
    process_start_time = psutil.Process().create_time()
    catalog = _choose_images(config)
    statistics_rate, statistics_seconds = _measure_statistics(catalog) if normalization == "estimated" else (0.0, 0.0)
    image_counts = {split: len(items) for split, items in catalog.splits.items()}
    with interruption.temporary_folder("ftlab-measure-") as temp_dir:
        run = run_store.create_run(temp_dir, config)
        run.write_json("split.json", catalog.to_json())
        # Random weights are as fast as pretrained ones, and need no download.
        events = list(train(config, run, pretrained=False))
    speed = _compute_speed(events, process_start_time, image_counts, config)
    return replace(speed, startup=speed.startup - statistics_seconds, statistics=statistics_rate)


def _measure_statistics(catalog: Catalog) -> tuple[float, float]:
    """Return the images per second of computing channel statistics, and the seconds that this took."""
    start_time = time.monotonic()
    *_, statistics = channel_stats.compute_channel_stats(catalog, count_cpu_cores())
    seconds = time.monotonic() - start_time
    assert isinstance(statistics, channel_stats.ChannelStats)
    return statistics.count / seconds, seconds


def _choose_images(config: TrainConfig) -> Catalog:
    """Return a catalog of a few images, more of them for a fast backbone.

    Features are measured on many images, because the time of the first few contains the warm-up.
    """
    forward_images = backbones.get_backbone_spec(config.backbone).speed * TARGET_SECONDS
    # Fewer where all layers are trained on them too.
    train_count = (
        int(max(32, forward_images / 2 if config.trains_on_images else forward_images))
        if config.caches_views
        else max(2 * config.effective_batch_size, int(forward_images / 4))
    )
    return subsample_catalog(
        from_config.resolve_dataset(config, check=False),
        train_count=train_count,
        val_count=max(8, int(forward_images / 6)),
    )


def subsample_catalog(catalog: Catalog, *, train_count: int, val_count: int) -> Catalog:
    """Return a catalog with about as many images, spread evenly over the data set, and none to test.

    Args:
        catalog: of the data set.
        train_count: training images, at most.
        val_count: validation images, at most.
    """

    def take_evenly(items: tuple[ImageItem, ...], count: int) -> tuple[ImageItem, ...]:
        return items[:: max(1, len(items) // count)][:count]

    splits = {
        "train": take_evenly(catalog.splits["train"], train_count),
        "val": take_evenly(catalog.splits["val"], val_count),
        "test": (),
    }
    return replace(catalog, splits=splits)


def _compute_speed(
    events: list[Event], process_start_time: float, image_counts: dict[str, int], config: TrainConfig
) -> MeasuredSpeed:
    """Compute the speeds from the events of the short training.

    Args:
        events: all events of the training.
        process_start_time: seconds since 1970.
        image_counts: number of images by split.
        config: its configuration.

    Returns:
        The speeds, those of training and validation from the second epoch of a phase, which contains no warm-up.
    """
    started = next(event for event in events if isinstance(event, Started))
    epochs = [event for event in events if isinstance(event, Epoch)]
    ended = next(event for event in events if isinstance(event, Ended))
    progress_events = [event for event in events if isinstance(event, Progress) and event.stage == "features"]
    # Epoch 0 evaluates the untrained network, and epoch 1 contains the warm-up.
    training_rate, validation_rate = _compute_epoch_speeds(epochs[2], image_counts)
    all_speeds = _compute_epoch_speeds(epochs[4], image_counts) if config.unfreeze_all_epoch else (0.0, 0.0)
    feature_rate = 0.0
    notes = {event.code: event for event in events if isinstance(event, LogMessage)}
    plan = notes.get("activations_plan")
    if note := notes.get("activations" if config.caches_activations else "features"):
        points = [(mark.time, _count_backbone_passes(mark.done, image_counts, config)) for mark in progress_events]
        # A short extraction reports no progress: its whole time is taken then.
        points = (
            points
            if len(points) > 1
            else [
                (started.time, 0),
                (note.time, _count_backbone_passes(sum(image_counts.values()), image_counts, config)),
            ]
        )
        # From the first report on, so that the warm-up is not counted.
        (start_time, start_passes), (end_time, end_passes) = points[0], points[-1]
        feature_rate = (end_passes - start_passes) / max(end_time - start_time, 1e-3)
    return MeasuredSpeed(
        startup=started.time - process_start_time,
        features=feature_rate,
        training=training_rate,
        validation=validation_rate,
        step=epochs[2].seconds / max(1, started.steps_per_epoch),
        saving=ended.time - epochs[-1].time,
        view_kilobytes=float(str(plan.values["kilobytes"])) if plan else 0.0,
        all_training=all_speeds[0],
        all_validation=all_speeds[1],
    )


def _compute_epoch_speeds(epoch: Epoch, image_counts: dict[str, int]) -> tuple[float, float]:
    """Return the images per second of an epoch in training and in validation.

    Args:
        epoch: without a warm-up.
        image_counts: number of images by split.
    """
    training_rate = epoch.images_per_second or 1.0
    validation_seconds = max(epoch.seconds - image_counts["train"] / training_rate, 1e-4)
    return training_rate, image_counts["val"] / validation_seconds


def _count_backbone_passes(done_images: int, image_counts: dict[str, int], config: TrainConfig) -> int:
    """Return the backbone's forward passes for the first images: those to train on come first, in several views.

    Args:
        done_images: images that are done.
        image_counts: number of images by split.
        config: number of views.
    """
    return min(done_images, image_counts["train"]) * config.views_per_image + max(
        0, done_images - image_counts["train"]
    )
