"""Detection of the accelerator that PyTorch offers on this machine."""

from __future__ import annotations

import torch


def detect_device() -> str:
    """Return the type of the device that `auto` selects: `cuda`, `mps`, `xpu` or `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    # Builds of torch without Intel GPU support lack the module.
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return "xpu"
    return "cpu"
