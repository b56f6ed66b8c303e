"""Four maps of where the evidence lies, against hand arithmetic and against the package grad-cam; a network left as it
was found."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.inference import cam_methods
from ftlab.inference.cam_methods import compute_cam, weight_activation
from ftlab.inference.cam_options import CAM_METHODS
from ftlab.models import cam_layers, heads, network
from ftlab.models.activation_layout import to_feature_map
from ftlab.models.cam_layers import CamLayer
from ftlab.models.network import Network
from tests.support.random_networks import tiled_draws

SPEC = dataclasses.replace(backbones.get_backbone_spec("resnet18"), cam="conv")
HEAD = [[2.0, -1.0], [-3.0, 1.0]]
"""Weights of the classes 0 and 1 for the features 0 and 1."""
THEIRS = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_pp": pytorch_grad_cam.GradCAMPlusPlus,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
}
CLASSES = 6
EQUAL = 1e-4
"""Largest difference from the package's map, both scaled to [0, 1]."""

pytestmark = pytest.mark.usefixtures("one_thread")


class Hand(nn.Module):
    """Channel 0 is red, channel 1 green minus blue; then what follows; then the means: [B, 3, h, w] -> [B, 2]."""

    def __init__(self, *after: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.conv.weight = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]]).view(2, 3, 1, 1))
        self.after = nn.Sequential(*after)

    def forward(self, pictures: Tensor) -> Tensor:
        seen: Tensor = self.after(self.conv(pictures))
        return seen.mean(dim=(2, 3))


def hand(*after: nn.Module) -> Network:
    head = nn.Linear(2, 2)
    head.weight, head.bias = nn.Parameter(torch.tensor(HEAD)), nn.Parameter(torch.tensor([0.5, 0.0]))
    return Network(Hand(*after), head)


@pytest.fixture
def picture() -> Tensor:
    red, green, blue = [[4.0, 0.0], [2.0, 0.0]], [[0.0, 8.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]
    return torch.tensor([[red, green, blue]])


# The formulas


def test_grad_cam_by_hand(picture: Tensor) -> None:
    # A0 = [[4, 0], [2, 0]], A1 = [[0, 8], [0, -4]]; features 1.5 and 1; a class's weight over four places.
    logits, evidence = compute_cam(hand(), SPEC, picture, 0)
    assert logits.tolist() == [2 * 1.5 - 1 + 0.5, -3 * 1.5 + 1]
    assert evidence.tolist() == [[2.0, -2.0], [1.0, 1.0]]
    assert compute_cam(hand(), SPEC, picture, 1)[1].tolist() == [[-3.0, 2.0], [-1.5, -1.0]]


def test_the_others_by_hand() -> None:
    activation = torch.tensor([[[4.0, 0.0], [2.0, 0.0]], [[0.0, 8.0], [0.0, -4.0]]])
    gradient = torch.tensor([[[0.5, 0.0], [-1.0, 0.0]], [[-0.25, 0.25], [0.0, 1.0]]])
    assert weight_activation(activation, gradient, "hires_cam").tolist() == [[2.0, 2.0], [-2.0, -4.0]]
    assert weight_activation(activation, gradient, "layer_cam").tolist() == [[2.0, 2.0], [0.0, -4.0]]
    # Sums of A0 and A1: 6 and 4. alpha = 1 / (2 + sum · gradient), where there is a gradient.
    weights = 0.5 / (2 + 6 * 0.5), 0.25 / (2 + 4 * 0.25) + 1 / (2 + 4 * 1)
    expected = [[4 * weights[0], 8 * weights[1]], [2 * weights[0], -4 * weights[1]]]
    assert weight_activation(activation, gradient, "grad_cam_pp").numpy() == pytest.approx(np.array(expected), rel=1e-4)


def test_without_a_class_it_is_the_first_guess(picture: Tensor) -> None:
    for method in CAM_METHODS:
        given = compute_cam(hand(), SPEC, picture, None, method)[1]
        assert torch.equal(given, compute_cam(hand(), SPEC, picture, 0, method)[1])


def test_what_follows_in_place_does_not_spoil_the_map(picture: Tensor) -> None:
    # ReLU takes the gradient away where A1 is negative: alpha1 = -1 · 3/4 of the places.
    _, evidence = compute_cam(hand(nn.ReLU(inplace=True)), SPEC, picture, 0)
    live = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]
    alpha = [2 / 4 * np.sum(live[0]) / 4, -1 / 4 * np.sum(live[1]) / 4]
    expected = alpha[0] * np.array([[4, 0], [2, 0]]) + alpha[1] * np.array([[0, 8], [0, -4]])
    assert evidence.numpy() == pytest.approx(expected)


