"""Inference engines for a frozen backbone: torch with BatchNorm folded, or ONNX Runtime where that is faster.

The choice is measured: the backbone is exported, both engines get the same images, and ONNX Runtime is taken if its
features agree and it is clearly faster. A model that cannot be exported stays with torch, and so does a GPU.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.models.execution import onnx_graph
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
        # The caller has a thread for each core already.
        self._session = onnx_graph.create_session(graph, thread_count=1)

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
    graph = export_onnx(torch_engine.fused_backbone, normalize, pixels[:1])
    if graph is None:
        return torch_engine
    # Timed with one thread each, as feature extraction runs them: a worker thread for each core.
    onnx_engine, thread_count = OnnxEngine(graph), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch_features, torch_seconds = time_engine(torch_engine, pixels)
        onnx_features, onnx_seconds = time_engine(onnx_engine, pixels)
    finally:
        torch.set_num_threads(thread_count)
    max_error = _MAX_RELATIVE_ERROR * float(torch_features.abs().max())
    agrees = torch.allclose(torch_features, onnx_features, rtol=0, atol=max_error)
    is_faster = torch_seconds > MIN_ONNX_SPEEDUP * onnx_seconds
    return onnx_engine if agrees and (is_faster or engine_name == ONNX) else torch_engine


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
    if (
        not onnx_graph.can_export(spec, device)
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
    static_backbone = onnx_graph.make_padding_static(backbone, normalize(pixels))
    module = _NormalizedBackbone(static_backbone, normalize).eval()
    return onnx_graph.export_module(module, pixels, "pixels", ["features"])


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


def time_engine(engine: Engine, pixels: Tensor) -> tuple[Tensor, float]:
    """Run an engine on single images, and time it.

    Args:
        engine: to be timed.
        pixels: uint8 [B, 3, S, S].

    Returns:
        Features, float32 [B, D], and the seconds of the fastest pass.
    """
    features, durations = [], []
    for image in pixels:
        start_time = time.monotonic()
        features.append(engine(image[None]))
        durations.append(time.monotonic() - start_time)
    # The first pass prepares the others, and other processes can only slow one down.
    return torch.cat(features), min(durations)


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
