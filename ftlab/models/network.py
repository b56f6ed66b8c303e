"""A backbone and a classifier for the person's classes, and what each mode trains of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import heads
from ftlab.models.blocks import split_into_blocks
from ftlab.models.heads import HeadSpec
from ftlab.models.pretrained import imagenet_classes, weights


class Network(nn.Module):
    """`backbone` maps pictures to feature vectors, `head` maps those to logits.

    Shapes: float32 [B, 3, side, side] -> [B, D] -> [B, K].

    A backbone with auxiliary classifiers gives, while it trains, the vectors of its inner layers too, and
    `auxiliary` maps those: the network's answer is then a tuple of logits [B, K], its own first.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = nn.ModuleList(auxiliary)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        features = self.backbone(images)
        if isinstance(features, Tensor):
            return cast(Tensor, self.head(features))
        heads = (self.head, *self.auxiliary)
        return tuple(head(vector) for head, vector in zip(heads, features, strict=True))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As for any module. A file of ours has no place for the versions of its modules, and some (MNASNet's)
        insist on one: what has none is of today's."""
        versioned_state = OrderedDict(state_dict)
        versioned_state._metadata = getattr(state_dict, "_metadata", None) or self.state_dict()._metadata  # type: ignore[attr-defined]
        return super().load_state_dict(versioned_state, strict, assign)


def build_network(
    spec: BackboneSpec,
    num_classes: int | None,
    *,
    pretrained: bool,
    seed: int = 0,
    head_spec: HeadSpec = HeadSpec(),  # noqa: B008 (it is frozen)
    source_indices: Mapping[int, int] | None = None,
) -> Network:
    """The network of a row.

    Args:
        num_classes: K; None keeps the source's own linear classifier of 1000 ImageNet classes.
        pretrained: load the row's weights; else random ones.
        seed: of the random weights; the process's own generator is left as it was.
        head_spec: what the new head is made of.
        source_indices: classes that start as one of the source's: index of the class -> index there.

    Raises:
        WeightsError: pretrained weights are neither here nor to be had.
        ConfigError: there is nothing to inherit, for the source's classifier is not that of ImageNet's 1000 classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        source_module = weights.load_pretrained(spec) if pretrained else weights.build_module(spec)
        source_classifier = _remove_classifier(source_module, spec.head) if spec.head else None
        for path in spec.auxiliary:
            _remove_classifier(source_module, path)
        if num_classes is None:
            assert isinstance(source_classifier, nn.Linear)
            return Network(source_module, source_classifier)
        new_head = heads.build_head(spec.width, num_classes, head_spec)
        if source_indices is not None:
            _copy_class_rows(heads.find_classifier(new_head), source_classifier, source_indices, spec)
        return Network(
            source_module,
            new_head,
            [heads.build_head(width, num_classes, head_spec) for width in spec.auxiliary_widths],
        )


def _remove_classifier(module: nn.Module, path: str) -> nn.Module:
    """Take a classifier out: what it read comes out instead. Where it is a convolution before the average over
    places (SqueezeNet), that average is then all that follows: the ReLU between changes nothing, since what it
    read is a ReLU's output. A linear layer on the average is the same classifier, but without that ReLU at its
    end, which would leave a class that is below zero everywhere without a gradient."""
    classifier = module.get_submodule(path)
    assert isinstance(classifier, (nn.Linear, nn.Conv2d))
    module.set_submodule(path, nn.Identity())
    return classifier


def _copy_class_rows(
    head: nn.Linear, source_classifier: nn.Module | None, source_indices: Mapping[int, int], spec: BackboneSpec
) -> None:
    """Copy rows of the source's classifier, a linear layer or a 1 × 1 convolution, into the new one."""
    if not isinstance(source_classifier, (nn.Linear, nn.Conv2d)) or len(source_classifier.weight) != len(
        imagenet_classes.load_imagenet_names()
    ):
        raise ConfigError("config.no_imagenet", title=spec.title)
    with torch.no_grad():
        for class_index, source_index in source_indices.items():
            head.weight[class_index] = source_classifier.weight[source_index].flatten()
            if source_classifier.bias is not None:
                head.bias[class_index] = source_classifier.bias[source_index]


def as_logits_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a network gave, as logits [B, K]: its own, then those of its auxiliary classifiers while it trains."""
    return (output,) if isinstance(output, Tensor) else output


def freeze_by_mode(network: Network, mode: str) -> None:
    """Mark what the mode trains: in frozen mode the head alone."""
    network.backbone.requires_grad_(mode != "frozen")
    network.auxiliary.requires_grad_(mode != "frozen")
    network.head.requires_grad_(True)


def build_param_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameter groups for the optimizer, with the peak `lr` of each.

    The heads learn at `learning_rate` times `head_multiplier`, the backbone at `backbone_rate`, which 0 makes the
    learning rate; with `layer_decay` d, the rate of block l of L (1 at the pixels) is that times d^(L + 1 - l) (Bao et
    al., 2022, BEiT, arXiv:2106.08254, appendix). Biases and normalisation weights are not decayed unless `decay_norms`
    says so: they have one dimension, and shrinking them is no regularisation.
    """
    weight_decay, norm_decay = (
        config.weight_decay or 0.0,
        config.weight_decay or 0.0 if config.decay_norms == "yes" else 0.0,
    )
    param_groups: list[dict[str, Any]] = []
    for params, lr in _iter_params_with_lr(network, config):
        trainable = [p for p in params if p.requires_grad]
        for group_params, group_decay in (
            ([p for p in trainable if p.ndim > 1], weight_decay),
            ([p for p in trainable if p.ndim < 2], norm_decay),
        ):
            if group_params:
                param_groups.append({"params": group_params, "lr": lr, "peak": lr, "weight_decay": group_decay})
    return param_groups


def _iter_params_with_lr(network: nn.Module, config: TrainConfig) -> Iterator[tuple[list[nn.Parameter], float]]:
    """Parameters that share a rate, and it."""
    base_lr = config.learning_rate or 0.0
    head_lr = base_lr * (config.head_multiplier or 1.0)
    if not isinstance(network, Network):
        yield list(network.parameters()), head_lr
        return
    backbone_lr = config.backbone_rate or base_lr
    if config.layer_decay < 1:
        block_names = split_into_blocks(network.backbone)
        for level, parameter_names in enumerate(block_names):
            block_params = [network.backbone.get_parameter(name) for name in parameter_names]
            yield block_params, backbone_lr * config.layer_decay ** (len(block_names) - level)
    else:
        yield list(network.backbone.parameters()), backbone_lr
    yield list(network.head.parameters()), head_lr
    yield list(network.auxiliary.parameters()), head_lr
