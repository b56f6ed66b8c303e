"""Sweep over learning rates: a training of at most a hundred steps whose rate rises from one to the next.

It goes through the very loop that trains, in a run directory of its own that is gone afterwards; only the schedule is
another. Any knob of the training acts as it will.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, resolve
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading import loader
from ftlab.runs import run_store
from ftlab.runs.events import Ended, Note, Progress, Step
from ftlab.runs.jobs.lr_sweep import Sweep
from ftlab.training import throughput
from ftlab.training.loop import train

STEPS, FEWEST = 100, 30
"""Steps of a sweep, and the fewest of them where each takes long."""
LOWEST, HIGHEST = 1e-6, 10.0
"""Rates at its ends, where the loss is the mean of a batch."""
_SECONDS = 40.0
"""That it may take on two cores, about, beside the start."""
_DIVERGED = 4.0
"""It breaks off where a loss is this many times the least smoothed one."""


def sweep(config: TrainConfig, *, weights: bool = True) -> Iterator[Note | Progress | Sweep]:
    """Sweep over rates; what the training tells on the way, with `Progress` of the stage `rates` in steps, and at last
    the sweep.

    Args:
        config: as for a training; how long it is and how its rate goes do not matter.
        weights: False puts random weights in place of pretrained ones.

    Raises:
        ConfigError, DataError, WeightsError: as a training does.
    """
    plain = {**throughput.PLAIN, "ema": 0.0, "schedule": "constant", "warmup": 0.0, "feature_views": 1}
    config = replace(resolve(config), **plain)
    pictures, steps = _pictures(config)
    per_epoch = len(loader.plan(range(len(pictures.splits["train"])), config.step_size))
    config = replace(config, epochs=math.ceil(steps / per_epoch))
    scale = 1.0 / config.step_size if config.loss_reduction == "sum" else 1.0

    def rate(step: int) -> float:
        return scale * LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))

    def share(step: int) -> float:
        return rate(step) / (config.learning_rate or 1.0)

    found = Sweep([], [])
    with tempfile.TemporaryDirectory(prefix="ftlab-rates-") as scratch:
        run = run_store.create(Path(scratch), config)
        run.write("split.json", pictures.to_json())
        with closing(train(config, run, weights=weights, rates=share)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, (Note, Progress)):
                    yield event
                if isinstance(event, Ended):
                    break
                if not isinstance(event, Step) or event.loss is None:
                    continue
                if not math.isfinite(event.loss):
                    break
                found.rates.append(rate(event.step - 1))
                found.losses.append(event.loss)
                yield Progress(stage="rates", done=event.step, total=steps)
                if event.step >= steps or (event.step > 10 and event.loss > _DIVERGED * min(found.smooth())):
                    break
    yield found


def _pictures(config: TrainConfig) -> tuple[Catalog, int]:
    """Training pictures for a sweep, spread over the folder, and its steps: fewer where the backbone is slow."""
    every = from_config.pictures(config, check=False)
    pace = backbones.get(config.backbone).speed
    if config.caches_features:
        steps, count = STEPS, int(max(4 * config.step_size, pace * _SECONDS / 4))
    else:
        learnt = pace * _SECONDS / (1 if config.mode == "frozen" else 4)
        steps = STEPS if torch.cuda.is_available() else min(STEPS, max(FEWEST, int(learnt / config.step_size)))
        count = steps * config.step_size
    return throughput.few(every, train=count, val=1), steps
