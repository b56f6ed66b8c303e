"""Top 5 and heat map of image files with other packages, for MobileNetV2 of torchvision; or a forward pass alone.

    python -m benchmarks.peers.heat_maps grad_cam FILE...

`grad_cam` is the package grad-cam, `torchcam` the package of that name: Grad-CAM of the likeliest class at the last
layer of `features`. `onnxruntime` runs the network's forward pass alone, with no map. Images are decoded by Pillow and
prepared by torchvision. Prints a line of JSON with the median seconds of an answer, the first ones left out.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision import transforms as T

from benchmarks.peers import job

Answer = Callable[[Tensor], tuple[Tensor, int]]
"""From an image, normalized float32 [1, 3, S, S], to logits [1, K] and the number of values of the map."""
WARM_UP_ANSWERS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=tuple(ANSWERS))
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(job.count_cores())
    # The time does not depend on the weights.
    answer = ANSWERS[options.package](models.mobilenet_v2(weights=None, num_classes=1000).eval())
    prepare = T.Compose(
        [T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize(job.IMAGENET_MEAN, job.IMAGENET_STD)]
    )
    seconds, map_size = [], 0
    for file in (*options.files[:1] * WARM_UP_ANSWERS, *options.files):
        start = time.perf_counter()
        with Image.open(file) as image:
            logits, map_size = answer(prepare(image.convert("RGB"))[None])
        assert len(logits[0].softmax(0).topk(5).indices) == 5
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds[WARM_UP_ANSWERS:]), "map_size": map_size}))


def _make_grad_cam(net: nn.Module) -> Answer:
    """Return an answer by the package grad-cam."""
    from pytorch_grad_cam import GradCAM

    explainer = GradCAM(model=net, target_layers=[net.get_submodule("features.18")])

    def answer(image: Tensor) -> tuple[Tensor, int]:
        heat_map = explainer(input_tensor=image, targets=None)
        return explainer.outputs.detach(), heat_map[0].size

    return answer


def _make_torchcam(net: nn.Module) -> Answer:
    """Return an answer by the package torchcam."""
    from torchcam.methods import GradCAM

    explainer = GradCAM(net, "features.18")

    def answer(image: Tensor) -> tuple[Tensor, int]:
        logits = net(image)
        (heat_map,) = explainer(int(logits.argmax()), logits)
        return logits.detach(), heat_map.numel()

    return answer


def _make_onnxruntime(net: nn.Module) -> Answer:
    """Return a forward pass by ONNX Runtime."""
    import onnxruntime

    graph = io.BytesIO()
    with warnings.catch_warnings():  # the exporter without dynamo is deprecated
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.randn(1, 3, 224, 224),), graph, dynamo=False, input_names=["images"])  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(graph.getvalue(), providers=["CPUExecutionProvider"])

    def answer(image: Tensor) -> tuple[Tensor, int]:
        return torch.from_numpy(session.run(None, {"images": image.numpy()})[0]), 0

    return answer


ANSWERS: dict[str, Callable[[nn.Module], Answer]] = {
    "grad_cam": _make_grad_cam,
    "torchcam": _make_torchcam,
    "onnxruntime": _make_onnxruntime,
}


if __name__ == "__main__":
    main()
