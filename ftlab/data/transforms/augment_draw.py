"""Random numbers of an augmentation: which ones are drawn for an image, and in which order.

Each effect draws its own numbers whether or not it is on, so that changing the strength of one effect leaves the
others as they were.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms.preprocess import Preprocessing

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""
DEFAULT_CROP_RATIO = 4 / 3
"""Largest aspect ratio of a random crop if none is configured: from 3:4 to 4:3."""
_ERASE_AREA_RANGE, _ERASE_MAX_RATIO = (0.02, 0.33), 1 / 0.3
"""Range of the erased fraction of the area, and its largest aspect ratio: torchvision's defaults, near the paper's."""
_MIN_BLUR_SIGMA_PIXELS = 0.1
"""Smallest blur that is applied; a narrower one changes nothing."""


@dataclass(frozen=True)
class AugmentDraw:
    """Random numbers drawn for one image; the defaults leave it unchanged.

    Attributes:
        crop_box: the part that is scaled to the crop size; None for no crop.
        hflip, vflip: whether to flip left-right, top-bottom.
        angle: rotation in degrees, counter-clockwise; 0 for none.
        color_jitter: name and amount of the color adjustments that change the image, in the order in which they are
            applied: brightness, contrast and saturation in [-1, 1], hue in [-0.5, 0.5] of the color circle.
        grayscale: whether to remove color.
        blur_sigma: standard deviation of the Gaussian blur in pixels; 0 for none.
        erase_box: the part of the square that is replaced by noise, or None.
        noise_seed: seed of that noise.
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


def draw_augmentation(
    size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random
) -> AugmentDraw:
    """Draw all random numbers of an image's augmentation.

    The order of the draws must not change: resumed and repeated runs depend on it.

    Args:
        size: height and width of the decoded image in pixels; only the crop depends on it.
        prep: size of the square, which limits the erased box.
        config: augmentation settings.
        rng: source of random numbers.

    Returns:
        The draw; the default one with `augment` = `none`.
    """
    if config.augment == "none":
        return AugmentDraw()
    crop_box = _draw_crop_box(size, config, rng) if config.augment == "crop" else None
    # Every effect draws, even at strength 0: see the module's docstring.
    hflip, vflip = rng.random() < config.hflip, rng.random() < config.vflip
    angle = rng.uniform(-1, 1) * config.rotate
    # As `ColorJitter` does it: the order of the adjustments is random too.
    jitter_names = rng.sample(("brightness", "contrast", "saturation", "hue"), 4)
    jitter_amounts = [(name, rng.uniform(-1, 1) * getattr(config, name)) for name in jitter_names]
    grayscale = rng.random() < config.grayscale
    blur_sigma = rng.random() * config.blur
    erase_box, noise_seed = None, 0
    if rng.random() < config.random_erasing:
        erase_box = random_box(prep.side, prep.side, _ERASE_AREA_RANGE, _ERASE_MAX_RATIO, rng)
        noise_seed = rng.getrandbits(63) if erase_box else 0  # `manual_seed` takes a signed 64-bit integer
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


def random_box(
    width: int, height: int, area_range: tuple[float, float], max_ratio: float, rng: random.Random
) -> Box | None:
    """Draw a box with random area and aspect ratio (Inception's crop: Szegedy et al., 2015, arXiv:1409.4842, page 5).

    Args:
        width: width of the image in pixels.
        height: height of the image in pixels.
        area_range: smallest and largest fraction of the image's area.
        max_ratio: width over height lies between 1 / `max_ratio` and `max_ratio`, uniform on a logarithmic scale.
        rng: source of random numbers.

    Returns:
        The box, or None if none of ten tries fits into the image.
    """
    log_min_ratio, log_max_ratio = math.log(1 / max_ratio), math.log(max_ratio)
    for _ in range(10):  # torchvision's `RandomResizedCrop` gives up after ten tries too
        area = width * height * rng.uniform(*area_range)
        # Logarithmic, so that a ratio and its inverse are equally likely.
        aspect_ratio = math.exp(rng.uniform(log_min_ratio, log_max_ratio))
        box_width, box_height = round(math.sqrt(area * aspect_ratio)), round(math.sqrt(area / aspect_ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            return rng.randint(0, height - box_height), rng.randint(0, width - box_width), box_height, box_width
    return None


def _draw_crop_box(size: tuple[int, int], config: TrainConfig, rng: random.Random) -> Box:
    """Return a random crop of an image; the middle square if no random one fits."""
    height, width = size
    crop_box = random_box(width, height, (config.crop_scale, 1.0), config.crop_ratio or DEFAULT_CROP_RATIO, rng)
    short_side = min(width, height)
    return crop_box or ((height - short_side) // 2, (width - short_side) // 2, short_side, short_side)
