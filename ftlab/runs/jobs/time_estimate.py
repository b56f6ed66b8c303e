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
from ftlab.config.train_config import TrainConfig, resolve
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query

_LIMIT = 240.0
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class Speed:
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
class Estimate:
    """Seconds of the whole process, and the pictures per second at which its main part goes."""

    seconds: float
    images_per_second: float


def known(config: TrainConfig, train_images: int, val_images: int) -> Estimate | None:
    """The estimate, if this machine was measured for such a configuration."""
    stored = _stored().get(_key(config))
    try:
        return estimate(config, Speed(**stored), train_images, val_images) if stored else None
    except TypeError:  # another version measured other things
        return None


def measure(
    config: TrainConfig,
    folder: Path | str,
    train_images: int,
    val_images: int,
    wanted: Callable[[], bool] = lambda: True,
) -> Estimate | None:
    """The estimate after measuring, which takes up to about twenty seconds.

    Args:
        config: its `data` or `sample` names the pictures.
        folder: where those pictures are.
        train_images, val_images: how many the training will see.
        wanted: asked again and again; once it says no, the measurement is given up and nothing is kept: a training
            that starts meanwhile would falsify it, and be slowed down by it.

    Returns:
        The estimate, None if it was given up.

    Raises:
        RunError: the measurement failed; the message has its last line.
    """
    settings = replace(resolve(config), data=str(folder), sample="")
    told = subprocess_query.ask("measure", settings, wanted, _LIMIT)
    if told is None:
        return None
    try:
        speed = Speed(**told)
    except TypeError as cause:
        raise RunError("run.measure", cause=cause) from cause
    _keep(_key(config), speed)
    return estimate(config, speed, train_images, val_images)


def estimate(config: TrainConfig, speed: Speed, train_images: int, val_images: int) -> Estimate:
    """The arithmetic: start, then features once and small steps, or training and validation every epoch."""
    config = resolve(config)
    epochs = config.epochs or 1
    steps = epochs * math.ceil(train_images / config.step_size)
    startup = speed.startup + (train_images / speed.statistics if speed.statistics else 0.0)
    if config.caches_features:
        looking = (train_images * config.cached_views + val_images) / speed.features
        return Estimate(startup + looking + steps * speed.step + 2 * speed.saving, speed.features)
    checking = (epochs + 1) * val_images / speed.validation
    # While the head learns alone, the backbone works as in validation.
    alone = min(config.unfreeze_epoch, epochs)
    learning = train_images * (alone / speed.validation + (epochs - alone) / speed.training)
    seconds = startup + learning + checking + 2 * speed.saving
    # Checkpoints may take a tenth of the time: see training/checkpoints/checkpoint.py.
    return Estimate(seconds + min(epochs * speed.saving, 0.1 * seconds), speed.training)


def _key(config: TrainConfig) -> str:
    """What the speed depends on. Decoding is part of it, so the pictures are too."""
    config = resolve(config)
    kind = "cached" if config.caches_features else "frozen" if config.mode == "frozen" else "full"
    facts = (
        kind, config.backbone, config.batch_size, config.augment, config.optimizer, config.device, config.precision,
        config.engine, config.workers, config.threads, config.accumulate, config.sample or config.data,
        config.side, config.resize, config.resize_mode, config.crop_side, *config.effects,
        *(["estimated"] if config.normalise == "estimated" else []),
    )  # fmt: skip
    return "|".join(map(str, facts))


def _file() -> Path:
    return user_dirs.home() / "speeds.json"


def _stored() -> dict[str, dict[str, float]]:
    """What was measured so far; a file that cannot be read counts as nothing measured."""
    try:
        stored = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _keep(key: str, speed: Speed) -> None:
    stored = {**_stored(), key: asdict(speed)}
    _file().parent.mkdir(parents=True, exist_ok=True)
    with file_io.fresh(_file()) as part:
        part.write_text(json.dumps(stored, indent=1), encoding="utf-8")
