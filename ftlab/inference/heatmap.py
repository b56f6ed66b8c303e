"""How the map of a class is shown: as heat over its picture, in colours, as a layer, as an overlay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]


def heat(evidence: Tensor, width: int, height: int, box: tuple[int, int, int, int]) -> Heat:
    """The map of a class laid over a picture: float32 [height, width] in [0, 1].

    Its positive part is scaled so that its maximum is 1, enlarged bilinearly into `box` (x0, y0, x1, y1 in pixels, the
    part that the network saw) and zero elsewhere. A map without any positive value stays all zero, and so does one
    without any place: no evidence is not stretched into some.
    """
    laid = np.zeros((height, width), np.float32)
    positive = evidence.clamp(min=0).cpu().numpy()
    peak = float(positive.max(initial=0))
    if not peak:
        return laid
    scaled = positive / peak
    x0, y0, x1, y1 = box
    laid[y0:y1, x0:x1] = cv2.resize(scaled, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return laid


def colour(values: Heat) -> Pixels:
    """Heat float32 [H, W] in [0, 1] -> uint8 [H, W, 3] RGB, from dark violet (none) to yellow (most)."""
    levels = (np.clip(values, 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))


def layer(values: Heat, box: tuple[int, int, int, int]) -> Pixels:
    """Heat float32 [H, W] as a layer to lay over its picture: uint8 [H, W, 4] RGBA.

    Transparent where there is no evidence, so that the picture stays readable; a grey veil outside `box` (x0, y0, x1,
    y1), which the network did not see.
    """
    made = np.full((*values.shape, 4), (96, 96, 104, 110), np.uint8)
    x0, y0, x1, y1 = box
    seen = values[y0:y1, x0:x1]
    made[y0:y1, x0:x1, :3] = colour(seen)
    made[y0:y1, x0:x1, 3] = (np.sqrt(np.clip(seen, 0.0, 1.0)) * 255).round()
    return made


def overlay(picture: Pixels, values: Heat, box: tuple[int, int, int, int], opacity: float = 0.6) -> Pixels:
    """The picture, uint8 [H, W, 3], under the layer of its heat at an opacity in [0, 1]."""
    over = layer(values, box)
    alpha = over[..., 3:].astype(np.float32) / 255.0 * opacity
    return (picture * (1.0 - alpha) + over[..., :3] * alpha).round().astype(np.uint8)
