"""Estimate of how long a training will take on this machine, from a few measured seconds of it. No torch.

The first time a configuration is asked for, a separate process trains on a few of the images (`python -m ftlab
measure`); the measured speeds are stored, and later estimates are instant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core import file_io, json_fields, user_dirs
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query

_MEASURE_TIMEOUT_SECONDS = 240.0
"""Seconds after which a measurement fails."""


@dataclass(frozen=True)
class MeasuredSpeed:
    """Speeds measured on an otherwise idle machine.

    Attributes:
        startup: seconds from the start of the process to the first image.
        features: images (times views) per second that pass through a frozen part once; 0 where nothing is cached.
        training: images per second in training.
        validation: images per second in validation.
        step: seconds per optimizer step on cached features, with everything around it.
        saving: seconds to write a checkpoint.
        statistics: images per second when channel statistics are estimated; 0 where that is not requested.
        view_kilobytes: size of the cached activations of a view, 10^3 bytes; 0 where none are cached.
        all_training, all_validation: images per second of a last phase that trains all layers, after one that trains
            the upper ones; 0 where there is none.
    """

    startup: float
    features: float
    training: float
    validation: float
    step: float
    saving: float
    statistics: float = 0.0
    view_kilobytes: float = 0.0
    all_training: float = 0.0
    all_validation: float = 0.0


@dataclass(frozen=True)
class TimeEstimate:
    """What a training takes.

    Attributes:
        seconds: duration of the whole process.
        images_per_second: speed of its main part.
        disk_megabytes: size of the cached activations, 10^6 bytes; 0 where none are cached.
        kept_images: images whose features were kept from an earlier training.
    """

    seconds: float
    images_per_second: float
    disk_megabytes: float = 0.0
    kept_images: int = 0


def find_known_estimate(
    config: TrainConfig, train_images: int, val_images: int, kept_images: int = 0
) -> TimeEstimate | None:
    """Return the estimate from stored speeds; None if this machine was not measured for such a configuration.

    Args:
        config: the configuration.
        train_images: number of training images.
        val_images: number of validation images.
        kept_images: as for `compute_estimate`.
    """
    speed_values = _read_speeds().get(build_speed_key(config))
    try:
        return (
            compute_estimate(config, MeasuredSpeed(**speed_values), train_images, val_images, kept_images)
            if speed_values
            else None
        )
    except TypeError:  # stored by a version that measured other speeds
        return None


def measure_and_estimate(
    config: TrainConfig,
    folder: Path | str,
    train_images: int,
    val_images: int,
    should_continue: Callable[[], bool] = lambda: True,
) -> TimeEstimate | None:
    """Measure the speeds, which takes up to about twenty seconds, store them and return the estimate.

    Args:
        config: the configuration; its `data` or `sample` names the images.
        folder: folder of those images.
        train_images: number of training images.
        val_images: number of validation images.
        should_continue: polled repeatedly; once it returns False, the measurement is cancelled and nothing is stored: a
            training that starts meanwhile would falsify it, and be slowed down by it.

    Returns:
        The estimate; None if the measurement was cancelled.

    Raises:
        RunError: the measurement failed; the message holds the last line of its error output.
    """
    probe_config = replace(fill_defaults(config), data=str(folder), sample="")
    answer = subprocess_query.run_query("measure", probe_config, should_continue, _MEASURE_TIMEOUT_SECONDS)
    if answer is None:
        return None
    try:
        speed = MeasuredSpeed(**answer)
    except TypeError as cause:
        raise RunError("run.measure", cause=cause) from cause
    save_speed(build_speed_key(config), speed)
    return compute_estimate(config, speed, train_images, val_images)


def compute_estimate(
    config: TrainConfig, speed: MeasuredSpeed, train_images: int, val_images: int, kept_images: int = 0
) -> TimeEstimate:
    """Compute the estimate from measured speeds.

    Args:
        config: the configuration.
        speed: measured speeds.
        train_images: number of training images.
        val_images: number of validation images.
        kept_images: images of both whose features are in the cache already, see `kept_features`.

    Returns:
        Startup, then either feature extraction once and steps on features, or training and validation in every epoch.
        Cached activations take both. The speed is that of the phase that trains most layers.
    """
    config = fill_defaults(config)
    epochs = config.epochs or 1
    steps = epochs * math.ceil(train_images / config.effective_batch_size)
    startup = speed.startup + (train_images / speed.statistics if speed.statistics else 0.0)
    view_count = train_images * config.views_per_image + val_images
    feature_seconds = view_count / speed.features if config.caches_views and speed.features else 0.0
    if config.caches_features:
        feature_seconds *= 1 - kept_images / max(1, train_images + val_images)
        seconds = startup + feature_seconds + steps * speed.step + 2 * speed.saving
        return TimeEstimate(seconds, speed.features, kept_images=kept_images)
    # While the head is trained alone, the backbone runs without gradients, as in validation.
    head_only_epochs = min(config.unfreeze_epoch, epochs)
    all_epochs = epochs - config.unfreeze_all_epoch if config.unfreeze_all_epoch and speed.all_training else 0
    first_epochs = epochs - all_epochs
    seconds = startup + feature_seconds + 2 * speed.saving + (first_epochs + 1) * val_images / speed.validation
    seconds += train_images * (head_only_epochs / speed.validation + (first_epochs - head_only_epochs) / speed.training)
    if all_epochs:
        seconds += all_epochs * (train_images / speed.all_training + val_images / speed.all_validation)
    # Checkpoints may take a tenth of the time: see training/checkpoints/checkpoint.py.
    seconds += min(epochs * speed.saving, 0.1 * seconds)
    main_speed = speed.all_training if all_epochs else speed.training
    return TimeEstimate(seconds, main_speed, view_count * speed.view_kilobytes / 1000)


def build_speed_key(config: TrainConfig) -> str:
    """Return the key of stored speeds: all settings that they depend on.

    Decoding is part of the speed, so the data set belongs to the key.
    """
    config = fill_defaults(config)
    variant = "cached" if config.caches_features else "frozen" if config.mode == "frozen" else "full"
    # How much of the backbone is trained matters most where the rest is computed once.
    part = ["activations", config.unfreeze_from, config.feature_precision] if config.caches_activations else []
    part += ["all", config.unfreeze_from] if config.unfreeze_all_epoch else []
    key_parts = (
        variant, config.backbone, config.batch_size, config.augment, config.optimizer, config.device, config.precision,
        config.engine, config.num_workers, config.torch_num_threads, config.grad_accum_steps,
        config.sample or config.data, config.image_size, config.resize, config.resize_mode, config.crop_size,
        *config.active_augmentations, *part, *(["estimated"] if config.normalization == "estimated" else []),
    )  # fmt: skip
    return "|".join(map(str, key_parts))


def _get_speeds_file() -> Path:
    """Return the file of all stored speeds; it belongs to the user, not to a run."""
    return user_dirs.get_ftlab_home() / "speeds.json"


def _read_speeds() -> dict[str, dict[str, float]]:
    """Return the stored speeds by key; a file that cannot be read counts as empty."""
    try:
        return json_fields.read_json_object(_get_speeds_file())
    except (OSError, ValueError):
        return {}


def save_speed(key: str, speed: MeasuredSpeed) -> None:
    """Store measured speeds.

    Args:
        key: as `build_speed_key` returns it.
        speed: the measured speeds.
    """
    speeds = {**_read_speeds(), key: asdict(speed)}
    _get_speeds_file().parent.mkdir(parents=True, exist_ok=True)
    with file_io.atomic_write(_get_speeds_file()) as part_path:
        part_path.write_text(json.dumps(speeds, indent=1), encoding="utf-8")
