"""Shared by all peers: command line arguments, the network, its accuracy, and the result line.

Nothing here imports ftlab, which would change how torch's threads wait.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Channel mean and standard deviation of ImageNet, of pixels in [0, 1]."""


def create_parser(description: str | None, *, batch_size: int, workers: int) -> argparse.ArgumentParser:
    """Return the parser of the arguments that all peers have.

    Args:
        description: description of the program.
        batch_size: default.
        workers: default number of decoding processes.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with train/ and val/")
    parser.add_argument("--backbone", default="mobilenet_v2", help="by its name in torchvision")
    parser.add_argument("--mode", choices=("frozen", "full"), default="frozen")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--workers", type=int, default=workers, help="processes that decode")
    parser.add_argument("--side", type=int, default=224, help="of the pictures that the network sees, in pixels")
    parser.add_argument("--random", action="store_true", help="begin with random weights")
    return parser


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_resize_side(side: int) -> int:
    """Return the short side in pixels that images are resized to before the center crop: 256 for 224."""
    return side * 256 // 224


def build_network(options: argparse.Namespace, class_count: int) -> nn.Module:
    """Return the backbone with its last linear layer, wherever that is, replaced; all else frozen in frozen mode.

    Args:
        options: options with backbone, mode, and whether weights are random.
        class_count: outputs.
    """
    net: nn.Module = models.get_model(options.backbone, weights=None if options.random else "IMAGENET1K_V1")
    if options.mode == "frozen":
        net.requires_grad_(False)
    # torchvision names it differently in each family: `fc`, `classifier.1`, `heads.head`.
    name, last_linear = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    net.set_submodule(name, nn.Linear(last_linear.in_features, class_count))
    return net


def list_trainable_parameters(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def compute_accuracy(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the accuracy of a network in evaluation mode; waits for the device once, at the end.

    Args:
        net: the network.
        batches: images [B, 3, H, W] and labels [B], on the network's device.
    """
    net.eval()
    # Correct predictions stay on the device until the end: reading each would wait for the GPU after every batch.
    counts = [((net(images).argmax(1) == labels).sum(), len(labels)) for images, labels in batches]
    return int(sum(correct for correct, _ in counts)) / sum(total for _, total in counts)


class EpochResults:
    """Accuracies and durations of a training's epochs."""

    def __init__(self) -> None:
        """Begin without epochs."""
        self._accuracies: list[float] = []
        self._seconds: list[float] = []
        self._end_times: list[float] = []

    def add(self, accuracy: float, seconds: float) -> None:
        """Add the epoch that has just ended.

        Args:
            accuracy: on the validation split.
            seconds: duration, validation included.
        """
        self._accuracies.append(accuracy)
        self._seconds.append(seconds)
        self._end_times.append(time.time())

    def print_result(self, start_time: float) -> None:
        """Print a line of JSON with the best accuracy and the seconds.

        Args:
            start_time: when the job started, by `time.monotonic`.
        """
        result = {
            # As in the tutorial: the best epoch counts.
            "best": max(self._accuracies, default=0.0),
            "seconds": time.monotonic() - start_time,
            "epoch_seconds": self._seconds,
            "epoch_accuracies": self._accuracies,
            "epoch_end_times": self._end_times,
        }
        print(json.dumps(result))


def run_training(epoch_count: int, start_time: float, train_epoch: Callable[[], float]) -> None:
    """Train, and print a line of JSON with the best accuracy and the seconds.

    Args:
        epoch_count: epochs to train for.
        start_time: when the job started, by `time.monotonic`.
        train_epoch: trains for an epoch and returns the validation accuracy.
    """
    results = EpochResults()
    for _ in range(epoch_count):
        epoch_start = time.monotonic()
        accuracy = train_epoch()
        results.add(accuracy, time.monotonic() - epoch_start)
    results.print_result(start_time)
