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
MIN_LAYER_PIXELS, MAX_LAYER_PIXELS = 128, 160
"""Range of the longer side of a small layer, in pixels."""


def render_heatmap(class_map: Tensor, width: int, height: int, visible_box: tuple[int, int, int, int]) -> Heatmap:
    """Upsample a class activation map to the size of its image.

    The positive part is scaled to a maximum of 1 and enlarged bilinearly into the visible box. A map without a positive
    value stays all zero, and so does an empty one: no evidence is not stretched into some.

    Args:
        class_map: float32 [h, w], any range; [0, 0] for an architecture without maps.
        width: of the image in pixels.
        height: of the image in pixels.
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw; zero outside.

    Returns:
        float32 [height, width] in [0, 1].
    """
    heatmap = np.zeros((height, width), np.float32)
    positive = class_map.clamp(min=0).cpu().numpy()
    peak = float(positive.max(initial=0))  # an empty map has no maximum
    if not peak:
        return heatmap
    scaled = positive / peak
    x0, y0, x1, y1 = visible_box
    heatmap[y0:y1, x0:x1] = cv2.resize(scaled, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
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


def render_small_layer(heatmap: Heatmap, visible_box: tuple[int, int, int, int]) -> Uint8Image:
    """Render the transparent layer of a heat map small, to be enlarged by whoever shows it.

    A heat map is smooth, because it was enlarged itself: its layer at 160 pixels differs from the full one by half a
    level of 255 on average, and is encoded in a tenth of the time.

    Args:
        heatmap: float32 [H, W] in [0, 1].
        visible_box: x0, y0, x1, y1 in pixels, the part that the network saw.

    Returns:
        uint8 [h, w, 4] RGBA, of nearly the same ratio of sides; [H, W, 4] if that is small already.
    """
    height, width = heatmap.shape
    small_width, small_height = _choose_layer_size(width, height)
    small_heatmap = cv2.resize(heatmap, (small_width, small_height), interpolation=cv2.INTER_AREA)
    x_scale, y_scale = small_width / width, small_height / height
    x0, y0 = (
        min(round(x * s), n - 1)
        for x, s, n in zip(visible_box[:2], (x_scale, y_scale), (small_width, small_height), strict=True)
    )
    x1, y1 = round(visible_box[2] * x_scale), round(visible_box[3] * y_scale)
    return render_layer(np.asarray(small_heatmap, np.float32), (x0, y0, max(x0 + 1, x1), max(y0 + 1, y1)))


def _choose_layer_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a small layer: of those in the range, the one closest to the image's ratio."""
    long_side, short_side = max(width, height), min(width, height)
    if long_side <= MAX_LAYER_PIXELS:
        return width, height

    def compute_ratio_error(side: int) -> float:
        """Return the relative error of the other side, rounded to whole pixels."""
        exact_side = side * short_side / long_side
        return abs(max(1, round(exact_side)) / exact_side - 1)

    small_long = min(range(MAX_LAYER_PIXELS, MIN_LAYER_PIXELS - 1, -1), key=compute_ratio_error)
    small_short = max(1, round(small_long * short_side / long_side))
    return (small_long, small_short) if width >= height else (small_short, small_long)


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
