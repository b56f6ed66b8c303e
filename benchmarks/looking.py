"""What the top five classes and their heat map cost beside a bare forward of the same picture.

    python -m benchmarks.looking --backbones mobilenet_v2 resnet50 vit_b_16 --rounds 30

A and B in turn, on one picture that is decoded and prepared already; drawing is apart. Medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import torch
from torch import Tensor

from benchmarks.row import at_most, seconds
from ftlab.config import backbones
from ftlab.core.machine import cores
from ftlab.data.transforms import preprocess
from ftlab.inference.cam_methods import attribute
from ftlab.inference.predictor import Predictor
from ftlab.models import network

SOME = (
    "tf_efficientnet_lite0",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "vgg16_bn",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=list(SOME))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(cores())
    for name in options.backbones:
        row = backbones.get(name)
        net = network.build(row, 10, pretrained=False)
        prep = preprocess.of(row)
        model = Predictor(net, row, prep, tuple(map(str, range(10))), row.title)
        picture = torch.randn(1, 3, prep.side, prep.side, generator=torch.Generator().manual_seed(0))
        if row.convolutional:
            picture = picture.contiguous(memory_format=torch.channels_last)
        whole, bare = partial(_whole, model, picture), partial(_bare, model, picture)
        taken = [(seconds(whole), seconds(bare)) for _ in range(options.rounds + 3)][3:]
        ratio = statistics.median(a / b for a, b in taken)
        seen = f"forward {1000 * statistics.median(b for _, b in taken):.0f} ms, {options.rounds} rounds"
        at_most(f"Top five and Grad-CAM, {row.title}, by a bare forward", ratio, 1.5, "×", seen)


def _whole(model: Predictor, picture: Tensor) -> None:
    logits, evidence = attribute(model.network, model.row, picture)
    assert len(model.ranked(logits, 5)) == 5
    assert evidence.ndim == 2


def _bare(model: Predictor, picture: Tensor) -> None:
    with torch.inference_mode():
        model.network(picture)


if __name__ == "__main__":
    main()
