"""Measure how fast this machine trains: a tiny real training, read from its events."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, resolve
from ftlab.core.machine import cores
from ftlab.data import channel_stats
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog, Item
from ftlab.runs import run_store
from ftlab.runs.events import Ended, Epoch, Event, Note, Progress, Started
from ftlab.runs.jobs.time_estimate import Speed
from ftlab.training.loop import train

_SECONDS = 3.0
"""Of a forward pass over the pictures chosen, about."""

PLAIN: dict[str, Any] = {
    **{"max_minutes": 0.0, "early_stop": 0, "plateau_cuts": 0, "keep_every": 0, "compile": "no"},
    **{"unfreeze_epoch": 0, "gradual": "no", "phase2_rate": 0.0, "phase2_optimizer": "same"},
}
"""Knobs with which two epochs are two epochs, and all that is to learn does."""


def measure(config: TrainConfig) -> Speed:
    """Train two epochs on a few pictures of `config.data` with random weights of the same shape.

    Raises:
        DataError: the folder cannot be used.
    """
    wanted = config.normalise
    config = replace(resolve(config), epochs=2, seed=0, normalise="weights", **PLAIN)
    born = psutil.Process().create_time()
    pictures = _few(config)
    pace, before = _statistics(pictures) if wanted == "estimated" else (0.0, 0.0)
    counts = {split: len(items) for split, items in pictures.splits.items()}
    with tempfile.TemporaryDirectory(prefix="ftlab-measure-") as scratch:
        run = run_store.create(Path(scratch), config)
        run.write("split.json", pictures.to_json())
        events = list(train(config, run, weights=False))
    measured = _read(events, born, counts, config)
    return replace(measured, startup=measured.startup - before, statistics=pace)


def _statistics(pictures: Catalog) -> tuple[float, float]:
    """Pictures per second while their colours are looked at, and the seconds that this took."""
    began = time.monotonic()
    *_, found = channel_stats.compute(pictures, cores())
    seconds = time.monotonic() - began
    assert isinstance(found, channel_stats.Statistics)
    return found.count / seconds, seconds


def _few(config: TrainConfig) -> Catalog:
    """More pictures for a fast backbone. Features are measured on many, because the first few of them also pay for
    warming up."""
    rate = backbones.get(config.backbone).speed * _SECONDS
    count = int(max(32, rate)) if config.caches_features else max(2 * config.step_size, int(rate / 4))
    return few(from_config.pictures(config, check=False), train=count, val=max(8, int(rate / 6)))


def few(pictures: Catalog, *, train: int, val: int) -> Catalog:
    """At most so many of the pictures, spread over the folder, and none to test."""

    def spread(items: tuple[Item, ...], count: int) -> tuple[Item, ...]:
        return items[:: max(1, len(items) // count)][:count]

    splits = {
        "train": spread(pictures.splits["train"], train),
        "val": spread(pictures.splits["val"], val),
        "test": (),
    }
    return replace(pictures, splits=splits)


def _read(events: list[Event], born: float, counts: dict[str, int], config: TrainConfig) -> Speed:
    started = next(event for event in events if isinstance(event, Started))
    epochs = [event for event in events if isinstance(event, Epoch)]
    ended = next(event for event in events if isinstance(event, Ended))
    marks = [event for event in events if isinstance(event, Progress) and event.stage == "features"]
    training = epochs[2].images_per_second or 1.0
    learning = counts["train"] / training
    checking = max(epochs[2].seconds - learning, 1e-4)
    features = 0.0
    if config.caches_features:
        note = next(event for event in events if isinstance(event, Note) and event.code == "features")
        points = [(mark.time, _looks(mark.done, counts, config)) for mark in marks]
        points = (
            points
            if len(points) > 1
            else [(started.time, 0), (note.time, _looks(sum(counts.values()), counts, config))]
        )
        (begun, few), (over, many) = points[0], points[-1]  # from the first mark on: warming up is not counted
        features = (many - few) / max(over - begun, 1e-3)
    return Speed(
        startup=started.time - born,
        features=features,
        training=training,
        validation=counts["val"] / checking,
        step=epochs[2].seconds / max(1, started.steps_per_epoch),
        saving=ended.time - epochs[2].time,
    )


def _looks(done: int, counts: dict[str, int], config: TrainConfig) -> int:
    """Passes through the backbone for the first `done` pictures: training pictures come first, in several views."""
    return min(done, counts["train"]) * config.cached_views + max(0, done - counts["train"])
