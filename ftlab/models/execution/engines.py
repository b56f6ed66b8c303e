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

from ftlab.config.backbones import BackboneSpec
from ftlab.models.execution.fuse_batchnorm import fuse_conv_batchnorm
from ftlab.models.execution.micro_batches import MicroBatcher

TORCH, ONNX = "torch", "onnxruntime"
MIN_ONNX_VIEWS = 256
"""Looks at pictures below which no other engine than torch is tried: exporting a model takes seconds."""
MIN_ONNX_SPEEDUP = 1.2
"""Times as fast as torch that another engine must be: less is noise."""
_MAX_RELATIVE_ERROR = 1e-3
"""Largest difference to torch's features, as a share of the largest of them."""
_MAX_EXPORT_PARAMETERS = 60_000_000
"""Parameters of a model that is exported: a graph holds all of them, more than once while it is made."""
_ONNX_OPSET = 17


class Engine(Protocol):
    """Runs a backbone. Any number of threads may use one.

    Attributes:
        name: `torch` or `onnxruntime`.
    """

    name: str

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, side, side] on the processor -> float32 [B, D] there."""


class TorchEngine:
    """The folded backbone, in torch."""

    name = TORCH

    def __init__(self, backbone: nn.Module, normalize: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """
        Args:
            backbone: float32 [B, 3, side, side] -> [B, D]; it is copied, and left as it is.
            normalize: uint8 [B, 3, side, side] -> float32, same shape.
            device: where it runs.
        """
        self.normalize, self.device = normalize, device
        self.memory_format = torch.channels_last if _has_convolutions(backbone) else torch.contiguous_format
        self.fused_backbone = fuse_conv_batchnorm(backbone).to(device).to(memory_format=self.memory_format)
        self.micro_batcher = MicroBatcher()

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.cat(
            self.micro_batcher.run_in_slices(len(pixels), lambda batch_slice: self._run_batch(pixels[batch_slice]))
        )

    def _run_batch(self, pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            batch = self.normalize(pixels.to(self.device, non_blocking=True))
            return self.fused_backbone(batch.contiguous(memory_format=self.memory_format)).float().cpu()


class OnnxEngine:
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


def choose_engine(
    backbone: nn.Module,
    spec: BackboneSpec,
    normalize: Callable[[Tensor], Tensor],
    image_size: int,
    device: torch.device,
    *,
    view_count: int,
    engine_name: str = "auto",
) -> Engine:
    """The engine for so many looks at pictures.

    Args:
        backbone, normalize, device: as for `TorchEngine`.
        spec: of the backbone.
        image_size: pixels of the square that it sees.
        view_count: pictures times views.
        engine_name: `torch`, `onnxruntime`, or `auto` for the faster one. Where ONNX Runtime is not to be had, torch.
    """
    torch_engine = TorchEngine(backbone, normalize, device)
    if expected_engine(spec, device, view_count=view_count, engine_name=engine_name) == TORCH:
        return torch_engine
    pixels = torch.randint(
        0, 256, (4, 3, image_size, image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    graph = export_onnx(torch_engine.fused_backbone, normalize, pixels)
    if graph is None:
        return torch_engine
    onnx_engine, thread_count = OnnxEngine(graph), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch_features, onnx_features = torch_engine(pixels), onnx_engine(pixels)
        if not torch.allclose(
            torch_features, onnx_features, rtol=0, atol=_MAX_RELATIVE_ERROR * float(torch_features.abs().max())
        ):
            return torch_engine
        return (
            onnx_engine
            if engine_name == ONNX
            or time_engine(torch_engine, pixels) > MIN_ONNX_SPEEDUP * time_engine(onnx_engine, pixels)
            else torch_engine
        )
    finally:
        torch.set_num_threads(thread_count)


def expected_engine(spec: BackboneSpec, device: torch.device, *, view_count: int, engine_name: str = "auto") -> str:
    """The name of the engine that `choose_engine` tries, and takes where it is the same and faster."""
    can_use_onnx = (
        device.type == "cpu"
        and spec.parameters <= _MAX_EXPORT_PARAMETERS
        and find_spec("onnxruntime")
        and find_spec("onnx")
    )
    if (
        not can_use_onnx
        or engine_name == TORCH
        or (engine_name == "auto" and (view_count < MIN_ONNX_VIEWS or not spec.convolutional))
    ):
        return TORCH
    return ONNX


def export_onnx(backbone: nn.Module, normalize: Callable[[Tensor], Tensor], pixels: Tensor) -> bytes | None:
    """A graph from uint8 `pixels` [B, 3, side, side] to float32 `features` [B, D] for any B; None where torch cannot
    make one.

    Args:
        backbone: a backbone in evaluation, on the processor.
        pixels: an example.
    """
    module, file = (
        _NormalizedBackbone(_make_padding_static(backbone, normalize(pixels)), normalize).eval(),
        io.BytesIO(),
    )
    dynamic_axes = {"pixels": {0: "count"}, "features": {0: "count"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is the older one: the newer needs a larger package
            torch.onnx.export(
                module,
                (pixels,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                input_names=["pixels"],
                output_names=["features"],
                dynamic_axes=dynamic_axes,
                opset_version=_ONNX_OPSET,
            )
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return file.getvalue()


class _NormalizedBackbone(nn.Module):
    def __init__(self, backbone: nn.Module, normalize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.normalize = backbone, normalize

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.normalize(pixels))
        return features


def _make_padding_static(module: nn.Module, example: Tensor) -> nn.Module:
    """A copy in which timm's convolutions with TensorFlow's padding, which work it out for each picture, have that of
    the example's size: a graph runs twice as fast with it."""
    padded_module = copy.deepcopy(module)
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        submodule.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: tuple(inputs[0].shape[2:])})
        )
        for name, submodule in padded_module.named_modules()
        if type(submodule).__name__ == "Conv2dSame"
    ]
    with torch.inference_mode():
        padded_module(example[:1])
    for hook in hooks:
        hook.remove()
    for name, size in sizes.items():
        same_conv = padded_module.get_submodule(name)
        assert isinstance(same_conv, nn.Conv2d)
        pads: list[int] = []
        for length, kernel, stride, dilation in zip(
            size, same_conv.kernel_size, same_conv.stride, same_conv.dilation, strict=True
        ):
            total_padding = max(0, (math.ceil(length / stride) - 1) * stride + dilation * (kernel - 1) + 1 - length)
            pads = [total_padding // 2, total_padding - total_padding // 2, *pads]  # the last dimension comes first
        plain_conv = nn.Conv2d(
            same_conv.in_channels, same_conv.out_channels, 1, groups=same_conv.groups, bias=same_conv.bias is not None
        )
        plain_conv.kernel_size, plain_conv.stride, plain_conv.dilation = (
            same_conv.kernel_size,
            same_conv.stride,
            same_conv.dilation,
        )
        plain_conv.weight, plain_conv.bias = same_conv.weight, same_conv.bias
        padded_module.set_submodule(name, nn.Sequential(nn.ZeroPad2d((pads[0], pads[1], pads[2], pads[3])), plain_conv))
    return padded_module.eval()


def time_engine(engine: Engine, pixels: Tensor) -> float:
    """Of a look at one picture, the fastest of these."""
    durations = []
    for image in pixels:
        start_time = time.monotonic()
        engine(image[None])
        durations.append(time.monotonic() - start_time)
    return min(durations)


def hash_parameters(backbone: nn.Module) -> str:
    """SHA-256 in hex over the names and the values of a network: two equal ones compute the same."""
    digest = hashlib.sha256()
    for name, value in backbone.state_dict().items():
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _has_convolutions(module: nn.Module) -> bool:
    return sum(isinstance(submodule, nn.Conv2d) for submodule in module.modules()) > 1
