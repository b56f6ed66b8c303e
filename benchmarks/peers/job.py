"""What all peers share: the words of their command line, the network of a job, its accuracy, and the last line.

None of it knows ftlab, which would change how torch's threads wait.
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

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, of values in [0, 1]."""


def words(doc: str | None, *, batch_size: int, workers: int) -> argparse.ArgumentParser:
    """What every peer can be asked for, each with its own defaults."""
    asked = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path, help="with train/ and val/")
    asked.add_argument("--backbone", default="mobilenet_v2", help="by its name in torchvision")
    asked.add_argument("--mode", choices=("frozen", "full"), default="frozen")
    asked.add_argument("--epochs", type=int, default=25)
    asked.add_argument("--batch-size", type=int, default=batch_size)
    asked.add_argument("--workers", type=int, default=workers, help="processes that decode")
    asked.add_argument("--side", type=int, default=224, help="of the pictures that the network sees, in pixels")
    asked.add_argument("--random", action="store_true", help="begin with random weights")
    return asked


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> torch.device:
    """A card, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def shorter(side: int) -> int:
    """To which the shorter side of a picture is scaled before its middle is cut out: 256 pixels for 224."""
    return side * 256 // 224


def network(options: argparse.Namespace, classes: int) -> nn.Module:
    """The backbone with a new last linear layer, wherever that stands; all else rests where it is frozen."""
    net: nn.Module = models.get_model(options.backbone, weights=None if options.random else "IMAGENET1K_V1")
    if options.mode == "frozen":
        net.requires_grad_(False)
    name, last = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Linear)][-1]
    net.set_submodule(name, nn.Linear(last.in_features, classes))
    return net


def learning(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that do not rest."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def accuracy(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The share of pictures that a network in evaluation names rightly; waits for the device once, at the end.

    Args:
        batches: pictures [B, 3, H, W] and labels [B], on the network's device.
    """
    net.eval()
    counts = [((net(pictures).argmax(1) == labels).sum(), len(labels)) for pictures, labels in batches]
    return int(sum(right for right, _ in counts)) / sum(seen for _, seen in counts)


def run(epochs: int, began: float, epoch: Callable[[], float]) -> None:
    """Train, and print what came of it: a line of JSON with the best accuracy and the seconds.

    Args:
        began: when the job did, by `time.monotonic`.
        epoch: trains once through, and gives the validation's accuracy.
    """
    best, seconds = 0.0, []
    for _ in range(epochs):
        start = time.monotonic()
        best = max(best, epoch())
        seconds.append(time.monotonic() - start)
    print(json.dumps({"best": best, "seconds": time.monotonic() - began, "epoch_seconds": seconds}))
