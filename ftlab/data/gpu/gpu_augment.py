"""Pictures scaled and varied in whole batches on the network's device, by the numbers that `augment` draws of each.

Threads of the processor only read and draw: each of the many small calls that make a picture takes the interpreter's
lock, and where the network's steps are many small calls too they wait for each other. Here a batch is a few kernels,
and none for an effect that no picture of it has. Nothing waits for the device: what is to be looked up there is made on
the processor.

The pixels are those of the threads: crops, scaled, mirrored, grey and erased ones to the bit. Rotation, tints and blur
add in another order, so a few pixels in a thousand at most are rounded to the next level of 255. Where several effects
follow each other, one may stretch what another left: up to 3 levels were seen, 0.001 on average.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.data.gpu import gpu_resize, to_device
from ftlab.data.gpu.gpu_resize import CropBox, ResizePlan
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.augment import AugmentDraw, Box
from ftlab.data.transforms.preprocess import Preprocessing

V = TypeVar("V")
ErasePatch = tuple[Box, Tensor]
"""What of a picture is erased, and the noise there: uint8 [3, height, width]."""
GPU_DEVICE_TYPES = ("cuda",)
"""Devices on which `auto` varies pictures."""
MAX_CHUNK_IMAGES = 64
"""Pictures of a batch that are varied together: what is computed between takes ten times their place, and a step that
goes through the network in portions may be large."""
_GRID_SAMPLE_PADDING = {"black": "zeros", "reflect": "reflection"}
_UINT8_SCALE = 255.999
"""By which torchvision brings [0, 1] back to 0 … 255, cutting off what is behind the point."""


@dataclass(frozen=True)
class AugmentParams:
    """How a picture is seen once: what is cut out of it, and how that is varied.

    Attributes:
        is_rotated: whether the cut is turned, and its middle square is what is seen.
    """

    crop: CropBox
    draw: AugmentDraw = field(default_factory=AugmentDraw)
    erase_patch: ErasePatch | None = None
    is_rotated: bool = False


def augment_device(config: TrainConfig, device: torch.device) -> str:
    """Where training pictures are scaled and varied: `processor` or `device`, as the configuration says, else on a
    card. A processor has no gain by batches: there its threads do it beside the network."""
    if device.type == "mps":
        return "processor"  # not tried there
    if config.vary_on != "auto":
        return config.vary_on
    return "device" if on_gpu(device) and not config.caches_features else "processor"


def on_gpu(device: torch.device) -> bool:
    """Whether a device has so much more to give than the processor that it takes all it can."""
    return device.type in GPU_DEVICE_TYPES


def can_augment_batches(prep: Preprocessing, config: TrainConfig) -> bool:
    """Whether pictures can be varied in batches: not where they are turned before anything is cut out of them, and
    differ in size then."""
    return not (config.rotate > 0 and config.augment == "flip" and prep.resize_mode != "squash")


def make_eval_params(size: tuple[int, int], prep: Preprocessing) -> AugmentParams:
    """As an evaluation sees a picture of that height and width."""
    return AugmentParams(gpu_resize.eval_crop_box(*size, prep))


def draw_train_params(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random
) -> AugmentParams:
    """As an epoch sees it: what `augment.augmented` makes, by the same draws."""
    draw = augment.draw_augmentation(size, prep, config, rng)
    erase_patch = (draw.erase_box, augment.make_erase_noise(draw)) if draw.erase_box else None
    is_rotated = config.augment != "none" and config.rotate > 0
    if draw.crop_box is None and not is_rotated:
        return AugmentParams(gpu_resize.eval_crop_box(*size, prep), draw, erase_patch)
    side = (config.crop_side or prep.side) if draw.crop_box else prep.resize
    square_top, square_left = (0, 0) if is_rotated else preprocess.center_offsets(side, side, prep.side)
    return AugmentParams(
        CropBox(*(draw.crop_box or (0, 0, *size)), side, side, square_top, square_left), draw, erase_patch, is_rotated
    )


def make_view_params(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, view_index: int, index: int
) -> AugmentParams:
    """View `view_index` of picture `index`: what `augment.view` makes."""
    if view_index == 0:
        return make_eval_params(size, prep)
    if augment.is_mirror_view(config, view_index):
        return AugmentParams(gpu_resize.eval_crop_box(*size, prep), AugmentDraw(hflip=True))
    return draw_train_params(size, prep, augment.view_config(config), augment.make_view_rng(config, view_index, index))


def plan_batch_resize(
    sizes: Sequence[tuple[int, int]], params: Sequence[AugmentParams], prep: Preprocessing
) -> ResizePlan:
    """How what is seen of pictures of those heights and widths is scaled."""
    side = params[0].crop.scaled_height if params and params[0].is_rotated else prep.side
    return gpu_resize.plan_resize(sizes, [image_params.crop for image_params in params], side, prep.interpolation)


def resize_and_augment(
    buffer: Tensor, resize_plan: ResizePlan, params: Sequence[AugmentParams], prep: Preprocessing, config: TrainConfig
) -> Tensor:
    """What is seen of each picture, uint8 [B, 3, side, side], on their device.

    Args:
        buffer: the decoded pictures one behind the other, uint8 [N].
        resize_plan: what `plan_batch_resize` gives of the looks, on the same device.
        params: one of each picture, all drawn by `config`.
        prep: sizes and interpolation.
        config: what varies them.
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
    draws = [entry.draw for entry in params]
    if params[0].is_rotated:
        pixels = _rotate_and_crop(pixels, [entry.angle for entry in draws], prep.side, config.rotate_border)
    pixels = _apply_to_selected(pixels, [entry.hflip for entry in draws], lambda selected, _: selected.flip(-1))
    pixels = _apply_to_selected(pixels, [entry.vflip for entry in draws], lambda selected, _: selected.flip(-2))
    for position in range(
        max(len(entry.color_jitter) for entry in draws)
    ):  # each has its own order: its n-th with their n-th
        jitters = [dict(entry.color_jitter[position : position + 1]) for entry in draws]
        pixels = _apply_to_selected(
            _adjust_colors(pixels, jitters), [entry.get("hue", 0.0) for entry in jitters], _shift_hue
        )
    pixels = _apply_to_selected(
        pixels, [entry.grayscale for entry in draws], lambda selected, _: _to_grayscale(selected, 3)
    )
    pixels = _apply_to_selected(pixels, [entry.blur_sigma for entry in draws], _gaussian_blur)
    return _apply_to_selected(pixels, [entry.erase_patch for entry in params], _erase_boxes).contiguous()


