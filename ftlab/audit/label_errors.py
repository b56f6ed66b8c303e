"""Pictures whose label is probably wrong, and pictures that belong to no class.

A linear head learns the labels from the frozen backbone's features, and is asked about pictures that it was not shown.
Confident learning (Northcutt, Jiang and Chuang, 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, arXiv:1911.00068, section 3) calls a class confident where its probability reaches the mean that its own
pictures get; a picture whose most probable confident class is not its label is suspect. The head is then trained
without the suspects and asked once more, so that wrong labels do not vouch for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ftlab.audit.image_quality import far

FOLDS = 5
"""Parts, each asked about by a head that learnt from the others. A class with fewer pictures is not judged."""
HEADS = 2 * FOLDS
SURE = 0.9
"""Probability that counts as confident in any case: where the head knows a class nearly for certain, its mean is so
high that wrong labels pass."""
_DECAY = 0.03
"""Weight decay of the head."""
_SCALE = 30.0
"""Length to which features are brought: the head's weights are then of order one."""
_DIMENSIONS = 256
"""Of the features, where there are so many pictures that all of them would take long."""
_MANY = 3000
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong.

    Attributes:
        index: of the picture.
        label: that it probably should have.
        given, probable: probabilities, in [0, 1], of the label it has and of that one.
    """

    index: int
    label: int
    given: float
    probable: float


def suspects(vectors: Tensor, labels: Tensor, groups: npt.NDArray[np.intp]) -> Iterator[int | list[Suspect]]:
    """The labels that are probably wrong: heads trained so far, of `HEADS`; at last the suspects, the surest first.

    Args:
        vectors: float [N, D].
        labels: int64 [N].
        groups: int [N]; copies of a picture share a number, and are asked about together.
    """
    counts = torch.bincount(labels)
    judged = counts[labels] >= FOLDS
    if int((counts >= FOLDS).sum()) < 2:
        yield []
        return
    where = torch.nonzero(judged).flatten()
    names, own = torch.unique(labels[where], return_inverse=True)
    inputs = F.normalize(vectors[where].float(), dim=1) * _SCALE
    if len(inputs) > _MANY and inputs.shape[1] > _DIMENSIONS:
        inputs = inputs - inputs.mean(0)
        inputs = inputs @ _directions(inputs, _DIMENSIONS)
    fold = _folds(groups[where.numpy()], own.numpy())
    said, found = own, torch.zeros(len(own), len(names))
    for head in range(HEADS):
        asked = fold == head % FOLDS
        if head == FOLDS:
            said = confident(found, own)
        found[asked] = held_out(inputs, own, asked, said == own, len(names))
        yield head + 1
    said = confident(found, own)
    margin = found.gather(1, own[:, None]) - found.gather(1, said[:, None])
    order = [index for index in margin.flatten().argsort().tolist() if said[index] != own[index]]
    yield [
        Suspect(int(where[i]), int(names[said[i]]), float(found[i, own[i]]), float(found[i, said[i]])) for i in order
    ]


def confident(found: Tensor, labels: Tensor) -> Tensor:
    """The label that each picture should have: its own, or the most probable of the confident classes.

    Args:
        found: float [N, K], held-out probabilities.
        labels: int64 [N], each class at least once.
    """
    classes = found.shape[1]
    own = found[torch.arange(len(labels)), labels]
    sums = torch.zeros(classes).index_add(0, labels, own)
    limits = (sums / torch.bincount(labels, minlength=classes).clamp(min=1)).clamp(max=SURE)
    reached = torch.where(found >= limits, found, torch.tensor(-1.0))
    best, which = reached.max(1)
    return torch.where(best >= 0, which, labels)


def held_out(inputs: Tensor, labels: Tensor, asked: Tensor, learnt: Tensor, classes: int) -> Tensor:
    """Probabilities float [M, K] of the M pictures that are asked about, by a head that was shown none of them.

    Args:
        inputs: float [N, D].
        labels: int64 [N].
        asked: bool [N].
        learnt: bool [N], pictures that are learnt from where they are not asked about.
        classes: K.
    """
    shown = learnt & ~asked
    mean, spread = inputs[shown].mean(0), inputs[shown].std(0) + 1e-3
    weight, bias = _head((inputs[shown] - mean) / spread, labels[shown], classes)
    return ((inputs[asked] - mean) / spread @ weight + bias).softmax(1)


def outsiders(vectors: Tensor) -> list[tuple[int, float]]:
    """Pictures far from all others: index and distance to the five nearest (1 - cosine, their mean), the farthest
    first. Far is what is far out for this set, see `quality.far`.

    Args:
        vectors: float [N, D], without copies.
    """
    count = len(vectors)
    if count < 4 * _NEIGHBOURS:
        return []
    unit = F.normalize(vectors.float(), dim=1)
    distance = torch.empty(count)
    for start in range(0, count, 1024):
        near = unit[start : start + 1024] @ unit.T
        near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -1.0
        distance[start : start + 1024] = 1 - near.topk(_NEIGHBOURS, dim=1).values.mean(1)
    limit = far(distance.double().numpy())
    found = torch.nonzero(distance > limit).flatten().tolist()
    return sorted(((index, float(distance[index])) for index in found), key=lambda one: -one[1])


def _folds(groups: npt.NDArray[np.intp], labels: npt.NDArray[np.int64]) -> Tensor:
    """A fold for each picture: each class is spread over all of them, copies stay together."""
    fold = np.zeros(len(groups), np.int64)
    dice = np.random.default_rng(0)
    known: dict[int, int] = {}
    for label in np.unique(labels):
        members = dice.permutation(np.nonzero(labels == label)[0])
        for place, index in enumerate(members):
            fold[index] = known.setdefault(int(groups[index]), place % FOLDS)
    return torch.from_numpy(fold)


def _head(inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weight [D, K] and bias [K] of multinomial logistic regression."""
    weight = torch.zeros(inputs.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    learner = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        learner.zero_grad()
        loss = F.cross_entropy(inputs @ weight + bias, labels) + _DECAY / 2 * weight.square().sum()
        loss.backward()
        return loss

    learner.step(closure)
    return weight.detach(), bias.detach()


def _directions(centred: Tensor, count: int) -> Tensor:
    """The directions [D, count] of the largest variance."""
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    return vectors[:, values.argsort(descending=True)[:count]]
