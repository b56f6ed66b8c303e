"""Whether a map means anything: how fast the class's probability falls when the places that it marks are taken away,
and how fast it rises when they alone are shown.

Petsiuk, Das & Saenko, 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models", arXiv:1806.07421,
section 4.2. Both ways pass over to the blurred picture, and what counts is the difference from the same map with its
places shuffled: a blurred patch is strange to a network wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftlab.core import messages

MASK_STEPS = 20
"""Shares of the picture that are taken away or shown, one after the other; of maps by chance, every second one."""
SHUFFLE_COUNT = 9
"""Maps by chance: one that means nothing does better than all of them in about one of ten cases."""
_BATCH_SIZE = 32
_BLUR_SIGMA_PER_SIDE = 0.05
"""Standard deviation of the blur, in sides of the picture."""

ProbabilityCurve = npt.NDArray[np.float64]
PixelRanks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Faithfulness:
    """What was found.

    Attributes:
        deletion: float64 [STEPS + 1], the class's probability after each share of the picture, the most important
            places first, was blurred.
        insertion: the same after each share was shown in a blurred picture.
        chance_deletion, chance_insertion: float64 [STEPS / 2 + 1], means of both, at every second share, over maps
            whose places were shuffled.
        beaten_shuffles: shuffled maps that were worse, of `SHUFFLE_COUNT`.
    """

    deletion: ProbabilityCurve
    insertion: ProbabilityCurve
    chance_deletion: ProbabilityCurve
    chance_insertion: ProbabilityCurve
    beaten_shuffles: int

    @property
    def is_meaningful(self) -> bool:
        """Whether the map beat every one by chance."""
        return self.beaten_shuffles == SHUFFLE_COUNT

    def compute_areas(self) -> dict[str, float]:
        """Areas under the curves, mean probabilities in [0, 1], by the curves' names."""
        return {name: area_under_curve(curve) for name, curve in vars(self).items() if isinstance(curve, np.ndarray)}

    def to_json(self) -> dict[str, float | int | bool]:
        """Plain JSON: the areas, and how many maps by chance were beaten."""
        return {
            **self.compute_areas(),
            "beaten": self.beaten_shuffles,
            "shuffles": SHUFFLE_COUNT,
            "meaningful": self.is_meaningful,
        }


def describe_faithfulness(result: Faithfulness | None) -> tuple[str, str]:
    """What a person reads of it: the verdict, and why. None: there was no evidence to try."""
    if result is None:
        return messages.get_text("explain.nothing"), ""
    percents = {name: f"{100 * value:.1f} %" for name, value in result.compute_areas().items()}
    key = "yes" if result.is_meaningful else "no"
    reason = messages.get_text(f"explain.why_{key}", beaten=result.beaten_shuffles, count=SHUFFLE_COUNT, **percents)
    return messages.get_text(f"explain.{key}"), reason


