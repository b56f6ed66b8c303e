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
from ftlab.data.gpu.gpu_resize import Cut, Scaling
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.augment import Box, Drawn
from ftlab.data.transforms.preprocess import Preprocessing

V = TypeVar("V")
Patch = tuple[Box, Tensor]
"""What of a picture is erased, and the noise there: uint8 [3, height, width]."""
_CARDS = ("cuda",)
"""Devices on which `auto` varies pictures."""
_AT_ONCE = 64
"""Pictures of a batch that are varied together: what is computed between takes ten times their place, and a step that
goes through the network in portions may be large."""
_PADDING = {"black": "zeros", "reflect": "reflection"}
_LEVELS = 255.999
"""By which torchvision brings [0, 1] back to 0 … 255, cutting off what is behind the point."""


@dataclass(frozen=True)
class Look:
    """How a picture is seen once: what is cut out of it, and how that is varied.

    Attributes:
        turned: whether the cut is turned, and its middle square is what is seen.
    """

    cut: Cut
    drawn: Drawn = field(default_factory=Drawn)
    patch: Patch | None = None
    turned: bool = False


def place(config: TrainConfig, device: torch.device) -> str:
    """Where training pictures are scaled and varied: `processor` or `device`, as the configuration says, else on a
    card. A processor has no gain by batches: there its threads do it beside the network."""
    if device.type == "mps":
        return "processor"  # not tried there
    if config.vary_on != "auto":
        return config.vary_on
    return "device" if on_card(device) and not config.caches_features else "processor"


def on_card(device: torch.device) -> bool:
    """Whether a device has so much more to give than the processor that it takes all it can."""
    return device.type in _CARDS


def possible(prep: Preprocessing, config: TrainConfig) -> bool:
    """Whether pictures can be varied in batches: not where they are turned before anything is cut out of them, and
    differ in size then."""
    return not (config.rotate > 0 and config.augment == "flip" and prep.resize_mode != "squash")


def plain(size: tuple[int, int], prep: Preprocessing) -> Look:
    """As an evaluation sees a picture of that height and width."""
    return Look(gpu_resize.evaluation(*size, prep))


