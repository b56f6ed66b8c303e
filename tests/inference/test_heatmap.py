"""What is shown of a map: heat over its picture, colours, layers, overlays."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from ftlab.inference import heatmap

# Heat


def test_the_greatest_evidence_is_one_and_what_speaks_against_is_nothing() -> None:
    heat = heatmap.render_heatmap(torch.tensor([[4.0, -3.0], [2.0, 0.0]]), 2, 2, (0, 0, 2, 2))
    assert heat.dtype == np.float32
    assert heat.tolist() == [[1.0, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize("values", [[[0.0, 0.0]], [[-1.0, -2.0]]])
def test_no_evidence_is_not_stretched_into_some(values: list[list[float]]) -> None:
    assert not heatmap.render_heatmap(torch.tensor(values), 20, 10, (2, 0, 18, 10)).any()


def test_heat_lies_in_the_box() -> None:
    heat = heatmap.render_heatmap(torch.ones(7, 7), 30, 20, (5, 0, 25, 20))
    assert heat.shape == (20, 30)
    assert (heat[:, 5:25] == 1).all()
    assert heat.sum() == 400


def test_it_is_enlarged_without_a_shift() -> None:
    peak = torch.zeros(7, 7)
    peak[2, 5] = 3.0
    heat = heatmap.render_heatmap(peak, 70, 70, (0, 0, 70, 70))
    rows, columns = np.nonzero(heat > 0.9 * heat.max())
    assert (rows.mean(), columns.mean()) == (24.5, 54.5)  # the middle of its field
    assert heat.max() == pytest.approx(0.9, abs=0.1)
    assert heat.min() == 0


# Colours


def test_colours_go_from_dark_violet_to_light_yellow() -> None:
    none, half, most = heatmap.apply_colormap(np.array([[0.0, 0.5, 1.0]], np.float32))[0].astype(int)
    assert none.max() < 10
    assert most.min() > 150
    assert none.sum() < half.sum() < most.sum()
    assert most[0] > most[2]
    assert np.array_equal(heatmap.apply_colormap(np.array([[-1.0, 2.0]], np.float32))[0], np.array([none, most]))


def test_a_layer_is_clear_without_evidence_and_veiled_outside_the_box() -> None:
    values = np.array([[0.9, 0.0, 0.25, 1.0]], np.float32)
    made = heatmap.render_layer(values, (1, 0, 4, 1))
    assert made.shape == (1, 4, 4)
    assert made[0, 0].tolist() == [96, 96, 104, 110]
    assert made[0, 1:, 3].tolist() == [0, 128, 255]
    assert np.array_equal(made[0, 1:, :3], heatmap.apply_colormap(values)[0, 1:])


@pytest.mark.parametrize("size", [(333, 500), (750, 1000), (1024, 683), (1000, 10), (3, 1024)])
def test_a_small_layer_has_the_picture_of_the_full_one(size: tuple[int, int]) -> None:
    height, width = size
    box = (width // 8, 0, width - width // 8, height)
    heat = heatmap.render_heatmap(torch.rand(7, 7, generator=torch.Generator().manual_seed(0)), width, height, box)
    small, full = heatmap.render_small_layer(heat, box), heatmap.render_layer(heat, box)
    assert heatmap.MIN_LAYER_PIXELS <= max(small.shape[:2]) <= heatmap.MAX_LAYER_PIXELS
    if min(size) > 100:
        assert small.shape[0] / small.shape[1] == pytest.approx(height / width, rel=2e-3)
        # As a browser enlarges it: colors weighted by their opacity.
        large = cv2.resize(_weight_by_alpha(small), (width, height), interpolation=cv2.INTER_LINEAR)
        difference = np.abs(large - _weight_by_alpha(full))
        assert difference.mean() <= 1.5
        assert np.quantile(difference, 0.99) <= 16


def _weight_by_alpha(layer: heatmap.Uint8Image) -> npt.NDArray[np.float32]:
    values = layer.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    return values


def test_a_layer_that_is_small_already_stays_as_it_is() -> None:
    heat, box = np.random.default_rng(0).random((30, 40), np.float32), (5, 0, 35, 30)
    assert np.array_equal(heatmap.render_small_layer(heat, box), heatmap.render_layer(heat, box))


def test_an_overlay_by_hand() -> None:
    picture = np.full((1, 3, 3), 200, np.uint8)
    values = np.array([[0.0, 0.0, 1.0]], np.float32)
    box = (1, 0, 3, 1)
    yellow = heatmap.apply_colormap(values)[0, 2]
    half = heatmap.blend_overlay(picture, values, box, opacity=0.5)
    assert half.dtype == np.uint8
    veil = 110 / 255 * 0.5
    assert half[0, 0].tolist() == [round(200 * (1 - veil) + grey * veil) for grey in (96, 96, 104)]
    assert half[0, 1].tolist() == [200, 200, 200]
    assert np.abs(half[0, 2] - (100 + 0.5 * yellow)).max() <= 0.5
    assert np.array_equal(heatmap.blend_overlay(picture, values, box, 0.0), picture)
    assert np.array_equal(heatmap.blend_overlay(picture, values, box, 1.0)[0, 2], yellow)
    assert (picture == 200).all()