def area_under_curve(curve: ProbabilityCurve) -> float:
    """Area under a curve over shares from 0 to 1, by trapezoids: a mean probability, in [0, 1]."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def score_map(
    predict_probabilities: Callable[[Tensor], Tensor],
    image: Tensor,
    evidence: Tensor,
    class_index: int,
    progress: Callable[[int, int], None] = lambda completed, total: None,
) -> Faithfulness:
    """Try a map, and `SHUFFLE_COUNT` others with the same values at other places: 202 pictures go through the network.

    Args:
        predict_probabilities: pictures as a network takes them, float32 [B, 3, side, side] -> probabilities [B, K].
        image: float32 [1, 3, side, side].
        evidence: the class's map, float32 [h, w], somewhere positive.
        class_index: of the class.
        progress: is told how many pictures are done, of how many.
    """
    generator = np.random.default_rng(0)
    side, map_values = image.shape[-1], evidence.clamp(min=0).cpu().numpy()
    maps = [
        map_values,
        *(generator.permutation(map_values.ravel()).reshape(map_values.shape) for _ in range(SHUFFLE_COUNT)),
    ]
    rank_maps = [rank_pixels(candidate, side, generator) for candidate in maps]
    blurred_image = blur_image(image)
    tasks = [
        (pixel_ranks, direction, step)
        for pixel_ranks in rank_maps
        for direction in (0, 1)
        for step in _inner_steps(pixel_ranks is rank_maps[0])
    ]
    images = chain((image, blurred_image), (_mix_images(image, blurred_image, *task) for task in tasks))
    total, probabilities = len(tasks) + 2, np.empty(0)
    while image_batch := list(islice(images, _BATCH_SIZE)):
        probabilities = np.append(
            probabilities, predict_probabilities(torch.cat(image_batch))[:, class_index].double().cpu().numpy()
        )
        progress(len(probabilities), total)
    own_count = 2 * len(_inner_steps(True))
    end_probabilities, own_probabilities, shuffled_probabilities = np.split(probabilities, [2, 2 + own_count])
    ((deletion, insertion),) = _join_curves(own_probabilities, end_probabilities, 1)
    chance_curves = _join_curves(shuffled_probabilities, end_probabilities, SHUFFLE_COUNT)
    gains = [
        area_under_curve(insertion_curve) - area_under_curve(deletion_curve)
        for deletion_curve, insertion_curve in ((deletion[::2], insertion[::2]), *chance_curves)
    ]
    beaten_shuffles = sum(gains[0] > chance_gain for chance_gain in gains[1:])
    chance_deletion, chance_insertion = chance_curves.mean(0)
    return Faithfulness(deletion, insertion, chance_deletion, chance_insertion, beaten_shuffles)


def _inner_steps(is_real_map: bool) -> range:
    """Steps of which each order has its own picture: at both ends all have the same."""
    return range(1, MASK_STEPS) if is_real_map else range(2, MASK_STEPS, 2)


def _join_curves(
    probabilities: ProbabilityCurve, end_probabilities: ProbabilityCurve, map_count: int
) -> ProbabilityCurve:
    """[count, 2, …]: of each order, the way from the picture to the blurred one, and the way back."""
    inner_probabilities = probabilities.reshape(map_count, 2, -1)
    starts, stops = (
        np.broadcast_to(end_pair[:, None], (map_count, 2, 1))
        for end_pair in (end_probabilities, end_probabilities[::-1])
    )
    return np.concatenate([starts, inner_probabilities, stops], axis=2)


def rank_pixels(map_values: npt.NDArray[np.float32], side: int, generator: np.random.Generator) -> PixelRanks:
    """The place of each pixel in the order of importance, 0 the most important: int64 [side, side]. The map is
    enlarged as it is shown; pixels of the same value come in no order of their own."""
    enlarged = cv2.resize(map_values, (side, side), interpolation=cv2.INTER_LINEAR).ravel()
    sort_order = np.lexsort((generator.random(enlarged.size), -enlarged))
    pixel_ranks = np.empty(enlarged.size, np.int64)
    pixel_ranks[sort_order] = np.arange(enlarged.size)
    return pixel_ranks.reshape(side, side)


def blur_image(image: Tensor) -> Tensor:
    """The picture out of focus: same shape and type."""
    pixels = image[0].permute(1, 2, 0).cpu().numpy()
    blurred_pixels = cv2.GaussianBlur(pixels, (0, 0), sigmaX=_BLUR_SIGMA_PER_SIDE * pixels.shape[0])
    return torch.from_numpy(np.asarray(blurred_pixels)).permute(2, 0, 1)[None].to(image)


def _mix_images(image: Tensor, blurred_image: Tensor, pixel_ranks: PixelRanks, direction: int, step: int) -> Tensor:
    """The picture on its way to the blurred one (0) or back (1), the most important places first."""
    start, end = (image, blurred_image)[:: -1 if direction else 1]
    return torch.where(
        torch.from_numpy(pixel_ranks < step / MASK_STEPS * pixel_ranks.size).to(image.device), end, start
    )
