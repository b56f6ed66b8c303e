"""A backbone and a classifier for the person's classes, and what each mode trains of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ftlab.config.backbones import Backbone
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models import heads
from ftlab.models.blocks import blocks
from ftlab.models.heads import Plan
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

    def forward(self, pictures: Tensor) -> Tensor | tuple[Tensor, ...]:
        features = self.backbone(pictures)
        if isinstance(features, Tensor):
            return cast(Tensor, self.head(features))
        heads = (self.head, *self.auxiliary)
        return tuple(head(vector) for head, vector in zip(heads, features, strict=True))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As for any module. A file of ours has no place for the versions of its modules, and some (MNASNet's)
        insist on one: what has none is of today's."""
        told = OrderedDict(state_dict)
        told._metadata = getattr(state_dict, "_metadata", None) or self.state_dict()._metadata  # type: ignore[attr-defined]
        return super().load_state_dict(told, strict, assign)


def build(
    row: Backbone,
    classes: int | None,
    *,
    pretrained: bool,
    seed: int = 0,
    head: Plan = Plan(),  # noqa: B008 (it is frozen)
    inherit: Mapping[int, int] | None = None,
) -> Network:
    """The network of a row.

    Args:
        classes: K; None keeps the source's own linear classifier of 1000 ImageNet classes.
        pretrained: load the row's weights; else random ones.
        seed: of the random weights; the process's own generator is left as it was.
        head: what the new head is made of.
        inherit: classes that start as one of the source's: index of the class -> index there.

    Raises:
        WeightsError: pretrained weights are neither here nor to be had.
        ConfigError: there is nothing to inherit, for the source's classifier is not that of ImageNet's 1000 classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = weights.load(row) if pretrained else weights.build(row)
        own = _take(module, row.head) if row.head else None
        for path in row.auxiliary:
            _take(module, path)
        if classes is None:
            assert isinstance(own, nn.Linear)
            return Network(module, own)
        new = heads.build(row.width, classes, head)
        if inherit is not None:
            _inherit(heads.classifier(new), own, inherit, row)
        return Network(module, new, [heads.build(width, classes, head) for width in row.auxiliary_widths])


def _take(module: nn.Module, path: str) -> nn.Module:
    """Take a classifier out: what it read comes out instead. Where it is a convolution before the average over
    places (SqueezeNet), that average is then all that follows: the ReLU between changes nothing, since what it
    read is a ReLU's output. A linear layer on the average is the same classifier, but without that ReLU at its
    end, which would leave a class that is below zero everywhere without a gradient."""
    classifier = module.get_submodule(path)
    assert isinstance(classifier, (nn.Linear, nn.Conv2d))
    module.set_submodule(path, nn.Identity())
    return classifier


def _inherit(head: nn.Linear, own: nn.Module | None, inherit: Mapping[int, int], row: Backbone) -> None:
    """Copy rows of the source's classifier, a linear layer or a 1 × 1 convolution, into the new one."""
    if not isinstance(own, (nn.Linear, nn.Conv2d)) or len(own.weight) != len(imagenet_classes.categories()):
        raise ConfigError("config.no_imagenet", title=row.title)
    with torch.no_grad():
        for mine, theirs in inherit.items():
            head.weight[mine] = own.weight[theirs].flatten()
            if own.bias is not None:
                head.bias[mine] = own.bias[theirs]


def answers(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a network gave, as logits [B, K]: its own, then those of its auxiliary classifiers while it trains."""
    return (given,) if isinstance(given, Tensor) else given


def freeze(network: Network, mode: str) -> None:
    """Mark what the mode trains: in frozen mode the head alone."""
    network.backbone.requires_grad_(mode != "frozen")
    network.auxiliary.requires_grad_(mode != "frozen")
    network.head.requires_grad_(True)


def groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameter groups for the optimizer, with the peak `lr` of each.

    The heads learn at `learning_rate` times `head_multiplier`, the backbone at `backbone_rate`, which 0 makes the
    learning rate; with `layer_decay` d, the rate of block l of L (1 at the pixels) is that times d^(L + 1 - l) (Bao et
    al., 2022, BEiT, arXiv:2106.08254, appendix). Biases and normalisation weights are not decayed unless `decay_norms`
    says so: they have one dimension, and shrinking them is no regularisation.
    """
    decay, bare = config.weight_decay or 0.0, config.weight_decay or 0.0 if config.decay_norms == "yes" else 0.0
    made: list[dict[str, Any]] = []
    for params, rate in _parts(network, config):
        learning = [p for p in params if p.requires_grad]
        for some, share in (([p for p in learning if p.ndim > 1], decay), ([p for p in learning if p.ndim < 2], bare)):
            if some:
                made.append({"params": some, "lr": rate, "peak": rate, "weight_decay": share})
    return made


def _parts(network: nn.Module, config: TrainConfig) -> Iterator[tuple[list[nn.Parameter], float]]:
    """Parameters that share a rate, and it."""
    rate = config.learning_rate or 0.0
    head = rate * (config.head_multiplier or 1.0)
    if not isinstance(network, Network):
        yield list(network.parameters()), head
        return
    below = config.backbone_rate or rate
    if config.layer_decay < 1:
        depths = blocks(network.backbone)
        for level, names in enumerate(depths):
            own = [network.backbone.get_parameter(name) for name in names]
            yield own, below * config.layer_decay ** (len(depths) - level)
    else:
        yield list(network.backbone.parameters()), below
    yield list(network.head.parameters()), head
    yield list(network.auxiliary.parameters()), head
