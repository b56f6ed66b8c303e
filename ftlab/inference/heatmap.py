"""Rendering of class activation maps: upsampling, colour map, overlay."""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Uint8Image = npt.NDArray[np.uint8]
"""uint8 [H, W, 3] RGB, or [H, W, 4] RGBA where a function says so."""
Heatmap = npt.NDArray[np.float32]
"""float32 [H, W] in [0, 1]."""
_VEIL_COLOR, _VEIL_ALPHA = (96, 96, 104), 110
"""Colour and opacity of the layer where the network saw nothing."""
_STRIP_ROWS = 64
"""Rows of an image that are blended at a time."""
_FINE_LEVELS = 4096
"""Levels of a map in `draw_overlay`: the root of the first one is an opacity of 4 in 255."""


def scale_class_map(class_map: Tensor) -> Heatmap:
    """Scale a class activation map to what is shown of it: its positive part, with a maximum of 1.

    Args:
        class_map: float32 [h, w], any range; [0, 0] for an architecture without maps.

    Returns:
        float32 [h, w] in [0, 1]; all zero without a positive value: no evidence is not stretched into some.
    """
    positive: Heatmap = class_map.clamp(min=0).cpu().numpy()
    peak = float(positive.max(initial=0))  # an empty map has no maximum
    return positive / peak if peak else positive


def render_heatmap(scaled_map: Heatmap, width: int, height: int, visible_box: tuple[int, int, int, int]) -> Heatmap:
    """Enlarge a class activation map bilinearly into the visible part of its image.

    `heat_drawing.js` does the same in the browser.

    Args:
        scaled_map: float32 [h, w] in [0, 1], as `scale_class_map` returns it.
        width: of the image in pixels.
        height: of the image in pixels.
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw; zero outside.

    Returns:
        float32 [height, width] in [0, 1].
    """
    heatmap = np.zeros((height, width), np.float32)
    if scaled_map.any():
        x0, y0, x1, y1 = visible_box
        heatmap[y0:y1, x0:x1] = cv2.resize(scaled_map, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return heatmap


def apply_colormap(heatmap: Heatmap) -> Uint8Image:
    """Return a heat map (float32 [H, W] in [0, 1]) as uint8 [H, W, 3] RGB, from dark violet (0) to yellow (1)."""
    gray_levels = _quantize(np.maximum(heatmap, 0.0))
    return np.asarray(cv2.LUT(cv2.merge([gray_levels] * 3), _build_color_table()), np.uint8)


@cache
def _build_color_table() -> Uint8Image:
    """Return the colours of the 256 levels of a heat map, uint8 [1, 256, 3] RGB."""
    gray_levels = np.arange(256, dtype=np.uint8)[None]
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(gray_levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), np.uint8)


def _render_alpha(heatmap: Heatmap) -> npt.NDArray[np.uint8]:
    """Return the opacity of the layer of a heat map within the visible box, uint8 [H, W]."""
    # The square root keeps weak evidence visible.
    return _quantize(np.sqrt(np.maximum(heatmap, 0.0)))


def _quantize(values: Heatmap) -> npt.NDArray[np.uint8]:
    """Return values from 0 on in 255 steps to 1, uint8 of the same shape: rounded half to even, at most 255."""
    return np.asarray(cv2.convertScaleAbs(values, alpha=255), np.uint8)


def render_layer(heatmap: Heatmap, visible_box: tuple[int, int, int, int]) -> Uint8Image:
    """Render a heat map as a transparent layer over its image.

    Transparent where there is no evidence, so that the image stays visible; a grey veil outside the visible box.

    Args:
        heatmap: float32 [H, W] in [0, 1].
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw.

    Returns:
        uint8 [H, W, 4] RGBA.
    """
    rgba_layer = np.full((*heatmap.shape, 4), (*_VEIL_COLOR, _VEIL_ALPHA), np.uint8)
    x0, y0, x1, y1 = visible_box
    crop_values = heatmap[y0:y1, x0:x1]
    rgba_layer[y0:y1, x0:x1, :3] = apply_colormap(crop_values)
    rgba_layer[y0:y1, x0:x1, 3] = _render_alpha(crop_values)
    return rgba_layer


