"""How far a model's probabilities can be believed; a temperature that mends them, and a threshold for "none of these".

Guo et al., 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599: reliability diagram and expected
calibration error (section 2), temperature scaling (section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftlab.evaluation.metrics import CountArray, Float64Array, log_softmax, softmax
from ftlab.evaluation.results import EvaluationResult, Float32Array, LabelArray
from ftlab.inference.decision_rule import DecisionRule

BIN_COUNT = 15
MIN_ACCEPTED_FRACTION = 0.95
"""Share of the right validation answers that the threshold lets pass."""
MIN_IMAGES = 20
"""Pictures below which nothing is chosen: one of them would be more than the 5 % that the threshold may cost."""
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Pictures by how sure the model was, in `BIN_COUNT` equal steps of the probability of its answer.

    Attributes:
        counts: int64 [BINS].
        confidence: mean probability of the answer, float64 [BINS]; 0 where there is no picture.
        accuracy: fraction that is right, likewise.
        calibration_error: expected calibration error in [0, 1]: the mean over the pictures of the gap between the two.
    """

    counts: CountArray
    confidence: Float64Array
    accuracy: Float64Array
    calibration_error: float


def compute_reliability(result: EvaluationResult, temperature: float = 1.0) -> ReliabilityDiagram:
    """The reliability of an outcome's probabilities at a temperature."""
    confidences = softmax(result.logits, temperature).max(1)
    bin_indices = np.clip(
        np.ceil(confidences * BIN_COUNT).astype(np.int64) - 1, 0, BIN_COUNT - 1
    )  # as in the paper, (m - 1, m] / BINS
    counts = np.bincount(bin_indices, minlength=BIN_COUNT)
    nonzero_counts = np.maximum(counts, 1)
    confidence = np.bincount(bin_indices, weights=confidences, minlength=BIN_COUNT) / nonzero_counts
    accuracy = np.bincount(bin_indices, weights=result.is_correct, minlength=BIN_COUNT) / nonzero_counts
    calibration_error = float((counts * np.abs(confidence - accuracy)).sum() / max(1, len(confidences)))
    return ReliabilityDiagram(counts, confidence, accuracy, calibration_error)


def fit_temperature(logits: Float32Array, labels: LabelArray) -> float:
    """The temperature with the least cross-entropy, between 0.05 and 20.

    The loss is convex in its inverse, so the root of the slope is found by bisection. Where no answer is wrong the
    loss only falls as the probabilities go to 1, which says nothing about new pictures: 1, as where there are few.
    """
    if len(labels) < MIN_IMAGES or not np.isfinite(logits).all() or (logits.argmax(1) == labels).all():
        return 1.0
    label_logits = logits[np.arange(len(labels)), labels].astype(np.float64)
    low, high = 1 / _MAX_TEMPERATURE, 1 / _MIN_TEMPERATURE
    for _ in range(40):
        midpoint = (low * high) ** 0.5
        expected_logits = (np.exp(log_softmax(logits, 1 / midpoint)) * logits).sum(1)
        if (expected_logits - label_logits).mean() < 0:
            low = midpoint
        else:
            high = midpoint
    return float(1 / (low * high) ** 0.5)


def fit_decision(validation_result: EvaluationResult) -> DecisionRule:
    """Temperature and threshold for a model, by its outcome on validation.

    A picture whose most probable class is less probable than the threshold is called none of these (Hendrycks &
    Gimpel, 2017, arXiv:1610.02136). The threshold lets 95 % of the right validation answers pass, after Liang et al.,
    2018, arXiv:1706.02690, who compare detectors where 95 % of the known pictures pass. With fewer than 20 right
    answers there is none.
    """
    fitted_temperature = fit_temperature(validation_result.logits, validation_result.labels)
    confidences = np.sort(softmax(validation_result.logits, fitted_temperature).max(1)[validation_result.is_correct])
    threshold = (
        float(confidences[int(len(confidences) * (1 - MIN_ACCEPTED_FRACTION) + 1e-9)])
        if len(confidences) >= MIN_IMAGES
        else 0.0
    )
    return DecisionRule(
        validation_result.weights_checksum,
        fitted_temperature,
        threshold,
        len(validation_result.labels),
        len(confidences),
    )
