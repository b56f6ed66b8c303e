"""Accuracy with confidence intervals, confusion matrix and per-class metrics of an evaluation result. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftlab.evaluation.results import EvaluationResult, Float32Array, LabelArray

SMALL_SAMPLE_IMAGES = 1000
"""Images below which a single one moves the accuracy visibly: by more than 0.1 percentage points."""
CountArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Proportion:
    """A fraction of images, `correct` of `n`, with its 95 % confidence interval; all in [0, 1]."""

    correct: int
    n: int

    @property
    def fraction(self) -> float:
        """Return `correct / n`, in [0, 1]."""
        return self.correct / self.n

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """Return the 95 % Wilson interval: low and high, in [0, 1]."""
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class EvaluationMetrics:
    """Metrics of one evaluation result.

    Attributes:
        top1: images whose most probable class is the true one.
        top5: images whose true class is among the five most probable; with five classes or fewer these are all images.
        loss: mean cross-entropy of the logits as they are (temperature 1), in nats.
        balanced_accuracy: recall averaged over the classes, in [0, 1].
    """

    top1: Proportion
    top5: Proportion
    loss: float
    balanced_accuracy: float


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; None where the denominator is zero.

    Attributes:
        image_count: images of this class.
        predicted_count: images that were predicted as this class.
        precision: fraction of `predicted_count` that is of this class, in [0, 1].
        recall: fraction of `image_count` that was predicted as this class, in [0, 1].
        f1: harmonic mean of precision and recall.
    """

    image_count: int
    predicted_count: int
    precision: float | None
    recall: float | None
    f1: float | None


def compute_metrics(result: EvaluationResult) -> EvaluationMetrics:
    """Return the metrics of an evaluation result of at least one image."""
    n, counts = len(result.labels), confusion_matrix(result)
    # A class without images has no recall and is left out of the mean, as in scikit-learn's balanced accuracy.
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
    """Compute the Wilson score interval of a proportion.

    Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22, pages 209-212. Unlike the normal approximation it leaves a doubt where 20 of 20
    images are correct.

    Args:
        correct: number of correct images.
        n: number of images, at least 1.
        z: quantile of the standard normal distribution; 1.959964 gives 95 %.

    Returns:
        Low and high, in [0, 1].
    """
    fraction = correct / n
    center = fraction + z * z / (2 * n)
    half_width = z * (fraction * (1 - fraction) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((center + sign * half_width) / (1 + z * z / n) for sign in (-1, 1))
    # Exactly 0 and 1 at the ends, where rounding errors would leave the interval a little inside or outside.
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def rank_true_labels(logits: Float32Array, labels: LabelArray) -> CountArray:
    """Count the classes that are ranked before the true class, for each image.

    Equal logits are ranked by class index, as `argmax` does, so rank 0 means the prediction is correct.

    Args:
        logits: float32 [N, K].
        labels: true classes, int64 [N].

    Returns:
        Ranks, int64 [N], in [0, K]; K where any logit of the image is not finite.
    """
    label_logits = np.take_along_axis(logits, labels[:, None], 1)
    ranks_before = (logits > label_logits) | ((logits == label_logits) & (np.arange(logits.shape[1]) < labels[:, None]))
    # NaN compares as False, so such an image would rank as correct.
    ranks: npt.NDArray[np.int64] = np.where(np.isfinite(logits).all(1), ranks_before.sum(1), logits.shape[1])
    return ranks


def log_softmax(logits: Float32Array, temperature: float = 1.0) -> Float64Array:
    """Compute log-probabilities in float64.

    Args:
        logits: float32 [N, K].
        temperature: divides the logits; above 0.

    Returns:
        Natural logarithms of the probabilities, float64 [N, K].
    """
    scaled = logits.astype(np.float64) / temperature
    # The largest logit becomes 0, so `exp` cannot overflow.
    scaled -= scaled.max(1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(1, keepdims=True))
    return scaled


def softmax(logits: Float32Array, temperature: float = 1.0) -> Float64Array:
    """Compute probabilities in float64.

    Args:
        logits: float32 [N, K].
        temperature: divides the logits; above 0.

    Returns:
        Probabilities, float64 [N, K], each row sums to 1.
    """
    return np.exp(log_softmax(logits, temperature))


def confusion_matrix(result: EvaluationResult) -> CountArray:
    """Return the number of images by true class (row) and predicted class (column), int64 [K, K]."""
    k = len(result.class_names)
    # Each (true, predicted) pair is one cell of the flattened matrix, so one `bincount` counts them all.
    return np.bincount(result.labels * k + result.predicted_labels, minlength=k * k).reshape(k, k)


def compute_class_metrics(counts: CountArray) -> list[ClassMetrics]:
    """Return the metrics of each class of a confusion matrix, int64 [K, K]."""
    return [
        ClassMetrics(
            image_count,
            predicted_count,
            _safe_divide(true_positives, predicted_count),
            _safe_divide(true_positives, image_count),
            # 2PR / (P + R), multiplied out: defined, and 0, where a class is never predicted.
            _safe_divide(2 * true_positives, image_count + predicted_count),
        )
        for true_positives, image_count, predicted_count in zip(
            counts.diagonal().tolist(), counts.sum(1).tolist(), counts.sum(0).tolist(), strict=True
        )
    ]


def most_confused_classes(counts: CountArray, max_classes: int) -> list[int]:
    """Return the classes with the most errors, as the true class or as the prediction.

    Args:
        counts: confusion matrix, int64 [K, K].
        max_classes: largest number of classes to return.

    Returns:
        Class indices in ascending order, at most `max_classes` of K.
    """
    errors = counts - np.diag(counts.diagonal())
    order = np.argsort(-(errors.sum(0) + errors.sum(1)), kind="stable")
    return sorted(order[:max_classes].tolist())


def _safe_divide(numerator: int, denominator: int) -> float | None:
    """Return the quotient, or None where the denominator is zero."""
    return numerator / denominator if denominator else None