def _apply_to_selected(
    pixels: Tensor, values: Sequence[V | None], transform: Callable[[Tensor, list[V]], Tensor]
) -> Tensor:
    """A batch of which the pictures are changed that have something drawn, each by that: not None, no, nor 0."""
    rows = [row for row, value in enumerate(values) if value]
    selected_values = [value for value in values if value]
    if not rows:
        return pixels
    if len(rows) == len(pixels):
        return transform(pixels, selected_values)
    # By positions that were counted here: to count those of a mask, one would have to wait for the device.
    row_indices = to_device.to_device_async(torch.tensor(rows), pixels.device)
    return pixels.index_copy(0, row_indices, transform(pixels.index_select(0, row_indices), selected_values))


def _rotate_and_crop(pixels: Tensor, angles: Sequence[float], side: int, border: str) -> Tensor:
    """The middle squares of pictures, uint8 [B, 3, h, w], that are turned about their middle by degrees,
    counter-clockwise: uint8 [B, 3, side, side]. Outside is `black`, or `reflect`."""
    height, width = pixels.shape[-2:]
    top, left = preprocess.center_offsets(height, width, side)
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    cosine, sine = to_device.to_device_async(torch.stack([radians.cos(), radians.sin()]).float(), pixels.device)[
        :, :, None, None
    ]
    positions = torch.arange(side, device=pixels.device)
    x, y = positions + (left - (width - 1) / 2), (positions + (top - (height - 1) / 2))[:, None]
    # Where each pixel comes from, in pixels from the middle; grid_sample counts by half sides from there.
    grid = torch.stack([(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1)
    output = F.grid_sample(pixels.float(), grid, "bilinear", _GRID_SAMPLE_PADDING[border], align_corners=False)
    return output.round_().to(torch.uint8)


def _adjust_colors(pixels: Tensor, jitters: Sequence[dict[str, float]]) -> Tensor:
    """Brightness, saturation and contrast by torchvision's definitions: so much of the picture, and the rest black, its
    grey, or the mean of that. Pictures with another tint, or none, stay as they are."""
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
    output = pixels * image_factor
    if jitter_names != {"brightness"}:
        gray_image = _to_grayscale(pixels, 1).float()
        output.addcmul_(gray_image, gray_factor).addcmul_(gray_image.mean((1, 2, 3), keepdim=True), mean_factor)
    return output.clamp_(0, 255).to(torch.uint8)


def _shift_hue(pixels: Tensor, hue_shifts: Sequence[float]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], whose hues are turned by shares of the circle, light and saturation as they were
    (HSV: Smith, 1978, "Color gamut transform pairs"; here by one formula for all sectors, without a table)."""
    shift = to_device.to_device_async(torch.tensor(hue_shifts), pixels.device)[:, None, None]
    rgb = pixels.float() / 255
    red, green, blue = rgb.unbind(1)
    min_channel, max_channel = rgb.aminmax(dim=1)
    chroma = max_channel - min_channel
    safe_chroma = chroma.clamp_min(1e-3)  # where it is 0, there is no hue, and none comes of it
    sector_unless_red = torch.where(
        max_channel == green, (blue - red) / safe_chroma + 2, (red - green) / safe_chroma + 4
    )
    sector = torch.where(max_channel == red, (green - blue) / safe_chroma, sector_unless_red) + shift * 6
    offsets = torch.stack([sector + 5, sector + 3, sector + 1], dim=1).remainder_(6)
    offsets = torch.minimum(offsets, 4 - offsets).clamp_(0, 1)
    output = max_channel[:, None] - chroma[:, None] * offsets
    return output.clamp_(0, 1).mul_(_UINT8_SCALE).to(torch.uint8)


def _to_grayscale(pixels: Tensor, channels: int) -> Tensor:
    from torchvision.transforms.v2 import functional  # takes seconds to import: where it is needed only

    return functional.rgb_to_grayscale(pixels, channels)


def _gaussian_blur(pixels: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], each blurred by a standard deviation of its own in pixels; along its rows, then
    along its columns, as a Gaussian blur can be."""
    radii = [augment.compute_blur_radius(sigma) for sigma in sigmas]
    offsets = torch.arange(-max(radii), max(radii) + 1)
    log_weights = -(offsets**2) / (2 * torch.tensor(sigmas)[:, None] ** 2)
    log_weights.masked_fill_(offsets.abs() > torch.tensor(radii)[:, None], -torch.inf)
    # Each channel of each picture is one of the convolution's, and has its kernel.
    kernels = to_device.to_device_async(log_weights.softmax(1).repeat_interleave(3, 0), pixels.device)[:, None, None]
    channels = F.pad(pixels.float(), [max(radii)] * 4, mode="reflect").flatten(0, 1)[None]
    channels = F.conv2d(F.conv2d(channels, kernels, groups=len(kernels)), kernels.mT.contiguous(), groups=len(kernels))
    return channels.view(pixels.shape).round_().to(torch.uint8)


def _erase_boxes(pixels: Tensor, patches: Sequence[ErasePatch]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], each with its patch of noise."""
    side, device = pixels.shape[-1], pixels.device
    noise_images = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=to_device.needs_pinned_memory(device))
    for noise_image, ((top, left, box_height, box_width), noise) in zip(noise_images, patches, strict=True):
        noise_image[:, top : top + box_height, left : left + box_width] = noise
    edges = torch.tensor(
        [[top, top + box_height, left, left + box_width] for (top, left, box_height, box_width), _ in patches]
    )
    top, bottom, left, right = to_device.to_device_async(edges.T.contiguous(), device)[:, :, None]
    positions = torch.arange(side, device=device)
    rows, columns = (positions >= top) & (positions < bottom), (positions >= left) & (positions < right)
    mask = rows[:, None, :, None] & columns[:, None, None]
    return torch.where(mask, noise_images.to(device, non_blocking=True), pixels)
