"""A loop after torchvision's reference recipes for classification; with `--tuned`, a well-tuned DataLoader loop.

    python -m benchmarks.peers.reference FOLDER --mode full --epochs 10
    python -m benchmarks.peers.reference FOLDER --mode full --epochs 10 --tuned --compile

The recipe (https://docs.pytorch.org/vision/stable/training_references.html): random crops and flips by transforms v2,
SGD with momentum 0.9 and weight decay 1e-4, label smoothing of 0.1, linear warm-up, then a cosine schedule; random
erasing and an EMA of the weights on request. The learning rate is 0.5 for 1,024 images and scales with the batch size.
Workers persist; on a GPU they pin their batches, and the network runs in channels_last and bfloat16.

Tuned is what an engineer makes of it: images go to the device as uint8 and are normalized there, channels_last
everywhere, a fused optimizer, validation batches of four times the size, under inference_mode; compiled on request. The
mathematics of the steps are the same. Prints a line of JSON at the end, as every peer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from benchmarks.peers import job


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = job.create_parser(__doc__, batch_size=32, workers=job.count_cores())
    parser.add_argument("--rate", type=float, help="the highest (default: 0.5 × batch size / 1024)")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--warmup", type=int, default=5, help="epochs, at most a fifth of all")
    parser.add_argument("--erase", type=float, default=0.0, help="share of pictures with a part erased")
    parser.add_argument(
        "--ema", type=float, default=0.0, help="decay of an average of the weights, which is then judged"
    )
    parser.add_argument("--tuned", action="store_true", help="a well-tuned DataLoader loop")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print the result."""
    options = _parse_options(arguments)
    start = time.monotonic()
    torch.manual_seed(0)
    device = job.select_device()
    use_cuda = device.type == "cuda"
    if use_cuda:
        torch.backends.cudnn.benchmark = True  # image sizes are fixed
    memory_format = torch.channels_last if use_cuda or options.tuned else torch.contiguous_format
    loaders = {split: _build_loader(options, split, pin_memory=use_cuda) for split in ("train", "val")}
    net = job.build_network(options, len(loaders["train"].dataset.classes))  # type: ignore[attr-defined]
    net.to(device, memory_format=memory_format)  # type: ignore[call-overload]
    ema_average = get_ema_multi_avg_fn(options.ema)
    ema_model = AveragedModel(net, multi_avg_fn=ema_average, use_buffers=True) if options.ema else None
    if options.compile:
        net.compile()
    optimizer = torch.optim.SGD(
        job.list_trainable_parameters(net), lr=options.rate or 0.5 * options.batch_size / 1024,
        momentum=0.9, weight_decay=options.weight_decay, fused=options.tuned or None,
    )  # fmt: skip
    scheduler = _build_scheduler(optimizer, options, len(loaders["train"]))
    criterion = nn.CrossEntropyLoss(label_smoothing=options.label_smoothing)
    # In levels of uint8, for images that arrive as such.
    mean, std = (
        255 * torch.tensor(statistic, device=device).view(3, 1, 1)
        for statistic in (job.IMAGENET_MEAN, job.IMAGENET_STD)
    )
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_cuda)

    def iterate_batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loaders[split]:
            inputs = images.to(device, memory_format=memory_format, non_blocking=use_cuda)
            yield (inputs - mean) / std if options.tuned else inputs, labels.to(device, non_blocking=use_cuda)

    def train_epoch() -> float:
        net.train()
        for images, labels in iterate_batches("train"):
            with autocast:
                loss = criterion(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if ema_model:
                ema_model.update_parameters(net)
        with torch.inference_mode(), autocast:
            return job.compute_accuracy(ema_model or net, iterate_batches("val"))

    job.run_training(options.epochs, start, train_epoch)


def _build_loader(options: argparse.Namespace, split: str, *, pin_memory: bool) -> DataLoader[Any]:
    """Return the data loader of a split."""
    is_training = split == "train"
    # DataLoader refuses these options without workers.
    worker_options: dict[str, Any] = {"persistent_workers": True} if options.workers else {}
    if options.workers and options.tuned:
        worker_options["prefetch_factor"] = 4
    return DataLoader(
        datasets.ImageFolder(str(options.folder / split), _build_transform(options, is_training=is_training)),
        batch_size=options.batch_size * (1 if is_training or not options.tuned else 4),
        shuffle=is_training, num_workers=options.workers, pin_memory=pin_memory, **worker_options,
    )  # fmt: skip


def _build_transform(options: argparse.Namespace, *, is_training: bool) -> v2.Compose:
    """Return the transform from an image to [3, S, S]: normalized float32, or uint8 if the device normalizes."""
    side = options.side
    augmentations = [v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()]
    transforms: list[nn.Module] = (
        augmentations
        if is_training
        else [v2.Resize(job.compute_resize_side(side), antialias=True), v2.CenterCrop(side)]
    )
    transforms.append(v2.PILToTensor())
    if not options.tuned:
        transforms += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(job.IMAGENET_MEAN, job.IMAGENET_STD)]
    if is_training and options.erase:
        transforms.append(v2.RandomErasing(options.erase))
    return v2.Compose(transforms)


def _build_scheduler(
    optimizer: torch.optim.Optimizer, options: argparse.Namespace, steps_per_epoch: int
) -> LRScheduler:
    """Return a schedule per step: linear warm-up from a hundredth of the rate, then a cosine down to 0.

    Args:
        optimizer: optimizer whose learning rate is scheduled.
        options: options with the numbers of epochs.
        steps_per_epoch: optimizer steps of an epoch.
    """
    total_steps = options.epochs * steps_per_epoch
    # The recipe warms up for 5 epochs of 90 or more; a short run must not consist of warm-up.
    warmup_steps = max(1, min(options.warmup * steps_per_epoch, total_steps // 5))
    schedulers = [
        LinearLR(optimizer, 0.01, total_iters=warmup_steps),
        CosineAnnealingLR(optimizer, max(1, total_steps - warmup_steps)),
    ]
    return SequentialLR(optimizer, schedulers, [warmup_steps])


if __name__ == "__main__":
    main()
