"""Export of a module to ONNX, and sessions of ONNX Runtime that run the graph on the CPU."""

from __future__ import annotations

import copy
import importlib
import io
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MAX_EXPORT_PARAMETERS = 60_000_000
"""Parameters up to which a model is exported: the graph holds all of them, several times while it is built."""
_ONNX_OPSET = 17
"""Version of the ONNX operator set."""
_FUNCTION_SEARCH = "_add_onnxscript_fn"
"""Name of torch's search for functions of onnxscript in an exported graph."""
_EXPORT_LOCK = threading.Lock()
"""Held during an export: the exporter keeps its settings in globals."""


def can_export(spec: BackboneSpec, device: torch.device) -> bool:
    """Return whether a network of a backbone can be tried as an ONNX graph: small, on the CPU, packages installed."""
    has_packages = bool(find_spec("onnxruntime") and find_spec("onnx"))
    return device.type == "cpu" and spec.parameters <= _MAX_EXPORT_PARAMETERS and has_packages


def export_module(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    *,
    opset: int = _ONNX_OPSET,
    any_count: bool = True,
) -> bytes | None:
    """Export a module to ONNX.

    Args:
        module: in evaluation mode, on the CPU; its layers' padding is constant (`make_padding_static`).
        example: an input, [B, 3, S, S].
        input_name: of the input.
        output_names: of the outputs.
        opset: version of the ONNX operator set.
        any_count: for any number of images; else for as many as the example has.

    Returns:
        The serialized graph; None if torch cannot export the module.
    """
    file = io.BytesIO()
    try:
        with _EXPORT_LOCK, warnings.catch_warnings(), _skip_function_search():
            # It warns that this exporter is deprecated. The newer one takes three times as long for a graph of the same
            # speed, and needs the package onnxscript.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                input_names=[input_name],
                output_names=list(output_names),
                dynamic_axes={name: {0: "count"} for name in (input_name, *output_names)} if any_count else None,
                opset_version=opset,
            )
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return file.getvalue()


@contextmanager
def _skip_function_search() -> Iterator[None]:
    """Let torch not search an exported graph for functions of the package onnxscript: networks of ours have none.

    The search imports onnx, whose package ml_dtypes takes half a second of computing to import.

    Yields:
        Nothing.
    """
    module = importlib.import_module("torch.onnx._internal.torchscript_exporter.onnx_proto_utils")
    search = getattr(module, _FUNCTION_SEARCH, None)
    if search is None:  # another version of torch, which may search elsewhere
        yield
        return
    setattr(module, _FUNCTION_SEARCH, lambda graph, _opsets: graph)
    try:
        yield
    finally:
        setattr(module, _FUNCTION_SEARCH, search)


def create_session(graph: bytes, thread_count: int) -> InferenceSession:
    """Create a session of ONNX Runtime on the CPU.

    Args:
        graph: serialized ONNX.
        thread_count: threads of one call, the calling thread included.

    Returns:
        The session. Thread-safe.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = thread_count, 1
    # Threads that spin while they wait take twice the CPU time, from decoding and from a training beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def make_padding_static(module: nn.Module, example: Tensor) -> nn.Module:
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
    if hooks:
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
        # Without drawing weights only to replace them: that would also advance the process's random generator.
        plain_conv = nn.utils.skip_init(
            nn.Conv2d,
            same_conv.in_channels,
            same_conv.out_channels,
            1,
            groups=same_conv.groups,
            bias=same_conv.bias is not None,
        )
        assert isinstance(plain_conv, nn.Conv2d)
        plain_conv.kernel_size, plain_conv.stride, plain_conv.dilation = (
            same_conv.kernel_size,
            same_conv.stride,
            same_conv.dilation,
        )
        plain_conv.weight, plain_conv.bias = same_conv.weight, same_conv.bias
        padded_module.set_submodule(name, nn.Sequential(nn.ZeroPad2d((pads[0], pads[1], pads[2], pads[3])), plain_conv))
    return padded_module.eval()
