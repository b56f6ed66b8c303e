"""Calibration of a model's probabilities: reliability diagram, temperature scaling and a rejection threshold.

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
"""Equal-width bins of the reliability diagram; 15 as in the paper's tables."""
MIN_ACCEPTED_FRACTION = 0.95
"""Fraction of the correct validation predictions that the threshold accepts."""
MIN_IMAGES = 20
"""Images below which nothing is fitted: one of them would be more than the 5 % that the threshold may reject."""
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
"""Search range of the temperature."""


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Images binned by confidence (probability of the predicted class) in `BIN_COUNT` bins of equal width.

    Attributes:
        counts: images in each bin, int64 [BINS].
        confidence: mean confidence of each bin, float64 [BINS]; 0 where the bin is empty.
        accuracy: fraction of correct predictions in each bin, float64 [BINS]; 0 where the bin is empty.
        calibration_error: expected calibration error in [0, 1]: |confidence - accuracy|, averaged over the images.
    """

    counts: CountArray
    confidence: Float64Array
    accuracy: Float64Array
    calibration_error: float


def compute_reliability(result: EvaluationResult, temperature: float = 1.0) -> ReliabilityDiagram:
    """Compute the reliability diagram of a result's probabilities.

    Args:
        result: logits and labels.
        temperature: divides the logits before the softmax.

    Returns:
        The diagram with its expected calibration error.
    """
    confidences = softmax(result.logits, temperature).max(1)
    # Bins are half-open as in the paper: ((m - 1) / BINS, m / BINS].
    bin_indices = np.clip(np.ceil(confidences * BIN_COUNT).astype(np.int64) - 1, 0, BIN_COUNT - 1)
    counts = np.bincount(bin_indices, minlength=BIN_COUNT)
    nonzero_counts = np.maximum(counts, 1)
    confidence = np.bincount(bin_indices, weights=confidences, minlength=BIN_COUNT) / nonzero_counts
    accuracy = np.bincount(bin_indices, weights=result.is_correct, minlength=BIN_COUNT) / nonzero_counts
    calibration_error = float((counts * np.abs(confidence - accuracy)).sum() / max(1, len(confidences)))
    return ReliabilityDiagram(counts, confidence, accuracy, calibration_error)


def fit_temperature(logits: Float32Array, labels: LabelArray) -> float:
    """Fit the temperature with the least cross-entropy, in [0.05, 20].

    The loss is convex in the inverse temperature, so the root of its derivative is found by bisection. Where no
    prediction is wrong the loss only falls as the probabilities approach 1, which tells nothing about new images.

    Args:
        logits: float32 [N, K], of validation.
        labels: true classes, int64 [N].

    Returns:
        The temperature; 1 with fewer than `MIN_IMAGES` images, a logit that is not finite, or no wrong prediction.
    """
    if len(labels) < MIN_IMAGES or not np.isfinite(logits).all() or (logits.argmax(1) == labels).all():
        return 1.0
    label_logits = logits[np.arange(len(labels)), labels].astype(np.float64)
    # Bisection on a logarithmic scale (geometric means): 40 halvings of [0.05, 20] leave a relative error of 5e-12.
    low, high = 1 / _MAX_TEMPERATURE, 1 / _MIN_TEMPERATURE
    for _ in range(40):
        midpoint = (low * high) ** 0.5
        # Derivative of the loss with respect to 1 / T: mean of E_p[logit] - logit of the true class.
        expected_logits = (np.exp(log_softmax(logits, 1 / midpoint)) * logits).sum(1)
        if (expected_logits - label_logits).mean() < 0:
            low = midpoint
        else:
            high = midpoint
    return float(1 / (low * high) ** 0.5)


def fit_decision(validation_result: EvaluationResult) -> DecisionRule:
    """Fit temperature and rejection threshold to a model's validation result.

    An image whose largest probability is below the threshold is rejected as "none of these" (Hendrycks & Gimpel, 2017,
    arXiv:1610.02136). The threshold accepts 95 % of the correct validation predictions, after Liang et al., 2018,
    arXiv:1706.02690, who compare detectors where 95 % of the known images are accepted. With fewer than 20 correct
    predictions there is none.

    Returns:
        The rule for the weights of `validation_result`; a threshold of 0 rejects nothing.
    """
    fitted_temperature = fit_temperature(validation_result.logits, validation_result.labels)
    confidences = np.sort(softmax(validation_result.logits, fitted_temperature).max(1)[validation_result.is_correct])
    # 1e-9: 1 - 0.95 is not exactly 0.05 in binary, and 5 % of 100 predictions must not be rounded down to 4.
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
