"""Learning rate range test: a training of at most a hundred steps whose learning rate rises from step to step.

It runs the loop of a real training in a temporary run directory, with another schedule. All other settings act as in a
training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import torch

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core import interruption
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading import loader
from ftlab.runs import run_store
from ftlab.runs.events import Ended, LogMessage, Progress, Step
from ftlab.runs.jobs.lr_sweep import LrSweep
from ftlab.training.loop import train
from ftlab.training.measurement import throughput

MAX_SWEEP_STEPS, MIN_SWEEP_STEPS = 100, 30
"""Steps of a sweep, and the fewest of them if each takes long."""
MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-6, 10.0
"""Learning rates of its first and last step, if the loss is the mean over a batch."""
_TARGET_SECONDS = 40.0
"""Approximate time that it may take on two cores, without the start."""
_DIVERGENCE_FACTOR = 4.0
"""The sweep ends when a loss is this many times the smallest smoothed loss."""


def sweep_learning_rates(config: TrainConfig, *, pretrained: bool = True) -> Iterator[LogMessage | Progress | LrSweep]:
    """Train with a rising learning rate and record the losses; errors are those of a training.

    Args:
        config: as for a training; its number of epochs and its schedule do not matter.
        pretrained: False uses random weights in place of pretrained ones.

    Yields:
        Notes and progress of the training, `Progress` of the stage `rates` in steps, and at last the sweep.
    """
    overrides = {
        **throughput.SHORT_RUN_SETTINGS,
        "ema_decay": 0.0,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "cached_views": 1,
    }
    config = replace(fill_defaults(config), **overrides)
    catalog, steps = choose_sweep_images(config)
    steps_per_epoch = len(loader.batch_indices(range(len(catalog.splits["train"])), config.effective_batch_size))
    config = replace(config, epochs=math.ceil(steps / steps_per_epoch))
    # The gradients of a sum are larger by the number of images.
    rate_scale = 1.0 / config.effective_batch_size if config.loss_reduction == "sum" else 1.0

    def get_rate(step: int) -> float:
        # Exponential, as a good learning rate may be of any order of magnitude.
        return rate_scale * MIN_LEARNING_RATE * math.pow(MAX_LEARNING_RATE / MIN_LEARNING_RATE, step / (steps - 1))

    def get_lr_factor(step: int) -> float:
        return get_rate(step) / (config.learning_rate or 1.0)

    result = LrSweep([], [])
    with interruption.temporary_folder("ftlab-rates-") as temp_dir:
        run = run_store.create_run(temp_dir, config)
        run.write_json("split.json", catalog.to_json())
        with closing(train(config, run, pretrained=pretrained, lr_factor=get_lr_factor)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, (LogMessage, Progress)):
                    yield event
                if isinstance(event, Ended):
                    break
                if not isinstance(event, Step) or event.loss is None:
                    continue
                if not math.isfinite(event.loss):
                    break
                result.rates.append(get_rate(event.step - 1))
                result.losses.append(event.loss)
                yield Progress(stage="rates", done=event.step, total=steps)
                # Not within the first ten steps, which are too few to smooth.
                if event.step >= steps or (
                    event.step > 10 and event.loss > _DIVERGENCE_FACTOR * min(result.smooth_losses())
                ):
                    break
    yield result


def choose_sweep_images(config: TrainConfig) -> tuple[Catalog, int]:
    """Choose the images of a sweep, spread over the data set, and its steps: fewer if the backbone is slow.

    Args:
        config: the configuration of the sweep.

    Returns:
        Catalog and number of steps.
    """
    full_catalog = from_config.resolve_dataset(config, check=False)
    images_per_second = backbones.get_backbone_spec(config.backbone).speed
    if config.caches_features:
        steps, image_count = (
            MAX_SWEEP_STEPS,
            int(max(4 * config.effective_batch_size, images_per_second * _TARGET_SECONDS / 4)),
        )
    else:
        affordable_images = images_per_second * _TARGET_SECONDS / (1 if config.mode == "frozen" else 4)
        steps = (
            MAX_SWEEP_STEPS
            if torch.cuda.is_available()
            else min(MAX_SWEEP_STEPS, max(MIN_SWEEP_STEPS, int(affordable_images / config.effective_batch_size)))
        )
        image_count = steps * config.effective_batch_size
    return throughput.subsample_catalog(full_catalog, train_count=image_count, val_count=1), steps
