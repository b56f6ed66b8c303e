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

from ftlab.audit.image_quality import compute_outer_fence

FOLD_COUNT = 5
"""Parts, each asked about by a head that learnt from the others. A class with fewer pictures is not judged."""
HEAD_COUNT = 2 * FOLD_COUNT
MAX_CONFIDENCE_LIMIT = 0.9
"""Probability that counts as confident in any case: where the head knows a class nearly for certain, its mean is so
high that wrong labels pass."""
_HEAD_WEIGHT_DECAY = 0.03
"""Weight decay of the head."""
_FEATURE_NORM = 30.0
"""Length to which features are brought: the head's weights are then of order one."""
_PCA_COMPONENTS = 256
"""Of the features, where there are so many pictures that all of them would take long."""
_PCA_MIN_IMAGES = 3000
_NEIGHBOR_COUNT = 5


@dataclass(frozen=True)
class LabelIssue:
    """A label that is probably wrong.

    Attributes:
        index: of the picture.
        suggested_label: that it probably should have.
        label_probability, suggested_probability: probabilities, in [0, 1], of the label it has and of that one.
    """

    index: int
    suggested_label: int
    label_probability: float
    suggested_probability: float


def find_label_errors(
    embeddings: Tensor, labels: Tensor, duplicate_groups: npt.NDArray[np.intp]
) -> Iterator[int | list[LabelIssue]]:
    """The labels that are probably wrong: heads trained so far, of `HEAD_COUNT`; at last the suspects, the surest first.

    Args:
        embeddings: float [N, D].
        labels: int64 [N].
        duplicate_groups: int [N]; copies of a picture share a number, and are asked about together.
    """
    class_counts = torch.bincount(labels)
    is_eligible = class_counts[labels] >= FOLD_COUNT
    if int((class_counts >= FOLD_COUNT).sum()) < 2:
        yield []
        return
    eligible_indices = torch.nonzero(is_eligible).flatten()
    class_labels, targets = torch.unique(labels[eligible_indices], return_inverse=True)
    inputs = F.normalize(embeddings[eligible_indices].float(), dim=1) * _FEATURE_NORM
    if len(inputs) > _PCA_MIN_IMAGES and inputs.shape[1] > _PCA_COMPONENTS:
        inputs = inputs - inputs.mean(0)
        inputs = inputs @ _fit_components(inputs, _PCA_COMPONENTS)
    folds = _assign_folds(duplicate_groups[eligible_indices.numpy()], targets.numpy())
    suggested, probabilities = targets, torch.zeros(len(targets), len(class_labels))
    for head_index in range(HEAD_COUNT):
        test_mask = folds == head_index % FOLD_COUNT
        if head_index == FOLD_COUNT:
            suggested = suggest_labels(probabilities, targets)
        probabilities[test_mask] = predict_held_out(inputs, targets, test_mask, suggested == targets, len(class_labels))
        yield head_index + 1
    suggested = suggest_labels(probabilities, targets)
    margin = probabilities.gather(1, targets[:, None]) - probabilities.gather(1, suggested[:, None])
    order = [index for index in margin.flatten().argsort().tolist() if suggested[index] != targets[index]]
    yield [
        LabelIssue(
            int(eligible_indices[i]),
            int(class_labels[suggested[i]]),
            float(probabilities[i, targets[i]]),
            float(probabilities[i, suggested[i]]),
        )
        for i in order
    ]


def suggest_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The label that each picture should have: its own, or the most probable of the confident classes.

    Args:
        probabilities: float [N, K], held-out probabilities.
        labels: int64 [N], each class at least once.
    """
    class_count = probabilities.shape[1]
    label_probabilities = probabilities[torch.arange(len(labels)), labels]
    sums = torch.zeros(class_count).index_add(0, labels, label_probabilities)
    limits = (sums / torch.bincount(labels, minlength=class_count).clamp(min=1)).clamp(max=MAX_CONFIDENCE_LIMIT)
    confident_probabilities = torch.where(probabilities >= limits, probabilities, torch.tensor(-1.0))
    best_probability, best_class = confident_probabilities.max(1)
    return torch.where(best_probability >= 0, best_class, labels)


def predict_held_out(inputs: Tensor, labels: Tensor, test_mask: Tensor, train_mask: Tensor, class_count: int) -> Tensor:
    """Probabilities float [M, K] of the M pictures that are asked about, by a head that was shown none of them.

    Args:
        inputs: float [N, D].
        labels: int64 [N].
        test_mask: bool [N].
        train_mask: bool [N], pictures that are learnt from where they are not asked about.
        class_count: K.
    """
    fit_mask = train_mask & ~test_mask
    mean, std = inputs[fit_mask].mean(0), inputs[fit_mask].std(0) + 1e-3
    weight, bias = _fit_head((inputs[fit_mask] - mean) / std, labels[fit_mask], class_count)
    return ((inputs[test_mask] - mean) / std @ weight + bias).softmax(1)


def find_outliers(embeddings: Tensor) -> list[tuple[int, float]]:
    """Pictures far from all others: index and distance to the five nearest (1 - cosine, their mean), the farthest
    first. Far is what is far out for this set, see `quality.far`.

    Args:
        embeddings: float [N, D], without copies.
    """
    count = len(embeddings)
    if count < 4 * _NEIGHBOR_COUNT:
        return []
    unit_embeddings = F.normalize(embeddings.float(), dim=1)
    distances = torch.empty(count)
    for start in range(0, count, 1024):
        similarities = unit_embeddings[start : start + 1024] @ unit_embeddings.T
        similarities[torch.arange(len(similarities)), torch.arange(start, start + len(similarities))] = -1.0
        distances[start : start + 1024] = 1 - similarities.topk(_NEIGHBOR_COUNT, dim=1).values.mean(1)
    limit = compute_outer_fence(distances.double().numpy())
    outlier_indices = torch.nonzero(distances > limit).flatten().tolist()
    return sorted(((index, float(distances[index])) for index in outlier_indices), key=lambda outlier: -outlier[1])


def _assign_folds(duplicate_groups: npt.NDArray[np.intp], labels: npt.NDArray[np.int64]) -> Tensor:
    """A fold for each picture: each class is spread over all of them, copies stay together."""
    folds = np.zeros(len(duplicate_groups), np.int64)
    rng = np.random.default_rng(0)
    fold_by_group: dict[int, int] = {}
    for label in np.unique(labels):
        members = rng.permutation(np.nonzero(labels == label)[0])
        for position, index in enumerate(members):
            folds[index] = fold_by_group.setdefault(int(duplicate_groups[index]), position % FOLD_COUNT)
    return torch.from_numpy(folds)


def _fit_head(inputs: Tensor, labels: Tensor, class_count: int) -> tuple[Tensor, Tensor]:
    """Weight [D, K] and bias [K] of multinomial logistic regression."""
    weight = torch.zeros(inputs.shape[1], class_count, requires_grad=True)
    bias = torch.zeros(class_count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight + bias, labels) + _HEAD_WEIGHT_DECAY / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def _fit_components(centered: Tensor, count: int) -> Tensor:
    """The directions [D, count] of the largest variance."""
    eigenvalues, eigenvectors = torch.linalg.eigh(centered.T @ centered)
    return eigenvectors[:, eigenvalues.argsort(descending=True)[:count]]