def test_another_layer_gives_its_own_map(picture: Tensor) -> None:
    net = hand(nn.ReLU(), nn.AvgPool2d(2, 1, padding=1))
    _, evidence = compute_cam(net, SPEC, picture, 0, cam_layer=CamLayer("after.1", "chw", 0))
    assert evidence.shape == (3, 3)
    # Weights 2/9 and -1/9; the pool averages four neighbours of A0 = [[4, 0], [2, 0]] and A1 = [[0, 8], [0, 0]].
    pooled = np.array([[4, 4, 0], [6, 6, 0], [2, 2, 0]]) / 4, np.array([[0, 8, 8], [0, 8, 8], [0, 0, 0]]) / 4
    assert evidence.numpy() == pytest.approx(2 / 9 * pooled[0] - 1 / 9 * pooled[1], abs=1e-6)


def test_what_cancels_out_but_for_rounding_is_no_evidence() -> None:
    """Below a normalisation the gradient is at right angles to what it reads."""
    torch.manual_seed(0)
    read = torch.randn(1, 9, 64, requires_grad=True)
    logit = (F.layer_norm(read, (64,)) * torch.randn(64)).sum() * 1e3
    slope = torch.autograd.grad(logit, read)[0]
    activation, gradient = (
        to_feature_map(one.detach(), "tokens", 0) for one in (read - read.mean(-1, keepdim=True), slope)
    )
    assert (gradient * activation).sum(0).any()
    assert not weight_activation(activation, gradient, "hires_cam").any()
    assert weight_activation(activation, gradient, "grad_cam").any()


def test_tokens_and_channels_last_become_maps() -> None:
    tokens = torch.arange(10.0).view(1, 5, 2)  # a class token, then four patches row by row; two channels
    assert to_feature_map(tokens, "tokens", 1).tolist() == [[[2, 4], [6, 8]], [[3, 5], [7, 9]]]
    assert to_feature_map(torch.arange(8.0).view(1, 2, 2, 2), "hwc", 0).tolist() == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    assert to_feature_map(torch.arange(4.0).view(1, 1, 2, 2), "chw", 0).tolist() == [[[0, 1], [2, 3]]]


def test_an_unknown_method_is_a_bug(picture: Tensor) -> None:
    with pytest.raises(KeyError):
        compute_cam(hand(), SPEC, picture, 0, "score_cam")


# Against the package


SIDES = {"inception_v3": 160}
"""Side in pixels where the smallest that gives a map of 3 × 3 is not 96."""


@pytest.fixture(scope="module", params=list(backbones.BACKBONES))
def spec(request: pytest.FixtureRequest) -> BackboneSpec:
    """Each backbone at a fifth of the pixels where it takes them: equal there is equal, and five times faster."""
    spec = backbones.get_backbone_spec(request.param)
    return spec if spec.fixed_side else dataclasses.replace(spec, side=SIDES.get(spec.name, 96))


