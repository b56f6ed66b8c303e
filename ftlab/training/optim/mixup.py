"""Mixup and CutMix: images mixed with each other and their labels likewise, a function of (seed, step)."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class MixedBatch:
    """Batch in which each image may be mixed with a partner.

    Attributes:
        inputs: float32 [b, 3, S, S] or [b, D].
        partner_indices: int64 [b], positions in the batch of the images mixed in; None if nothing is mixed.
        own_weight: weight of an image's own label, in [0.5, 1].
    """

    inputs: Tensor
    partner_indices: Tensor | None = None
    own_weight: float = 1.0


def mix_batch(inputs: Tensor, config: TrainConfig, step: int) -> MixedBatch:
    """Mix each image of a batch with its neighbour.

    Mixup (Zhang et al., 2018, arXiv:1710.09412, equation 1) takes their weighted mean, with a weight drawn from
    Beta(α, α); for cached features this is Manifold Mixup at the last layer (Verma et al., 2019, arXiv:1806.05236).
    CutMix (Yun et al., 2019, arXiv:1905.04899, equations 1 and 2) pastes a box of the neighbour, whose area is drawn
    likewise. With both, each step tosses a coin. The larger weight is the image's own: that only swaps the names of
    the two.

    Args:
        inputs: float32 [b, 3, S, S] or [b, D]; not changed.
        config: seed and the two α.
        step: number of the step in the run, from 0.

    Returns:
        The mixed batch; its inputs are those of the argument if nothing is mixed.
    """
    if not (config.mixup or config.cutmix) or len(inputs) < 2:
        return MixedBatch(inputs)
    # A generator of its own for each step: a resumed training mixes as an undisturbed one.
    rng = random.Random(f"{config.seed}/mix {step}")
    use_cutmix = rng.random() < 0.5 if config.mixup and config.cutmix else bool(config.cutmix)
    alpha = config.cutmix if use_cutmix else config.mixup
    own_weight = rng.betavariate(alpha, alpha)
    own_weight = max(own_weight, 1.0 - own_weight)
    # Batches are shuffled already, so that the neighbour is a random partner.
    partner_indices = torch.arange(len(inputs), device=inputs.device).roll(1)
    if not use_cutmix:
        return MixedBatch(torch.lerp(inputs[partner_indices], inputs, own_weight), partner_indices, own_weight)
    height, width = inputs.shape[-2:]
    top, bottom = _draw_box_span(height, own_weight, rng)
    left, right = _draw_box_span(width, own_weight, rng)
    # The caller's batch stays as it is: a step that was only timed is computed again with it.
    mixed_images = inputs.clone()
    mixed_images[:, :, top:bottom, left:right] = inputs[partner_indices][:, :, top:bottom, left:right]
    # A clipped or rounded box has another area than was drawn: the labels follow the real one.
    return MixedBatch(mixed_images, partner_indices, 1.0 - (bottom - top) * (right - left) / (height * width))


def _draw_box_span(side: int, own_weight: float, rng: random.Random) -> tuple[int, int]:
    """Draw where the box begins and ends along one side, clipped to the image.

    Args:
        side: of the image, in pixels.
        own_weight: 1 minus the box's fraction of the area, before it is clipped.
        rng: random generator of the step.

    Returns:
        First pixel, and the one after the last.
    """
    half_size = side * math.sqrt(1.0 - own_weight) / 2
    center = rng.uniform(0, side)
    return max(0, round(center - half_size)), min(side, round(center + half_size))
