"""The loop of PyTorch's transfer-learning tutorial, for any backbone of torchvision.

Pictures are decoded, cropped and flipped anew every epoch by four worker processes in batches of 4; SGD with momentum
0.9, the rate a tenth every seven epochs; the best epoch by validation is what counts. A line of JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision import transforms as T

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Train, and print what came of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path, help="with train/ and val/")
    asked.add_argument("--backbone", default="mobilenet_v2")
    asked.add_argument("--mode", choices=("frozen", "full"), default="frozen")
    asked.add_argument("--epochs", type=int, default=25)
    asked.add_argument("--batch-size", type=int, default=4)
    asked.add_argument("--workers", type=int, default=4)
    asked.add_argument("--random", action="store_true", help="begin with random weights")
    options = asked.parse_args()
    began = time.monotonic()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaders = {
        part: DataLoader(
            datasets.ImageFolder(str(options.folder / part), _prepared(part)),
            batch_size=options.batch_size, shuffle=True, num_workers=options.workers,
        )
        for part in ("train", "val")
    }  # fmt: skip
    net = models.get_model(options.backbone, weights=None if options.random else "IMAGENET1K_V1")
    if options.mode == "frozen":
        net.requires_grad_(False)
    _replace_head(net, len(loaders["train"].dataset.classes))  # type: ignore[attr-defined]
    net.to(device)
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best, epochs = 0.0, []
    for _ in range(options.epochs):
        start = time.monotonic()
        net.train()
        for pictures, labels in loaders["train"]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(pictures.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        schedule.step()
        net.eval()
        right = seen = 0
        with torch.no_grad():
            for pictures, labels in loaders["val"]:
                right += int((net(pictures.to(device)).argmax(1).cpu() == labels).sum())
                seen += len(labels)
        best = max(best, right / seen)
        epochs.append(time.monotonic() - start)
    print(json.dumps({"best": best, "seconds": time.monotonic() - began, "epoch_seconds": epochs}))


def _prepared(part: str) -> T.Compose:
    varied = [T.RandomResizedCrop(224), T.RandomHorizontalFlip()]
    size = varied if part == "train" else [T.Resize(256), T.CenterCrop(224)]
    return T.Compose([*size, T.ToTensor(), T.Normalize(MEAN, STD)])


def _replace_head(net: nn.Module, classes: int) -> None:
    """A new last linear layer, wherever the architecture has it."""
    name, last = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Linear)][-1]
    net.set_submodule(name, nn.Linear(last.in_features, classes))


if __name__ == "__main__":
    main()
