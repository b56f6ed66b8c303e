"""Freezing: which parameters are trained in an epoch, and which modules run in training mode."""

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

AUTO_START = "auto"
"""Value of `unfreeze_from` that trains the last blocks."""
AUTO_TRAINED_SHARE = 0.2
"""Share of the blocks that `auto` trains: those of MobileNetV2 from `features.15` on."""


def list_trainable_names(backbone: nn.Module, config: TrainConfig, epoch: int) -> list[str]:
    """List the backbone's parameters that are trained in an epoch, by the mode and the phases.

    An `unfreeze_from` that names no layer of the backbone gives ConfigError.

    Args:
        backbone: of the network.
        config: of the run.
        epoch: from 1.

    Returns:
        Names of parameters within the backbone.
    """
    names = list_names_from_layer(backbone, config.unfreeze_from)
    if config.mode == "frozen" or epoch <= config.unfreeze_epoch:
        return []
    if config.unfreeze_all_epoch and epoch > config.unfreeze_all_epoch:
        return list_names_from_layer(backbone, "")
    if not config.gradual_unfreezing:
        return names
    # Gradual unfreezing: one more block from the top with each epoch after `unfreeze_epoch`.
    unfrozen_names = {
        name for block in split_into_blocks(backbone)[-(epoch - config.unfreeze_epoch) :] for name in block
    }
    return [name for name in names if name in unfrozen_names]


def freeze_for_epoch(net: Network, config: TrainConfig, epoch: int) -> None:
    """Set `requires_grad` for an epoch: the head, and the backbone's part that is trained.

    Errors are those of `list_trainable_names`.

    Args:
        net: the network.
        config: of the run.
        epoch: from 1.
    """
    names = set(list_trainable_names(net.backbone, config, epoch))
    # In a head-only epoch auxiliary classifiers rest too: they only serve the backbone.
    network.freeze_by_mode(net, config.mode if names else "frozen")
    if not net.uses_auxiliary:
        net.auxiliary.requires_grad_(False)
        names = {name for name in names if not name.startswith(tuple(f"{path}." for path in net.auxiliary_paths))}
    for name, parameter in net.backbone.named_parameters():
        parameter.requires_grad_(name in names)


def list_names_from_layer(backbone: nn.Module, start_layer: str) -> list[str]:
    """List the backbone's parameters from a layer on, up to its end.

    Args:
        backbone: of the network.
        start_layer: a layer's path (`layer4`, `features.12.conv.1`); a fraction in (0, 1] of the layers that have
            parameters of their own, counted from the end and rounded up; `auto` for the last fifth of the blocks,
            rounded up; or empty for all.

    Returns:
        Names of parameters within the backbone.

    Raises:
        ConfigError: there is no such layer.
    """
    names = [name for name, _ in backbone.named_parameters()]
    if not start_layer:
        return names
    if start_layer == AUTO_START:
        blocks = split_into_blocks(backbone)
        return names[names.index(blocks[-math.ceil(AUTO_TRAINED_SHARE * len(blocks))][0]) :]
    # A dict keeps the order, which is that of the computation (see `blocks`).
    module_paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if _parse_number(start_layer) is not None:
        first_module = module_paths[-math.ceil((_parse_number(start_layer) or 1.0) * len(module_paths))]
        return names[next(i for i, name in enumerate(names) if name.rpartition(".")[0] == first_module) :]
    # The dot keeps `layer1` from matching `layer10`.
    start_indices = [i for i, name in enumerate(names) if f"{name}.".startswith(f"{start_layer}.")]
    if not start_indices:
        layers = [
            path for path, submodule in backbone.named_modules() if path and any(True for _ in submodule.parameters())
        ]
        # A wrong name is mostly a typing error; else the last layers show what paths look like.
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


def set_train_flags(module: nn.Module, batchnorm: str | None = "trainable") -> None:
    """Set training mode for what is trained; frozen modules stay in evaluation mode.

    So the BatchNorm statistics of a frozen module do not move, and its dropout is off.

    Args:
        module: a network, or a head.
        batchnorm: `trainable` (or None) lets the statistics of trained modules move, `frozen` keeps those of the whole
            backbone, `train` lets all of them move.
    """
    module.train()
    if not isinstance(module, Network):
        return
    # Modules without parameters (dropout, pooling) follow the module that holds them.
    for submodule in (module.backbone, *module.auxiliary):
        _freeze_to_eval(submodule)
    if batchnorm in ("frozen", "train"):
        for submodule in module.backbone.modules():
            if isinstance(submodule, _BatchNorm):
                submodule.train(batchnorm == "train")
    if not module.uses_auxiliary:
        # The backbone's own flag says whether its auxiliary classifiers compute; its parts have flags of their own.
        module.backbone.training = False


def _freeze_to_eval(module: nn.Module) -> None:
    """Set evaluation mode for every module that has parameters of which none is trained."""
    parameters = list(module.parameters())
    # A module of which a part is trained stays in training mode, and its children are decided one by one.
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _freeze_to_eval(child)
