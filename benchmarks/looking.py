"""Time of the top five classes with their heatmap, relative to a bare forward pass of the same image.

    python -m benchmarks.looking --backbones mobilenet_v2 resnet50 vit_b_16 --rounds 30

Both in turn, on one image that is decoded and preprocessed already; rendering of the heatmap is excluded. For a network
with an ONNX graph, the graph is compared with torch in the same way, in wall-clock and CPU time, and with a bare call
of ONNX Runtime. Prints medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.row import measure_seconds, report_at_most
from ftlab.config import backbones
from ftlab.core.machine import count_cpu_cores
from ftlab.data.transforms import preprocess
from ftlab.inference.cam_methods import compute_cam
from ftlab.inference.network_answers import NetworkAnswers
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.cam_layers import CamLayer
from ftlab.models.execution import answer_graph, onnx_graph

BATCH_IMAGES = 8
"""Images that are asked for at the same time."""
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
        report_at_most(
            f"Top 5 and heat map by PyTorch, {spec.title}: time relative to a forward pass alone",
            ratio,
            1.5,
            "×",
            details,
        )
        model.prepare_graph().result()
        if model.answers.has_graph:
            _compare_graph(model, image, options.rounds)


def _compare_graph(model: Predictor, image: Tensor, rounds: int) -> None:
    """Print the rows of a network with an ONNX graph.

    Args:
        model: whose graph is built.
        image: normalized, float32 [1, 3, S, S].
        rounds: measurements of each.
    """
    batch = torch.cat([image] * BATCH_IMAGES)
    layer, torch_answers = CamLayer.from_spec(model.spec), NetworkAnswers(model.network, model.spec)
    session = onnx_graph.create_session(
        _export_logits(model, image), min(answer_graph.THREADS_OF_ONE_CALLER, torch.get_num_threads())
    )
    works: dict[str, Callable[[], object]] = {
        "torch": partial(torch_answers.compute_cam, image, None, "grad_cam", layer),
        "graph": partial(model.answers.compute_cam, image, None, "grad_cam", layer),
        "bare": partial(session.run, None, {"images": image.contiguous().numpy()}),
        "batch": partial(model.answers.compute_logits, batch),
    }
    samples = [{name: _measure(work) for name, work in works.items()} for _ in range(rounds + 3)][3:]
    seconds, cpu_seconds = (
        {name: [sample[name][position] for sample in samples] for name in works} for position in (0, 1)
    )
    medians = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    cpu_medians = {name: 1000 * statistics.median(values) for name, values in cpu_seconds.items()}

    def compute_ratio(values: dict[str, list[float]], name: str, other_name: str) -> float:
        """Return the median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(values[name], values[other_name], strict=True))

    title = model.spec.title
    # The target is that of the default backbone; larger networks spend their time in the same convolutions.
    bound = 0.5 if model.spec.name == backbones.DEFAULT_BACKBONE else None
    details = f"{medians['graph']:.1f} and {medians['torch']:.1f} ms, {rounds} rounds"
    ratio = compute_ratio(seconds, "graph", "torch")
    report_at_most(f"Top 5 and heat map, {title}: time relative to PyTorch", ratio, bound, "×", details)
    details = f"{cpu_medians['graph']:.1f} and {cpu_medians['torch']:.1f} ms"
    ratio = compute_ratio(cpu_seconds, "graph", "torch")
    report_at_most(f"Top 5 and heat map, {title}: CPU time relative to PyTorch", ratio, bound, "×", details)
    details = f"{medians['graph']:.1f} and {medians['bare']:.1f} ms"
    ratio = compute_ratio(seconds, "graph", "bare")
    report_at_most(
        f"Top 5 and heat map, {title}: time relative to an ONNX Runtime forward pass alone", ratio, 1.5, "×", details
    )
    details = f"CPU time {cpu_medians['batch'] / len(batch):.1f} and {cpu_medians['graph']:.1f} ms"
    ratio = compute_ratio(seconds, "batch", "graph") / len(batch)
    report_at_most(
        f"Top 5, {title}: time of an image in a batch of {len(batch)} relative to a single image",
        ratio,
        None,
        "×",
        details,
    )


def _export_logits(model: Predictor, image: Tensor) -> bytes:
    """Return the network as a graph that gives logits alone, without anything of ftlab's own in it."""
    backbone = onnx_graph.make_padding_static(model.network.backbone, image)
    graph = onnx_graph.export_module(nn.Sequential(backbone, model.network.head).eval(), image, "images", ["logits"])
    assert graph is not None
    return graph


def _measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and CPU seconds of this process that a call takes."""
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu_start


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
