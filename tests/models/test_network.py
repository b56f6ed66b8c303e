"""Every backbone of the table, without its weights: what is built, what each mode trains, where Grad-CAM looks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import MODES, TrainConfig, fill_defaults
from ftlab.inference.cam_methods import compute_cam
from ftlab.models import freezing, heads, network, weights_file
from ftlab.models.blocks import split_into_blocks
from ftlab.models.execution.fuse_batchnorm import fuse_conv_batchnorm
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import weights
from ftlab.training.optim import optimizers, schedules
from ftlab.training.optim.keras_rmsprop import KerasRMSprop
from tests.support.random_networks import settle_norms, tiled_draws

pytestmark = pytest.mark.usefixtures("one_thread_for_all")

CLASSES = 4
SPEC = backbones.get_backbone_spec("mobilenet_v2")
RATE, DECAY = 0.01, 0.1
MAPS = {"alexnet": 6, "squeezenet1_1": 13, "inception_v3": 8, "efficientnet_v2_s": 12, "vit_b_16": 14}
"""Side of Grad-CAM's map, where it is not the usual 7."""
LARGE = 1 << 16
"""Values of a matrix above which it is not written to a file as a whole."""
SMALL_SIDE = 96
"""Side in pixels at which two copies of a network are compared, where they take it."""
RESCALED = ("googlenet", "inception_v3")
"""torchvision gives these ImageNet's mean and deviation, and undoes that inside."""


@pytest.fixture(scope="module", params=list(backbones.BACKBONES))
def spec(request: pytest.FixtureRequest) -> BackboneSpec:
    return backbones.get_backbone_spec(request.param)


@pytest.fixture(scope="module")
def net(spec: BackboneSpec) -> Network:
    """As after some training: running statistics and scales of normalisations that do something."""
    with tiled_draws():
        made = network.build_network(spec, CLASSES, pretrained=False, seed=3).eval()
    settle_norms(made)
    return made


