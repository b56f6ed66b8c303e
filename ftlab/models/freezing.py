"""What of a network learns in an epoch, and which of its parts behave as in training."""

from __future__ import annotations

import difflib
import math

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import network
from ftlab.models.blocks import split_into_blocks
from ftlab.models.network import Network


def list_trainable_names(backbone: nn.Module, config: TrainConfig, epoch: int) -> list[str]:
    """Names of the backbone's parameters that learn in an epoch (from 1), by the mode and the phases.

    Raises:
        ConfigError: `unfreeze_from` names no layer of the backbone.
    """
    names = list_names_from_layer(backbone, config.unfreeze_from)
    if config.mode == "frozen" or epoch <= config.unfreeze_epoch:
        return []
    if config.gradual == "no":
        return names
    unfrozen_names = {
        name for block in split_into_blocks(backbone)[-(epoch - config.unfreeze_epoch) :] for name in block
    }
    return [name for name in names if name in unfrozen_names]


def freeze_for_epoch(net: Network, config: TrainConfig, epoch: int) -> None:
    """Mark what learns in an epoch: the head, and that of the backbone.

    Raises:
        ConfigError: as `list_trainable_names` does.
    """
    names = set(list_trainable_names(net.backbone, config, epoch))
    network.freeze_by_mode(net, config.mode if names else "frozen")
    for name, parameter in net.backbone.named_parameters():
        parameter.requires_grad_(name in names)


def list_names_from_layer(backbone: nn.Module, start_layer: str) -> list[str]:
    """Names of the parameters from a layer on, up to the backbone's end.

    Args:
        start_layer: a layer's path (`layer4`, `features.12.conv.1`); a share in (0, 1] of the layers that have parameters of
            their own, counted from the end and rounded up; or empty for all.

    Raises:
        ConfigError: there is no such layer.
    """
    names = [name for name, _ in backbone.named_parameters()]
    if not start_layer:
        return names
    module_paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if _parse_number(start_layer) is not None:
        first_module = module_paths[-math.ceil((_parse_number(start_layer) or 1.0) * len(module_paths))]
        return names[next(i for i, name in enumerate(names) if name.rpartition(".")[0] == first_module) :]
    start_indices = [i for i, name in enumerate(names) if f"{name}.".startswith(f"{start_layer}.")]
    if not start_indices:
        layers = [
            path for path, submodule in backbone.named_modules() if path and any(True for _ in submodule.parameters())
        ]
        suggestions = difflib.get_close_matches(start_layer, layers, n=5, cutoff=0.3) or layers[-5:]
        raise ConfigError(
            "config.layer", name=format_flag("unfreeze_from"), value=start_layer, names=", ".join(suggestions)
        )
    return names[start_indices[0] :]


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def set_train_flags(module: nn.Module, batchnorm: str = "auto") -> None:
    """Training behaviour for what learns. What is frozen stays in evaluation: its BatchNorm statistics do not move, its
    dropout is off.

    Args:
        module: a network, or a head.
        batchnorm: `frozen` keeps the statistics of the whole backbone, `train` lets those of all of it move.
    """
    module.train()
    if not isinstance(module, Network):
        return
    for submodule in (module.backbone, *module.auxiliary):
        _freeze_to_eval(submodule)
    if batchnorm != "auto":
        for submodule in module.backbone.modules():
            if isinstance(submodule, _BatchNorm):
                submodule.train(batchnorm == "train")


def _freeze_to_eval(module: nn.Module) -> None:
    """Put into evaluation whatever has parameters of which none learns."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _freeze_to_eval(child)
