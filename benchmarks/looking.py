"""Time of the top five classes with their heatmap, relative to a bare forward pass of the same image.

    python -m benchmarks.looking --backbones mobilenet_v2 resnet50 vit_b_16 --rounds 30

Both in turn, on one image that is decoded and preprocessed already; rendering of the heatmap is excluded. Prints
medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import torch
from torch import Tensor

from benchmarks.row import measure_seconds, report_at_most
from ftlab.config import backbones
from ftlab.core.machine import count_cpu_cores
from ftlab.data.transforms import preprocess
from ftlab.inference.cam_methods import compute_cam
from ftlab.inference.predictor import Predictor
from ftlab.models import network

DEFAULT_BACKBONES = (
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
    parser.add_argument("--backbones", nargs="+", default=list(DEFAULT_BACKBONES))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(count_cpu_cores())
    for name in options.backbones:
        spec = backbones.get_backbone_spec(name)
        net = network.build_network(spec, 10, pretrained=False)
        preprocessing = preprocess.from_spec(spec)
        model = Predictor(net, spec, preprocessing, tuple(map(str, range(10))), spec.title)
        image = torch.randn(1, 3, preprocessing.side, preprocessing.side, generator=torch.Generator().manual_seed(0))
        if spec.convolutional:  # as `Predictor` does it: convolutions on the CPU are faster then
            image = image.contiguous(memory_format=torch.channels_last)
        explain, forward = partial(_predict_and_explain, model, image), partial(_run_forward, model, image)
        timings = [(measure_seconds(explain), measure_seconds(forward)) for _ in range(options.rounds + 3)][
            3:
        ]  # 3 to warm up
        # Ratios of neighbors in time: a slow phase of the machine hits both.
        ratio = statistics.median(a / b for a, b in timings)
        details = f"forward {1000 * statistics.median(b for _, b in timings):.0f} ms, {options.rounds} rounds"
        report_at_most(f"Top five and Grad-CAM, {spec.title}, by a bare forward", ratio, 1.5, "×", details)


def _predict_and_explain(model: Predictor, image: Tensor) -> None:
    """Compute the top five classes and the class activation map."""
    logits, evidence = compute_cam(model.network, model.spec, image)
    # The results are used, so that no lazy part of the work is missing from the time.
    assert len(model.rank_classes(logits, 5)) == 5
    assert evidence.ndim == 2


def _run_forward(model: Predictor, image: Tensor) -> None:
    """Run a bare forward pass."""
    with torch.inference_mode():
        model.network(image)


if __name__ == "__main__":
    main()
