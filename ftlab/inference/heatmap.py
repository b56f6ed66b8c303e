"""How the map of a class is shown: as heat over its picture, in colours, as a layer, as an overlay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Uint8Image = npt.NDArray[np.uint8]
Heatmap = npt.NDArray[np.float32]


def render_heatmap(class_map: Tensor, width: int, height: int, visible_box: tuple[int, int, int, int]) -> Heatmap:
    """The map of a class laid over a picture: float32 [height, width] in [0, 1].

    Its positive part is scaled so that its maximum is 1, enlarged bilinearly into `visible_box` (x0, y0, x1, y1 in pixels, the
    part that the network saw) and zero elsewhere. A map without any positive value stays all zero, and so does one
    without any place: no evidence is not stretched into some.
    """
    heatmap = np.zeros((height, width), np.float32)
    positive = class_map.clamp(min=0).cpu().numpy()
    peak = float(positive.max(initial=0))
    if not peak:
        return heatmap
    scaled = positive / peak
    x0, y0, x1, y1 = visible_box
    heatmap[y0:y1, x0:x1] = cv2.resize(scaled, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return heatmap


def apply_colormap(heatmap: Heatmap) -> Uint8Image:
    """Heat float32 [H, W] in [0, 1] -> uint8 [H, W, 3] RGB, from dark violet (none) to yellow (most)."""
    gray_levels = (np.clip(heatmap, 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(gray_levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))


def render_layer(heatmap: Heatmap, visible_box: tuple[int, int, int, int]) -> Uint8Image:
    """Heat float32 [H, W] as a layer to lay over its picture: uint8 [H, W, 4] RGBA.

    Transparent where there is no evidence, so that the picture stays readable; a grey veil outside `visible_box` (x0, y0, x1,
    y1), which the network did not see.
    """
    rgba_layer = np.full((*heatmap.shape, 4), (96, 96, 104, 110), np.uint8)
    x0, y0, x1, y1 = visible_box
    crop_values = heatmap[y0:y1, x0:x1]
    rgba_layer[y0:y1, x0:x1, :3] = apply_colormap(crop_values)
    rgba_layer[y0:y1, x0:x1, 3] = (np.sqrt(np.clip(crop_values, 0.0, 1.0)) * 255).round()
    return rgba_layer


def blend_overlay(
    image: Uint8Image, heatmap: Heatmap, visible_box: tuple[int, int, int, int], opacity: float = 0.6
) -> Uint8Image:
    """The picture, uint8 [H, W, 3], under the layer of its heat at an opacity in [0, 1]."""
    rgba_layer = render_layer(heatmap, visible_box)
    alpha = rgba_layer[..., 3:].astype(np.float32) / 255.0 * opacity
    return (image * (1.0 - alpha) + rgba_layer[..., :3] * alpha).round().astype(np.uint8)
