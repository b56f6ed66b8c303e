"""Grad-CAM against hand arithmetic, a network left as it was found, and what is shown of a map."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ftlab import backbones
from ftlab.inference import cam
from ftlab.models import heads
from ftlab.models.cam_layout import as_map
from ftlab.models.network import Network

ROW = dataclasses.replace(backbones.get("resnet18"), cam="conv")
HEAD = [[2.0, -1.0], [-3.0, 1.0]]
"""Weights of the classes 0 and 1 for the features 0 and 1."""


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


# The formula


def test_by_hand(picture: Tensor) -> None:
    # A0 = [[4, 0], [2, 0]], A1 = [[0, 8], [0, -4]]; features 1.5 and 1; a class's weight over four places.
    logits, evidence = cam.grad_cam(hand(), ROW, picture, 0)
    assert logits.tolist() == [2 * 1.5 - 1 + 0.5, -3 * 1.5 + 1]
    assert evidence.tolist() == [[2.0, -2.0], [1.0, 1.0]]
    assert cam.grad_cam(hand(), ROW, picture, 1)[1].tolist() == [[-3.0, 2.0], [-1.5, -1.0]]


def test_without_a_class_it_is_the_first_guess(picture: Tensor) -> None:
    assert torch.equal(cam.grad_cam(hand(), ROW, picture)[1], cam.grad_cam(hand(), ROW, picture, 0)[1])


def test_what_follows_in_place_does_not_spoil_the_map(picture: Tensor) -> None:
    # ReLU takes the gradient away where A1 is negative: alpha1 = -1 · 3/4 of the places.
    _, evidence = cam.grad_cam(hand(nn.ReLU(inplace=True)), ROW, picture, 0)
    live = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]
    alpha = [2 / 4 * np.sum(live[0]) / 4, -1 / 4 * np.sum(live[1]) / 4]
    expected = alpha[0] * np.array([[4, 0], [2, 0]]) + alpha[1] * np.array([[0, 8], [0, -4]])
    assert evidence.numpy() == pytest.approx(expected)


def test_tokens_and_channels_last_become_maps() -> None:
    tokens = torch.arange(10.0).view(1, 5, 2)  # a class token, then four patches row by row; two channels
    assert as_map(tokens, "tokens", 1).tolist() == [[[2, 4], [6, 8]], [[3, 5], [7, 9]]]
    assert as_map(torch.arange(8.0).view(1, 2, 2, 2), "hwc", 0).tolist() == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    assert as_map(torch.arange(4.0).view(1, 1, 2, 2), "chw", 0).tolist() == [[[0, 1], [2, 3]]]


# Left as found


class Broken(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        raise ZeroDivisionError


def state(net: Network) -> tuple[Any, ...]:
    flags = [part.training for part in net.modules()]
    hooks = [len(part._forward_hooks) + len(part._backward_hooks) for part in net.modules()]
    return flags, hooks, [p.grad for p in net.parameters()], [p.requires_grad for p in net.parameters()]


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was_found(picture: Tensor, training: bool, learning: bool) -> None:
    net = hand(nn.BatchNorm2d(2), nn.Dropout(0.5)).train(training).requires_grad_(learning)
    net.backbone.get_submodule("after").eval()
    before, values = state(net), {key: value.clone() for key, value in net.state_dict().items()}
    one, two = (cam.grad_cam(net, ROW, picture, 1) for _ in range(2))
    assert state(net) == before
    assert all(torch.equal(values[key], value) for key, value in net.state_dict().items())
    assert torch.equal(one[1], two[1])
    assert not any(tensor.requires_grad for tensor in (*one, *two))


def test_a_gradient_that_somebody_keeps_is_not_touched(picture: Tensor) -> None:
    net = hand()
    kept = torch.ones_like(heads.classifier(net.head).weight)
    net.head.weight.grad = kept
    cam.grad_cam(net, ROW, picture, 1)
    assert net.head.weight.grad is kept
    assert torch.equal(kept, torch.ones_like(kept))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("after", "index", "error"),
    [(Broken(), 0, ZeroDivisionError), (nn.Identity(), 7, IndexError)],
    ids=["layer", "class"],
)
def test_after_an_error_too(
    picture: Tensor, after: nn.Module, index: int, error: type[Exception], training: bool
) -> None:
    net = hand(after).train(training)
    before = state(net)
    with pytest.raises(error):
        cam.grad_cam(net, ROW, picture, index)
    assert state(net) == before


def test_it_works_where_gradients_are_off() -> None:
    net, picture = hand().requires_grad_(False), torch.rand(1, 3, 2, 2)
    expected = cam.grad_cam(net, ROW, picture, 0)[1]
    with torch.inference_mode():
        assert torch.equal(cam.grad_cam(net, ROW, picture.clone(), 0)[1], expected)
    with torch.no_grad():
        assert torch.equal(cam.grad_cam(net, ROW, picture, 0)[1], expected)


# Heat


def test_the_greatest_evidence_is_one_and_what_speaks_against_is_nothing() -> None:
    heat = cam.heat(torch.tensor([[4.0, -3.0], [2.0, 0.0]]), 2, 2, (0, 0, 2, 2))
    assert heat.dtype == np.float32
    assert heat.tolist() == [[1.0, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize("values", [[[0.0, 0.0]], [[-1.0, -2.0]]])
def test_no_evidence_is_not_stretched_into_some(values: list[list[float]]) -> None:
    assert not cam.heat(torch.tensor(values), 20, 10, (2, 0, 18, 10)).any()


def test_heat_lies_in_the_box() -> None:
    heat = cam.heat(torch.ones(7, 7), 30, 20, (5, 0, 25, 20))
    assert heat.shape == (20, 30)
    assert (heat[:, 5:25] == 1).all()
    assert heat.sum() == 400


def test_it_is_enlarged_without_a_shift() -> None:
    peak = torch.zeros(7, 7)
    peak[2, 5] = 3.0
    heat = cam.heat(peak, 70, 70, (0, 0, 70, 70))
    rows, columns = np.nonzero(heat > 0.9 * heat.max())
    assert (rows.mean(), columns.mean()) == (24.5, 54.5)  # the middle of its field
    assert heat.max() == pytest.approx(0.9, abs=0.1)
    assert heat.min() == 0


# Colours


def test_colours_go_from_dark_violet_to_light_yellow() -> None:
    none, half, most = cam.colour(np.array([[0.0, 0.5, 1.0]], np.float32))[0].astype(int)
    assert none.max() < 10
    assert most.min() > 150
    assert none.sum() < half.sum() < most.sum()
    assert most[0] > most[2]
    assert np.array_equal(cam.colour(np.array([[-1.0, 2.0]], np.float32))[0], np.array([none, most]))


def test_a_layer_is_clear_without_evidence_and_veiled_outside_the_box() -> None:
    values = np.array([[0.9, 0.0, 0.25, 1.0]], np.float32)
    made = cam.layer(values, (1, 0, 4, 1))
    assert made.shape == (1, 4, 4)
    assert made[0, 0].tolist() == [96, 96, 104, 110]
    assert made[0, 1:, 3].tolist() == [0, 128, 255]
    assert np.array_equal(made[0, 1:, :3], cam.colour(values)[0, 1:])


def test_an_overlay_by_hand() -> None:
    picture = np.full((1, 3, 3), 200, np.uint8)
    values = np.array([[0.0, 0.0, 1.0]], np.float32)
    box = (1, 0, 3, 1)
    yellow = cam.colour(values)[0, 2]
    half = cam.overlay(picture, values, box, opacity=0.5)
    assert half.dtype == np.uint8
    veil = 110 / 255 * 0.5
    assert half[0, 0].tolist() == [round(200 * (1 - veil) + grey * veil) for grey in (96, 96, 104)]
    assert half[0, 1].tolist() == [200, 200, 200]
    assert np.abs(half[0, 2] - (100 + 0.5 * yellow)).max() <= 0.5
    assert np.array_equal(cam.overlay(picture, values, box, 0.0), picture)
    assert np.array_equal(cam.overlay(picture, values, box, 1.0)[0, 2], yellow)
    assert (picture == 200).all()
