"""Preprocessing of images for the network: resizing, evaluation crop, normalization. `augment` adds random variation.

Everything up to `normalize_batch` is uint8: an image has the same bits in training, evaluation and prediction, and a
batch takes a quarter of the memory of float32.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config import rules
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig, compute_image_sizes
from ftlab.core import json_fields
from ftlab.data.images import decode_options
from ftlab.data.images.decode import ImageArray
from ftlab.data.images.decode_options import DecodeOptions, ValueRanges

_HALF_MEAN_STD = (0.5, 0.5, 0.5)
"""Mean and standard deviation that map pixels from [0, 1] to [-1, 1]."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of an image for a network; stored with the weights in `model.json`.

    Attributes:
        resize: pixels of the short side, or of both, before the center crop.
        side: pixels of the square that the network sees.
        interpolation: `bilinear` or `bicubic`, with antialiasing.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
        resize_mode: `short` scales the short side to `resize`, `squash` both sides.
        exact_decoding: decode JPEGs at their full size, see `DecodeOptions`.
        value_ranges: of deep images, see `DecodeOptions`; None for a model that recorded none.
    """

    resize: int
    side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str = "short"
    exact_decoding: bool = False
    value_ranges: ValueRanges | None = ValueRanges()

    @property
    def decode_options(self) -> DecodeOptions:
        """Options that images are decoded with."""
        return DecodeOptions(decode_options.compute_min_side(self.resize), self.exact_decoding, self.value_ranges)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for `model.json`."""
        return {**asdict(self), "value_ranges": None if self.value_ranges is None else self.value_ranges.to_json()}


def from_spec(spec: BackboneSpec) -> Preprocessing:
    """Return the preprocessing that a backbone's pretrained weights were trained with."""
    return Preprocessing(spec.resize, spec.side, spec.interpolation, spec.mean, spec.std)


def from_config(spec: BackboneSpec, config: TrainConfig, value_ranges: ValueRanges = ValueRanges()) -> Preprocessing:
    """Return the preprocessing that a configuration describes.

    If mean and standard deviation are to be estimated from the images, those of the pretrained weights stand in for
    now. A crop larger than the resized image is a `ConfigError`.

    Args:
        spec: the backbone's spec.
        config: image size, resize mode, normalization and decoding.
        value_ranges: estimated from the data set, for a configuration that states none.
    """
    resize, side = compute_image_sizes(spec, config)
    rules.check_image_sizes(side, resize, config.crop_size)
    mean, std = (_HALF_MEAN_STD, _HALF_MEAN_STD) if config.normalization == "unit" else (spec.mean, spec.std)
    return Preprocessing(
        resize,
        side,
        spec.interpolation,
        mean,
        std,
        config.resize_mode,
        config.exact_decoding,
        decode_options.resolve_ranges(config.value_range, value_ranges),
    )


def from_json(values: dict[str, Any]) -> Preprocessing:
    """Return the preprocessing that `Preprocessing.to_json` wrote.

    Raises:
        ValueError: a value is missing, unknown or damaged.
    """
    try:
        mean, std = (tuple(float(value) for value in values[name]) for name in ("mean", "std"))
        # Models of earlier versions have no such key, and go on seeing deep images as they were trained with.
        value_ranges = decode_options.ranges_from_json(values.get("value_ranges"))
        if len(mean) != 3 or len(std) != 3:
            raise ValueError("not one value per channel")
        # An unknown value may change what the network sees, so it is not passed over.
        return json_fields.build_dataclass(
            Preprocessing, {**values, "mean": mean, "std": std, "value_ranges": value_ranges}, ignore_unknown=False
        )
    except (KeyError, TypeError, AttributeError) as cause:
        raise ValueError("no preprocessing") from cause


def resize_and_center_crop(pixels: ImageArray, prep: Preprocessing) -> Tensor:
    """Return the evaluation crop of an image: uint8 [H, W, 3] -> uint8 [3, S, S]."""
    return center_crop(resize_image(pixels, prep), prep.side)


def resize_image(pixels: ImageArray, prep: Preprocessing) -> Tensor:
    """Return an image scaled as `prep.resize` and `prep.resize_mode` say: uint8 [H, W, 3] -> uint8 [3, h, w]."""
    height, width = pixels.shape[:2]
    return resize_to_size(pixels, compute_resized_size(width, height, prep), prep.interpolation)


def center_crop(image: Tensor, side: int) -> Tensor:
    """Return the middle square of an image: uint8 [3, h, w] -> uint8 [3, side, side], contiguous."""
    top, left = center_offsets(image.shape[1], image.shape[2], side)
    # A view would keep the whole resized image in memory.
    return image[:, top : top + side, left : left + side].contiguous()


def center_offsets(height: int, width: int, side: int) -> tuple[int, int]:
    """Return top and left of the middle square in pixels; half a pixel is rounded as torchvision does."""
    # `round` rounds half to even, and so does torchvision.
    return round((height - side) / 2), round((width - side) / 2)


def center_crop_box(width: int, height: int, prep: Preprocessing) -> tuple[int, int, int]:
    """Return top, left and side of the evaluation crop, in pixels of the resized image."""
    return *center_offsets(*compute_resized_size(width, height, prep), prep.side), prep.side


def visible_box(width: int, height: int, prep: Preprocessing) -> tuple[float, float, float, float]:
    """Return the square that the network sees, as x0, y0, x1, y1 in fractions of the original image."""
    top, left, crop_side = center_crop_box(width, height, prep)
    resized_height, resized_width = compute_resized_size(width, height, prep)
    return (
        left / resized_width,
        top / resized_height,
        (left + crop_side) / resized_width,
        (top + crop_side) / resized_height,
    )


def normalize_batch(batch: Tensor, prep: Preprocessing) -> Tensor:
    """Return (x / 255 - mean) / std on the batch's device: uint8 [B, 3, H, W] -> float32 [B, 3, H, W]."""
    mean, std = _channel_tensor(prep.mean, batch.device), _channel_tensor(prep.std, batch.device)
    # In place after the first conversion: one float32 copy of the batch instead of four.
    return batch.float().div_(255.0).sub_(mean).div_(std)


@cache
def _channel_tensor(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Return a value per channel as float32 [1, 3, 1, 1] on a device, cached: each copy to a GPU would wait for it."""
    with torch.inference_mode(False):  # the first caller may be in inference mode, whose tensors autograd cannot use
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def compute_resized_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int]:
    """Return height and width after resizing; with `short` the long side is rounded down as torchvision does."""
    if prep.resize_mode == "squash":
        return prep.resize, prep.resize
    if width <= height:
        return int(prep.resize * height / width), prep.resize
    return prep.resize, int(prep.resize * width / height)


def resize_to_size(pixels: ImageArray, size: tuple[int, int], interpolation: str) -> Tensor:
    """Return an image scaled to a size, antialiased: uint8 [H, W, 3] -> uint8 [3, *size].

    Stays in uint8: four times as fast as in float32, and bit for bit torchvision's resize.

    Args:
        pixels: uint8 [H, W, 3].
        size: height and width in pixels.
        interpolation: `bilinear` or `bicubic`.
    """
    # A crop is a strided view; torch's fast path for uint8 takes contiguous images.
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    if image.shape[1:] == size:
        return image
    return F.interpolate(image[None], size=size, mode=interpolation, antialias=True, align_corners=False)[0]
