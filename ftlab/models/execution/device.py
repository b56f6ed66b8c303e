"""Detection of the accelerator that PyTorch offers on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

ZERO_GPU_ENV = "SPACES_ZERO_GPU"
"""Environment variable of Spaces on ZeroGPU hardware, which lends its GPU to single calls of some seconds."""


def is_zero_gpu(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this machine is a Space on ZeroGPU hardware.

    Args:
        environment: environment variables.
    """
    # The values that Hugging Face's own package `spaces` takes for true.
    return environment.get(ZERO_GPU_ENV, "").lower() in ("1", "t", "true")


def detect_device() -> str:
    """Return the type of the device that `auto` selects: `cuda`, `mps`, `xpu` or `cpu`.

    On ZeroGPU hardware it is the CPU: the GPU that PyTorch may report there is lent to single calls, and a training
    would lose it in its middle.
    """
    if is_zero_gpu():
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    # Builds of torch without Intel GPU support lack the module.
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return "xpu"
    return "cpu"
