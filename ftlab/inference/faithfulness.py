"""Deletion and insertion test of a class activation map.

How fast the class's probability falls when the marked pixels are removed, and how fast it rises when they alone are
shown: Petsiuk, Das & Saenko, 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
arXiv:1806.07421, section 4.2. Removed pixels come from the blurred image. What counts is the difference from the same
map with its values shuffled over positions: a blurred patch is strange to a network wherever it lies.
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
"""Equal steps from the image to the blurred image; shuffled maps take every second one."""
SHUFFLE_COUNT = 9
"""Shuffled maps: a meaningless map beats all nine in about one of ten cases."""
_BATCH_SIZE = 32
"""Images per forward pass."""
_BLUR_SIGMA_PER_SIDE = 0.05
"""Standard deviation of the Gaussian blur, as a fraction of the image's side."""

ProbabilityCurve = npt.NDArray[np.float64]
PixelRanks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Faithfulness:
    """Result of the deletion and insertion test.

    Attributes:
        deletion: float64 [MASK_STEPS + 1], the class's probability after each step of blurring, the most important
            pixels first.
        insertion: float64 [MASK_STEPS + 1], the same for showing these pixels in the blurred image.
        chance_deletion: float64 [MASK_STEPS / 2 + 1], mean deletion curve of the shuffled maps, at every second step.
        chance_insertion: float64 [MASK_STEPS / 2 + 1], their mean insertion curve.
        beaten_shuffles: shuffled maps that did worse, of `SHUFFLE_COUNT`.
    """

    deletion: ProbabilityCurve
    insertion: ProbabilityCurve
    chance_deletion: ProbabilityCurve
    chance_insertion: ProbabilityCurve
    beaten_shuffles: int

    @property
    def is_meaningful(self) -> bool:
        """Return whether the map beat every shuffled one."""
        return self.beaten_shuffles == SHUFFLE_COUNT

    def compute_areas(self) -> dict[str, float]:
        """Return the areas under the curves by the curves' names: mean probabilities in [0, 1]."""
        return {name: area_under_curve(curve) for name, curve in vars(self).items() if isinstance(curve, np.ndarray)}

    def to_json(self) -> dict[str, float | int | bool]:
        """Return plain JSON: the areas, and how many shuffled maps were beaten."""
        return {
            **self.compute_areas(),
            "beaten": self.beaten_shuffles,
            "shuffles": SHUFFLE_COUNT,
            "meaningful": self.is_meaningful,
        }


def describe_faithfulness(result: Faithfulness | None) -> tuple[str, str]:
    """Write the verdict on a map for people.

    Args:
        result: of `score_map`; None if the map shows no evidence.

    Returns:
        The verdict, and the reason for it (empty without a result).
    """
    if result is None:
        return messages.get_text("explain.nothing"), ""
    percents = {name: f"{100 * value:.1f} %" for name, value in result.compute_areas().items()}
    key = "yes" if result.is_meaningful else "no"
    reason = messages.get_text(f"explain.why_{key}", beaten=result.beaten_shuffles, count=SHUFFLE_COUNT, **percents)
    return messages.get_text(f"explain.{key}"), reason


