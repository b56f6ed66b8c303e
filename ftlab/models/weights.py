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
from urllib.error import URLError

from ftlab.backbones import Backbone
from ftlab.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn


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
    import torch

    found = locate(row)
    try:
        if row.weights_package:
            module = build(row)
            stored = torch.load(found.file, map_location="cpu", weights_only=True)
            # The package's names differ from timm's; the tensors are the same, one to one, in the same order.
            own = module.state_dict()
            module.load_state_dict(dict(zip(own, stored.values(), strict=True)))
            return module
        from torchvision.models import get_model, get_model_weights

        return get_model(row.name, weights=get_model_weights(row.name)[row.weights])
    except (OSError, URLError, RuntimeError) as cause:
        code = "weights.damaged" if found.ready else "weights.missing"
        raise WeightsError(
            code, title=row.title, file=found.file, megabytes=f"{row.megabytes:.0f}", cause=cause
        ) from cause


def build(row: Backbone) -> nn.Module:
    """The source's module of a row with random weights, classifier of 1000 classes included."""
    if row.source == "timm":
        import timm

        return timm.create_model(row.name, pretrained=False)
    from torchvision.models import get_model

    return get_model(row.name, weights=None)
