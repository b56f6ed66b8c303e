"""A loop after the reference recipes of torchvision for classification; with `--tuned`, a well-tuned DataLoader loop.

    python -m benchmarks.peers.reference FOLDER --mode full --epochs 10
    python -m benchmarks.peers.reference FOLDER --mode full --epochs 10 --tuned --compile

The recipe (https://docs.pytorch.org/vision/stable/training_references.html): random crops and flips by transforms v2,
SGD with momentum 0.9 and weight decay 1e-4, labels smoothed by 0.1, the rate warmed up, then along a cosine; erasing
and an average of the weights where asked for. The rate is 0.5 for 1,024 pictures, and scaled with the batch. Workers
persist; on a card they pin what they give, and the network works in channels_last and bfloat16.

Tuned is what an engineer makes of it: pictures go to the device as bytes and are normalised there, channels_last
everywhere, a fused optimizer, batches of four times the size for the validation, under inference_mode; compiled where
asked for. The mathematics of the steps are the same. A line of JSON at the end, as of every peer.
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


def main(given: Sequence[str] | None = None) -> None:
    """Train, and print what came of it."""
    asked = job.words(__doc__, batch_size=32, workers=job.cores())
    asked.add_argument("--rate", type=float, help="the highest (default: 0.5 × batch size / 1024)")
    asked.add_argument("--weight-decay", type=float, default=1e-4)
    asked.add_argument("--label-smoothing", type=float, default=0.1)
    asked.add_argument("--warmup", type=int, default=5, help="epochs, at most a fifth of all")
    asked.add_argument("--erase", type=float, default=0.0, help="share of pictures with a part erased")
    asked.add_argument(
        "--ema", type=float, default=0.0, help="decay of an average of the weights, which is then judged"
    )
    asked.add_argument("--tuned", action="store_true", help="a well-tuned DataLoader loop")
    asked.add_argument("--compile", action="store_true", help="compile the network")
    options = asked.parse_args(given)
    began = time.monotonic()
    torch.manual_seed(0)
    device = job.device()
    card = device.type == "cuda"
    if card:
        torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if card or options.tuned else torch.contiguous_format
    loaders = {part: _loader(options, part, card) for part in ("train", "val")}
    net = job.network(options, len(loaders["train"].dataset.classes))  # type: ignore[attr-defined]
    net.to(device, memory_format=layout)  # type: ignore[call-overload]
    average = (
        AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=True) if options.ema else None
    )
    if options.compile:
        net.compile()
    optimizer = torch.optim.SGD(
        job.learning(net), lr=options.rate or 0.5 * options.batch_size / 1024,
        momentum=0.9, weight_decay=options.weight_decay, fused=options.tuned or None,
    )  # fmt: skip
    schedule = _schedule(optimizer, options, len(loaders["train"]))
    criterion = nn.CrossEntropyLoss(label_smoothing=options.label_smoothing)
    mean, std = (255 * torch.tensor(one, device=device).view(3, 1, 1) for one in (job.MEAN, job.STD))
    half = torch.autocast(device.type, torch.bfloat16, enabled=card)

    def batches(part: str) -> Iterator[tuple[Tensor, Tensor]]:
        for pictures, labels in loaders[part]:
            moved = pictures.to(device, memory_format=layout, non_blocking=card)
            yield (moved - mean) / std if options.tuned else moved, labels.to(device, non_blocking=card)

    def epoch() -> float:
        net.train()
        for pictures, labels in batches("train"):
            with half:
                loss = criterion(net(pictures), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if average:
                average.update_parameters(net)
        with torch.inference_mode(), half:
            return job.accuracy(average or net, batches("val"))

    job.run(options.epochs, began, epoch)


def _loader(options: argparse.Namespace, part: str, card: bool) -> DataLoader[Any]:
    training = part == "train"
    ahead: dict[str, Any] = {"persistent_workers": True} if options.workers else {}
    if options.workers and options.tuned:
        ahead["prefetch_factor"] = 4
    return DataLoader(
        datasets.ImageFolder(str(options.folder / part), _prepared(options, training)),
        batch_size=options.batch_size * (1 if training or not options.tuned else 4),
        shuffle=training, num_workers=options.workers, pin_memory=card, **ahead,
    )  # fmt: skip


def _prepared(options: argparse.Namespace, training: bool) -> v2.Compose:
    """A picture's way to a tensor [3, side, side]: normalised float32, or uint8 where the device normalises."""
    side = options.side
    varied = [v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()]
    steps: list[nn.Module] = varied if training else [v2.Resize(job.shorter(side), antialias=True), v2.CenterCrop(side)]
    steps.append(v2.PILToTensor())
    if not options.tuned:
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(job.MEAN, job.STD)]
    if training and options.erase:
        steps.append(v2.RandomErasing(options.erase))
    return v2.Compose(steps)


def _schedule(optimizer: torch.optim.Optimizer, options: argparse.Namespace, steps: int) -> LRScheduler:
    """From a hundredth of the rate up in a line, then down to none along a cosine; in steps, not epochs."""
    every = options.epochs * steps
    warm = max(1, min(options.warmup * steps, every // 5))
    parts = [LinearLR(optimizer, 0.01, total_iters=warm), CosineAnnealingLR(optimizer, max(1, every - warm))]
    return SequentialLR(optimizer, parts, [warm])


if __name__ == "__main__":
    main()
