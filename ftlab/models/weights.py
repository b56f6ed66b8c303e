"""Pretrained weights: where they are, and how they get into a module. torch is imported only to load them.

The loaders and caches are those of torchvision (`TORCH_HOME`) and, for the default backbone, a package that
ships the file; nothing is downloaded that is here already.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.backbones import Backbone
from ftlab.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Whereabouts:
    """Where a backbone's weights are.

    Attributes:
        file: where the file is, or where it goes when it is downloaded.
        ready: it is there.
        megabytes: its size, to download or downloaded.
    """

    file: Path
    ready: bool
    megabytes: float


def locate(row: Backbone) -> Whereabouts:
    """Where the weights of a row are; touches no network and imports no torch."""
    if row.weights_package:
        spec = importlib.util.find_spec(row.weights_package)
        folder = Path(next(iter(spec.submodule_search_locations or ["."]))) if spec else Path(row.weights_package)
        file = folder / "models" / row.weights_file
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        home = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
        file = home / "hub" / "checkpoints" / row.weights_file
    return Whereabouts(file, file.is_file(), row.megabytes)


def load(row: Backbone) -> nn.Module:
    """The source's module of a row with its pretrained weights, classifier of 1000 classes included.

    Raises:
        WeightsError: the file is not here and cannot be downloaded, or is damaged.
    """
    found = locate(row)
    module = build(row)
    try:
        stored = _stored(row, found.file)
        if row.weights_package:
            # The package's names differ from timm's; the tensors are the same, one to one, in the same order.
            stored = dict(zip(module.state_dict(), stored.values(), strict=True))
        module.load_state_dict(stored)
    # torch raises nearly anything for a damaged file: EOFError, KeyError, its own kinds … It is the file's fault.
    except Exception as cause:
        code = "weights.damaged" if found.ready else "weights.missing"
        said = str(cause).splitlines() if isinstance(cause, (OSError, RuntimeError)) else []
        why = said[0] if said else type(cause).__name__
        raise WeightsError(
            code, title=row.title, file=found.file, megabytes=f"{row.megabytes:.0f}", cause=why
        ) from cause
    return module


def _stored(row: Backbone, file: Path) -> dict[str, Tensor]:
    """What a row's file of weights holds; downloaded first where it is torchvision's and not here."""
    if row.weights_package:
        import torch

        return dict(torch.load(file, map_location="cpu", weights_only=True))
    from torchvision.models import get_model_weights

    # Not `get_model(weights=…)`: it would run whatever code the file holds.
    member = get_model_weights(row.name)[row.weights]
    return dict(member.get_state_dict(check_hash=True, weights_only=True))


def build(row: Backbone) -> nn.Module:
    """The source's module of a row with random weights, classifier of 1000 classes included."""
    if row.source == "timm":
        import timm

        return timm.create_model(row.name, pretrained=False)
    from torchvision.models import get_model

    return get_model(row.name, weights=None)
