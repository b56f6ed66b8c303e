"""Augmentation of whole batches on the network's device, with the random numbers that `augment_draw` draws per image.

CPU threads only decode and draw: each of the many small calls that augment an image takes the interpreter lock, and
where the network's steps are many small calls too, they wait for each other. Here a batch takes a few kernels, and none
for an effect that no image of it has. Nothing waits for the device: index lists are made on the CPU.

The pixels are those of `augment` on CPU threads: cropped, scaled, flipped, gray and erased images bit for bit.
Rotation, color and blur sum in another order, so at most a few pixels in a thousand are rounded to the next of 256
levels. Where several effects follow each other, one may amplify the difference of another: up to 3 levels were seen,
0.001 on average.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.data.gpu import gpu_resize
from ftlab.data.gpu.gpu_effects import (
    ErasePatch,
    adjust_colors,
    apply_to_selected,
    erase_boxes,
    gaussian_blur,
    rotate_and_crop,
    shift_hue,
    to_grayscale,
)
from ftlab.data.gpu.gpu_resize import CropBox, ResizePlan
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.augment_draw import AugmentDraw, draw_augmentation
from ftlab.data.transforms.preprocess import Preprocessing

GPU_DEVICE_TYPES = ("cuda",)
"""Device types on which `auto` augments images."""
MAX_CHUNK_IMAGES = 64
"""Images of a batch that are augmented together: intermediate results take ten times their memory, and a step that goes
through the network in micro-batches may be large.
"""


@dataclass(frozen=True)
class AugmentParams:
    """Crop and augmentations of one view of an image.

    Attributes:
        crop: the part of the image, and the size to which it is scaled.
        draw: random numbers of the effects.
        erase_patch: box and noise of random erasing.
        is_rotated: whether the scaled crop is rotated, and its middle square is the view.
    """

    crop: CropBox
    draw: AugmentDraw = field(default_factory=AugmentDraw)
    erase_patch: ErasePatch | None = None
    is_rotated: bool = False


def augment_device(config: TrainConfig, device: torch.device) -> str:
    """Return the device that augments training images: `cpu` or `gpu`.

    As configured; with `auto` the GPU if there is one. A CPU gains nothing from batches: there, threads augment while
    the network computes.

    Args:
        config: configuration with the setting.
        device: the network's device.
    """
    if device.type == "mps":
        return "cpu"  # not tested on Apple's GPUs
    if config.augment_device != "auto":
        return config.augment_device
    return "gpu" if on_gpu(device) and config.trains_on_images else "cpu"


def on_gpu(device: torch.device) -> bool:
    """Return whether the device is so much faster than the CPU that all work should go there."""
    return device.type in GPU_DEVICE_TYPES


def can_augment_batches(prep: Preprocessing, config: TrainConfig) -> bool:
    """Return whether batches can be augmented: not if images of different sizes are rotated before anything is cropped.

    Args:
        prep: preprocessing with the resize mode.
        config: augmentation settings.
    """
    return not (config.rotate > 0 and config.augment == "flip" and prep.resize_mode != "squash")


def make_eval_params(size: tuple[int, int], prep: Preprocessing) -> AugmentParams:
    """Return the parameters of the evaluation crop of an image with that height and width."""
    return AugmentParams(gpu_resize.eval_crop_box(*size, prep))


def draw_train_params(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random
) -> AugmentParams:
    """Draw the parameters of an image's training view, the one `augment.augment_image` makes with the same generator.

    Args:
        size: height and width of the decoded image in pixels.
        prep: sizes and interpolation.
        config: augmentation settings.
        rng: source of random numbers.

    Returns:
        Crop, draw and noise.
    """
    draw = draw_augmentation(size, prep, config, rng)
    erase_patch = (draw.erase_box, augment.make_erase_noise(draw)) if draw.erase_box else None
    is_rotated = config.augment != "none" and config.rotate > 0
    if draw.crop_box is None and not is_rotated:
        return AugmentParams(gpu_resize.eval_crop_box(*size, prep), draw, erase_patch)
    # To be rotated, the scaled crop is needed as a whole: the square is cut out afterwards.
    side = (config.crop_size or prep.side) if draw.crop_box else prep.resize
    square_top, square_left = (0, 0) if is_rotated else preprocess.center_offsets(side, side, prep.side)
    return AugmentParams(
        CropBox(*(draw.crop_box or (0, 0, *size)), side, side, square_top, square_left), draw, erase_patch, is_rotated
    )


def make_view_params(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, view_index: int, index: int
) -> AugmentParams:
    """Return the parameters of a cached view: the view that `augment.make_view` makes.

    Args:
        size: height and width of the decoded image in pixels.
        prep: sizes and interpolation.
        config: seed and augmentation settings.
        view_index: number of the view, from 0.
        index: position of the image in its split.
    """
    if view_index == 0:
        return make_eval_params(size, prep)
    if augment.is_mirror_view(config, view_index):
        return AugmentParams(gpu_resize.eval_crop_box(*size, prep), AugmentDraw(hflip=True))
    return draw_train_params(size, prep, augment.view_config(config), augment.make_view_rng(config, view_index, index))


def plan_batch_resize(
    sizes: Sequence[tuple[int, int]], params: Sequence[AugmentParams], prep: Preprocessing
) -> ResizePlan:
    """Return how the crops of a batch are scaled.

    Args:
        sizes: height and width of each decoded image.
        params: parameters of each image's view, all rotated or none.
        prep: sizes and interpolation.
    """
    # All views of a batch are rotated or none, and then all have the same size.
    side = params[0].crop.scaled_height if params and params[0].is_rotated else prep.side
    return gpu_resize.plan_resize(sizes, [image_params.crop for image_params in params], side, prep.interpolation)


def resize_and_augment(
    buffer: Tensor, resize_plan: ResizePlan, params: Sequence[AugmentParams], prep: Preprocessing, config: TrainConfig
) -> Tensor:
    """Return the views of a batch on the images' device, uint8 [B, 3, S, S].

    Args:
        buffer: the decoded images, concatenated, uint8 [N].
        resize_plan: what `plan_batch_resize` returned for `params`, on the same device.
        params: parameters of each image's view, all drawn with `config`.
        prep: sizes and interpolation.
        config: augmentation settings.
    """
    if not params:
        return torch.empty(0, 3, prep.side, prep.side, dtype=torch.uint8, device=buffer.device)
    pixels = gpu_resize.resize_squares(buffer, resize_plan)
    starts = range(0, len(params), MAX_CHUNK_IMAGES)
    chunks = [
        _augment_chunk(pixels[start : start + MAX_CHUNK_IMAGES], params[start : start + MAX_CHUNK_IMAGES], prep, config)
        for start in starts
    ]
    return torch.cat(chunks) if len(chunks) > 1 else chunks[0]


def _augment_chunk(pixels: Tensor, params: Sequence[AugmentParams], prep: Preprocessing, config: TrainConfig) -> Tensor:
    """Return scaled crops with all their effects applied, uint8 [B, 3, S, S]."""
    draws = [entry.draw for entry in params]
    if params[0].is_rotated:
        pixels = rotate_and_crop(pixels, [entry.angle for entry in draws], prep.side, config.rotate_border)
    pixels = apply_to_selected(pixels, [entry.hflip for entry in draws], lambda selected, _: selected.flip(-1))
    pixels = apply_to_selected(pixels, [entry.vflip for entry in draws], lambda selected, _: selected.flip(-2))
    # Each image has its own order of adjustments: the n-th of all images are applied together.
    for position in range(max(len(entry.color_jitter) for entry in draws)):
        jitters = [dict(entry.color_jitter[position : position + 1]) for entry in draws]
        pixels = apply_to_selected(
            adjust_colors(pixels, jitters), [entry.get("hue", 0.0) for entry in jitters], shift_hue
        )
    pixels = apply_to_selected(
        pixels, [entry.grayscale for entry in draws], lambda selected, _: to_grayscale(selected, 3)
    )
    pixels = apply_to_selected(pixels, [entry.blur_sigma for entry in draws], gaussian_blur)
    return apply_to_selected(pixels, [entry.erase_patch for entry in params], erase_boxes).contiguous()
