"""Figures of an outcome: accuracies with intervals, confusions, classes one by one. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftlab.evaluation.results import EvaluationResult, Float32Array, LabelArray

SMALL_SAMPLE_IMAGES = 1000
"""Pictures below which a single one moves an accuracy visibly."""
CountArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Proportion:
    """A fraction of pictures, `correct` of `n`, with its 95 % interval: all in [0, 1]."""

    correct: int
    n: int

    @property
    def fraction(self) -> float:
        return self.correct / self.n

    @property
    def confidence_interval(self) -> tuple[float, float]:
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class EvaluationMetrics:
    """An outcome in numbers.

    Attributes:
        top1: first guesses that are right.
        top5: pictures whose true class is among the first five; with five classes or fewer it is all of them.
        loss: mean cross-entropy, nats, of the logits as they are.
        balanced_accuracy: mean over the classes of each one's recall, in [0, 1].
    """

    top1: Proportion
    top5: Proportion
    loss: float
    balanced_accuracy: float


@dataclass(frozen=True)
class ClassMetrics:
    """A class in numbers; None where there is nothing to divide by.

    Attributes:
        image_count: pictures of it.
        predicted_count: pictures that were taken for it.
        precision: of those, the fraction that is of it, in [0, 1].
        recall: of its pictures, the fraction that was found, in [0, 1].
        f1: harmonic mean of the two.
    """

    image_count: int
    predicted_count: int
    precision: float | None
    recall: float | None
    f1: float | None


def compute_metrics(result: EvaluationResult) -> EvaluationMetrics:
    """The numbers of an outcome of at least one picture."""
    n, counts = len(result.labels), confusion_matrix(result)
    recalls = [
        class_metrics.recall for class_metrics in compute_class_metrics(counts) if class_metrics.recall is not None
    ]
    top5_correct = int((rank_true_labels(result.logits, result.labels) < 5).sum())
    losses = -log_softmax(result.logits)[np.arange(n), result.labels]
    return EvaluationMetrics(
        Proportion(int(result.is_correct.sum()), n),
        Proportion(top5_correct, n),
        float(losses.mean()),
        float(np.mean(recalls)),
    )


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval for a fraction `correct` of `n` >= 1: low and high in [0, 1].

    Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22, page 209-212. z = 1.959964 is that of 95 %. Unlike the usual one it does not say that
    20 right ones of 20 leave no doubt.
    """
    fraction = correct / n
    center = fraction + z * z / (2 * n)
    half_width = z * (fraction * (1 - fraction) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((center + sign * half_width) / (1 + z * z / n) for sign in (-1, 1))
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def rank_true_labels(logits: Float32Array, labels: LabelArray) -> CountArray:
    """How many classes come before the true one, int64 [N]; of equal ones the lower index comes first. All of them
    where a logit is no number."""
    label_logits = np.take_along_axis(logits, labels[:, None], 1)
    ranks_before = (logits > label_logits) | ((logits == label_logits) & (np.arange(logits.shape[1]) < labels[:, None]))
    return np.where(np.isfinite(logits).all(1), ranks_before.sum(1), logits.shape[1])


def log_softmax(logits: Float32Array, temperature: float = 1.0) -> Float64Array:
    """Logarithms of the probabilities, float64 [N, K]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(1, keepdims=True))
    return scaled


def softmax(logits: Float32Array, temperature: float = 1.0) -> Float64Array:
    """The softmax of logits [N, K] divided by a temperature, float64 [N, K]."""
    return np.exp(log_softmax(logits, temperature))


def confusion_matrix(result: EvaluationResult) -> CountArray:
    """Pictures by true class (row) and predicted class (column), int64 [K, K]."""
    k = len(result.class_names)
    return np.bincount(result.labels * k + result.predicted_labels, minlength=k * k).reshape(k, k)


def compute_class_metrics(counts: CountArray) -> list[ClassMetrics]:
    """Each class of a confusion matrix int64 [K, K]."""
    return [
        ClassMetrics(
            image_count,
            predicted_count,
            _safe_divide(true_positives, predicted_count),
            _safe_divide(true_positives, image_count),
            _safe_divide(2 * true_positives, image_count + predicted_count),
        )
        for true_positives, image_count, predicted_count in zip(
            counts.diagonal().tolist(), counts.sum(1).tolist(), counts.sum(0).tolist(), strict=True
        )
    ]


def most_confused_classes(counts: CountArray, max_classes: int) -> list[int]:
    """Indices, rising, of the classes to show where there is room for `max_classes` of K: those with the most mistakes, as
    the true class or as the answer."""
    errors = counts - np.diag(counts.diagonal())
    order = np.argsort(-(errors.sum(0) + errors.sum(1)), kind="stable")
    return sorted(order[:max_classes].tolist())


def _safe_divide(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None
