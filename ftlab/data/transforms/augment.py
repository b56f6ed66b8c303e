"""Training pictures varied: random crop, mirror, rotation, colour, blur, erased parts. All in uint8.

What is drawn is a function of (seed, epoch, index) alone; each effect draws its own numbers whether or not it is
on, so that another strength of one leaves the others as they were. `TrainConfig` has the strengths, one knob each.
Here one picture is varied on a thread of the processor; `batched` does what follows the crop to whole batches.
"""

from __future__ import annotations

import dataclasses
import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ftlab.config.train_config import EFFECTS, TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""
CROP_RATIO = 4 / 3
"""Proportions of a random crop where none are chosen: from 3:4 to 4:3."""
_ERASED_SCALE, _ERASED_RATIO = (0.02, 0.33), 1 / 0.3
"""Share of the area that is erased, and its proportions; torchvision's, near those of the paper."""
_SHARP = 0.1
"""Pixels; a blur narrower than this changes nothing."""

Steady = np.ndarray | Tensor
"""uint8 [H, W, 3] of a decoded picture, or uint8 [3, h, w] of a resized one."""


@dataclass(frozen=True)
class Drawn:
    """The numbers drawn of one picture; those of an untouched one by default.

    Attributes:
        crop: the part that is scaled to the crop's side; None where the picture is not cropped.
        mirrored, upside_down: whether left and right, or top and bottom, change places.
        angle: degrees, counter-clockwise; 0 where it is not turned.
        tints: brightness, contrast, saturation and hue in the order in which they change the picture, those that do,
            each by how much: in [-1, 1], hue in [-0.5, 0.5] of the circle.
        grey: whether its colours are taken away.
        sigma: standard deviation of the blur in pixels; 0 where it stays sharp.
        erased: the part of the square that is replaced by noise, or None.
        noise: seed of that.
    """

    crop: Box | None = None
    mirrored: bool = False
    upside_down: bool = False
    angle: float = 0.0
    tints: tuple[tuple[str, float], ...] = ()
    grey: bool = False
    sigma: float = 0.0
    erased: Box | None = None
    noise: int = 0


def randomness(seed: int, epoch: int, index: int) -> random.Random:
    """The generator of one picture in one epoch."""
    return random.Random(f"{seed}/{epoch}/{index}")


def in_epoch(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, epoch: int, index: int) -> Tensor:
    """A training picture as it is in an epoch: uint8 [H, W, 3] -> uint8 [3, side, side].

    Args:
        pixels: of the picture.
        prep: sizes and interpolation.
        config: seed, and what varies the picture; `augment` is chosen.
        epoch: from 1.
        index: of the picture in its split.
    """
    return augmented(pixels, prep, config, randomness(config.seed, epoch, index))


def view(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, number: int, index: int) -> Tensor:
    """View `number` of a picture for cached features: 0 is the evaluation crop, the others vary.

    Where pictures are mirrored and nothing else varies them, 1 is the mirror image, and more are random crops:
    there are no other mirror images.
    """
    if number == 0:
        return preprocess.evaluation(pixels, prep)
    if mirrors(config, number):
        return preprocess.evaluation(pixels, prep).flip(-1).contiguous()
    return augmented(pixels, prep, of_views(config), view_randomness(config, number, index))


def mirrors(config: TrainConfig, number: int) -> bool:
    """Whether that view of a picture is its mirror image."""
    return number == 1 and _only_mirrors(config)


def of_views(config: TrainConfig) -> TrainConfig:
    """How the views that vary are varied, where an epoch's pictures are as `config` says."""
    return dataclasses.replace(config, augment="crop") if _only_mirrors(config) else config


def _only_mirrors(config: TrainConfig) -> bool:
    return config.augment == "flip" and config.flip > 0 and not config.effects


def view_randomness(config: TrainConfig, number: int, index: int) -> random.Random:
    """The generator of a view that varies."""
    return random.Random(f"{config.seed}/view {number}/{index}")


