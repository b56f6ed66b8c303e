"""Which pictures of an outcome to look at: the surest mistakes, the least sure hits, some at random, those of a
confusion."""

from __future__ import annotations

import random

import numpy as np

from ftlab.evaluation.metrics import Float64Array
from ftlab.evaluation.results import EvaluationResult

SELECTION_KINDS = ("mistakes", "hits", "random")


def select_images(kind: str, result: EvaluationResult, confidences: Float64Array, seed: int = 0) -> list[int]:
    """Indices into an outcome, all there are, the most telling first.

    Args:
        kind: `mistakes`, the surest first; `hits`, the least sure first; `random`, mixed by the seed.
        result: of the pictures.
        confidences: float64 [N], the probability of each answer.
        seed: another one mixes anew.
    """
    if kind == "random":
        shuffled = list(range(len(result.labels)))
        random.Random(seed).shuffle(shuffled)
        return shuffled
    mask, sign = (~result.is_correct, -1) if kind == "mistakes" else (result.is_correct, 1)
    return _sort_indices(np.flatnonzero(mask), sign * confidences)


def select_confusion_cell(
    result: EvaluationResult, confidences: Float64Array, true_label: int, predicted_label: int
) -> list[int]:
    """Indices of the pictures of one class that were taken for another, or for it; the surest first."""
    return _sort_indices(
        np.flatnonzero((result.labels == true_label) & (result.predicted_labels == predicted_label)), -confidences
    )


def _sort_indices(indices: np.ndarray, sort_keys: Float64Array) -> list[int]:
    order: list[int] = indices[np.argsort(sort_keys[indices], kind="stable")].tolist()
    return order
