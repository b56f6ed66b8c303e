"""The new classifier: its layers, how they start, and one logit in the place of two."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.inference.cam_methods import compute_cam
from ftlab.models import heads, network
from ftlab.models.heads import HeadSpec

SPEC = backbones.get_backbone_spec("mobilenet_v2")


def built(plan: HeadSpec, width: int = 200, classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return heads.build_head(width, classes, plan)


def kinds(head: nn.Module) -> list[str]:
    return [type(part).__name__ for part in head.children()]


def test_by_default_it_is_a_bare_linear_layer_that_favours_no_class() -> None:
    head = built(HeadSpec())
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (200, 5)
    assert not head.bias.any()
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (HeadSpec(dropout=0.2), ["Dropout", "Linear"]),
        (HeadSpec(hidden=16), ["Linear", "ReLU", "Linear"]),
        (HeadSpec(hidden=16, dropout=0.4), ["Linear", "ReLU", "Dropout", "Linear"]),
        (HeadSpec(kind="logit", dropout=0.2), ["Dropout", "Linear", "LogitPair"]),
    ],
)
def test_what_it_is_made_of(plan: HeadSpec, expected: list[str]) -> None:
    head = built(plan, classes=2)
    assert kinds(head) == expected
    assert head.eval()(torch.randn(3, 200)).shape == (3, 2)
    assert heads.find_classifier(head).out_features == (1 if plan.kind == "logit" else 2)
    for part in head.modules():
        if isinstance(part, nn.Dropout):
            assert part.p == plan.dropout


def test_dropout_drops_while_training_and_never_while_scoring() -> None:
    head, features = built(HeadSpec(dropout=0.5, init="default")), torch.ones(1, 200)
    answers = [head.train()(features) for _ in range(2)]
    assert not torch.equal(*answers)
    assert torch.equal(head.eval()(features), head.eval()(features))


def test_starts() -> None:
    xavier, default = built(HeadSpec(init="xavier", hidden=80)), built(HeadSpec(init="default", hidden=80))
    assert isinstance(xavier, nn.Sequential)
    for inputs, outputs, part in ((200, 80, xavier[0]), (80, 5, xavier[-1])):
        assert isinstance(part, nn.Linear)
        bound = math.sqrt(6 / (inputs + outputs))
        assert 0.97 * bound < float(part.weight.detach().abs().max()) <= bound
    for inputs, part in ((200, default), (80, default)):
        layer = next(p for p in part.modules() if isinstance(p, nn.Linear) and p.in_features == inputs)
        bound = 1 / math.sqrt(inputs)
        assert 0.97 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert layer.bias.any()


def test_before_a_small_last_layer_the_hidden_one_passes_something_on() -> None:
    head = built(HeadSpec(hidden=80))
    assert isinstance(head, nn.Sequential)
    hidden, last = head[0], head[-1]
    assert isinstance(hidden, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert float(last.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(hidden.weight.detach().abs().max()) == pytest.approx(1 / math.sqrt(200), rel=0.03)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_logit_is_binary_cross_entropy_to_the_gradient(smoothing: float) -> None:
    logit = torch.randn(7, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    mine, plain = logit.clone().requires_grad_(), logit.clone().requires_grad_()
    loss = F.cross_entropy(heads.LogitPair()(mine), labels, label_smoothing=smoothing)
    targets = labels.double()[:, None] * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(plain, targets)
    assert torch.allclose(loss, expected, rtol=1e-12)
    (one,), (other,) = torch.autograd.grad(loss, mine), torch.autograd.grad(expected, plain)
    assert torch.allclose(one, other, rtol=1e-12)
    assert torch.allclose(heads.LogitPair()(logit).softmax(1)[:, 1:], logit.sigmoid(), rtol=1e-12)


def test_a_network_of_one_logit_explains_either_class() -> None:
    net = network.build_network(SPEC, 2, pretrained=False, head_spec=HeadSpec(kind="logit", init="default")).eval()
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits, first = compute_cam(net, SPEC, picture, 0)
    _, second = compute_cam(net, SPEC, picture, 1)
    assert float(logits[0]) == -float(logits[1])
    assert torch.allclose(first, -second)
    assert float(first.abs().max()) > 0


@pytest.mark.parametrize("plan", [HeadSpec(), HeadSpec(hidden=16), HeadSpec(kind="logit", hidden=16, dropout=0.1)])
@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_parameters_are_counted_without_building_it(plan: HeadSpec, mode: str) -> None:
    net = network.build_network(SPEC, 2, pretrained=False, head_spec=plan)
    network.freeze_by_mode(net, mode)
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    total = sum(p.numel() for p in net.parameters())
    assert backbones.count_parameters(SPEC, 1 if plan.kind == "logit" else 2, mode, plan.hidden) == (learning, total)


def test_a_plan_travels_as_json() -> None:
    config = TrainConfig(head_kind="logit", head_hidden=8, head_init="xavier", dropout=0.25)
    plan = HeadSpec.from_config(config)
    assert plan == HeadSpec("logit", 8, 0.25, "xavier")
    assert HeadSpec.from_json(plan.to_json()) == plan
    assert HeadSpec.from_json({}) == HeadSpec() == HeadSpec.from_config(TrainConfig())