@pytest.fixture(scope="module")
def answered(spec: BackboneSpec, net: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and logits of a picture, of one pass."""
    seen: list[torch.Tensor] = []
    with torch.inference_mode(), net.backbone.register_forward_hook(lambda _module, _given, out: seen.append(out)):
        logits = net(pictures(spec.side))
    (features,) = seen
    return features, logits


def pictures(side: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def settings(spec: BackboneSpec, mode: str, **more: Any) -> TrainConfig:
    return fill_defaults(TrainConfig(backbone=spec.name, mode=mode, learning_rate=RATE, weight_decay=DECAY, **more))


def groups(net: Network, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameter groups of a network as the mode freezes it; it is left with all parameters learning."""
    network.freeze_by_mode(net, config.mode)
    made = network.build_param_groups(net, config)
    net.requires_grad_(True)
    return made


def test_parameters_are_as_many_as_the_table_says(spec: BackboneSpec, net: Network) -> None:
    assert sum(p.numel() for p in net.backbone.parameters()) == spec.parameters
    total = sum(p.numel() for p in net.parameters())
    for mode in MODES:
        learning = sum(p.numel() for group in groups(net, settings(spec, mode)) for p in group["params"])
        assert (learning, total) == backbones.count_parameters(spec, CLASSES, mode)


def test_each_classifier_is_replaced_by_one_for_the_classes(spec: BackboneSpec, net: Network) -> None:
    assert all(isinstance(net.backbone.get_submodule(path), nn.Identity) for path in (spec.head, *spec.auxiliary))
    new_heads = [net.head, *net.auxiliary]
    assert [(head.in_features, head.out_features) for head in new_heads] == [
        (width, CLASSES) for width in (spec.width, *spec.auxiliary_widths)
    ]
    for head in new_heads:
        assert not head.bias.any()
        assert 0.005 < float(head.weight.detach().std()) < 0.02


def test_a_forward_pass_at_its_side(
    spec: BackboneSpec, net: Network, answered: tuple[torch.Tensor, torch.Tensor]
) -> None:
    features, logits = answered
    with torch.inference_mode():
        assert torch.equal(logits, net.head(features))
    assert (features.shape, features.dtype) == ((1, spec.width), torch.float32)
    assert logits.shape == (1, CLASSES)
    assert logits.isfinite().all()


def test_it_takes_another_side_unless_its_row_says_that_it_does_not(spec: BackboneSpec, net: Network) -> None:
    """Tensors without values have shapes, which is all that a network of a fixed side refuses."""
    tensors = itertools.chain(net.named_parameters(), net.named_buffers())
    empty = {name: tensor.to("meta") for name, tensor in tensors}
    images = torch.zeros(1, 3, spec.side - 64, spec.side - 64, device="meta")
    try:
        with torch.inference_mode():
            torch.func.functional_call(net, empty, images)
    except (AssertionError, RuntimeError):
        assert spec.fixed_side
    else:
        assert not spec.fixed_side


@pytest.mark.parametrize("mode", MODES)
def test_what_each_mode_trains(net: Network, mode: str) -> None:
    network.freeze_by_mode(net, mode)
    try:
        assert {p.requires_grad for p in net.backbone.parameters()} == {mode != "frozen"}
        assert {p.requires_grad for p in net.head.parameters()} == {True}
        assert {p.requires_grad for p in net.auxiliary.parameters()} <= {mode != "frozen"}
        freezing.set_train_flags(net)
        assert {part.training for part in net.backbone.modules()} == {mode != "frozen"}
        assert {part.training for part in net.auxiliary} <= {mode != "frozen"}
        assert net.head.training
    finally:
        net.requires_grad_(True).eval()


@pytest.mark.parametrize(("mode", "factor"), [("frozen", 1.0), ("full", 10.0), ("scratch", 1.0)])
def test_new_heads_learn_ten_times_faster_in_full_mode_only(
    spec: BackboneSpec, net: Network, mode: str, factor: float
) -> None:
    made = groups(net, settings(spec, mode))
    rates = {id(p): group["lr"] for group in made for p in group["params"]}
    assert {rates[id(p)] for p in net.head.parameters()} == {RATE * factor}
    assert {rates.get(id(p)) for p in net.auxiliary.parameters()} <= {None if mode == "frozen" else RATE * factor}
    assert {rates.get(id(p)) for p in net.backbone.parameters()} == ({None} if mode == "frozen" else {RATE})
    assert all(group["peak"] == group["lr"] for group in made)
    assert sum(len(group["params"]) for group in made) == len(rates)


def test_biases_and_norms_are_not_decayed(spec: BackboneSpec, net: Network) -> None:
    made = groups(net, settings(spec, "full"))
    decays = {id(p): group["weight_decay"] for group in made for p in group["params"]}
    assert {(p.ndim > 1, decays[id(p)]) for p in net.parameters()} == {(True, DECAY), (False, 0.0)}
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            assert decays[id(module.weight)] == decays[id(module.bias)] == 0.0


def test_grad_cam_finds_its_layer(
    spec: BackboneSpec, net: Network, answered: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logits, evidence = compute_cam(net, spec, pictures(spec.side), 1)
    assert logits.shape == (CLASSES,)
    side = MAPS.get(spec.name, 7)
    assert evidence.shape == (side, side)
    assert evidence.isfinite().all()
    # Before the ReLU, and so where there is evidence against the class too.
    assert float(evidence.max() - evidence.min()) > 1e-3 * float(evidence.abs().max()) > 0
    assert torch.allclose(answered[1][0], logits, rtol=1e-4, atol=1e-5)


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.fixture(scope="module")
def folded(net: Network) -> nn.Module:
    """The faster copy of the backbone, which is itself left as it is."""
    before = {key: value.clone() for key, value in net.backbone.state_dict().items()}
    made = fuse_conv_batchnorm(net.backbone)
    assert all(torch.equal(before[key], value) for key, value in net.backbone.state_dict().items())
    return made


def test_the_faster_copy_for_features_gives_the_same_up_to_rounding(
    spec: BackboneSpec, net: Network, answered: tuple[torch.Tensor, torch.Tensor], folded: nn.Module
) -> None:
    images = pictures(spec.side if spec.fixed_side else SMALL_SIDE)
    with torch.inference_mode():
        expected = answered[0] if spec.fixed_side else net.backbone(images)
        given = folded(images)
    assert float((given - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def test_the_faster_copy_has_no_batchnorm_left_but_those_before_which_there_is_no_convolution(
    spec: BackboneSpec, net: Network, folded: nn.Module
) -> None:
    count = norms(net.backbone)
    assert count == {"tf_efficientnet_lite0": 49, "mobilenet_v2": 52, "resnet18": 20}.get(spec.name, count)
    assert norms(folded) == {"densenet121": 62, "maxvit_t": 11}.get(spec.name, 0)


@pytest.mark.parametrize("spec", ["tf_efficientnet_lite0", "googlenet", "densenet121", "swin_t"], indirect=True)
def test_the_faster_copy_takes_a_head_on_top_along(spec: BackboneSpec, net: Network, folded: nn.Module) -> None:
    whole = nn.Sequential(net.backbone, heads.build_head(spec.width, 7, HeadSpec(hidden=4, dropout=0.5))).eval()
    copied = fuse_conv_batchnorm(whole)
    batch = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, given = whole(batch), copied(batch)
    assert (given - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert norms(copied) == norms(folded)


def test_it_is_saved_and_read_back_to_the_bit(net: Network, tmp_path: Path) -> None:
    """Of large matrices, which are hundreds of megabytes in AlexNet and VGG, a row is written and the rest kept here.
    No pass follows: the same module with the same tensors gives the same answer."""
    file, state = tmp_path / "net.safetensors", net.state_dict()
    large = {key for key, tensor in state.items() if tensor.numel() > LARGE}
    written = {key: tensor[:1] if key in large else tensor for key, tensor in state.items()}
    before = {key: tensor.clone() for key, tensor in written.items()}
    with torch.inference_mode():
        weights_file.save_tensors(file, written, {"epoch": 3})
        for tensor in written.values():
            tensor.zero_()
        tensors, header = weights_file.load_tensors(file)
        assert tensors.keys() == before.keys()
        # The matrices of which a row was written are filled in from that row, the others by the network itself.
        for key in large:
            state[key][:1] = tensors[key]
        net.load_state_dict(tensors | {key: state[key] for key in large})
    for key, tensor in net.state_dict().items():
        now = tensor[:1] if key in large else tensor
        assert now.dtype == before[key].dtype, key
        assert torch.equal(now, before[key]), key
    assert header == {"epoch": 3}
    file.unlink()


# Classifiers that are not like the others


@pytest.mark.parametrize("name", RESCALED)
def test_pixels_come_as_torchvisions_own_rescaling_gives_them(name: str) -> None:
    from torchvision.models import get_model, get_model_weights

    spec = backbones.get_backbone_spec(name)
    with tiled_draws():
        ours = weights.build_module(spec).eval()
    theirs = get_model(name, weights=None, init_weights=False, transform_input=True).eval()
    theirs.load_state_dict(ours.state_dict())
    preset = get_model_weights(name)[spec.weights].transforms()
    pixels = torch.rand(1, 3, spec.side, spec.side, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (spec.mean, spec.std))
    given = (pixels - torch.tensor(preset.mean).view(3, 1, 1)) / torch.tensor(preset.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = theirs(given)
        assert float((ours((pixels - mean) / std) - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_squeezenets_head_on_the_average_is_its_own_classifier_without_the_last_relu() -> None:
    spec = backbones.get_backbone_spec("squeezenet1_1")
    whole = weights.build_module(spec).eval()
    own = whole.get_submodule(spec.head)
    assert isinstance(own, nn.Conv2d)
    net = network.build_network(spec, 1000, pretrained=False).eval()
    net.backbone.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith(spec.head)})
    net.head.load_state_dict({"weight": own.weight.flatten(1), "bias": own.bias})
    batch = pictures(spec.side)
    with torch.inference_mode():
        without_relu = own(whole.get_submodule("features")(batch)).mean(dim=(2, 3))
        assert torch.allclose(net(batch), without_relu, atol=1e-5)


# Any backbone will do


def test_random_weights_are_a_function_of_the_seed_and_the_generator_is_left_alone() -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one, same, other = (network.build_network(spec, 2, pretrained=False, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert not torch.equal(one["backbone.features.0.0.weight"], other["backbone.features.0.0.weight"])


def test_the_sources_own_classifier_can_be_kept() -> None:
    net = network.build_network(backbones.get_backbone_spec("mobilenet_v2"), None, pretrained=False)
    assert net.head.out_features == 1000


def few(**fields: Any) -> tuple[Network, dict[str, dict[str, Any]]]:
    """A network, and the group of each of its parameters by name."""
    config = settings(backbones.get_backbone_spec("mobilenet_v2"), **{"mode": "full", **fields})
    net = network.build_network(backbones.get_backbone_spec("mobilenet_v2"), 2, pretrained=False)
    network.freeze_by_mode(net, config.mode)
    names = {id(p): name for name, p in net.named_parameters()}
    made = network.build_param_groups(net, config)
    return net, {names[id(p)]: group for group in made for p in group["params"]}


@pytest.mark.parametrize("mode", MODES)
def test_a_multiplier_that_is_given_counts_in_every_mode(mode: str) -> None:
    net, by_name = few(mode=mode, head_lr_multiplier=3.0)
    assert by_name["head.weight"]["lr"] == by_name["head.bias"]["lr"] == pytest.approx(3 * RATE)
    assert {p["lr"] for n, p in by_name.items() if n.startswith("backbone")} == (set() if mode == "frozen" else {RATE})
    (alone,) = {
        group["lr"] for group in network.build_param_groups(net.head, settings(SPEC, mode, head_lr_multiplier=3.0))
    }
    assert alone == pytest.approx(3 * RATE), "a head on cached features too"


def test_the_backbone_may_have_a_rate_of_its_own() -> None:
    _, by_name = few(backbone_lr=0.002)
    assert {group["lr"] for name, group in by_name.items() if name.startswith("backbone")} == {0.002}
    assert by_name["head.weight"]["lr"] == pytest.approx(10 * RATE)


def test_each_block_learns_slower_than_the_one_above_it_by_the_decay() -> None:
    net, by_name = few(layer_decay=0.5)
    depths = split_into_blocks(net.backbone)
    rates = [{by_name[f"backbone.{name}"]["lr"] for name in block} for block in depths]
    assert rates == [{RATE * 0.5 ** (len(depths) - level)} for level in range(len(depths))]
    assert by_name["head.weight"]["lr"] == pytest.approx(10 * RATE)
    assert len(by_name) == len(list(net.parameters()))


def test_all_groups_follow_one_schedule() -> None:
    net, _ = few(layer_decay=0.5)
    config = settings(SPEC, "full", layer_decay=0.5)
    optimizer = optimizers.build_optimizer(network.build_param_groups(net, config), config)
    schedules.set_learning_rates(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25 * g["peak"] for g in optimizer.param_groups]


def test_biases_and_norms_are_decayed_where_a_recipe_wants_it() -> None:
    _, by_name = few(decay_norm_and_bias=True)
    assert {group["weight_decay"] for group in by_name.values()} == {DECAY}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD), ("rmsprop", KerasRMSprop)],
)
def test_optimizers_by_name(name: str, kind: type[torch.optim.Optimizer]) -> None:
    config = settings(SPEC, "full", optimizer=name, momentum=0.8)
    made = optimizers.build_optimizer(groups(network.build_network(SPEC, 2, pretrained=False), config), config)
    assert isinstance(made, kind)
    assert type(made).__name__.removeprefix("Eager") == kind.__name__
    assert {group["weight_decay"] for group in made.param_groups} == {0.0, DECAY}
    assert {group["lr"] for group in made.param_groups} == {RATE, 10 * RATE}
    if name == "sgd":
        assert {(group["momentum"], group["nesterov"]) for group in made.param_groups} == {(0.8, True)}
    if name == "rmsprop":
        assert {(group["rho"], group["eps"]) for group in made.param_groups} == {(0.9, 1e-7)}


def test_sgds_momentum_is_plain_on_demand() -> None:
    config = settings(SPEC, "full", optimizer="sgd", momentum=0.8, nesterov=False)
    made = optimizers.build_optimizer(groups(network.build_network(SPEC, 2, pretrained=False), config), config)
    assert {(group["momentum"], group["nesterov"]) for group in made.param_groups} == {(0.8, False)}


def test_sgd_without_momentum_is_plain() -> None:
    config = TrainConfig(optimizer="sgd", momentum=0.0, learning_rate=RATE)
    made = optimizers.build_optimizer([{"params": [nn.Parameter(torch.zeros(1))], "lr": RATE, "peak": RATE}], config)
    assert {(group["momentum"], group["nesterov"]) for group in made.param_groups} == {(0.0, False)}


@pytest.mark.parametrize(
    ("wanted", "device", "chosen"),
    [
        (None, "cpu", True),
        (None, "cuda", True),
        (None, "mps", False),
        (False, "cpu", False),
        (True, "mps", True),
    ],
)
def test_steps_are_fused_where_that_was_found_to_be_faster(*, wanted: bool | None, device: str, chosen: bool) -> None:
    assert optimizers.resolve_fused(TrainConfig(fused=wanted), torch.device(device)) == chosen


@pytest.mark.parametrize(
    ("values", "is_fused"),
    [
        ({"optimizer": "sgd"}, True),
        ({"optimizer": "sgd", "gradual_unfreezing": True}, None),
        ({"optimizer": "sgd", "precision": "fp16"}, None),
        ({"optimizer": "sgd", "precision": "fp16", "momentum": 0.0}, True),
        ({"optimizer": "adamw", "gradual_unfreezing": True, "precision": "fp16"}, True),
    ],
)
def test_sgd_with_momentum_is_not_fused_where_that_would_fail_or_spoil_it(
    values: dict[str, Any],
    is_fused: bool | None,  # noqa: FBT001
) -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    net = network.build_network(spec, 2, pretrained=False)
    config = settings(spec, "full", **{"unfreeze_epoch": 1, "fused": True, **values})
    assert optimizers.build_optimizer(groups(net, config), config).defaults["fused"] is is_fused


@pytest.mark.parametrize(
    "fields", [{"optimizer": "adamw"}, {"optimizer": "adam"}, {"optimizer": "sgd"}, {"optimizer": "rmsprop"}], ids=str
)
def test_fused_steps_are_the_others_but_for_rounding(fields: dict[str, Any]) -> None:
    """Ten of them on a network laid out as a training has it: within 1e-5 of the largest weight."""
    spec = backbones.get_backbone_spec("mobilenet_v2")
    most = max(parameter.numel() for parameter in network.build_network(spec, 2, pretrained=False).parameters())
    gradients = torch.randn(most + 10, generator=torch.Generator().manual_seed(0))
    ends = []
    for fused in (True, False):
        net = network.build_network(spec, 2, pretrained=False).to(memory_format=torch.channels_last)
        config = settings(spec, "full", fused=fused, **fields)
        optimizer = optimizers.build_optimizer(groups(net, config), config)
        for step in range(10):
            for parameter in net.parameters():
                drawn = gradients[step : step + parameter.numel()].view(parameter.shape)
                parameter.grad = torch.empty_like(parameter).copy_(drawn)
            optimizer.step()
        ends.append(net.state_dict())
    for name, value in ends[0].items():
        assert torch.allclose(value, ends[1][name], rtol=0, atol=1e-5 * float(value.abs().max()) + 1e-12), name


def test_gradients_have_the_layout_that_a_fused_step_takes_for_granted() -> None:
    """It reads weights, gradients and memories from their beginnings, whatever the order of their values."""
    net = network.build_network(backbones.get_backbone_spec("mobilenet_v2"), 2, pretrained=False).to(
        memory_format=torch.channels_last
    )
    pictures = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    for inputs in (pictures, pictures.contiguous()):
        net.zero_grad()
        net(inputs).sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            axes = [axis for axis, length in enumerate(parameter.shape) if length > 1]
            assert all(parameter.stride(axis) == parameter.grad.stride(axis) for axis in axes), name
