"""A backbone with a classifier for the person's classes, and the parameters that each mode trains."""

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
    """Backbone and head: `backbone` maps images to feature vectors, `head` maps these to logits.

    Shapes: float32 [B, 3, S, S] -> [B, D] -> [B, K].

    A backbone with auxiliary classifiers returns, in training mode, the vectors of inner layers too, and `auxiliary`
    maps those: the output is then a tuple of logits [B, K], those of `head` first.

    Attributes:
        backbone: the backbone.
        head: its classifier.
        auxiliary: heads for the vectors of inner layers.
        auxiliary_paths: modules of the backbone that compute those vectors.
        uses_auxiliary: whether auxiliary classifiers are trained; else they stay as they are and compute nothing.
        head_rng_state: state of PyTorch's random generator before the head was drawn; None where nobody recorded it.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        auxiliary: Iterable[nn.Module] = (),
        auxiliary_paths: Iterable[str] = (),
    ) -> None:
        """Join the parts.

        Args:
            backbone: float32 [B, 3, S, S] -> [B, D].
            head: [B, D] -> [B, K].
            auxiliary: heads for the vectors of inner layers.
            auxiliary_paths: modules of the backbone that compute those vectors.
        """
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = nn.ModuleList(auxiliary)
        self.auxiliary_paths, self.uses_auxiliary = tuple(auxiliary_paths), True
        self.head_rng_state: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return logits, float32 [B, K], of normalized images, float32 [B, 3, S, S]; a tuple with auxiliary heads."""
        features = self.backbone(images)
        # A backbone with auxiliary classifiers returns a tuple in training mode.
        if isinstance(features, Tensor):
            return cast(Tensor, self.head(features))
        heads = (self.head, *self.auxiliary)
        return tuple(head(vector) for head, vector in zip(heads, features, strict=True))

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,  # noqa: FBT001, FBT002 (nn.Module's signature)
        assign: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Load tensors by name, as for any module.

        Our files do not store the versions of modules, and some modules (MNASNet's) require one: a state without
        versions counts as one of today's.

        Args:
            state_dict: tensors by name.
            strict: as in `nn.Module.load_state_dict`.
            assign: as in `nn.Module.load_state_dict`.

        Returns:
            Missing and unexpected keys, as `nn.Module.load_state_dict` does.
        """
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
    """Build the network of a backbone spec.

    Pretrained weights that are neither here nor can be downloaded give WeightsError, and so does a damaged file;
    classes to inherit from a classifier that is not that of ImageNet's 1000 classes give ConfigError.

    Args:
        spec: of the backbone.
        num_classes: K; None keeps the pretrained classifier of ImageNet's 1000 classes.
        pretrained: load the spec's weights; else random ones.
        seed: of the random weights; the process's own generator is left as it was.
        head_spec: layers and initialization of the new head.
        source_indices: classes that start with the weights of a pretrained class: index of the class -> index there.

    Returns:
        The network, on the CPU.
    """
    # No device is listed: weights are drawn on the CPU, and the state of a GPU's generator stays untouched.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The order of the random draws is part of what a seed means: backbone, head, auxiliary heads.
        source_module = weights.load_pretrained(spec) if pretrained else weights.build_module(spec)
        source_classifier = _remove_classifier(source_module, spec.head) if spec.head else None
        # Auxiliary classifiers are replaced too: theirs are ImageNet's classes.
        for path in spec.auxiliary:
            _remove_classifier(source_module, path)
        if num_classes is None:
            assert isinstance(source_classifier, nn.Linear)
            return Network(source_module, source_classifier)
        head_rng_state = torch.get_rng_state()
        new_head = heads.build_head(spec.width, num_classes, head_spec)
        if source_indices is not None:
            _copy_class_rows(heads.find_classifier(new_head), source_classifier, source_indices, spec)
        net = Network(
            source_module,
            new_head,
            [heads.build_head(width, num_classes, head_spec) for width in spec.auxiliary_widths],
            [path.rpartition(".")[0] for path in spec.auxiliary],
        )
        net.head_rng_state = head_rng_state
        return net


def _remove_classifier(module: nn.Module, path: str) -> nn.Module:
    """Replace a classifier by the identity, so that the module returns the classifier's input.

    Where the classifier is a convolution before global average pooling (SqueezeNet), the average is all that then
    follows: the ReLU in between changes nothing, since its input is a ReLU's output. A linear layer on the average is
    the same classifier without the ReLU at its end, which would leave a class that is negative everywhere without a
    gradient.

    Args:
        module: of the library; changed in place.
        path: of the classifier.

    Returns:
        The classifier.
    """
    classifier = module.get_submodule(path)
    assert isinstance(classifier, (nn.Linear, nn.Conv2d))
    module.set_submodule(path, nn.Identity())
    return classifier


def _copy_class_rows(
    head: nn.Linear, source_classifier: nn.Module | None, source_indices: Mapping[int, int], spec: BackboneSpec
) -> None:
    """Copy rows of the pretrained classifier into the new one.

    Args:
        head: the new classifier; changed in place.
        source_classifier: a linear layer or a 1 × 1 convolution.
        source_indices: index of the class -> index of the row.
        spec: of the backbone.

    Raises:
        ConfigError: the pretrained classifier is not that of ImageNet's 1000 classes.
    """
    # The weights of some timm models know other classes than ImageNet's 1000 (ImageNet-21k), or none.
    if not isinstance(source_classifier, (nn.Linear, nn.Conv2d)) or len(source_classifier.weight) != len(
        imagenet_classes.load_imagenet_names()
    ):
        raise ConfigError("config.no_imagenet", title=spec.title)
    with torch.no_grad():
        for class_index, source_index in source_indices.items():
            # A 1 × 1 convolution has [K, D, 1, 1].
            head.weight[class_index] = source_classifier.weight[source_index].flatten()
            if source_classifier.bias is not None:
                head.bias[class_index] = source_classifier.bias[source_index]


def as_logits_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a network's output as a tuple of logits [B, K]: the head's, then the auxiliary heads'."""
    return (output,) if isinstance(output, Tensor) else output


def freeze_by_mode(network: Network, mode: str) -> None:
    """Set `requires_grad` by the mode: in frozen mode the head alone is trained.

    Args:
        network: changed in place.
        mode: `frozen`, `full` or `scratch`.
    """
    network.backbone.requires_grad_(mode != "frozen")
    network.auxiliary.requires_grad_(mode != "frozen")
    network.head.requires_grad_(True)


def build_param_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Build the parameter groups for the optimizer, each with its peak learning rate `peak`.

    The heads learn at `learning_rate` times `head_lr_multiplier`, the backbone at `backbone_lr`, where 0 selects the
    learning rate; with `layer_decay` d, the rate of block l of L (1 at the input) is that times d^(L + 1 - l) (Bao et
    al., 2022, BEiT, arXiv:2106.08254, appendix). Biases and normalization weights are not decayed unless
    `decay_norm_and_bias` is set: they are vectors, and shrinking them is no regularization.

    Args:
        network: a network, or a head alone.
        config: of the run.

    Returns:
        Groups of trainable parameters; at most two for each learning rate, with and without weight decay.
    """
    weight_decay, norm_decay = (
        config.weight_decay or 0.0,
        config.weight_decay or 0.0 if config.decay_norm_and_bias else 0.0,
    )
    param_groups: list[dict[str, Any]] = []
    for params, lr in _iter_params_with_lr(network, config):
        trainable = [p for p in params if p.requires_grad]
        for group_params, group_decay in (
            ([p for p in trainable if p.ndim > 1], weight_decay),
            ([p for p in trainable if p.ndim < 2], norm_decay),
        ):
            # Optimizers refuse an empty group. `peak` stays when schedules change `lr`.
            if group_params:
                param_groups.append({"params": group_params, "lr": lr, "peak": lr, "weight_decay": group_decay})
    return param_groups


def _iter_params_with_lr(network: nn.Module, config: TrainConfig) -> Iterator[tuple[list[nn.Parameter], float]]:
    """Group the parameters by learning rate.

    Args:
        network: a network, or a head alone.
        config: of the run.

    Yields:
        Parameters and their peak learning rate.
    """
    base_lr = config.learning_rate or 0.0
    head_lr = base_lr * (config.head_lr_multiplier or 1.0)
    # A head alone is trained on cached features.
    if not isinstance(network, Network):
        yield list(network.parameters()), head_lr
        return
    backbone_lr = config.backbone_lr or base_lr
    if config.layer_decay < 1:
        # The block nearest to the input has level 0 and so the highest power of the decay.
        block_names = split_into_blocks(network.backbone)
        for level, parameter_names in enumerate(block_names):
            block_params = [network.backbone.get_parameter(name) for name in parameter_names]
            yield block_params, backbone_lr * config.layer_decay ** (len(block_names) - level)
    else:
        yield list(network.backbone.parameters()), backbone_lr
    yield list(network.head.parameters()), head_lr
    yield list(network.auxiliary.parameters()), head_lr
