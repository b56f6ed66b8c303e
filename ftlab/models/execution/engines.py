"""Inference engines for a frozen backbone: torch with BatchNorm folded, or ONNX Runtime where that is faster.

The choice is measured: the backbone is exported, both engines get the same images, and ONNX Runtime is taken if its
features agree and it is clearly faster. A model that cannot be exported stays with torch, and so does a GPU.
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
"""Names of the engines, as in the configuration."""
MIN_ONNX_VIEWS = 256
"""Backbone passes below which only torch is considered: exporting a model takes seconds."""
MIN_ONNX_SPEEDUP = 1.2
"""Speed relative to torch that ONNX Runtime must reach: less is noise."""
_MAX_RELATIVE_ERROR = 1e-3
"""Largest allowed difference to torch's features, relative to the largest of them."""
_MAX_EXPORT_PARAMETERS = 60_000_000
"""Parameters up to which a model is exported: the graph holds all of them, several times while it is built."""
_ONNX_OPSET = 17
"""Version of the ONNX operator set."""


class Engine(Protocol):
    """Protocol of an engine. Thread-safe.

    Attributes:
        name: `torch` or `onnxruntime`.
    """

    name: str

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return features, float32 [B, D] on the CPU, of images, uint8 [B, 3, S, S] on the CPU."""


class TorchEngine:
    """The backbone in torch, with BatchNorm folded into convolutions.

    Attributes:
        fused_backbone: the copy that runs, on `device`.
        micro_batcher: halves batches that exceed the device's memory.
    """

    name = TORCH

    def __init__(self, backbone: nn.Module, normalize: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """Copy and fuse the backbone.

        Args:
            backbone: float32 [B, 3, S, S] -> [B, D]; left as it is.
            normalize: uint8 [B, 3, S, S] -> float32, same shape.
            device: where it runs.
        """
        self.normalize, self.device = normalize, device
        self.memory_format = torch.channels_last if _has_convolutions(backbone) else torch.contiguous_format
        self.fused_backbone = fuse_conv_batchnorm(backbone).to(device).to(memory_format=self.memory_format)
        self.micro_batcher = MicroBatcher()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return features, float32 [B, D] on the CPU, of images, uint8 [B, 3, S, S]."""
        return torch.cat(
            self.micro_batcher.run_in_slices(len(pixels), lambda batch_slice: self._run_batch(pixels[batch_slice]))
        )

    def _run_batch(self, pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            batch = self.normalize(pixels.to(self.device, non_blocking=True))
            features: Tensor = self.fused_backbone(batch.contiguous(memory_format=self.memory_format))
            return features.float().cpu()


class OnnxEngine:
    """The backbone as a graph of ONNX Runtime on the CPU, which computes on the calling thread."""

    name = ONNX

    def __init__(self, graph: bytes) -> None:
        """Create a session for a serialized ONNX graph."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # The caller has a thread for each core already.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return features, float32 [B, D], of images, uint8 [B, 3, S, S] on the CPU."""
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
    """Choose the engine for a number of backbone passes.

    Args:
        backbone: float32 [B, 3, S, S] -> [B, D]; left as it is.
        spec: of the backbone.
        normalize: uint8 [B, 3, S, S] -> float32, same shape.
        image_size: S, in pixels.
        device: where it runs.
        view_count: backbone passes: images times views.
        engine_name: `torch`, `onnxruntime`, or `auto` for the faster one. Without ONNX Runtime it is torch.

    Returns:
        The engine.
    """
    torch_engine = TorchEngine(backbone, normalize, device)
    if expected_engine(spec, device, view_count=view_count, engine_name=engine_name) == TORCH:
        return torch_engine
    # Noise will do: neither engine's speed depends on the content.
    pixels = torch.randint(
        0, 256, (4, 3, image_size, image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    graph = export_onnx(torch_engine.fused_backbone, normalize, pixels)
    if graph is None:
        return torch_engine
    # Timed with one thread each, as feature extraction runs them: a worker thread for each core.
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
    """Predict the engine that `choose_engine` tries first, and takes if it agrees and is faster.

    Args:
        spec: of the backbone.
        device: where it runs.
        view_count: backbone passes.
        engine_name: as for `choose_engine`.

    Returns:
        `torch` or `onnxruntime`.
    """
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
    """Export a backbone with its normalization to ONNX.

    Args:
        backbone: in evaluation mode, on the CPU.
        normalize: uint8 [B, 3, S, S] -> float32, same shape.
        pixels: an example, uint8 [B, 3, S, S].

    Returns:
        A graph from uint8 `pixels` [B, 3, S, S] to float32 `features` [B, D] for any B; None if torch cannot export it.
    """
    module, file = (
        _NormalizedBackbone(_make_padding_static(backbone, normalize(pixels)), normalize).eval(),
        io.BytesIO(),
    )
    dynamic_axes = {"pixels": {0: "count"}, "features": {0: "count"}}
    try:
        with warnings.catch_warnings():
            # It warns that this exporter is deprecated; the newer one needs the package onnxscript.
            warnings.simplefilter("ignore")
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
    """Normalization and backbone in one module, so that the graph takes uint8 images."""

    def __init__(self, backbone: nn.Module, normalize: Callable[[Tensor], Tensor]) -> None:
        """Join normalization and backbone."""
        super().__init__()
        self.backbone, self.normalize = backbone, normalize

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features, float32 [B, D], of images, uint8 [B, 3, S, S]."""
        features: Tensor = self.backbone(self.normalize(pixels))
        return features


def _make_padding_static(module: nn.Module, example: Tensor) -> nn.Module:
    """Copy a module with the padding of timm's `Conv2dSame` layers fixed for one image size.

    `Conv2dSame` computes TensorFlow's "same" padding for each input; a graph with constant padding runs twice as fast.

    Args:
        module: a backbone.
        example: float32 [B, 3, S, S].

    Returns:
        The copy, in evaluation mode.
    """
    # A copy: torch goes on to use the original at any size.
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
            # TensorFlow puts the odd pixel at the end; `ZeroPad2d` takes the last dimension first.
            pads = [total_padding // 2, total_padding - total_padding // 2, *pads]
        # Built with a 1 × 1 kernel, so that no large weight is drawn only to be replaced.
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
    """Time an engine on single images.

    Args:
        engine: to be timed.
        pixels: uint8 [B, 3, S, S].

    Returns:
        Seconds of the fastest pass.
    """
    durations = []  # the fastest, because other processes can only slow one down
    for image in pixels:
        start_time = time.monotonic()
        engine(image[None])
        durations.append(time.monotonic() - start_time)
    return min(durations)


def hash_parameters(backbone: nn.Module) -> str:
    """Return the SHA-256, in hex, of a network's parameters and buffers with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for name, value in backbone.state_dict().items():
        # Without name, dtype and shape two different networks could have the same bytes.
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _has_convolutions(module: nn.Module) -> bool:
    # A transformer's patch embedding is a single convolution, and gains nothing from channels_last.
    return sum(isinstance(submodule, nn.Conv2d) for submodule in module.modules()) > 1
