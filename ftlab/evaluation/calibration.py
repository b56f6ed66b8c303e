"""How far a model's probabilities can be believed; a temperature that mends them, and a threshold for "none of these".

Guo et al., 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599: reliability diagram and expected
calibration error (section 2), temperature scaling (section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftlab.evaluation.metrics import Counts, Doubles, log_softmax, probabilities
from ftlab.evaluation.results import Floats, Labels, Outcome
from ftlab.inference.decision_rule import Decision

BINS = 15
KEEP = 0.95
"""Share of the right validation answers that the threshold lets pass."""
FEW = 20
"""Pictures below which nothing is chosen: one of them would be more than the 5 % that the threshold may cost."""
_COLDEST, _HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Reliability:
    """Pictures by how sure the model was, in `BINS` equal steps of the probability of its answer.

    Attributes:
        count: int64 [BINS].
        confidence: mean probability of the answer, float64 [BINS]; 0 where there is no picture.
        accuracy: fraction that is right, likewise.
        error: expected calibration error in [0, 1]: the mean over the pictures of the gap between the two.
    """

    count: Counts
    confidence: Doubles
    accuracy: Doubles
    error: float


def reliability(outcome: Outcome, temperature: float = 1.0) -> Reliability:
    """The reliability of an outcome's probabilities at a temperature."""
    sure = probabilities(outcome.logits, temperature).max(1)
    step = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)  # as in the paper, (m - 1, m] / BINS
    count = np.bincount(step, minlength=BINS)
    some = np.maximum(count, 1)
    confidence = np.bincount(step, weights=sure, minlength=BINS) / some
    accuracy = np.bincount(step, weights=outcome.right, minlength=BINS) / some
    error = float((count * np.abs(confidence - accuracy)).sum() / max(1, len(sure)))
    return Reliability(count, confidence, accuracy, error)


def temperature(logits: Floats, labels: Labels) -> float:
    """The temperature with the least cross-entropy, between 0.05 and 20.

    The loss is convex in its inverse, so the root of the slope is found by bisection. Where no answer is wrong the
    loss only falls as the probabilities go to 1, which says nothing about new pictures: 1, as where there are few.
    """
    if len(labels) < FEW or not np.isfinite(logits).all() or (logits.argmax(1) == labels).all():
        return 1.0
    own = logits[np.arange(len(labels)), labels].astype(np.float64)
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(40):
        middle = (low * high) ** 0.5
        expected = (np.exp(log_softmax(logits, 1 / middle)) * logits).sum(1)
        if (expected - own).mean() < 0:
            low = middle
        else:
            high = middle
    return float(1 / (low * high) ** 0.5)


def decide(validation: Outcome) -> Decision:
    """Temperature and threshold for a model, by its outcome on validation.

    A picture whose most probable class is less probable than the threshold is called none of these (Hendrycks &
    Gimpel, 2017, arXiv:1610.02136). The threshold lets 95 % of the right validation answers pass, after Liang et al.,
    2018, arXiv:1706.02690, who compare detectors where 95 % of the known pictures pass. With fewer than 20 right
    answers there is none.
    """
    scale = temperature(validation.logits, validation.labels)
    sure = np.sort(probabilities(validation.logits, scale).max(1)[validation.right])
    threshold = float(sure[int(len(sure) * (1 - KEEP) + 1e-9)]) if len(sure) >= FEW else 0.0
    return Decision(validation.weights, scale, threshold, len(validation.labels), len(sure))
