"""What of a network learns in an epoch, and which of its parts behave as in training."""

from __future__ import annotations

import difflib
import math

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftlab.config.fields import flag
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import network
from ftlab.models.blocks import blocks
from ftlab.models.network import Network


def learning(backbone: nn.Module, config: TrainConfig, epoch: int) -> list[str]:
    """Names of the backbone's parameters that learn in an epoch (from 1), by the mode and the phases.

    Raises:
        ConfigError: `unfreeze_from` names no layer of the backbone.
    """
    names = upper(backbone, config.unfreeze_from)
    if config.mode == "frozen" or epoch <= config.unfreeze_epoch:
        return []
    if config.gradual == "no":
        return names
    opened = {name for block in blocks(backbone)[-(epoch - config.unfreeze_epoch) :] for name in block}
    return [name for name in names if name in opened]


def freeze(net: Network, config: TrainConfig, epoch: int) -> None:
    """Mark what learns in an epoch: the head, and that of the backbone.

    Raises:
        ConfigError: as `learning` does.
    """
    names = set(learning(net.backbone, config, epoch))
    network.freeze(net, config.mode if names else "frozen")
    for name, parameter in net.backbone.named_parameters():
        parameter.requires_grad_(name in names)


def upper(backbone: nn.Module, wanted: str) -> list[str]:
    """Names of the parameters from a layer on, up to the backbone's end.

    Args:
        wanted: a layer's path (`layer4`, `features.12.conv.1`); a share in (0, 1] of the layers that have parameters of
            their own, counted from the end and rounded up; or empty for all.

    Raises:
        ConfigError: there is no such layer.
    """
    names = [name for name, _ in backbone.named_parameters()]
    if not wanted:
        return names
    homes = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if _number(wanted) is not None:
        first = homes[-math.ceil((_number(wanted) or 1.0) * len(homes))]
        return names[next(i for i, name in enumerate(names) if name.rpartition(".")[0] == first) :]
    begins = [i for i, name in enumerate(names) if f"{name}.".startswith(f"{wanted}.")]
    if not begins:
        layers = [path for path, part in backbone.named_modules() if path and any(True for _ in part.parameters())]
        near = difflib.get_close_matches(wanted, layers, n=5, cutoff=0.3) or layers[-5:]
        raise ConfigError("config.layer", name=flag("unfreeze_from"), value=wanted, names=", ".join(near))
    return names[begins[0] :]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def train_flags(module: nn.Module, batchnorm: str = "auto") -> None:
    """Training behaviour for what learns. What is frozen stays in evaluation: its BatchNorm statistics do not move, its
    dropout is off.

    Args:
        module: a network, or a head.
        batchnorm: `frozen` keeps the statistics of the whole backbone, `train` lets those of all of it move.
    """
    module.train()
    if not isinstance(module, Network):
        return
    for part in (module.backbone, *module.auxiliary):
        _still(part)
    if batchnorm != "auto":
        for part in module.backbone.modules():
            if isinstance(part, _BatchNorm):
                part.train(batchnorm == "train")


def _still(module: nn.Module) -> None:
    """Put into evaluation whatever has parameters of which none learns."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for part in module.children():
        _still(part)
