"""Pictures mixed with each other, and their labels with them: a function of (seed, step)."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class MixedBatch:
    """A batch in which each picture may have a partner.

    Attributes:
        inputs: float32 [b, 3, side, side] or [b, D].
        partner_indices: positions int64 [b] of the pictures mixed in; None where nothing is.
        own_weight: share of a picture that is its own, in [0.5, 1].
    """

    inputs: Tensor
    partner_indices: Tensor | None = None
    own_weight: float = 1.0


def mix_batch(inputs: Tensor, config: TrainConfig, step: int) -> MixedBatch:
    """Mix each picture of a batch with its neighbour.

    mixup (Zhang et al., 2018, arXiv:1710.09412, equation 1) adds them up, weighted by a share drawn from Beta(α, α); of
    cached features this is Manifold Mixup at the last layer (Verma et al., 2019, arXiv:1806.05236). CutMix (Yun et al.,
    2019, arXiv:1905.04899, equations 1 and 2) puts a box of the neighbour in, whose area is drawn so. With both, a coin
    decides at each step. The larger part counts as the picture's own, which changes nothing but the names of the two.

    Args:
        inputs: float32 [b, 3, side, side] or [b, D]; left as it is.
        step: optimizer step of the run, counted from 0.
    """
    if not (config.mixup or config.cutmix) or len(inputs) < 2:
        return MixedBatch(inputs)
    rng = random.Random(f"{config.seed}/mix {step}")
    use_cutmix = rng.random() < 0.5 if config.mixup and config.cutmix else bool(config.cutmix)
    alpha = config.cutmix if use_cutmix else config.mixup
    own_weight = rng.betavariate(alpha, alpha)
    own_weight = max(own_weight, 1.0 - own_weight)
    partner_indices = torch.arange(len(inputs), device=inputs.device).roll(1)
    if not use_cutmix:
        return MixedBatch(torch.lerp(inputs[partner_indices], inputs, own_weight), partner_indices, own_weight)
    height, width = inputs.shape[-2:]
    top, bottom = _draw_box_span(height, own_weight, rng)
    left, right = _draw_box_span(width, own_weight, rng)
    mixed_images = inputs.clone()
    mixed_images[:, :, top:bottom, left:right] = inputs[partner_indices][:, :, top:bottom, left:right]
    return MixedBatch(mixed_images, partner_indices, 1.0 - (bottom - top) * (right - left) / (height * width))


def _draw_box_span(side: int, own_weight: float, rng: random.Random) -> tuple[int, int]:
    """Where the box begins and ends along a side; what lies outside the picture is cut off."""
    half_size = side * math.sqrt(1.0 - own_weight) / 2
    center = rng.uniform(0, side)
    return max(0, round(center - half_size)), min(side, round(center + half_size))
