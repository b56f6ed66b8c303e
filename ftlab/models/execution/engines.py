"""What runs a frozen backbone over pictures: torch with BatchNorm folded, or ONNX Runtime where that is faster.

Which of the two is found by trying: the backbone is exported, both look at the same pictures, and ONNX Runtime is taken
if it gives the same and is clearly faster. A model that cannot be exported stays with torch; so does a graphics card.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor, nn

from ftlab.config.backbones import Backbone
from ftlab.models.execution.fuse_batchnorm import fold
from ftlab.models.execution.micro_batches import Portions

TORCH, ONNX = "torch", "onnxruntime"
WORTH = 256
"""Looks at pictures below which no other engine than torch is tried: exporting a model takes seconds."""
_FASTER = 1.2
"""Times as fast as torch that another engine must be: less is noise."""
_SAME = 1e-3
"""Largest difference to torch's features, as a share of the largest of them."""
_LARGEST = 60_000_000
"""Parameters of a model that is exported: a graph holds all of them, more than once while it is made."""
_OPSET = 17


class Engine(Protocol):
    """Runs a backbone. Any number of threads may use one.

    Attributes:
        name: `torch` or `onnxruntime`.
    """

    name: str

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, side, side] on the processor -> float32 [B, D] there."""


class Torch:
    """The folded backbone, in torch."""

    name = TORCH

    def __init__(self, backbone: nn.Module, normalise: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """
        Args:
            backbone: float32 [B, 3, side, side] -> [B, D]; it is copied, and left as it is.
            normalise: uint8 [B, 3, side, side] -> float32, same shape.
            device: where it runs.
        """
        self.normalise, self.device = normalise, device
        self.layout = torch.channels_last if _has_convolutions(backbone) else torch.contiguous_format
        self.folded = fold(backbone).to(device).to(memory_format=self.layout)
        self.portions = Portions()

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.cat(self.portions.over(len(pixels), lambda some: self._look(pixels[some])))

    def _look(self, pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            batch = self.normalise(pixels.to(self.device, non_blocking=True))
            return self.folded(batch.contiguous(memory_format=self.layout)).float().cpu()


class Onnx:
    """The same as a graph of ONNX Runtime, its computations on the calling thread."""

    name = ONNX

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: Tensor) -> Tensor:
        (vectors,) = self._session.run(None, {"pixels": pixels.numpy()})
        return torch.from_numpy(vectors)


def choose(
    backbone: nn.Module,
    row: Backbone,
    normalise: Callable[[Tensor], Tensor],
    side: int,
    device: torch.device,
    *,
    looks: int,
    wanted: str = "auto",
) -> Engine:
    """The engine for so many looks at pictures.

    Args:
        backbone, normalise, device: as for `Torch`.
        row: of the backbone.
        side: pixels of the square that it sees.
        looks: pictures times views.
        wanted: `torch`, `onnxruntime`, or `auto` for the faster one. Where ONNX Runtime is not to be had, torch.
    """
    plain = Torch(backbone, normalise, device)
    if likely(row, device, looks=looks, wanted=wanted) == TORCH:
        return plain
    pixels = torch.randint(0, 256, (4, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    graph = export(plain.folded, normalise, pixels)
    if graph is None:
        return plain
    other, threads = Onnx(graph), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, theirs = plain(pixels), other(pixels)
        if not torch.allclose(ours, theirs, rtol=0, atol=_SAME * float(ours.abs().max())):
            return plain
        return other if wanted == ONNX or _seconds(plain, pixels) > _FASTER * _seconds(other, pixels) else plain
    finally:
        torch.set_num_threads(threads)


def likely(row: Backbone, device: torch.device, *, looks: int, wanted: str = "auto") -> str:
    """The name of the engine that `choose` tries, and takes where it is the same and faster."""
    possible = device.type == "cpu" and row.parameters <= _LARGEST and find_spec("onnxruntime") and find_spec("onnx")
    if not possible or wanted == TORCH or (wanted == "auto" and (looks < WORTH or not row.convolutional)):
        return TORCH
    return ONNX


def export(folded: nn.Module, normalise: Callable[[Tensor], Tensor], pixels: Tensor) -> bytes | None:
    """A graph from uint8 `pixels` [B, 3, side, side] to float32 `features` [B, D] for any B; None where torch cannot
    make one.

    Args:
        folded: a backbone in evaluation, on the processor.
        pixels: an example.
    """
    module, file = _Whole(_padded(folded, normalise(pixels)), normalise).eval(), io.BytesIO()
    names = {"input_names": ["pixels"], "output_names": ["features"]}
    free = {"pixels": {0: "count"}, "features": {0: "count"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is the older one: the newer needs a larger package
            torch.onnx.export(module, (pixels,), file, dynamo=False, dynamic_axes=free, opset_version=_OPSET, **names)  # type: ignore[arg-type]
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return file.getvalue()


class _Whole(nn.Module):
    def __init__(self, backbone: nn.Module, normalise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.normalise = backbone, normalise

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.normalise(pixels))
        return features


def _padded(module: nn.Module, example: Tensor) -> nn.Module:
    """A copy in which timm's convolutions with TensorFlow's padding, which work it out for each picture, have that of
    the example's size: a graph runs twice as fast with it."""
    made = copy.deepcopy(module)
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        part.register_forward_pre_hook(lambda _, given, name=name: sizes.update({name: tuple(given[0].shape[2:])}))
        for name, part in made.named_modules()
        if type(part).__name__ == "Conv2dSame"
    ]
    with torch.inference_mode():
        made(example[:1])
    for hook in hooks:
        hook.remove()
    for name, size in sizes.items():
        same = made.get_submodule(name)
        assert isinstance(same, nn.Conv2d)
        pads: list[int] = []
        for pixels, kernel, stride, dilation in zip(size, same.kernel_size, same.stride, same.dilation, strict=True):
            needed = max(0, (math.ceil(pixels / stride) - 1) * stride + dilation * (kernel - 1) + 1 - pixels)
            pads = [needed // 2, needed - needed // 2, *pads]  # the last dimension comes first
        plain = nn.Conv2d(same.in_channels, same.out_channels, 1, groups=same.groups, bias=same.bias is not None)
        plain.kernel_size, plain.stride, plain.dilation = same.kernel_size, same.stride, same.dilation
        plain.weight, plain.bias = same.weight, same.bias
        made.set_submodule(name, nn.Sequential(nn.ZeroPad2d((pads[0], pads[1], pads[2], pads[3])), plain))
    return made.eval()


def _seconds(engine: Engine, pixels: Tensor) -> float:
    """Of a look at one picture, the fastest of these."""
    taken = []
    for picture in pixels:
        began = time.monotonic()
        engine(picture[None])
        taken.append(time.monotonic() - began)
    return min(taken)


def fingerprint(backbone: nn.Module) -> str:
    """SHA-256 in hex over the names and the values of a network: two equal ones compute the same."""
    digest = hashlib.sha256()
    for name, value in backbone.state_dict().items():
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _has_convolutions(module: nn.Module) -> bool:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1
