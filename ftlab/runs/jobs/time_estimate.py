"""How long a training will take on this machine, from a few measured seconds of it. No torch.

The first time a configuration is asked for, a process of its own trains on a handful of the person's own pictures
(`python -m ftlab measure`); what it measured is kept, and later questions are answered at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ftlab.core import file_io, user_dirs
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query

_MEASURE_TIMEOUT_SECONDS = 240.0
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class MeasuredSpeed:
    """What was measured, on an otherwise idle machine.

    Attributes:
        startup: seconds from the start of the process to the first picture.
        features: pictures (times views) per second through a frozen backbone, 0 where features are not cached.
        training: pictures per second while learning.
        validation: pictures per second while scoring.
        step: seconds of one optimizer step, with all that is done around it.
        saving: seconds to write a checkpoint.
        statistics: pictures per second while their colours are looked at, 0 where that is not asked for.
    """

    startup: float
    features: float
    training: float
    validation: float
    step: float
    saving: float
    statistics: float = 0.0


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of the whole process, and the pictures per second at which its main part goes."""

    seconds: float
    images_per_second: float


def find_known_estimate(config: TrainConfig, train_images: int, val_images: int) -> TimeEstimate | None:
    """The estimate, if this machine was measured for such a configuration."""
    speed_values = _read_speeds().get(build_speed_key(config))
    try:
        return compute_estimate(config, MeasuredSpeed(**speed_values), train_images, val_images) if speed_values else None
    except TypeError:  # another version measured other things
        return None


def measure_and_estimate(
    config: TrainConfig,
    folder: Path | str,
    train_images: int,
    val_images: int,
    should_continue: Callable[[], bool] = lambda: True,
) -> TimeEstimate | None:
    """The estimate after measuring, which takes up to about twenty seconds.

    Args:
        config: its `data` or `sample` names the pictures.
        folder: where those pictures are.
        train_images, val_images: how many the training will see.
        should_continue: asked again and again; once it says no, the measurement is given up and nothing is kept: a training
            that starts meanwhile would falsify it, and be slowed down by it.

    Returns:
        The estimate, None if it was given up.

    Raises:
        RunError: the measurement failed; the message has its last line.
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


def compute_estimate(config: TrainConfig, speed: MeasuredSpeed, train_images: int, val_images: int) -> TimeEstimate:
    """The arithmetic: start, then features once and small steps, or training and validation every epoch."""
    config = fill_defaults(config)
    epochs = config.epochs or 1
    steps = epochs * math.ceil(train_images / config.effective_batch_size)
    startup = speed.startup + (train_images / speed.statistics if speed.statistics else 0.0)
    if config.caches_features:
        feature_seconds = (train_images * config.views_per_image + val_images) / speed.features
        return TimeEstimate(startup + feature_seconds + steps * speed.step + 2 * speed.saving, speed.features)
    validation_seconds = (epochs + 1) * val_images / speed.validation
    # While the head learns alone, the backbone works as in validation.
    head_only_epochs = min(config.unfreeze_epoch, epochs)
    training_seconds = train_images * (head_only_epochs / speed.validation + (epochs - head_only_epochs) / speed.training)
    seconds = startup + training_seconds + validation_seconds + 2 * speed.saving
    # Checkpoints may take a tenth of the time: see training/checkpoints/checkpoint.py.
    return TimeEstimate(seconds + min(epochs * speed.saving, 0.1 * seconds), speed.training)


def build_speed_key(config: TrainConfig) -> str:
    """What the speed depends on. Decoding is part of it, so the pictures are too."""
    config = fill_defaults(config)
    variant = "cached" if config.caches_features else "frozen" if config.mode == "frozen" else "full"
    key_parts = (
        variant, config.backbone, config.batch_size, config.augment, config.optimizer, config.device, config.precision,
        config.engine, config.workers, config.threads, config.accumulate, config.sample or config.data,
        config.side, config.resize, config.resize_mode, config.crop_side, *config.active_augmentations,
        *(["estimated"] if config.normalise == "estimated" else []),
    )  # fmt: skip
    return "|".join(map(str, key_parts))


def _get_speeds_file() -> Path:
    return user_dirs.get_ftlab_home() / "speeds.json"


def _read_speeds() -> dict[str, dict[str, float]]:
    """What was measured so far; a file that cannot be read counts as nothing measured."""
    try:
        speeds = json.loads(_get_speeds_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return speeds if isinstance(speeds, dict) else {}


def save_speed(key: str, speed: MeasuredSpeed) -> None:
    speeds = {**_read_speeds(), key: asdict(speed)}
    _get_speeds_file().parent.mkdir(parents=True, exist_ok=True)
    with file_io.atomic_write(_get_speeds_file()) as part_path:
        part_path.write_text(json.dumps(speeds, indent=1), encoding="utf-8")
