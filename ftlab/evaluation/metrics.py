"""Figures of an outcome: accuracies with intervals, confusions, classes one by one. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftlab.evaluation.results import Floats, Labels, Outcome

SMALL = 1000
"""Pictures below which a single one moves an accuracy visibly."""
Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A fraction of pictures, `right` of `n`, with its 95 % interval: all in [0, 1]."""

    right: int
    n: int

    @property
    def value(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.n)


@dataclass(frozen=True)
class Figures:
    """An outcome in numbers.

    Attributes:
        top1: first guesses that are right.
        top5: pictures whose true class is among the first five; with five classes or fewer it is all of them.
        loss: mean cross-entropy, nats, of the logits as they are.
        balanced: mean over the classes of each one's recall, in [0, 1].
    """

    top1: Share
    top5: Share
    loss: float
    balanced: float


@dataclass(frozen=True)
class ClassFigures:
    """A class in numbers; None where there is nothing to divide by.

    Attributes:
        count: pictures of it.
        predicted: pictures that were taken for it.
        precision: of those, the fraction that is of it, in [0, 1].
        recall: of its pictures, the fraction that was found, in [0, 1].
        f1: harmonic mean of the two.
    """

    count: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


def figures(outcome: Outcome) -> Figures:
    """The numbers of an outcome of at least one picture."""
    n, known = len(outcome.labels), confusion(outcome)
    recalls = [one.recall for one in classes(known) if one.recall is not None]
    five = int((ranks(outcome.logits, outcome.labels) < 5).sum())
    losses = -log_softmax(outcome.logits)[np.arange(n), outcome.labels]
    return Figures(Share(int(outcome.right.sum()), n), Share(five, n), float(losses.mean()), float(np.mean(recalls)))


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval for a fraction `right` of `n` >= 1: low and high in [0, 1].

    Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22, page 209-212. z = 1.959964 is that of 95 %. Unlike the usual one it does not say that
    20 right ones of 20 leave no doubt.
    """
    share = right / n
    centre = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return (0.0 if right == 0 else low), (1.0 if right == n else high)


def ranks(logits: Floats, labels: Labels) -> Counts:
    """How many classes come before the true one, int64 [N]; of equal ones the lower index comes first. All of them
    where a logit is no number."""
    own = np.take_along_axis(logits, labels[:, None], 1)
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < labels[:, None]))
    return np.where(np.isfinite(logits).all(1), before.sum(1), logits.shape[1])


def log_softmax(logits: Floats, temperature: float = 1.0) -> Doubles:
    """Logarithms of the probabilities, float64 [N, K]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(1, keepdims=True))
    return scaled


def probabilities(logits: Floats, temperature: float = 1.0) -> Doubles:
    """The softmax of logits [N, K] divided by a temperature, float64 [N, K]."""
    return np.exp(log_softmax(logits, temperature))


def confusion(outcome: Outcome) -> Counts:
    """Pictures by true class (row) and predicted class (column), int64 [K, K]."""
    k = len(outcome.classes)
    return np.bincount(outcome.labels * k + outcome.predicted, minlength=k * k).reshape(k, k)


def classes(known: Counts) -> list[ClassFigures]:
    """Each class of a confusion matrix int64 [K, K]."""
    return [
        ClassFigures(count, predicted, _ratio(hit, predicted), _ratio(hit, count), _ratio(2 * hit, count + predicted))
        for hit, count, predicted in zip(
            known.diagonal().tolist(), known.sum(1).tolist(), known.sum(0).tolist(), strict=True
        )
    ]


def confused(known: Counts, most: int) -> list[int]:
    """Indices, rising, of the classes to show where there is room for `most` of K: those with the most mistakes, as
    the true class or as the answer."""
    wrong = known - np.diag(known.diagonal())
    order = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")
    return sorted(order[:most].tolist())


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
