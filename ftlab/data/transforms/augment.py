"""Random augmentation of single training images on CPU threads: crop, flips, rotation, color, blur, erasing.

All effects work on uint8. The random numbers are a function of (seed, epoch, index) alone (`augment_draw` draws them);
`TrainConfig` has the strengths, one field each. `gpu_augment` applies the same draws to whole batches on a GPU.
"""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ftlab.config.train_config import AUGMENTATION_FIELDS, TrainConfig
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.augment_draw import AugmentDraw, draw_augmentation
from ftlab.data.transforms.preprocess import Preprocessing

PreparedImage: TypeAlias = "ImageArray | Tensor"
"""A decoded image, uint8 [H, W, 3], or a resized one, uint8 [3, h, w]."""


def make_epoch_rng(seed: int, epoch: int, index: int) -> random.Random:
    """Return the random generator of an image in an epoch.

    Args:
        seed: the run's seed.
        epoch: number of the epoch, from 1.
        index: position of the image in its split; `sampler` adds multiples of the split's length for repeated images.
    """
    return random.Random(f"{seed}/{epoch}/{index}")


def augment_for_epoch(pixels: ImageArray, prep: Preprocessing, config: TrainConfig, epoch: int, index: int) -> Tensor:
    """Return a training image as an epoch presents it to the network.

    Args:
        pixels: uint8 [H, W, 3] of the decoded image.
        prep: sizes and interpolation.
        config: seed and augmentation settings, with `augment` resolved.
        epoch: number of the epoch, from 1.
        index: position of the image in its split.

    Returns:
        uint8 [3, S, S].
    """
    return augment_image(pixels, prep, config, make_epoch_rng(config.seed, epoch, index))


def make_view(pixels: ImageArray, prep: Preprocessing, config: TrainConfig, view_index: int, index: int) -> Tensor:
    """Return a view of an image for cached features: 0 is the evaluation crop, the others are random.

    If random flips are the only augmentation, view 1 is the mirror image and later views are random crops, as an image
    has only one mirror image.

    Args:
        pixels: uint8 [H, W, 3] of the decoded image.
        prep: sizes and interpolation.
        config: seed and augmentation settings, with `augment` resolved.
        view_index: number of the view, from 0.
        index: position of the image in its split.

    Returns:
        uint8 [3, S, S].
    """
    if view_index == 0:
        return preprocess.resize_and_center_crop(pixels, prep)
    if is_mirror_view(config, view_index):
        return preprocess.resize_and_center_crop(pixels, prep).flip(-1).contiguous()
    return augment_image(pixels, prep, view_config(config), make_view_rng(config, view_index, index))


def is_mirror_view(config: TrainConfig, view_index: int) -> bool:
    """Return whether view `view_index` of each image is the mirrored evaluation crop."""
    return view_index == 1 and _augments_by_flip_only(config)


def view_config(config: TrainConfig) -> TrainConfig:
    """Return the configuration that random views are drawn with: `crop` in place of `flip` if nothing else varies."""
    # An image has one mirror image only: further views must differ by crops.
    return dataclasses.replace(config, augment="crop") if _augments_by_flip_only(config) else config


def _augments_by_flip_only(config: TrainConfig) -> bool:
    """Return whether random left-right flips are the only augmentation."""
    return config.augment == "flip" and config.hflip > 0 and not config.active_augmentations


def make_view_rng(config: TrainConfig, view_index: int, index: int) -> random.Random:
    """Return the random generator of a random view.

    Args:
        config: configuration with the seed.
        view_index: number of the view, from 1.
        index: position of the image in its split.
    """
    return random.Random(f"{config.seed}/view {view_index}/{index}")


def describe_view(config: TrainConfig, view_index: int, index: int) -> str:
    """Return a text that identifies a view: equal texts give equal pixels for the same image and preprocessing.

    Args:
        config: seed and augmentation settings.
        view_index: number of the view, from 0.
        index: position of the image in its split.
    """
    if view_index == 0:
        return "evaluation"
    if is_mirror_view(config, view_index):
        return "mirror"
    # Everything that the draw or its effects depend on: a field that is missing here would give stale cached features.
    field_names = ("augment", "crop_scale", "crop_ratio", "crop_size", "hflip", "rotate_border", *AUGMENTATION_FIELDS)
    return repr((config.seed, view_index, index, *(getattr(config, name) for name in field_names)))