def trained(size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Look:
    """As an epoch sees it: what `augment.augmented` makes, by the same draws."""
    drawn = augment.draw(size, prep, config, rng)
    patch = (drawn.erased, augment.noise(drawn)) if drawn.erased else None
    turned = config.augment != "none" and config.rotate > 0
    if drawn.crop is None and not turned:
        return Look(gpu_resize.evaluation(*size, prep), drawn, patch)
    side = (config.crop_side or prep.side) if drawn.crop else prep.resize
    y, x = (0, 0) if turned else preprocess.middle(side, side, prep.side)
    return Look(Cut(*(drawn.crop or (0, 0, *size)), side, side, y, x), drawn, patch, turned)


def view(size: tuple[int, int], prep: Preprocessing, config: TrainConfig, number: int, index: int) -> Look:
    """View `number` of picture `index`: what `augment.view` makes."""
    if number == 0:
        return plain(size, prep)
    if augment.mirrors(config, number):
        return Look(gpu_resize.evaluation(*size, prep), Drawn(mirrored=True))
    return trained(size, prep, augment.of_views(config), augment.view_randomness(config, number, index))


def scaling(sizes: Sequence[tuple[int, int]], looks: Sequence[Look], prep: Preprocessing) -> Scaling:
    """How what is seen of pictures of those heights and widths is scaled."""
    side = looks[0].cut.tall if looks and looks[0].turned else prep.side
    return gpu_resize.scaling(sizes, [one.cut for one in looks], side, prep.interpolation)


def seen(flat: Tensor, told: Scaling, looks: Sequence[Look], prep: Preprocessing, config: TrainConfig) -> Tensor:
    """What is seen of each picture, uint8 [B, 3, side, side], on their device.

    Args:
        flat: the decoded pictures one behind the other, uint8 [N].
        told: what `scaling` gives of the looks, on the same device.
        looks: one of each picture, all drawn by `config`.
        prep: sizes and interpolation.
        config: what varies them.
    """
    if not looks:
        return torch.empty(0, 3, prep.side, prep.side, dtype=torch.uint8, device=flat.device)
    pixels = gpu_resize.squares(flat, told)
    starts = range(0, len(looks), _AT_ONCE)
    parts = [_varied(pixels[at : at + _AT_ONCE], looks[at : at + _AT_ONCE], prep, config) for at in starts]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _varied(pixels: Tensor, looks: Sequence[Look], prep: Preprocessing, config: TrainConfig) -> Tensor:
    drawn = [one.drawn for one in looks]
    if looks[0].turned:
        pixels = _turned(pixels, [one.angle for one in drawn], prep.side, config.rotate_border)
    pixels = _some(pixels, [one.mirrored for one in drawn], lambda some, _: some.flip(-1))
    pixels = _some(pixels, [one.upside_down for one in drawn], lambda some, _: some.flip(-2))
    for number in range(max(len(one.tints) for one in drawn)):  # each has its own order: its n-th with their n-th
        tints = [dict(one.tints[number : number + 1]) for one in drawn]
        pixels = _some(_blended(pixels, tints), [one.get("hue", 0.0) for one in tints], _hue)
    pixels = _some(pixels, [one.grey for one in drawn], lambda some, _: _grey(some, 3))
    pixels = _some(pixels, [one.sigma for one in drawn], _blurred)
    return _some(pixels, [one.patch for one in looks], _erased).contiguous()


def _some(pixels: Tensor, drawn: Sequence[V | None], change: Callable[[Tensor, list[V]], Tensor]) -> Tensor:
    """A batch of which the pictures are changed that have something drawn, each by that: not None, no, nor 0."""
    rows = [row for row, one in enumerate(drawn) if one]
    having = [one for one in drawn if one]
    if not rows:
        return pixels
    if len(rows) == len(pixels):
        return change(pixels, having)
    # By positions that were counted here: to count those of a mask, one would have to wait for the device.
    at = to_device.small(torch.tensor(rows), pixels.device)
    return pixels.index_copy(0, at, change(pixels.index_select(0, at), having))


def _turned(pixels: Tensor, angles: Sequence[float], side: int, border: str) -> Tensor:
    """The middle squares of pictures, uint8 [B, 3, h, w], that are turned about their middle by degrees,
    counter-clockwise: uint8 [B, 3, side, side]. Outside is `black`, or `reflect`."""
    height, width = pixels.shape[-2:]
    top, left = preprocess.middle(height, width, side)
    turn = torch.tensor(angles, dtype=torch.float64).deg2rad()
    cosine, sine = to_device.small(torch.stack([turn.cos(), turn.sin()]).float(), pixels.device)[:, :, None, None]
    steps = torch.arange(side, device=pixels.device)
    x, y = steps + (left - (width - 1) / 2), (steps + (top - (height - 1) / 2))[:, None]
    # Where each pixel comes from, in pixels from the middle; grid_sample counts by half sides from there.
    grid = torch.stack([(cosine * x - sine * y) * (2 / width), (sine * x + cosine * y) * (2 / height)], dim=-1)
    made = F.grid_sample(pixels.float(), grid, "bilinear", _PADDING[border], align_corners=False)
    return made.round_().to(torch.uint8)


def _blended(pixels: Tensor, tints: Sequence[dict[str, float]]) -> Tensor:
    """Brightness, saturation and contrast by torchvision's definitions: so much of the picture, and the rest black, its
    grey, or the mean of that. Pictures with another tint, or none, stay as they are."""
    kinds = {name for one in tints for name in one} - {"hue"}
    if not kinds:
        return pixels
    shares = [
        [1 + sum(one.get(name, 0.0) for name in kinds) for one in tints],
        [-one.get("saturation", 0.0) for one in tints],
        [-one.get("contrast", 0.0) for one in tints],
    ]
    own, of_grey, of_mean = to_device.small(torch.tensor(shares), pixels.device)[:, :, None, None, None]
    made = pixels * own
    if kinds != {"brightness"}:
        grey = _grey(pixels, 1).float()
        made.addcmul_(grey, of_grey).addcmul_(grey.mean((1, 2, 3), keepdim=True), of_mean)
    return made.clamp_(0, 255).to(torch.uint8)


def _hue(pixels: Tensor, amounts: Sequence[float]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], whose hues are turned by shares of the circle, light and saturation as they were
    (HSV: Smith, 1978, "Color gamut transform pairs"; here by one formula for all sectors, without a table)."""
    turn = to_device.small(torch.tensor(amounts), pixels.device)[:, None, None]
    picture = pixels.float() / 255
    red, green, blue = picture.unbind(1)
    low, light = picture.aminmax(dim=1)
    colour = light - low
    span = colour.clamp_min(1e-3)  # where it is 0, there is no hue, and none comes of it
    below = torch.where(light == green, (blue - red) / span + 2, (red - green) / span + 4)
    sector = torch.where(light == red, (green - blue) / span, below) + turn * 6
    parts = torch.stack([sector + 5, sector + 3, sector + 1], dim=1).remainder_(6)
    parts = torch.minimum(parts, 4 - parts).clamp_(0, 1)
    made = light[:, None] - colour[:, None] * parts
    return made.clamp_(0, 1).mul_(_LEVELS).to(torch.uint8)


def _grey(pixels: Tensor, channels: int) -> Tensor:
    from torchvision.transforms.v2 import functional  # takes seconds to import: where it is needed only

    return functional.rgb_to_grayscale(pixels, channels)


def _blurred(pixels: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], each blurred by a standard deviation of its own in pixels; along its rows, then
    along its columns, as a Gaussian blur can be."""
    reaches = [augment.reach(sigma) for sigma in sigmas]
    far = torch.arange(-max(reaches), max(reaches) + 1)
    heights = -(far**2) / (2 * torch.tensor(sigmas)[:, None] ** 2)
    heights.masked_fill_(far.abs() > torch.tensor(reaches)[:, None], -torch.inf)
    # Each channel of each picture is one of the convolution's, and has its kernel.
    kernels = to_device.small(heights.softmax(1).repeat_interleave(3, 0), pixels.device)[:, None, None]
    flat = F.pad(pixels.float(), [max(reaches)] * 4, mode="reflect").flatten(0, 1)[None]
    flat = F.conv2d(F.conv2d(flat, kernels, groups=len(kernels)), kernels.mT.contiguous(), groups=len(kernels))
    return flat.view(pixels.shape).round_().to(torch.uint8)


def _erased(pixels: Tensor, patches: Sequence[Patch]) -> Tensor:
    """Pictures, uint8 [B, 3, s, s], each with its patch of noise."""
    side, device = pixels.shape[-1], pixels.device
    sheets = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=to_device.pinned(device))
    for sheet, ((top, left, tall, wide), noise) in zip(sheets, patches, strict=True):
        sheet[:, top : top + tall, left : left + wide] = noise
    edges = torch.tensor([[top, top + tall, left, left + wide] for (top, left, tall, wide), _ in patches])
    top, bottom, left, right = to_device.small(edges.T.contiguous(), device)[:, :, None]
    steps = torch.arange(side, device=device)
    rows, columns = (steps >= top) & (steps < bottom), (steps >= left) & (steps < right)
    inside = rows[:, None, :, None] & columns[:, None, None]
    return torch.where(inside, sheets.to(device, non_blocking=True), pixels)
