"""Pixels as the network wants them: evaluation crop, augmentation, normalisation.

Everything up to `normalise` is uint8: a picture's pixels are the same bits in training, evaluation and
prediction, and a batch is a quarter of its float size. Randomness is a function of (seed, epoch, index) alone.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.backbones import Backbone

CROP_SCALE = (0.35, 1.0)
"""Share of the picture's area that a random crop keeps. The classic 0.08 often loses the object of a small set."""
CROP_RATIO = (3 / 4, 4 / 3)
"""Aspect ratio of a random crop, drawn uniformly on a logarithmic scale."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is prepared; travels with the weights in `model.json`.

    Attributes:
        resize: pixels of the short side before the centre crop.
        side: pixels of the square that the network sees.
        interpolation: `bilinear` or `bicubic`, with antialiasing.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
    """

    resize: int
    side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def of(row: Backbone) -> Preprocessing:
    """The preprocessing that a backbone's weights were trained with."""
    return Preprocessing(row.resize, row.side, row.interpolation, row.mean, row.std)


def from_json(values: dict[str, Any]) -> Preprocessing:
    """The inverse of `Preprocessing.to_json`."""
    return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def evaluation(pixels: np.ndarray, prep: Preprocessing) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side]: short side to `resize`, centre crop."""
    height, width = pixels.shape[:2]
    top, left, size = crop_box(width, height, prep)
    scaled = _resize(pixels, _scaled(width, height, prep), prep.interpolation)
    return scaled[:, top : top + size, left : left + size].contiguous()


def crop_box(width: int, height: int, prep: Preprocessing) -> tuple[int, int, int]:
    """Top, left and side of the evaluation crop, in pixels of the resized picture."""
    tall, wide = _scaled(width, height, prep)
    return round((tall - prep.side) / 2), round((wide - prep.side) / 2), prep.side


def seen_box(width: int, height: int, prep: Preprocessing) -> tuple[float, float, float, float]:
    """The square that the network sees, as x0, y0, x1, y1 in fractions of the original picture."""
    top, left, size = crop_box(width, height, prep)
    tall, wide = _scaled(width, height, prep)
    return left / wide, top / tall, (left + size) / wide, (top + size) / tall


def augmented(pixels: np.ndarray, prep: Preprocessing, kind: str, rng: random.Random) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side], varied by `rng`: `crop` (random resized crop and mirror), `flip`
    (evaluation crop and mirror) or `none` (evaluation crop)."""
    if kind == "crop":
        height, width = pixels.shape[:2]
        top, left, tall, wide = _random_box(width, height, rng)
        picture = _resize(pixels[top : top + tall, left : left + wide], (prep.side, prep.side), prep.interpolation)
    else:
        picture = evaluation(pixels, prep)
    if kind != "none" and rng.random() < 0.5:
        picture = picture.flip(-1)
    return picture.contiguous()


def view(pixels: np.ndarray, prep: Preprocessing, number: int, rng: random.Random) -> Tensor:
    """View `number` of a picture for cached features: 0 the evaluation crop, 1 its mirror, more random crops."""
    if number == 0:
        return evaluation(pixels, prep)
    if number == 1:
        return evaluation(pixels, prep).flip(-1).contiguous()
    return augmented(pixels, prep, "crop", rng)


def normalise(batch: Tensor, prep: Preprocessing) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 [B, 3, H, W] on the same device: (x / 255 - mean) / std."""
    mean = torch.tensor(prep.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(prep.std, device=batch.device).view(1, 3, 1, 1)
    return batch.float().div_(255.0).sub_(mean).div_(std)


def randomness(seed: int, epoch: int, index: int) -> random.Random:
    """The generator of one picture in one epoch."""
    return random.Random(f"{seed}/{epoch}/{index}")


def _scaled(width: int, height: int, prep: Preprocessing) -> tuple[int, int]:
    """Height and width after the short side is scaled to `resize`; the long side is rounded down as torchvision
    does."""
    if width <= height:
        return int(prep.resize * height / width), prep.resize
    return prep.resize, int(prep.resize * width / height)


def _resize(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, *size], antialiased. Stays in uint8: four times faster than in float, and the
    same bits as torchvision's resize."""
    picture = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    if picture.shape[1:] == size:
        return picture
    return F.interpolate(picture[None], size=size, mode=interpolation, antialias=True, align_corners=False)[0]


def _random_box(width: int, height: int, rng: random.Random) -> tuple[int, int, int, int]:
    """Top, left, height, width of a random crop (Inception's: Szegedy et al., 2015, arXiv:1409.4842, page 5)."""
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for _ in range(10):
        area = width * height * rng.uniform(*CROP_SCALE)
        ratio = math.exp(rng.uniform(low, high))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            return rng.randint(0, height - tall), rng.randint(0, width - wide), tall, wide
    side = min(width, height)
    return (height - side) // 2, (width - side) // 2, side, side
