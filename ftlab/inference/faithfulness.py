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

STEPS = 20
"""Shares of the picture that are taken away or shown, one after the other; of maps by chance, every second one."""
SHUFFLES = 9
"""Maps by chance: one that means nothing does better than all of them in about one of ten cases."""
_BATCH = 32
_BLUR = 0.05
"""Standard deviation of the blur, in sides of the picture."""

Curve = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Faithfulness:
    """What was found.

    Attributes:
        deletion: float64 [STEPS + 1], the class's probability after each share of the picture, the most important
            places first, was blurred.
        insertion: the same after each share was shown in a blurred picture.
        chance_deletion, chance_insertion: float64 [STEPS / 2 + 1], means of both, at every second share, over maps
            whose places were shuffled.
        beaten: shuffled maps that were worse, of `SHUFFLES`.
    """

    deletion: Curve
    insertion: Curve
    chance_deletion: Curve
    chance_insertion: Curve
    beaten: int

    @property
    def meaningful(self) -> bool:
        """Whether the map beat every one by chance."""
        return self.beaten == SHUFFLES

    def areas(self) -> dict[str, float]:
        """Areas under the curves, mean probabilities in [0, 1], by the curves' names."""
        return {name: area(curve) for name, curve in vars(self).items() if isinstance(curve, np.ndarray)}

    def to_json(self) -> dict[str, float | int | bool]:
        """Plain JSON: the areas, and how many maps by chance were beaten."""
        return {**self.areas(), "beaten": self.beaten, "shuffles": SHUFFLES, "meaningful": self.meaningful}


def sentences(found: Faithfulness | None) -> tuple[str, str]:
    """What a person reads of it: the verdict, and why. None: there was no evidence to try."""
    if found is None:
        return messages.text("explain.nothing"), ""
    percents = {name: f"{100 * value:.1f} %" for name, value in found.areas().items()}
    key = "yes" if found.meaningful else "no"
    why = messages.text(f"explain.why_{key}", beaten=found.beaten, count=SHUFFLES, **percents)
    return messages.text(f"explain.{key}"), why


def area(curve: Curve) -> float:
    """Area under a curve over shares from 0 to 1, by trapezoids: a mean probability, in [0, 1]."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def score(
    ask: Callable[[Tensor], Tensor],
    picture: Tensor,
    evidence: Tensor,
    index: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Faithfulness:
    """Try a map, and `SHUFFLES` others with the same values at other places: 202 pictures go through the network.

    Args:
        ask: pictures as a network takes them, float32 [B, 3, side, side] -> probabilities [B, K].
        picture: float32 [1, 3, side, side].
        evidence: the class's map, float32 [h, w], somewhere positive.
        index: of the class.
        progress: is told how many pictures are done, of how many.
    """
    generator = np.random.default_rng(0)
    side, values = picture.shape[-1], evidence.clamp(min=0).cpu().numpy()
    maps = [values, *(generator.permutation(values.ravel()).reshape(values.shape) for _ in range(SHUFFLES))]
    orders = [ranks(one, side, generator) for one in maps]
    blur = blurred(picture)
    tasks = [(order, way, step) for order in orders for way in (0, 1) for step in _between(order is orders[0])]
    pictures = chain((picture, blur), (_mixed(picture, blur, *task) for task in tasks))
    total, answers = len(tasks) + 2, np.empty(0)
    while some := list(islice(pictures, _BATCH)):
        answers = np.append(answers, ask(torch.cat(some))[:, index].double().cpu().numpy())
        progress(len(answers), total)
    own = 2 * len(_between(True))
    ends, first, others = np.split(answers, [2, 2 + own])
    ((deletion, insertion),) = _curves(first, ends, 1)
    chance = _curves(others, ends, SHUFFLES)
    gains = [area(shown) - area(gone) for gone, shown in ((deletion[::2], insertion[::2]), *chance)]
    beaten = sum(gains[0] > other for other in gains[1:])
    chance_deletion, chance_insertion = chance.mean(0)
    return Faithfulness(deletion, insertion, chance_deletion, chance_insertion, beaten)


def _between(own: bool) -> range:
    """Steps of which each order has its own picture: at both ends all have the same."""
    return range(1, STEPS) if own else range(2, STEPS, 2)


def _curves(answers: Curve, ends: Curve, count: int) -> Curve:
    """[count, 2, …]: of each order, the way from the picture to the blurred one, and the way back."""
    inner = answers.reshape(count, 2, -1)
    first, last = (np.broadcast_to(one[:, None], (count, 2, 1)) for one in (ends, ends[::-1]))
    return np.concatenate([first, inner, last], axis=2)


def ranks(values: npt.NDArray[np.float32], side: int, generator: np.random.Generator) -> Order:
    """The place of each pixel in the order of importance, 0 the most important: int64 [side, side]. The map is
    enlarged as it is shown; pixels of the same value come in no order of their own."""
    large = cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR).ravel()
    order = np.lexsort((generator.random(large.size), -large))
    place = np.empty(large.size, np.int64)
    place[order] = np.arange(large.size)
    return place.reshape(side, side)


def blurred(picture: Tensor) -> Tensor:
    """The picture out of focus: same shape and type."""
    pixels = picture[0].permute(1, 2, 0).cpu().numpy()
    soft = cv2.GaussianBlur(pixels, (0, 0), sigmaX=_BLUR * pixels.shape[0])
    return torch.from_numpy(np.asarray(soft)).permute(2, 0, 1)[None].to(picture)


def _mixed(picture: Tensor, blur: Tensor, order: Order, way: int, step: int) -> Tensor:
    """The picture on its way to the blurred one (0) or back (1), the most important places first."""
    start, end = (picture, blur)[:: -1 if way else 1]
    return torch.where(torch.from_numpy(order < step / STEPS * order.size).to(picture.device), end, start)
