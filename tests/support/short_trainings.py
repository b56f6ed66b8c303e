"""Trainings of seconds for the tests of the loop: how they begin, and what is looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.models import network
from ftlab.models.network import Network
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, Step
from ftlab.runs.history import History
from ftlab.training import evaluate, loop
from ftlab.training.loop import train
from ftlab.training.optim import optimizers
from tests.support.tiny_backbone import TINY

BACKBONE = TINY.name
MOBILENET = "mobilenet_v2"
STEPS = 5
"""Of an epoch: 18 of the tiny folder's pictures, four at a time."""
CACHED, FRESH = {"mode": "frozen"}, {"mode": "frozen", "features": "fresh"}
FULL, SCRATCH = {"mode": "full", "learning_rate": 1e-3}, {"mode": "scratch"}
UPPER = {**FULL, "unfreeze_from": "auto", "activations": "cached"}
WAYS = pytest.mark.parametrize(
    "way", [CACHED, FRESH, FULL, SCRATCH, UPPER], ids=["cached", "fresh", "full", "scratch", "upper layers"]
)


def beginning(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """What makes a new run on a folder, in `place`: three epochs of five steps, unless told otherwise. The backbone
    is a small ResNet of timm's; what is told here is as true of it, and a step takes milliseconds. MobileNetV2 looks at
    64 × 64 pixels. One thread computes: where the machine is busy, two wait for each other at each of thousands of
    small operations."""
    spec = backbones.get_backbone_spec(MOBILENET)
    monkeypatch.setitem(backbones.BACKBONES, MOBILENET, dataclasses.replace(spec, side=64, resize=72))
    monkeypatch.setitem(backbones.BACKBONES, BACKBONE, TINY)
    few = {"epochs": 3, "batch_size": 4, "data": str(folder), "backbone": BACKBONE, "torch_num_threads": 1}
    return lambda **settings: run_store.create_run(place, TrainConfig(**{**few, **settings}))


def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The network and the optimizer that the engine makes, and the network's state before."""
    caught: dict[str, Any] = {}
    build, make = network.build_network, optimizers.build_optimizer

    def building(*arguments: Any, **more: Any) -> Network:
        net: Network = build(*arguments, **more)
        caught["net"] = net
        caught["before"] = {key: value.clone() for key, value in net.state_dict().items()}
        return net

    def making(*arguments: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = make(*arguments)
        caught["optimizer"] = optimizer
        return optimizer

    monkeypatch.setattr(network, "build_network", building)
    monkeypatch.setattr(optimizers, "build_optimizer", making)
    return caught


def go(run: Run, stop_at: int | None = None) -> list[Event]:
    """Train to the end, or ask to stop at a step; what was told is also in the run."""
    run.liveness.clear_stop()
    events = []
    for event in train(run.load_config(), run, pretrained=False):
        run.append_event(event)
        events.append(event)
        if isinstance(event, Step) and event.step == stop_at:
            run.liveness.request_stop()
    return events


def only(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def end(events: list[Event]) -> Ended:
    assert len(only(events, Ended)) == 1
    assert isinstance(events[-1], Ended)
    return events[-1]


def figures(history: History) -> list[dict[str, object]]:
    """All that was measured, but for what depends on the clock."""
    told = [dataclasses.asdict(event) for event in [*history.epochs, *history.steps]]
    return [{k: v for k, v in one.items() if k not in ("time", "seconds", "images_per_second")} for one in told]


def changed(caught: dict[str, Any]) -> set[str]:
    after: dict[str, Tensor] = caught["net"].state_dict()
    return {key for key, value in after.items() if not torch.equal(value, caught["before"][key])}


def scored(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Has each validation find these accuracies, epoch 0 first; the losses are as they are."""
    real, rounds = evaluate.evaluate_split, iter(accuracies)

    def told(*arguments: Any) -> Generator[Event, None, Any]:
        score: Any = yield from real(*arguments)
        return dataclasses.replace(score, top1=next(rounds))

    monkeypatch.setattr(loop, "evaluate_split", told)