def described(config: TrainConfig, number: int, index: int) -> str:
    """All that a view depends on beside the picture and its preparation: two that are described alike are alike."""
    if number == 0:
        return "evaluation"
    if mirrors(config, number):
        return "mirror"
    knobs = ("augment", "crop_scale", "crop_ratio", "crop_side", "flip", "rotate_border", *EFFECTS)
    return repr((config.seed, number, index, *(getattr(config, name) for name in knobs)))


def augmented(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """A picture varied by `rng`: uint8 [H, W, 3] -> uint8 [3, side, side]."""
    return varied(steady(pixels, prep, config), prep, config, rng)


def steady(pixels: np.ndarray, prep: Preprocessing, config: TrainConfig) -> Steady:
    """What of a picture no chance acts upon, of uint8 [H, W, 3]: with `none` the evaluation crop, with `flip` the
    resized picture, with `crop` all of it."""
    if config.augment == "none":
        return preprocess.evaluation(pixels, prep)
    return pixels if config.augment == "crop" else preprocess.resized(pixels, prep)


def varied(same: Steady, prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Tensor:
    """What `steady` left of a picture, varied by `rng`: uint8 [3, side, side]. `same` stays as it is.

    With `crop` it begins with a random resized crop, with `flip` with the resized picture; with `none` it is the
    evaluation crop, and nothing follows.
    """
    if config.augment == "none":
        return torch.as_tensor(same)
    height, width = same.shape[:2]
    drawn = draw((height, width), prep, config, rng)
    picture = _placed(same, prep, config, drawn)
    picture = picture.flip([axis for axis, flips in ((-1, drawn.mirrored), (-2, drawn.upside_down)) if flips])
    picture = _tinted(picture, drawn)
    picture = _grey(picture) if drawn.grey else picture
    picture = _blurred(picture, drawn.sigma) if drawn.sigma else picture
    return _erased(picture, drawn).contiguous()


def draw(size: tuple[int, int], prep: Preprocessing, config: TrainConfig, rng: random.Random) -> Drawn:
    """All that `varied` draws of a picture, in this order: a run goes on, and is repeated, by it. The size, height and
    width of the decoded picture, plays a part in its crop."""
    if config.augment == "none":
        return Drawn()
    crop = _random_crop(size, config, rng) if config.augment == "crop" else None
    mirrored, upside_down = rng.random() < config.flip, rng.random() < config.flip_vertical
    angle = rng.uniform(-1, 1) * config.rotate
    names = rng.sample(("brightness", "contrast", "saturation", "hue"), 4)
    amounts = [(name, rng.uniform(-1, 1) * getattr(config, name)) for name in names]
    grey = rng.random() < config.grayscale
    sigma = rng.random() * config.blur
    erased, seed = None, 0
    if rng.random() < config.erase:
        erased = random_box(prep.side, prep.side, _ERASED_SCALE, _ERASED_RATIO, rng)
        seed = rng.getrandbits(63) if erased else 0
    return Drawn(
        crop=crop,
        mirrored=mirrored,
        upside_down=upside_down,
        angle=angle,
        tints=tuple((name, amount) for name, amount in amounts if amount),
        grey=grey,
        sigma=sigma if sigma >= _SHARP else 0.0,
        erased=erased,
        noise=seed,
    )


def _placed(same: Steady, prep: Preprocessing, config: TrainConfig, drawn: Drawn) -> Tensor:
    """The square of a picture that is seen, cropped and turned: uint8 [3, side, side]."""
    whole = _cropped(same, prep, config, drawn)
    # What a rotation opens at the corners is cut off where there is something to cut.
    return _turned(whole, drawn.angle, prep.side, config) if drawn.angle else preprocess.centre(whole, prep.side)


def _cropped(same: Steady, prep: Preprocessing, config: TrainConfig, drawn: Drawn) -> Tensor:
    """The drawn part of a picture, scaled to the crop's side: uint8 [3, s, s]; all of it where none was drawn."""
    if drawn.crop is None:
        return torch.as_tensor(same)
    (top, left, tall, wide), side = drawn.crop, config.crop_side or prep.side
    pixels = np.asarray(same)[top : top + tall, left : left + wide]
    return preprocess.scale(pixels, (side, side), prep.interpolation)


def noise(drawn: Drawn) -> Tensor:
    """What the erased part of a picture is replaced by: uint8 [3, height, width], as large as `drawn.erased`."""
    _, _, tall, wide = drawn.erased or (0, 0, 0, 0)
    generator = torch.Generator().manual_seed(drawn.noise)
    return torch.randint(256, (3, tall, wide), dtype=torch.uint8, generator=generator)


def random_box(width: int, height: int, scale: tuple[float, float], ratio: float, rng: random.Random) -> Box | None:
    """A random part (Inception's: Szegedy et al., 2015, arXiv:1409.4842, page 5).

    Args:
        width, height: of the picture, in pixels.
        scale: least and largest share of its area.
        ratio: width over height lies between 1 / ratio and ratio, drawn uniformly on a logarithmic scale.
        rng: what is drawn from.

    Returns:
        None if none of ten tries fits.
    """
    low, high = math.log(1 / ratio), math.log(ratio)
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        shape = math.exp(rng.uniform(low, high))
        wide, tall = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < wide <= width and 0 < tall <= height:
            return rng.randint(0, height - tall), rng.randint(0, width - wide), tall, wide
    return None


def _random_crop(size: tuple[int, int], config: TrainConfig, rng: random.Random) -> Box:
    height, width = size
    box = random_box(width, height, (config.crop_scale, 1.0), config.crop_ratio or CROP_RATIO, rng)
    short = min(width, height)
    return box or ((height - short) // 2, (width - short) // 2, short, short)


def _turned(picture: Tensor, angle: float, side: int, config: TrainConfig) -> Tensor:
    """The middle square of a picture that is turned by `angle` degrees about its middle: uint8 [3, side, side].

    In one pass of OpenCV, which knows the reflecting border (torchvision's rotation does not) and stays in uint8.
    """
    import cv2  # where it is needed only: few trainings turn pictures

    height, width = picture.shape[1:]
    top, left = preprocess.middle(height, width, side)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turn[:, 2] -= (left, top)
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    border = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT}[config.rotate_border]
    made = cv2.warpAffine(pixels, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return torch.from_numpy(made).permute(2, 0, 1)


def _tinted(picture: Tensor, drawn: Drawn) -> Tensor:
    """Brightness, contrast, saturation and hue by torchvision's definitions (`ColorJitter`), in random order; the
    idea is Krizhevsky's (2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1)."""
    if not drawn.tints:
        return picture
    from torchvision.transforms.v2 import functional  # takes seconds to import: where it is needed only

    for name, amount in drawn.tints:
        adjust = getattr(functional, f"adjust_{name}")
        picture = adjust(picture, amount if name == "hue" else 1 + amount)
    return picture


def _grey(picture: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.rgb_to_grayscale(picture, num_output_channels=3)


def _blurred(picture: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of that standard deviation in pixels (Chen et al., 2020, arXiv:2002.05709, appendix A)."""
    from torchvision.transforms.v2 import functional

    return functional.gaussian_blur(picture, [2 * reach(sigma) + 1] * 2, [sigma, sigma])


def reach(sigma: float) -> int:
    """Pixels to either side that a blur of that standard deviation looks at."""
    return math.ceil(3 * sigma)


def _erased(picture: Tensor, drawn: Drawn) -> Tensor:
    """A random rectangle replaced by noise (random erasing: Zhong et al., 2017, arXiv:1708.04896, which finds noise
    best); the picture itself is left alone."""
    if drawn.erased is None:
        return picture
    top, left, tall, wide = drawn.erased
    made = picture.clone()
    made[:, top : top + tall, left : left + wide] = noise(drawn)
    return made
