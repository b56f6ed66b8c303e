"""Augmentation effects on whole batches on a device: rotation, color, blur and erasing of uint8 images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.data.gpu import to_device
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.augment_draw import Box

V = TypeVar("V")
ErasePatch = tuple[Box, Tensor]
"""The box of an image that is erased, and the noise that replaces it: uint8 [3, height, width]."""
_GRID_SAMPLE_PADDING = {"black": "zeros", "reflect": "reflection"}
"""`grid_sample`'s padding mode for each `rotate_border`."""
_UINT8_SCALE = 255.999
"""Factor with which torchvision converts [0, 1] to uint8, truncating."""


def apply_to_selected(
    pixels: Tensor, values: Sequence[V | None], transform: Callable[[Tensor, list[V]], Tensor]
) -> Tensor:
    """Transform those images of a batch that have a value drawn.

    Args:
        pixels: uint8 [B, 3, S, S].
        values: value of each image; None, False and 0 leave it unchanged.
        transform: (selected images, their values) -> transformed images of the same shape.

    Returns:
        uint8 [B, 3, S, S].
    """
    rows = [row for row, value in enumerate(values) if value]
    selected_values = [value for value in values if value]
    if not rows:
        return pixels
    if len(rows) == len(pixels):
        return transform(pixels, selected_values)
    # Indices counted on the CPU: a boolean mask on the device would be counted there, and waited for.
    row_indices = to_device.to_device_async(torch.tensor(rows), pixels.device)
    return pixels.index_copy(0, row_indices, transform(pixels.index_select(0, row_indices), selected_values))


