"""What is shown of a map: heat over its picture, colours, layers, overlays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ftlab.inference import heatmap

# Heat


def test_the_greatest_evidence_is_one_and_what_speaks_against_is_nothing() -> None:
    scaled = heatmap.scale_class_map(torch.tensor([[4.0, -3.0], [2.0, 0.0]]))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[1.0, 0.0], [0.5, 0.0]]
    assert heatmap.render_heatmap(scaled, 2, 2, (0, 0, 2, 2)).tolist() == scaled.tolist()


@pytest.mark.parametrize("class_map", [torch.zeros(1, 2), torch.tensor([[-1.0, -2.0]]), torch.zeros(0, 0)])
def test_no_evidence_is_not_stretched_into_some(class_map: torch.Tensor) -> None:
    assert not heatmap.render_heatmap(heatmap.scale_class_map(class_map), 20, 10, (2, 0, 18, 10)).any()


def test_heat_lies_in_the_box() -> None:
    heat = heatmap.render_heatmap(np.ones((7, 7), np.float32), 30, 20, (5, 0, 25, 20))
    assert heat.shape == (20, 30)
    assert (heat[:, 5:25] == 1).all()
    assert heat.sum() == 400


def test_it_is_enlarged_without_a_shift() -> None:
    peak = np.zeros((7, 7), np.float32)
    peak[2, 5] = 1.0
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


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.6, 1.0])
def test_an_overlay_is_the_rounded_mixture_of_picture_and_layer(opacity: float) -> None:
    random = np.random.default_rng(0)
    picture, values = random.integers(0, 256, (90, 70, 3), np.uint8), random.random((90, 70), np.float32)
    for box in ((0, 0, 70, 90), (5, 7, 61, 80), (69, 0, 70, 1)):
        layer = heatmap.render_layer(values, box)
        alpha = layer[..., 3:].astype(np.float32) / 255.0 * opacity
        expected = (picture * (1.0 - alpha) + layer[..., :3] * alpha).round()
        assert np.array_equal(heatmap.blend_overlay(picture, values, box, opacity), expected)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.6, 1.0])
def test_the_fast_overlay_is_that_of_the_enlarged_map(opacity: float) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (90, 70, 3), np.uint8)
    untouched = picture.copy()
    peak = np.zeros((7, 7), np.float32)
    peak[2, 5] = 1.0
    maps = (random.random((7, 7), np.float32), peak, np.zeros((7, 7), np.float32), np.zeros((0, 0), np.float32))
    for scaled in maps:
        for box in ((0, 0, 70, 90), (5, 7, 61, 80), (69, 0, 70, 1)):
            expected = heatmap.blend_overlay(picture, heatmap.render_heatmap(scaled, 70, 90, box), box, opacity)
            found = heatmap.draw_overlay(picture, scaled, box, opacity)
            assert found.dtype == np.uint8
            difference = np.abs(found.astype(int) - expected)
            assert difference.max() <= 6
            assert difference.mean() < 0.5
            x0, y0, x1, y1 = box
            difference[y0:y1, x0:x1] = 0
            assert not difference.any()  # under the veil
    assert np.array_equal(picture, untouched)
