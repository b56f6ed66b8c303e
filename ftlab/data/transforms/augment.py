"""Training pictures varied: random crop, mirror, rotation, colour, blur, erased parts. All in uint8.

What is drawn is a function of (seed, epoch, index) alone; each effect draws its own numbers whether or not it is
on, so that another strength of one leaves the others as they were. `TrainConfig` has the strengths, one knob each.
Here one picture is varied on a thread of the processor; `gpu_augment` does what follows the crop to whole batches.
"""

from __future__ import annotations

import dataclasses
import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ftlab.config.train_config import AUGMENTATION_FIELDS, TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""
DEFAULT_CROP_RATIO = 4 / 3
"""Proportions of a random crop where none are chosen: from 3:4 to 4:3."""
_ERASE_AREA_RANGE, _ERASE_MAX_RATIO = (0.02, 0.33), 1 / 0.3
"""Share of the area that is erased, and its proportions; torchvision's, near those of the paper."""
_MIN_BLUR_SIGMA_PIXELS = 0.1
"""Pixels; a blur narrower than this changes nothing."""

PreparedImage = np.ndarray | Tensor
"""uint8 [H, W, 3] of a decoded picture, or uint8 [3, h, w] of a resized one."""


@dataclass(frozen=True)
class AugmentDraw:
    """The numbers drawn of one picture; those of an untouched one by default.

    Attributes:
        crop_box: the part that is scaled to the crop's side; None where the picture is not cropped.
        hflip, vflip: whether left and right, or top and bottom, change places.
        angle: degrees, counter-clockwise; 0 where it is not turned.
        color_jitter: brightness, contrast, saturation and hue in the order in which they change the picture, those that do,
            each by how much: in [-1, 1], hue in [-0.5, 0.5] of the circle.
        grayscale: whether its colours are taken away.
        blur_sigma: standard deviation of the blur in pixels; 0 where it stays sharp.
        erase_box: the part of the square that is replaced by noise, or None.
        noise_seed: seed of that.
    """

    crop_box: Box | None = None
    hflip: bool = False
    vflip: bool = False
    angle: float = 0.0
    color_jitter: tuple[tuple[str, float], ...] = ()
    grayscale: bool = False
    blur_sigma: float = 0.0
    erase_box: Box | None = None
    noise_seed: int = 0


def make_epoch_rng(seed: int, epoch: int, index: int) -> random.Random:
    """The generator of one picture in one epoch."""
    return random.Random(f"{seed}/{epoch}/{index}")


def augment_for_epoch(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, epoch: int, index: int) -> Tensor:
    """A training picture as it is in an epoch: uint8 [H, W, 3] -> uint8 [3, side, side].

    Args:
        pixels: of the picture.
        prep: sizes and interpolation.
        config: seed, and what varies the picture; `augment` is chosen.
        epoch: from 1.
        index: of the picture in its split.
    """
    return augment_image(pixels, prep, config, make_epoch_rng(config.seed, epoch, index))


def make_view(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, view_index: int, index: int) -> Tensor:
    """View `view_index` of a picture for cached features: 0 is the evaluation crop, the others vary.

    Where pictures are mirrored and nothing else varies them, 1 is the mirror image, and more are random crops:
    there are no other mirror images.
    """
    if view_index == 0:
        return preprocess.resize_and_center_crop(pixels, prep)
    if is_mirror_view(config, view_index):
        return preprocess.resize_and_center_crop(pixels, prep).flip(-1).contiguous()
    return augment_image(pixels, prep, view_config(config), make_view_rng(config, view_index, index))


def is_mirror_view(config: TrainConfig, view_index: int) -> bool:
    """Whether that view of a picture is its mirror image."""
    return view_index == 1 and _augments_by_flip_only(config)


def view_config(config: TrainConfig) -> TrainConfig:
    """How the views that vary are varied, where an epoch's pictures are as `config` says."""
    return dataclasses.replace(config, augment="crop") if _augments_by_flip_only(config) else config


def _augments_by_flip_only(config: TrainConfig) -> bool:
    return config.augment == "flip" and config.flip > 0 and not config.active_augmentations