@pytest.fixture(scope="module")
def net(spec: BackboneSpec) -> Network:
    """Random weights, and statistics of normalisations that fit them, so that maps differ from place to place."""
    with tiled_draws():
        made = network.build_network(spec, CLASSES, pretrained=False, seed=1).eval()
    if spec.name == "vit_b_16":  # whose side is fixed: of its twelve equal layers the first two and the last two
        layers = made.backbone.get_submodule("encoder.layers")
        for index in range(2, 10):
            delattr(layers, f"encoder_layer_{index}")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():  # what starts at zero lets nothing through
                parameter.normal_(std=0.02, generator=generator)
        heads.find_classifier(made.head).weight.mul_(30.0)
        norms = [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.train().momentum = 1.0
        if norms:
            made(torch.randn(2, 3, spec.side, spec.side, generator=generator) + cam_layers.make_probe_images(spec.side))
    return made.eval().requires_grad_(False)


@pytest.fixture
def not_in_place(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package keeps what a layer gave, and what comes next overwrites it: in DenseNet it then mixes two."""
    for part in net.modules():
        if hasattr(part, "inplace"):
            monkeypatch.setattr(part, "inplace", False)
    relu = F.relu
    monkeypatch.setattr(F, "relu", lambda values, inplace=False: relu(values))  # noqa: ARG005 (passed by name)


def theirs(net: Network, layer: CamLayer, method: str, picture: Tensor, index: int) -> npt.NDArray[np.float32]:
    """The package's map, float32 [side, side] in [0, 1]."""
    target = net.backbone.get_submodule(layer.path)
    with (
        # The graph begins at the layer: what the package would find out below it takes time, and no map shows it.
        target.register_forward_hook(lambda _module, _inputs, output: output.detach().requires_grad_()),
        THEIRS[method](
            net,
            [target],
            reshape_transform=lambda given: to_feature_map(given, layer.layout, layer.num_prefix_tokens)[None],
        ) as package,
    ):
        found: npt.NDArray[np.float32] = package(picture, [ClassifierOutputTarget(index)])[0]
    return found


def as_theirs(evidence: Tensor, side: int) -> npt.NDArray[np.float32]:
    """A map of ours, scaled as the package scales its own."""
    large = scale_cam_image(np.maximum(evidence.numpy(), 0)[None], (side, side))
    return np.asarray(scale_cam_image(large)[0])


def first_with_evidence(
    net: Network, spec: BackboneSpec, picture: Tensor, method: str
) -> tuple[int, npt.NDArray[np.float32]]:
    """The first class that has a map, for some have none, and its map."""
    for index in range(CLASSES):
        mine = as_theirs(compute_cam(net, spec, picture, index, method)[1], spec.side)
        if mine.max() > 0.99:
            return index, mine
    pytest.fail(f"no class has evidence by {method}")


def test_every_method_gives_the_packages_map_on_every_backbone(
    spec: BackboneSpec, net: Network, request: pytest.FixtureRequest
) -> None:
    picture, layer = cam_layers.make_probe_images(spec.side)[:1], CamLayer.from_spec(spec)
    ours = {method: first_with_evidence(net, spec, picture, method) for method in CAM_METHODS}
    request.getfixturevalue("not_in_place")  # ours is right as the network comes
    for method, (index, mine) in ours.items():
        assert np.abs(mine - theirs(net, layer, method, picture, index)).max() <= EQUAL, method


def test_on_another_layer_too(spec: BackboneSpec, net: Network, request: pytest.FixtureRequest) -> None:
    picture, layers = cam_layers.make_probe_images(spec.side)[:1], cam_layers.find_candidate_layers(net, spec)
    layer = layers[len(layers) // 2]
    ours = as_theirs(compute_cam(net, spec, picture, 1, "layer_cam", layer)[1], spec.side)
    request.getfixturevalue("not_in_place")
    assert np.abs(ours - theirs(net, layer, "layer_cam", picture, 1)).max() <= EQUAL, layer.path


# Left as found


class Broken(nn.Module):
    def forward(self, _pictures: Tensor) -> Tensor:
        raise ZeroDivisionError


def state(net: Network) -> tuple[Any, ...]:
    flags = [part.training for part in net.modules()]
    hooks = [len(part._forward_hooks) + len(part._backward_hooks) for part in net.modules()]
    return flags, hooks, [p.grad for p in net.parameters()], [p.requires_grad for p in net.parameters()]


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", CAM_METHODS)
def test_the_network_is_left_as_it_was_found(picture: Tensor, method: str, *, training: bool, learning: bool) -> None:
    net = hand(nn.BatchNorm2d(2), nn.Dropout(0.5)).train(training).requires_grad_(learning)
    net.backbone.get_submodule("after").eval()
    before, values = state(net), {key: value.clone() for key, value in net.state_dict().items()}
    one, two = (compute_cam(net, SPEC, picture, 1, method) for _ in range(2))
    assert state(net) == before
    assert all(torch.equal(values[key], value) for key, value in net.state_dict().items())
    assert torch.equal(one[1], two[1])
    assert not any(tensor.requires_grad for tensor in (*one, *two))


def test_a_gradient_that_somebody_keeps_is_not_touched(picture: Tensor) -> None:
    net = hand()
    kept = torch.ones_like(heads.find_classifier(net.head).weight)
    net.head.weight.grad = kept
    compute_cam(net, SPEC, picture, 1)
    assert net.head.weight.grad is kept
    assert torch.equal(kept, torch.ones_like(kept))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("after", "index", "error"),
    [(Broken(), 0, ZeroDivisionError), (nn.Identity(), 7, IndexError)],
    ids=["layer", "class"],
)
def test_after_an_error_too(
    picture: Tensor, after: nn.Module, index: int, error: type[Exception], *, training: bool
) -> None:
    net = hand(after).train(training)
    before = state(net)
    with pytest.raises(error):
        compute_cam(net, SPEC, picture, index)
    assert state(net) == before


def test_it_works_where_gradients_are_off() -> None:
    net, picture = hand().requires_grad_(False), torch.rand(1, 3, 2, 2)
    expected = compute_cam(net, SPEC, picture, 0)[1]
    with torch.inference_mode():
        assert torch.equal(compute_cam(net, SPEC, picture.clone(), 0)[1], expected)
    with torch.no_grad():
        assert torch.equal(compute_cam(net, SPEC, picture, 0)[1], expected)


def test_nothing_below_the_layer_is_differentiated(picture: Tensor) -> None:
    """A backward pass that went further would ask this for its gradient."""
    net = hand()
    asked: list[Tensor] = []
    net.backbone.get_submodule("conv").register_forward_hook(
        lambda _module, _inputs, output: output.register_hook(asked.append) and None
    )
    compute_cam(net, SPEC, picture, 0, cam_layer=CamLayer("after", "chw", 0))
    assert not asked
    net(picture)[0, 0].backward()
    assert len(asked) == 1


def test_each_method_names_where_it_was_published() -> None:
    assert set(CAM_METHODS) == set(THEIRS)
    assert all(f"{method} " in str(cam_methods.__doc__) for method in CAM_METHODS)