def area_under_curve(curve: ProbabilityCurve) -> float:
    """Return the area under a curve over [0, 1] by the trapezoidal rule: a mean probability in [0, 1]."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def score_map(
    predict_probabilities: Callable[[Tensor], Tensor],
    image: Tensor,
    evidence: Tensor,
    class_index: int,
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
) -> Faithfulness:
    """Run the deletion and insertion test for a map, and for `SHUFFLE_COUNT` shuffled ones with the same values.

    The network sees 202 images.

    Args:
        predict_probabilities: normalized images, float32 [B, 3, S, S] -> probabilities [B, K].
        image: float32 [1, 3, S, S], normalized.
        evidence: the class's map, float32 [h, w], positive somewhere.
        class_index: of the class.
        progress: called as (images done, images in all).

    Returns:
        The curves, and how many shuffled maps the map beat.
    """
    generator = np.random.default_rng(0)  # the same verdict each time
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
        for step in _inner_steps(is_real_map=pixel_ranks is rank_maps[0])
    ]
    # A generator: 202 images at once would take as much memory as a large batch.
    images = chain((image, blurred_image), (_mix_images(image, blurred_image, *task) for task in tasks))
    total, probabilities = len(tasks) + 2, np.empty(0)
    while image_batch := list(islice(images, _BATCH_SIZE)):
        probabilities = np.append(
            probabilities, predict_probabilities(torch.cat(image_batch))[:, class_index].double().cpu().numpy()
        )
        progress(len(probabilities), total)
    own_count = 2 * len(_inner_steps(is_real_map=True))
    # The order of `images`: both ends, the map's steps, those of the shuffled maps.
    end_probabilities, own_probabilities, shuffled_probabilities = np.split(probabilities, [2, 2 + own_count])
    ((deletion, insertion),) = _join_curves(own_probabilities, end_probabilities, 1)
    chance_curves = _join_curves(shuffled_probabilities, end_probabilities, SHUFFLE_COUNT)
    # The map is compared on the steps that the shuffled maps have too.
    gains = [
        area_under_curve(insertion_curve) - area_under_curve(deletion_curve)
        for deletion_curve, insertion_curve in ((deletion[::2], insertion[::2]), *chance_curves)
    ]
    beaten_shuffles = sum(gains[0] > chance_gain for chance_gain in gains[1:])
    chance_deletion, chance_insertion = chance_curves.mean(0)
    return Faithfulness(deletion, insertion, chance_deletion, chance_insertion, beaten_shuffles)


def _inner_steps(*, is_real_map: bool) -> range:
    """Return the steps at which the map has images of its own; at both ends all maps share theirs."""
    return range(1, MASK_STEPS) if is_real_map else range(2, MASK_STEPS, 2)


def _join_curves(
    probabilities: ProbabilityCurve, end_probabilities: ProbabilityCurve, map_count: int
) -> ProbabilityCurve:
    """Join the probabilities at the inner steps with the shared ones at both ends.

    Args:
        probabilities: at the inner steps, float64 [map_count * 2 * inner steps].
        end_probabilities: of the image and of the blurred image, float64 [2].
        map_count: number of maps.

    Returns:
        float64 [map_count, 2, steps + 1]: for each map its deletion and its insertion curve.
    """
    inner_probabilities = probabilities.reshape(map_count, 2, -1)
    starts, stops = (
        np.broadcast_to(end_pair[:, None], (map_count, 2, 1))
        # Deletion goes from the image to the blurred one, insertion the other way.
        for end_pair in (end_probabilities, end_probabilities[::-1])
    )
    return np.concatenate([starts, inner_probabilities, stops], axis=2)


def rank_pixels(map_values: npt.NDArray[np.float32], side: int, generator: np.random.Generator) -> PixelRanks:
    """Rank the pixels by importance.

    The map is upsampled as it is for display. Pixels of equal value come in random order: no direction is favoured.

    Args:
        map_values: float32 [h, w].
        side: S, pixels of the image's side.
        generator: breaks ties.

    Returns:
        Rank of each pixel, int64 [S, S]; 0 is the most important.
    """
    enlarged = cv2.resize(map_values, (side, side), interpolation=cv2.INTER_LINEAR).ravel()
    # `lexsort` sorts by its last key first.
    sort_order = np.lexsort((generator.random(enlarged.size), -enlarged))
    pixel_ranks = np.empty(enlarged.size, np.int64)
    pixel_ranks[sort_order] = np.arange(enlarged.size)
    return pixel_ranks.reshape(side, side)


def blur_image(image: Tensor) -> Tensor:
    """Return a Gaussian-blurred image of the same shape, dtype and device."""
    pixels = image[0].permute(1, 2, 0).cpu().numpy()
    blurred_pixels = cv2.GaussianBlur(pixels, (0, 0), sigmaX=_BLUR_SIGMA_PER_SIDE * pixels.shape[0])
    return torch.from_numpy(np.asarray(blurred_pixels)).permute(2, 0, 1)[None].to(image)


def _mix_images(image: Tensor, blurred_image: Tensor, pixel_ranks: PixelRanks, direction: int, step: int) -> Tensor:
    """Mix the image and its blurred version, the most important pixels replaced first.

    Args:
        image: float32 [1, 3, S, S].
        blurred_image: float32 [1, 3, S, S].
        pixel_ranks: from `rank_pixels`, int64 [S, S].
        direction: 0 for deletion (image to blurred), 1 for insertion.
        step: in [0, MASK_STEPS].

    Returns:
        float32 [1, 3, S, S].
    """
    start, end = (image, blurred_image)[:: -1 if direction else 1]
    return torch.where(
        torch.from_numpy(pixel_ranks < step / MASK_STEPS * pixel_ranks.size).to(image.device), end, start
    )
