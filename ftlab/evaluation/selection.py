"""Selection of images to look at: confident mistakes, uncertain hits, a random order, a confusion matrix cell."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from ftlab.evaluation.metrics import Float64Array
from ftlab.evaluation.results import EvaluationResult

SELECTION_KINDS = ("mistakes", "hits", "random")
"""Kinds that `select_images` knows."""


def select_images(kind: str, result: EvaluationResult, confidences: Float64Array, seed: int = 0) -> list[int]:
    """Return the indices of all images of a kind, the most informative first.

    Args:
        kind: `mistakes`, the most confident first; `hits`, the least confident first; `random`, shuffled by `seed`.
        result: evaluation result of N images.
        confidences: probability of each prediction, float64 [N].
        seed: seed of the random order.

    Returns:
        Indices into `result`; only `random` has all of them.
    """
    if kind == "random":
        # A generator of its own: the same seed gives the same order, whatever else draws random numbers.
        shuffled = list(range(len(result.labels)))
        random.Random(seed).shuffle(shuffled)
        return shuffled
    mask, sign = (~result.is_correct, -1) if kind == "mistakes" else (result.is_correct, 1)
    return _sort_indices(np.flatnonzero(mask), sign * confidences)


def select_confusion_cell(
    result: EvaluationResult, confidences: Float64Array, true_label: int, predicted_label: int
) -> list[int]:
    """Return the indices of the images in one cell of the confusion matrix, the most confident first.

    Args:
        result: evaluation result of N images.
        confidences: probability of each prediction, float64 [N].
        true_label: row of the cell.
        predicted_label: column of the cell.

    Returns:
        Indices into `result`.
    """
    return _sort_indices(
        np.flatnonzero((result.labels == true_label) & (result.predicted_labels == predicted_label)), -confidences
    )


def _sort_indices(indices: npt.NDArray[np.intp], sort_keys: Float64Array) -> list[int]:
    """Return `indices` in ascending order of `sort_keys`, float64 [N]."""
    # Stable: equal confidences stay in the order of the data set, so a page shows the same images again.
    order: list[int] = indices[np.argsort(sort_keys[indices], kind="stable")].tolist()
    return order
