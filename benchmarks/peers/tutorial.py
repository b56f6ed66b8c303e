"""The loop of PyTorch's transfer-learning tutorial, for any backbone of torchvision.

Pictures are decoded, cropped and flipped anew every epoch by four worker processes in batches of 4; SGD with momentum
0.9, the rate a tenth every seven epochs; the best epoch by validation is what counts. A line of JSON at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as T

from benchmarks.peers import job


def main(given: Sequence[str] | None = None) -> None:
    """Train, and print what came of it."""
    options = job.words(__doc__, batch_size=4, workers=4).parse_args(given)
    began = time.monotonic()
    torch.manual_seed(0)
    device = job.device()
    loaders = {
        part: DataLoader(
            datasets.ImageFolder(str(options.folder / part), _prepared(part, options.side)),
            batch_size=options.batch_size, shuffle=True, num_workers=options.workers,
        )
        for part in ("train", "val")
    }  # fmt: skip
    net = job.network(options, len(loaders["train"].dataset.classes)).to(device)  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(job.learning(net), lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    def batches(part: str) -> Iterator[tuple[Tensor, Tensor]]:
        for pictures, labels in loaders[part]:
            yield pictures.to(device), labels.to(device)

    def epoch() -> float:
        net.train()
        for pictures, labels in batches("train"):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(pictures), labels)
            loss.backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            return job.accuracy(net, batches("val"))

    job.run(options.epochs, began, epoch)


def _prepared(part: str, side: int) -> T.Compose:
    varied = [T.RandomResizedCrop(side), T.RandomHorizontalFlip()]
    size = varied if part == "train" else [T.Resize(job.shorter(side)), T.CenterCrop(side)]
    return T.Compose([*size, T.ToTensor(), T.Normalize(job.MEAN, job.STD)])


if __name__ == "__main__":
    main()
