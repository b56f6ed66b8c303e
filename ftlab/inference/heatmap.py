"""Rendering of class activation maps: upsampling, colour map, overlay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Uint8Image = npt.NDArray[np.uint8]
"""uint8 [H, W, 3] RGB, or [H, W, 4] RGBA where a function says so."""
Heatmap = npt.NDArray[np.float32]
"""float32 [H, W] in [0, 1]."""


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
    gray_levels = (np.clip(heatmap, 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(gray_levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))


def render_layer(heatmap: Heatmap, visible_box: tuple[int, int, int, int]) -> Uint8Image:
    """Render a heat map as a transparent layer over its image.

    Transparent where there is no evidence, so that the image stays visible; a grey veil outside the visible box.

    Args:
        heatmap: float32 [H, W] in [0, 1].
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw.

    Returns:
        uint8 [H, W, 4] RGBA.
    """
    rgba_layer = np.full((*heatmap.shape, 4), (96, 96, 104, 110), np.uint8)
    x0, y0, x1, y1 = visible_box
    crop_values = heatmap[y0:y1, x0:x1]
    rgba_layer[y0:y1, x0:x1, :3] = apply_colormap(crop_values)
    # The square root keeps weak evidence visible.
    rgba_layer[y0:y1, x0:x1, 3] = (np.sqrt(np.clip(crop_values, 0.0, 1.0)) * 255).round()
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
    rgba_layer = render_layer(heatmap, visible_box)
    alpha = rgba_layer[..., 3:].astype(np.float32) / 255.0 * opacity
    return (image * (1.0 - alpha) + rgba_layer[..., :3] * alpha).round().astype(np.uint8)
