"""Pictures mixed with each other, and their labels with them: a function of (seed, step)."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig


@dataclass(frozen=True)
class Mixture:
    """A batch in which each picture may have a partner.

    Attributes:
        inputs: float32 [b, 3, side, side] or [b, D].
        partners: positions int64 [b] of the pictures mixed in; None where nothing is.
        kept: share of a picture that is its own, in [0.5, 1].
    """

    inputs: Tensor
    partners: Tensor | None = None
    kept: float = 1.0


def mix(inputs: Tensor, config: TrainConfig, step: int) -> Mixture:
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
        return Mixture(inputs)
    rng = random.Random(f"{config.seed}/mix {step}")
    cut = rng.random() < 0.5 if config.mixup and config.cutmix else bool(config.cutmix)
    alpha = config.cutmix if cut else config.mixup
    kept = rng.betavariate(alpha, alpha)
    kept = max(kept, 1.0 - kept)
    partners = torch.arange(len(inputs), device=inputs.device).roll(1)
    if not cut:
        return Mixture(torch.lerp(inputs[partners], inputs, kept), partners, kept)
    height, width = inputs.shape[-2:]
    top, bottom = _span(height, kept, rng)
    left, right = _span(width, kept, rng)
    mixed = inputs.clone()
    mixed[:, :, top:bottom, left:right] = inputs[partners][:, :, top:bottom, left:right]
    return Mixture(mixed, partners, 1.0 - (bottom - top) * (right - left) / (height * width))


def _span(side: int, kept: float, rng: random.Random) -> tuple[int, int]:
    """Where the box begins and ends along a side; what lies outside the picture is cut off."""
    half = side * math.sqrt(1.0 - kept) / 2
    centre = rng.uniform(0, side)
    return max(0, round(centre - half)), min(side, round(centre + half))