def blend_overlay(
    image: Uint8Image, heatmap: Heatmap, visible_box: tuple[int, int, int, int], opacity: float = 0.6
) -> Uint8Image:
    """Blend an image with the layer of its heat map.

    Args:
        image: uint8 [H, W, 3] RGB.
        heatmap: float32 [H, W] in [0, 1].
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw.
        opacity: of the layer, in [0, 1].

    Returns:
        uint8 [H, W, 3] RGB.
    """
    alpha_table = np.arange(256).astype(np.float32) / 255.0 * opacity
    overlay: Uint8Image = np.asarray(cv2.LUT(image, _build_veil_table(opacity)), np.uint8)
    x0, y0, x1, y1 = visible_box
    # In strips: the temporary arrays then stay in a core's cache.
    for y in range(y0, y1, _STRIP_ROWS):
        strip = slice(y, min(y + _STRIP_ROWS, y1)), slice(x0, x1)
        alpha = cv2.merge([cv2.LUT(_render_alpha(heatmap[strip]), alpha_table)] * 3)
        layer_part = cv2.multiply(apply_colormap(heatmap[strip]), alpha, dtype=cv2.CV_32F)
        image_part = cv2.multiply(image[strip], 1.0 - alpha, dtype=cv2.CV_32F)
        overlay[strip] = cv2.add(image_part, layer_part, dtype=cv2.CV_8U)  # rounds half to even
    return overlay


def draw_overlay(
    image: Uint8Image, scaled_map: Heatmap, visible_box: tuple[int, int, int, int], opacity: float = 0.6
) -> Uint8Image:
    """Draw a class activation map over its image, for large folders.

    As `blend_overlay` of `render_heatmap`, except for rounding (up to 6 of 255), in a fifth of the time: there are no
    floating-point values for each pixel.

    Args:
        image: uint8 [H, W, 3] RGB.
        scaled_map: float32 [h, w] in [0, 1], as `scale_class_map` returns it.
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw.
        opacity: of the layer, in [0, 1].

    Returns:
        uint8 [H, W, 3] RGB.
    """
    overlay = np.empty_like(image)
    x0, y0, x1, y1 = visible_box
    for veiled in (np.s_[:y0], np.s_[y1:], np.s_[y0:y1, :x0], np.s_[y0:y1, x1:]):
        if overlay[veiled].size:
            overlay[veiled] = cv2.LUT(image[veiled], _build_veil_table(opacity))
    if not scaled_map.any():
        overlay[y0:y1, x0:x1] = image[y0:y1, x0:x1]
        return overlay
    layer_table = _build_layer_table(opacity)
    map_levels = (scaled_map * (_FINE_LEVELS - 1)).round().astype(np.uint16)
    levels = np.asarray(cv2.resize(map_levels, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), np.uint16)
    for y in range(y0, y1, _STRIP_ROWS):
        strip = slice(y, min(y + _STRIP_ROWS, y1)), slice(x0, x1)
        # `clip` only saves the check of the indices: none lies outside.
        rows = np.take(layer_table, levels[y - y0 : strip[0].stop - y0], mode="clip").view(np.uint8)
        layer = rows.reshape(-1, x1 - x0, 4)
        image_share = cv2.cvtColor(cv2.extractChannel(layer, 3), cv2.COLOR_GRAY2RGB)
        image_part = cv2.multiply(image[strip], image_share, scale=1 / 255)
        overlay[strip] = cv2.add(image_part, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB))
    return overlay


@lru_cache(maxsize=8)
def _build_veil_table(opacity: float) -> Uint8Image:
    """Return the colours that pixels get under the veil, uint8 [1, 256, 3] RGB; `opacity` in [0, 1]."""
    # The veil has one colour, so what it makes of a pixel is a table.
    veil_alpha = np.float32(_VEIL_ALPHA) / np.float32(255.0) * np.float32(opacity)
    veil_part = np.array(_VEIL_COLOR, np.float32) * veil_alpha
    levels = np.arange(256).astype(np.float32)[:, None]
    return np.asarray((levels * (1.0 - veil_alpha) + veil_part).round(), np.uint8)[None]


@lru_cache(maxsize=8)
def _build_layer_table(opacity: float) -> npt.NDArray[np.uint32]:
    """Return what the layer adds at each level of a map, and the share of the image that it leaves.

    Args:
        opacity: of the layer, in [0, 1].

    Returns:
        uint32 [`_FINE_LEVELS`], of four bytes each: RGB, and the share of the image in 255.
    """
    heatmap = np.linspace(0.0, 1.0, _FINE_LEVELS, dtype=np.float32)[None]
    alpha = _render_alpha(heatmap)[0, :, None] / 255.0 * opacity
    layer = np.hstack([apply_colormap(heatmap)[0] * alpha, 255.0 * (1.0 - alpha)])
    return layer.round().astype(np.uint8).view(np.uint32)[:, 0]