def rotate_and_crop(pixels: Tensor, angles: Sequence[float], side: int, border: str) -> Tensor:
    """Rotate images about their centers and return the middle squares.

    Args:
        pixels: uint8 [B, 3, h, w].
        angles: angle of each image in degrees, counter-clockwise.
        side: width and height of the squares in pixels.
        border: what fills the corners, `black` or `reflect`.

    Returns:
        uint8 [B, 3, side, side].
    """
    height, width = pixels.shape[-2:]
    top, left = preprocess.center_offsets(height, width, side)
    # On the CPU in float64, so that only the sine and the cosine themselves are rounded to float32.
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    cosine, sine = to_device.to_device_async(torch.stack([radians.cos(), radians.sin()]).float(), pixels.device)[
        :, :, None, None
    ]
    positions = torch.arange(side, device=pixels.device)
    x, y = positions + (left - (width - 1) / 2), (positions + (top - (height - 1) / 2))[:, None]
    # The source of each pixel, relative to the center: `grid_sample` counts in half sides from there.
    grid = torch.stack([(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1)
    output = F.grid_sample(pixels.float(), grid, "bilinear", _GRID_SAMPLE_PADDING[border], align_corners=False)
    return output.round_().to(torch.uint8)


def adjust_colors(pixels: Tensor, jitters: Sequence[dict[str, float]]) -> Tensor:
    """Adjust brightness, saturation and contrast as torchvision defines them: blend with black, gray, or the mean gray.

    Args:
        pixels: uint8 [B, 3, S, S].
        jitters: for each image at most one adjustment, by name; an image with none, or with `hue`, stays unchanged.

    Returns:
        uint8 [B, 3, S, S].
    """
    jitter_names = {name for jitter in jitters for name in jitter} - {"hue"}
    if not jitter_names:
        return pixels
    factors = [
        [1 + sum(jitter.get(name, 0.0) for name in jitter_names) for jitter in jitters],
        [-jitter.get("saturation", 0.0) for jitter in jitters],
        [-jitter.get("contrast", 0.0) for jitter in jitters],
    ]
    image_factor, gray_factor, mean_factor = to_device.to_device_async(torch.tensor(factors), pixels.device)[
        :, :, None, None, None
    ]
    # A blend of x with y is (1 + amount) x - amount y; y is 0 (black), the gray image, or its mean.
    output = pixels * image_factor
    if jitter_names != {"brightness"}:
        gray_image = to_grayscale(pixels, 1).float()
        output.addcmul_(gray_image, gray_factor).addcmul_(gray_image.mean((1, 2, 3), keepdim=True), mean_factor)
    # Truncated, not rounded, as torchvision does.
    adjusted: Tensor = output.clamp_(0, 255).to(torch.uint8)
    return adjusted


def shift_hue(pixels: Tensor, hue_shifts: Sequence[float]) -> Tensor:
    """Rotate the hues of images, with saturation and value unchanged.

    HSV: Smith, 1978, "Color gamut transform pairs"; here one formula for all six sectors, without a table.

    Args:
        pixels: uint8 [B, 3, S, S].
        hue_shifts: rotation of each image's hues as a fraction of the color circle.

    Returns:
        uint8 [B, 3, S, S].
    """
    shift = to_device.to_device_async(torch.tensor(hue_shifts), pixels.device)[:, None, None]
    rgb = pixels.float() / 255
    red, green, blue = rgb.unbind(1)
    min_channel, max_channel = rgb.aminmax(dim=1)
    chroma = max_channel - min_channel
    safe_chroma = chroma.clamp_min(1e-3)  # a gray pixel has no hue; its factor `chroma` below is 0 anyway
    sector_unless_red = torch.where(
        max_channel == green, (blue - red) / safe_chroma + 2, (red - green) / safe_chroma + 4
    )
    sector = torch.where(max_channel == red, (green - blue) / safe_chroma, sector_unless_red) + shift * 6
    offsets = torch.stack([sector + 5, sector + 3, sector + 1], dim=1).remainder_(6)
    offsets = torch.minimum(offsets, 4 - offsets).clamp_(0, 1)
    output = max_channel[:, None] - chroma[:, None] * offsets
    return output.clamp_(0, 1).mul_(_UINT8_SCALE).to(torch.uint8)


def to_grayscale(pixels: Tensor, channels: int) -> Tensor:
    """Return images in gray, uint8 [B, channels, S, S]."""
    from torchvision.transforms.v2 import functional  # takes seconds to import, so only where it is needed

    gray_images: Tensor = functional.rgb_to_grayscale(pixels, channels)
    return gray_images


def gaussian_blur(pixels: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blur images, each with its own standard deviation; separable: first along rows, then along columns.

    Args:
        pixels: uint8 [B, 3, S, S].
        sigmas: standard deviation of each image in pixels.

    Returns:
        uint8 [B, 3, S, S].
    """
    radii = [augment.compute_blur_radius(sigma) for sigma in sigmas]
    offsets = torch.arange(-max(radii), max(radii) + 1)
    log_weights = -(offsets**2) / (2 * torch.tensor(sigmas)[:, None] ** 2)
    # One kernel size for all: beyond an image's own radius its weights are exp(-inf) = 0, as for a smaller kernel.
    log_weights.masked_fill_(offsets.abs() > torch.tensor(radii)[:, None], -torch.inf)
    # A grouped convolution: each channel of each image is a group with the kernel of its image.
    kernels = to_device.to_device_async(log_weights.softmax(1).repeat_interleave(3, 0), pixels.device)[:, None, None]
    channels = F.pad(pixels.float(), [max(radii)] * 4, mode="reflect").flatten(0, 1)[None]
    channels = F.conv2d(F.conv2d(channels, kernels, groups=len(kernels)), kernels.mT.contiguous(), groups=len(kernels))
    return channels.view(pixels.shape).round_().to(torch.uint8)


def erase_boxes(pixels: Tensor, patches: Sequence[ErasePatch]) -> Tensor:
    """Replace a box of each image by noise.

    Args:
        pixels: uint8 [B, 3, S, S].
        patches: box and noise of each image.

    Returns:
        uint8 [B, 3, S, S].
    """
    side, device = pixels.shape[-1], pixels.device
    # The noise is drawn on the CPU, as for single images, and crosses in one copy for the batch.
    noise_images = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=to_device.needs_pinned_memory(device))
    for noise_image, ((top, left, box_height, box_width), noise) in zip(noise_images, patches, strict=True):
        noise_image[:, top : top + box_height, left : left + box_width] = noise
    edges = torch.tensor(
        [[top, top + box_height, left, left + box_width] for (top, left, box_height, box_width), _ in patches]
    )
    top, bottom, left, right = to_device.to_device_async(edges.T.contiguous(), device)[:, :, None]
    positions = torch.arange(side, device=device)
    rows, columns = (positions >= top) & (positions < bottom), (positions >= left) & (positions < right)
    # Outside its box a noise image is uninitialized memory, which the mask excludes.
    mask = rows[:, None, :, None] & columns[:, None, None]
    return torch.where(mask, noise_images.to(device, non_blocking=True), pixels)
