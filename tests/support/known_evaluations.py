"""Outcomes whose answers are known, and runs with weights that no training made."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset import scan
from ftlab.data.transforms import preprocess
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.results import EvaluationResult, SkippedImage
from ftlab.inference.decision_rule import DecisionRule
from ftlab.models import heads, network, weights_file
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.runs import run_store
from ftlab.runs.directory import Run

NAMES = ("amber", "blue", "green")
PLAIN = HeadSpec()
SPEC = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)


def outcome(
    labels: Sequence[int],
    logits: Sequence[Sequence[float]],
    classes: tuple[str, ...] = NAMES,
    pictures: str = "test",
    root: Path = Path("nowhere"),
    paths: Sequence[str] = (),
) -> EvaluationResult:
    """An outcome with these logits; its pictures need not exist."""
    return EvaluationResult(
        pictures,
        "best",
        classes,
        root,
        tuple(paths) or tuple(f"{classes[label]}/{number}.jpg" for number, label in enumerate(labels)),
        np.array(labels, np.int64),
        np.array(logits, np.float32).reshape(len(labels), len(classes)),
        (),
        (),
        "0" * 64,
        1.0,
    )


def told(pairs: Sequence[tuple[int, int, float]], classes: tuple[str, ...] = NAMES, **more: object) -> EvaluationResult:
    """An outcome of (true, predicted, probability of the answer): the other classes share the rest."""
    rest = len(classes) - 1
    rows = [
        [np.log(sure if one == said else (1 - sure) / rest) for one in range(len(classes))] for _, said, sure in pairs
    ]
    return outcome([true for true, _, _ in pairs], rows, classes, **more)  # type: ignore[arg-type]


def inspection(found: EvaluationResult, temperature: float = 1.0, threshold: float = 0.0) -> Evaluation:
    """An outcome under a decision."""
    return Evaluation(found, DecisionRule("0" * 64, temperature, threshold, 100, 90))


def skipped(found: EvaluationResult, *paths: str) -> EvaluationResult:
    """The same, and pictures that could not be read."""
    return dataclasses.replace(
        found, skipped_images=tuple(SkippedImage(path, "empty", {"file": path}) for path in paths)
    )


def untrained(seed: int, classes: int = 3, head: HeadSpec = PLAIN) -> Network:
    """Random weights whose head speaks up."""
    return copy.deepcopy(_build_untrained(seed, classes, head))


@functools.cache
def _build_untrained(seed: int, classes: int, head: HeadSpec) -> Network:
    net = network.build_network(SPEC, classes, pretrained=False, seed=seed, head_spec=head)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return net.eval()


def run(root: Path, folder: Path, seed: int | None = 1) -> Run:
    """A run on a folder of pictures; of an untrained network's weights, or without any."""
    made = run_store.create_run(
        root, TrainConfig(data=str(folder), backbone=SPEC.name, torch_num_threads=1, num_workers=2)
    )
    listed = scan.scan(folder, val_share=0.3, test_share=0.3)
    made.write_json("split.json", listed.to_json())
    prep = preprocess.from_spec(SPEC).to_json()
    made.write_json("model.json", {"backbone": SPEC.name, "classes": list(listed.classes), "preprocessing": prep})
    if seed is not None:
        keep(made, seed, len(listed.classes))
    return made


def keep(run: Run, seed: int, classes: int = 3) -> Network:
    """Give a run other best weights. Nobody may change the network that is returned."""
    net = _build_untrained(seed, classes, PLAIN)
    weights_file.save_tensors(run.best_weights_path, net.state_dict(), {"epoch": 1, "val_accuracy": 0.5})
    return net
