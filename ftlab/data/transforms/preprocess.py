"""Pixels as the network wants them: size, evaluation crop, normalisation. `augment` varies them for the training.

Everything up to `normalize_batch` is uint8: a picture's pixels are the same bits in training, evaluation and
prediction, and a batch is a quarter of its float size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig, check_image_sizes, compute_image_sizes
from ftlab.data.images import decode

_HALF_MEAN_STD = (0.5, 0.5, 0.5)
"""Mean and deviation that bring pixels from [0, 1] to [-1, 1]."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is prepared; travels with the weights in `model.json`.

    Attributes:
        resize: pixels of the short side, or of both, before the centre crop.
        side: pixels of the square that the network sees.
        interpolation: `bilinear` or `bicubic`, with antialiasing.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
        resize_mode: `short` scales the short side to `resize`, `squash` both sides.
    """

    resize: int
    side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str = "short"

    @property
    def min_side(self) -> int:
        """Pixels of the short side that a picture must be decoded with at least, see `decode.read`."""
        return decode.compute_min_side(self.resize)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_spec(spec: BackboneSpec) -> Preprocessing:
    """The preprocessing that a backbone's weights were trained with."""
    return Preprocessing(spec.resize, spec.side, spec.interpolation, spec.mean, spec.std)


def from_config(spec: BackboneSpec, config: TrainConfig) -> Preprocessing:
    """The preprocessing that a configuration asks for. Where it is to be estimated from the pictures, mean and
    standard deviation are still the weights'.

    Raises:
        ConfigError: the square that the network sees is larger than what it is cut from.
    """
    resize, side = compute_image_sizes(spec, config)
    check_image_sizes(side, resize, config.crop_side)
    mean, std = (_HALF_MEAN_STD, _HALF_MEAN_STD) if config.normalise == "unit" else (spec.mean, spec.std)
    return Preprocessing(resize, side, spec.interpolation, mean, std, config.resize_mode)


def from_json(values: dict[str, Any]) -> Preprocessing:
    """The inverse of `Preprocessing.to_json`."""
    return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def resize_and_center_crop(pixels: np.ndarray, prep: Preprocessing) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, side, side]: resized, and the centre crop of that."""
    return center_crop(resize_image(pixels, prep), prep.side)


def resize_image(pixels: np.ndarray, prep: Preprocessing) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, h, w] as `resize` and `resize_mode` say."""
    height, width = pixels.shape[:2]
    return resize_to_size(pixels, compute_resized_size(width, height, prep), prep.interpolation)


def center_crop(image: Tensor, side: int) -> Tensor:
    """uint8 [3, h, w] -> its middle square, uint8 [3, side, side]."""
    top, left = center_offsets(image.shape[1], image.shape[2], side)
    return image[:, top : top + side, left : left + side].contiguous()


def center_offsets(height: int, width: int, side: int) -> tuple[int, int]:
    """Top and left of the square in the middle; half a pixel is rounded as torchvision does."""
    return round((height - side) / 2), round((width - side) / 2)


def center_crop_box(width: int, height: int, prep: Preprocessing) -> tuple[int, int, int]:
    """Top, left and side of the evaluation crop, in pixels of the resized picture."""
    return *center_offsets(*compute_resized_size(width, height, prep), prep.side), prep.side


def visible_box(width: int, height: int, prep: Preprocessing) -> tuple[float, float, float, float]:
    """The square that the network sees, as x0, y0, x1, y1 in fractions of the original picture."""
    top, left, crop_side = center_crop_box(width, height, prep)
    resized_height, resized_width = compute_resized_size(width, height, prep)
    return (
        left / resized_width,
        top / resized_height,
        (left + crop_side) / resized_width,
        (top + crop_side) / resized_height,
    )


def normalize_batch(batch: Tensor, prep: Preprocessing) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 [B, 3, H, W] on the same device: (x / 255 - mean) / std."""
    mean, std = _channel_tensor(prep.mean, batch.device), _channel_tensor(prep.std, batch.device)
    return batch.float().div_(255.0).sub_(mean).div_(std)


@cache
def _channel_tensor(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """float32 [1, 3, 1, 1], brought to a device once: a card would be waited for each time."""
    with torch.inference_mode(False):  # a tensor that is made in that mode can be used in no other
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def compute_resized_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int]:
    """Height and width after resizing; where the short side is scaled, the long one is rounded down as torchvision
    does."""
    if prep.resize_mode == "squash":
        return prep.resize, prep.resize
    if width <= height:
        return int(prep.resize * height / width), prep.resize
    return prep.resize, int(prep.resize * width / height)


def resize_to_size(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> Tensor:
    """uint8 [H, W, 3] -> uint8 [3, *size], antialiased. Stays in uint8: four times faster than in float, and the
    same bits as torchvision's resize."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    if image.shape[1:] == size:
        return image
    return F.interpolate(image[None], size=size, mode=interpolation, antialias=True, align_corners=False)[0]