def make_view_rng(config: TrainConfig, view_index: int, index: int) -> random.Random:
    """The generator of a view that varies."""
    return random.Random(f"{config.seed}/view {view_index}/{index}")


def describe_view(config: TrainConfig, view_index: int, index: int) -> str:
    """All that a view depends on beside the picture and its preparation: two that are described alike are alike."""
    if view_index == 0:
        return "evaluation"
    if is_mirror_view(config, view_index):
        return "mirror"
    field_names = ("augment", "crop_scale", "crop_ratio", "crop_side", "flip", "rotate_border", *AUGMENTATION_FIELDS)
    return repr((config.seed, view_index, index, *(getattr(config, name) for name in field_names)))


def augment_image(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """A picture varied by `rng`: uint8 [H, W, 3] -> uint8 [3, side, side]."""
    return random_augment(prepare_image(pixels, prep, config), prep, config, rng)


def prepare_image(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig) -> PreparedImage:
    """What of a picture no chance acts upon, of uint8 [H, W, 3]: with `none` the evaluation crop, with `flip` the
    resized picture, with `crop` all of it."""
    if config.augment == "none":
        return preprocess.resize_and_center_crop(pixels, prep)
    return pixels if config.augment == "crop" else preprocess.resize_image(pixels, prep)


def random_augment(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """What `prepare_image` left of a picture, varied by `rng`: uint8 [3, side, side]. `prepared` stays as it is.

    With `crop` it begins with a random resized crop, with `flip` with the resized picture; with `none` it is the
    evaluation crop, and nothing follows.
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


def draw_augmentation(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random
) -> AugmentDraw:
    """All that `random_augment` draws of a picture, in this order: a run goes on, and is repeated, by it. The size, height and
    width of the decoded picture, plays a part in its crop."""
    if config.augment == "none":
        return AugmentDraw()
    crop_box = _draw_crop_box(size, config, rng) if config.augment == "crop" else None
    hflip, vflip = rng.random() < config.flip, rng.random() < config.flip_vertical
    angle = rng.uniform(-1, 1) * config.rotate
    jitter_names = rng.sample(("brightness", "contrast", "saturation", "hue"), 4)
    jitter_amounts = [(name, rng.uniform(-1, 1) * getattr(config, name)) for name in jitter_names]
    grayscale = rng.random() < config.grayscale
    blur_sigma = rng.random() * config.blur
    erase_box, noise_seed = None, 0
    if rng.random() < config.erase:
        erase_box = random_box(prep.side, prep.side, _ERASE_AREA_RANGE, _ERASE_MAX_RATIO, rng)
        noise_seed = rng.getrandbits(63) if erase_box else 0
    return AugmentDraw(
        crop_box=crop_box,
        hflip=hflip,
        vflip=vflip,
        angle=angle,
        color_jitter=tuple((name, amount) for name, amount in jitter_amounts if amount),
        grayscale=grayscale,
        blur_sigma=blur_sigma if blur_sigma >= _MIN_BLUR_SIGMA_PIXELS else 0.0,
        erase_box=erase_box,
        noise_seed=noise_seed,
    )


def _crop_and_rotate(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, draw: AugmentDraw) -> Tensor:
    """The square of a picture that is seen, cropped and turned: uint8 [3, side, side]."""
    image = _apply_crop(prepared, prep, config, draw)
    # What a rotation opens at the corners is cut off where there is something to cut.
    return (
        _rotate_and_crop(image, draw.angle, prep.side, config)
        if draw.angle
        else preprocess.center_crop(image, prep.side)
    )


def _apply_crop(prepared: PreparedImage, prep: Preprocessing, config: TrainConfig, draw: AugmentDraw) -> Tensor:
    """The drawn part of a picture, scaled to the crop's side: uint8 [3, s, s]; all of it where none was drawn."""
    if draw.crop_box is None:
        return torch.as_tensor(prepared)
    (top, left, crop_height, crop_width), crop_side = draw.crop_box, config.crop_side or prep.side
    pixels = np.asarray(prepared)[top : top + crop_height, left : left + crop_width]
    return preprocess.resize_to_size(pixels, (crop_side, crop_side), prep.interpolation)


def make_erase_noise(draw: AugmentDraw) -> Tensor:
    """What the erased part of a picture is replaced by: uint8 [3, height, width], as large as `draw.erased`."""
    _, _, box_height, box_width = draw.erase_box or (0, 0, 0, 0)
    generator = torch.Generator().manual_seed(draw.noise_seed)
    return torch.randint(256, (3, box_height, box_width), dtype=torch.uint8, generator=generator)


def random_box(
    width: int, height: int, area_range: tuple[float, float], max_ratio: float, rng: random.Random
) -> Box | None:
    """A random part (Inception's: Szegedy et al., 2015, arXiv:1409.4842, page 5).

    Args:
        width, height: of the picture, in pixels.
        area_range: least and largest share of its area.
        max_ratio: width over height lies between 1 / ratio and ratio, drawn uniformly on a logarithmic scale.
        rng: what is drawn from.

    Returns:
        None if none of ten tries fits.
    """
    log_min_ratio, log_max_ratio = math.log(1 / max_ratio), math.log(max_ratio)
    for _ in range(10):
        area = width * height * rng.uniform(*area_range)
        aspect_ratio = math.exp(rng.uniform(log_min_ratio, log_max_ratio))
        box_width, box_height = round(math.sqrt(area * aspect_ratio)), round(math.sqrt(area / aspect_ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            return rng.randint(0, height - box_height), rng.randint(0, width - box_width), box_height, box_width
    return None


def _draw_crop_box(size: tuple[int, int], config: TrainConfig, rng: random.Random) -> Box:
    height, width = size
    crop_box = random_box(width, height, (config.crop_scale, 1.0), config.crop_ratio or DEFAULT_CROP_RATIO, rng)
    short_side = min(width, height)
    return crop_box or ((height - short_side) // 2, (width - short_side) // 2, short_side, short_side)


def _rotate_and_crop(image: Tensor, angle: float, side: int, config: TrainConfig) -> Tensor:
    """The middle square of a picture that is turned by `angle` degrees about its middle: uint8 [3, side, side].

    In one pass of OpenCV, which knows the reflecting border (torchvision's rotation does not) and stays in uint8.
    """
    import cv2  # where it is needed only: few trainings turn pictures

    height, width = image.shape[1:]
    top, left = preprocess.center_offsets(height, width, side)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] -= (left, top)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    border = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT}[config.rotate_border]
    rotated_pixels = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return torch.from_numpy(rotated_pixels).permute(2, 0, 1)


def _jitter_color(image: Tensor, draw: AugmentDraw) -> Tensor:
    """Brightness, contrast, saturation and hue by torchvision's definitions (`ColorJitter`), in random order; the
    idea is Krizhevsky's (2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1)."""
    if not draw.color_jitter:
        return image
    from torchvision.transforms.v2 import functional  # takes seconds to import: where it is needed only

    for name, amount in draw.color_jitter:
        adjust = getattr(functional, f"adjust_{name}")
        image = adjust(image, amount if name == "hue" else 1 + amount)
    return image


def _to_grayscale(image: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.rgb_to_grayscale(image, num_output_channels=3)


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of that standard deviation in pixels (Chen et al., 2020, arXiv:2002.05709, appendix A)."""
    from torchvision.transforms.v2 import functional

    return functional.gaussian_blur(image, [2 * compute_blur_radius(sigma) + 1] * 2, [sigma, sigma])


def compute_blur_radius(sigma: float) -> int:
    """Pixels to either side that a blur of that standard deviation looks at."""
    return math.ceil(3 * sigma)


def _erase_box(image: Tensor, draw: AugmentDraw) -> Tensor:
    """A random rectangle replaced by noise (random erasing: Zhong et al., 2017, arXiv:1708.04896, which finds noise
    best); the picture itself is left alone."""
    if draw.erase_box is None:
        return image
    top, left, box_height, box_width = draw.erase_box
    output = image.clone()
    output[:, top : top + box_height, left : left + box_width] = make_erase_noise(draw)
    return output
