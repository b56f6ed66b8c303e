"""The loop of PyTorch's transfer learning tutorial, for any backbone of torchvision.

Images are decoded, cropped and flipped anew every epoch by four worker processes, in batches of 4; SGD with momentum
0.9, the learning rate divided by ten every seven epochs; the best epoch by validation counts. Prints a line of JSON at
the end.
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print the result."""
    options = job.create_parser(__doc__, batch_size=4, workers=4).parse_args(arguments)
    start = time.monotonic()
    torch.manual_seed(0)
    device = job.select_device()
    loaders = {
        split: DataLoader(
            datasets.ImageFolder(str(options.folder / split), _build_transform(split, options.side)),
            # The tutorial shuffles the validation split too.
            batch_size=options.batch_size, shuffle=True, num_workers=options.workers,
        )
        for split in ("train", "val")
    }  # fmt: skip
    net = job.build_network(options, len(loaders["train"].dataset.classes)).to(device)  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(job.list_trainable_parameters(net), lr=0.001, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    def iterate_batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loaders[split]:
            yield images.to(device), labels.to(device)

    def train_epoch() -> float:
        net.train()
        for images, labels in iterate_batches("train"):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            return job.compute_accuracy(net, iterate_batches("val"))

    job.run_training(options.epochs, start, train_epoch)


def _build_transform(split: str, side: int) -> T.Compose:
    """Return the transform of a split: image to normalized float32 [3, S, S]."""
    augmentations = [T.RandomResizedCrop(side), T.RandomHorizontalFlip()]
    geometry = augmentations if split == "train" else [T.Resize(job.compute_resize_side(side)), T.CenterCrop(side)]
    return T.Compose([*geometry, T.ToTensor(), T.Normalize(job.IMAGENET_MEAN, job.IMAGENET_STD)])


if __name__ == "__main__":
    main()