def augment_image(pixels: ImageArray, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """Return an image augmented with random numbers from `rng`.

    Args:
        pixels: uint8 [H, W, 3] of the decoded image.
        prep: sizes and interpolation.
        config: augmentation settings.
        rng: source of random numbers.

    Returns:
        uint8 [3, S, S].
    """
    return random_augment(prepare_image(pixels, prep, config), prep, config, rng)


def prepare_image(pixels: ImageArray, prep: Preprocessing, config: TrainConfig) -> PreparedImage:
    """Return the deterministic part of augmentation, which can be cached between epochs.

    Args:
        pixels: uint8 [H, W, 3] of the decoded image.
        prep: sizes and interpolation.
        config: augmentation settings.

    Returns:
        With `augment` = `none` the evaluation crop, with `flip` the resized image, with `crop` `pixels` themselves.
    """
    if config.augment == "none":
        return preprocess.resize_and_center_crop(pixels, prep)
    # A random crop needs the full resolution.
    return pixels if config.augment == "crop" else preprocess.resize_image(pixels, prep)


def random_augment(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """Apply the random part of augmentation to an image that `prepare_image` returned.

    With `augment` = `crop` it begins with a random resized crop, with `flip` with the resized image; with `none` it
    returns the evaluation crop.

    Args:
        prepared: not modified.
        prep: sizes and interpolation.
        config: augmentation settings.
        rng: source of random numbers.

    Returns:
        uint8 [3, S, S].
    """
    if config.augment == "none":
        return torch.as_tensor(prepared)
    height, width = prepared.shape[:2]
    augment_draw = draw_augmentation((height, width), prep, config, rng)
    image = _crop_and_rotate(prepared, prep, config, augment_draw)
    image = image.flip(
        [axis for axis, is_flipped in ((-1, augment_draw.hflip), (-2, augment_draw.vflip)) if is_flipped]
    )
    image = _jitter_color(image, augment_draw)
    image = _to_grayscale(image) if augment_draw.grayscale else image
    image = _gaussian_blur(image, augment_draw.blur_sigma) if augment_draw.blur_sigma else image
    return _erase_box(image, augment_draw).contiguous()


def _crop_and_rotate(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, draw: AugmentDraw) -> Tensor:
    """Return the cropped and rotated square of an image, uint8 [3, S, S]."""
    image = _apply_crop(prepared, prep, config, draw)
    # The rotation sees the whole crop, so that the empty corners are cut off if the crop is larger than the square.
    return (
        _rotate_and_crop(image, draw.angle, prep.side, config)
        if draw.angle
        else preprocess.center_crop(image, prep.side)
    )


def _apply_crop(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, draw: AugmentDraw) -> Tensor:
    """Return the drawn crop scaled to the crop size, uint8 [3, s, s]; `prepared` itself if none was drawn."""
    if draw.crop_box is None:
        return torch.as_tensor(prepared)
    (top, left, crop_height, crop_width), crop_side = draw.crop_box, config.crop_size or prep.side
    pixels = np.asarray(prepared)[top : top + crop_height, left : left + crop_width]
    return preprocess.resize_to_size(pixels, (crop_side, crop_side), prep.interpolation)


def make_erase_noise(draw: AugmentDraw) -> Tensor:
    """Return the uniform noise that replaces the erased box: uint8 [3, height, width], as large as `draw.erase_box`."""
    _, _, box_height, box_width = draw.erase_box or (0, 0, 0, 0)
    # On the CPU even if it is used on a GPU, so that both paths erase with the same bits.
    generator = torch.Generator().manual_seed(draw.noise_seed)
    return torch.randint(256, (3, box_height, box_width), dtype=torch.uint8, generator=generator)


def _rotate_and_crop(image: Tensor, angle: float, side: int, config: TrainConfig) -> Tensor:
    """Rotate an image about its center and return the middle square.

    One pass of OpenCV: it supports a reflecting border (torchvision's rotation does not) and stays in uint8.

    Args:
        image: uint8 [3, h, w].
        angle: angle in degrees, counter-clockwise.
        side: width and height of the square in pixels.
        config: `rotate_border` says how the corners are filled.

    Returns:
        uint8 [3, side, side].
    """
    import cv2  # imported here as few runs rotate images

    height, width = image.shape[1:]
    top, left = preprocess.center_offsets(height, width, side)
    # OpenCV's coordinates lie at pixel centers: the middle of n pixels is (n - 1) / 2.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] -= (left, top)  # crops in the same pass
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    border = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT}[config.rotate_border]
    rotated_pixels = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return torch.from_numpy(rotated_pixels).permute(2, 0, 1)


def _jitter_color(image: Tensor, draw: AugmentDraw) -> Tensor:
    """Adjust brightness, contrast, saturation and hue in the drawn order, as torchvision's `ColorJitter` defines them.

    The idea is from Krizhevsky et al., 2012, "ImageNet Classification with Deep Convolutional Neural Networks",
    section 4.1.

    Args:
        image: uint8 [3, S, S].
        draw: the drawn amounts.

    Returns:
        uint8 [3, S, S].
    """
    if not draw.color_jitter:
        return image
    from torchvision.transforms.v2 import functional  # takes seconds to import, so only where it is needed

    for name, amount in draw.color_jitter:
        adjust = getattr(functional, f"adjust_{name}")
        image = adjust(image, amount if name == "hue" else 1 + amount)  # hue is a shift, the others are factors
    return image


def _to_grayscale(image: Tensor) -> Tensor:
    """Return the image in gray, with three equal channels: uint8 [3, S, S]."""
    from torchvision.transforms.v2 import functional

    gray_image: Tensor = functional.rgb_to_grayscale(image, num_output_channels=3)
    return gray_image


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Return the image under a Gaussian blur (Chen et al., 2020, arXiv:2002.05709, appendix A), `sigma` in pixels."""
    from torchvision.transforms.v2 import functional

    kernel_size = 2 * compute_blur_radius(sigma) + 1
    blurred: Tensor = functional.gaussian_blur(image, [kernel_size, kernel_size], [sigma, sigma])
    return blurred


def compute_blur_radius(sigma: float) -> int:
    """Return the radius in pixels at which a Gaussian kernel of standard deviation `sigma` is cut off."""
    return math.ceil(3 * sigma)  # 99.7 % of the weight lies within


def _erase_box(image: Tensor, draw: AugmentDraw) -> Tensor:
    """Return a copy whose drawn box is replaced by noise (random erasing).

    Zhong et al., 2017, arXiv:1708.04896, find noise to work best. The image itself is not modified.

    Args:
        image: uint8 [3, S, S].
        draw: box and seed of the noise.

    Returns:
        uint8 [3, S, S].
    """
    if draw.erase_box is None:
        return image
    top, left, box_height, box_width = draw.erase_box
    output = image.clone()
    output[:, top : top + box_height, left : left + box_width] = make_erase_noise(draw)
    return output
