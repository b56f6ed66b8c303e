"""Which pictures of an outcome to look at: the surest mistakes, the least sure hits, some at random, those of a
confusion."""

from __future__ import annotations

import random

import numpy as np

from ftlab.evaluation.metrics import Doubles
from ftlab.evaluation.results import Outcome

KINDS = ("mistakes", "hits", "random")


def of(kind: str, outcome: Outcome, sure: Doubles, seed: int = 0) -> list[int]:
    """Indices into an outcome, all there are, the most telling first.

    Args:
        kind: `mistakes`, the surest first; `hits`, the least sure first; `random`, mixed by the seed.
        outcome: of the pictures.
        sure: float64 [N], the probability of each answer.
        seed: another one mixes anew.
    """
    if kind == "random":
        mixed = list(range(len(outcome.labels)))
        random.Random(seed).shuffle(mixed)
        return mixed
    wanted, sign = (~outcome.right, -1) if kind == "mistakes" else (outcome.right, 1)
    return _sorted(np.flatnonzero(wanted), sign * sure)


def cell(outcome: Outcome, sure: Doubles, true: int, predicted: int) -> list[int]:
    """Indices of the pictures of one class that were taken for another, or for it; the surest first."""
    return _sorted(np.flatnonzero((outcome.labels == true) & (outcome.predicted == predicted)), -sure)


def _sorted(indices: np.ndarray, by: Doubles) -> list[int]:
    order: list[int] = indices[np.argsort(by[indices], kind="stable")].tolist()
    return order
