"""Label errors and outliers: images whose label is probably wrong, and images that belong to no class.

A linear head is trained on the frozen backbone's features and predicts images that it was not trained on. Confident
learning (Northcutt, Jiang and Chuang, 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, arXiv:1911.00068, section 3) calls a prediction of a class confident if its probability reaches the mean
probability of the images with that label; an image whose most probable confident class is not its label is an issue.
Then the head is trained again without these images, so that wrong labels do not support each other.
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
"""Number of cross-validation folds. Labels of a class with fewer images are not judged."""
HEAD_COUNT = 2 * FOLD_COUNT
MAX_CONFIDENCE_LIMIT = 0.9
"""Probability that counts as confident in any case: if the head is nearly certain of a class, the mean probability is
so high that wrong labels would pass.
"""
_HEAD_WEIGHT_DECAY = 0.03
"""Weight decay of the head."""
_FEATURE_NORM = 30.0
"""Norm to which feature vectors are scaled, so that the weights of the head are of order one."""
_PCA_COMPONENTS = 256
"""Number of principal components used for more than `_PCA_MIN_IMAGES` images, to save time."""
_PCA_MIN_IMAGES = 3000
_NEIGHBOR_COUNT = 5


@dataclass(frozen=True)
class LabelIssue:
    """A label that is probably wrong.

    Attributes:
        index: of the image.
        suggested_label: the label that it probably should have.
        label_probability, suggested_probability: probability in [0, 1] of its label and of the suggested one.
    """

    index: int
    suggested_label: int
    label_probability: float
    suggested_probability: float


def find_label_errors(
    embeddings: Tensor, labels: Tensor, duplicate_groups: npt.NDArray[np.intp]
) -> Iterator[int | list[LabelIssue]]:
    """Search for labels that are probably wrong, by two rounds of cross-validation.

    Args:
        embeddings: float [N, D].
        labels: int64 [N].
        duplicate_groups: int [N]; copies of an image have the same number and are in the same fold.

    Yields:
        The number of heads trained so far, of `HEAD_COUNT`, and finally the issues, the most certain first.
    """
    class_counts = torch.bincount(labels)
    is_eligible = class_counts[labels] >= FOLD_COUNT
    if int((class_counts >= FOLD_COUNT).sum()) < 2:  # nothing to tell apart
        yield []
        return
    eligible_indices = torch.nonzero(is_eligible).flatten()
    # Consecutive labels 0 … K-1 of the eligible classes, for cross-entropy.
    class_labels, targets = torch.unique(labels[eligible_indices], return_inverse=True)
    inputs = F.normalize(embeddings[eligible_indices].float(), dim=1) * _FEATURE_NORM
    if len(inputs) > _PCA_MIN_IMAGES and inputs.shape[1] > _PCA_COMPONENTS:
        inputs = inputs - inputs.mean(0)
        inputs = inputs @ _fit_components(inputs, _PCA_COMPONENTS)
    folds = _assign_folds(duplicate_groups[eligible_indices.numpy()], targets.numpy())
    suggested, probabilities = targets, torch.zeros(len(targets), len(class_labels))
    for head_index in range(HEAD_COUNT):
        test_mask = folds == head_index % FOLD_COUNT
        if head_index == FOLD_COUNT:  # the second round trains without the issues of the first
            suggested = suggest_labels(probabilities, targets)
        probabilities[test_mask] = predict_held_out(inputs, targets, test_mask, suggested == targets, len(class_labels))
        yield head_index + 1
    suggested = suggest_labels(probabilities, targets)
    # The most negative margin is the most certain issue.
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
    """Return the label that each image should have: its own, or the most probable of the confident classes.

    Args:
        probabilities: float [N, K], held-out probabilities.
        labels: int64 [N], each class at least once.

    Returns:
        int64 [N].
    """
    class_count = probabilities.shape[1]
    label_probabilities = probabilities[torch.arange(len(labels)), labels]
    sums = torch.zeros(class_count).index_add(0, labels, label_probabilities)
    limits = (sums / torch.bincount(labels, minlength=class_count).clamp(min=1)).clamp(max=MAX_CONFIDENCE_LIMIT)
    confident_probabilities = torch.where(probabilities >= limits, probabilities, torch.tensor(-1.0))
    best_probability, best_class = confident_probabilities.max(1)
    return torch.where(best_probability >= 0, best_class, labels)


def predict_held_out(inputs: Tensor, labels: Tensor, test_mask: Tensor, train_mask: Tensor, class_count: int) -> Tensor:
    """Return the class probabilities of the test images by a head that was trained on none of them.

    Args:
        inputs: float [N, D].
        labels: int64 [N].
        test_mask: bool [N], the M images to predict.
        train_mask: bool [N], images that may be trained on unless they are to be predicted.
        class_count: K.

    Returns:
        float [M, K].
    """
    fit_mask = train_mask & ~test_mask
    # Statistics of the training images only, or the held-out ones would leak. 1e-3 guards features that are constant.
    mean, std = inputs[fit_mask].mean(0), inputs[fit_mask].std(0) + 1e-3
    weight, bias = _fit_head((inputs[fit_mask] - mean) / std, labels[fit_mask], class_count)
    return ((inputs[test_mask] - mean) / std @ weight + bias).softmax(1)


def find_outliers(embeddings: Tensor) -> list[tuple[int, float]]:
    """Return images far from all others: index and mean distance (1 - cosine) to the five nearest, the farthest first.

    Far is what is above the outer fence of this data set, see `image_quality.compute_outer_fence`.

    Args:
        embeddings: float [N, D], without duplicates.

    Returns:
        (index, distance) of each outlier; empty for fewer than 20 images.
    """
    count = len(embeddings)
    if count < 4 * _NEIGHBOR_COUNT:
        return []
    unit_embeddings = F.normalize(embeddings.float(), dim=1)
    distances = torch.empty(count)
    for start in range(0, count, 1024):  # in blocks: the whole matrix of 20,000 images would take 1.6 GB
        similarities = unit_embeddings[start : start + 1024] @ unit_embeddings.T
        # An image is not a neighbor of itself.
        similarities[torch.arange(len(similarities)), torch.arange(start, start + len(similarities))] = -1.0
        distances[start : start + 1024] = 1 - similarities.topk(_NEIGHBOR_COUNT, dim=1).values.mean(1)
    limit = compute_outer_fence(distances.double().numpy())
    outlier_indices = torch.nonzero(distances > limit).flatten().tolist()
    return sorted(((index, float(distances[index])) for index in outlier_indices), key=lambda outlier: -outlier[1])


def _assign_folds(duplicate_groups: npt.NDArray[np.intp], labels: npt.NDArray[np.int64]) -> Tensor:
    """Return the fold of each image, int64 [N]: each class is spread over all folds, copies are in the same one.

    Args:
        duplicate_groups: int [N].
        labels: int64 [N].
    """
    folds = np.zeros(len(duplicate_groups), np.int64)
    rng = np.random.default_rng(0)  # fixed, so that the same data set gives the same findings
    fold_by_group: dict[int, int] = {}
    for label in np.unique(labels):
        members = rng.permutation(np.nonzero(labels == label)[0])
        for position, index in enumerate(members):
            folds[index] = fold_by_group.setdefault(int(duplicate_groups[index]), position % FOLD_COUNT)
    return torch.from_numpy(folds)


def _fit_head(inputs: Tensor, labels: Tensor, class_count: int) -> tuple[Tensor, Tensor]:
    """Return weight, float32 [D, K], and bias, float32 [K], of a multinomial logistic regression.

    Args:
        inputs: float32 [N, D].
        labels: int64 [N].
        class_count: K.
    """
    weight = torch.zeros(inputs.shape[1], class_count, requires_grad=True)
    bias = torch.zeros(class_count, requires_grad=True)
    # The problem is convex and small: L-BFGS converges in one call without a learning rate to tune.
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight + bias, labels) + _HEAD_WEIGHT_DECAY / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def _fit_components(centered: Tensor, count: int) -> Tensor:
    """Return the first `count` principal directions, float32 [D, count], of centered features, float32 [N, D]."""
    eigenvalues, eigenvectors = torch.linalg.eigh(centered.T @ centered)
    components: Tensor = eigenvectors[:, eigenvalues.argsort(descending=True)[:count]]
    return components
