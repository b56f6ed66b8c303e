"""Sampling order of the training images in an epoch: a function of (seed, epoch)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ftlab.config.train_config import TrainConfig
from ftlab.data.loading import loader


def sample_epoch_indices(config: TrainConfig, labels: Sequence[int], epoch: int) -> list[int]:
    """Return N indices for an epoch over N images.

    `shuffled`: each image once. `balanced`: equally many of each class, give or take one: of a large class a subset
    that differs between epochs, of a small class each image several times. The r-th repetition of an image has index
    position + r · N, so that it is augmented differently from the first.

    Args:
        config: sampling method and seed.
        labels: class index of each image, by position.
        epoch: number of the epoch, from 1.
    """
    if config.sampling == "shuffled":
        return loader.shuffle_indices(config.seed, epoch, len(labels))
    rng = random.Random(f"{config.seed}/balanced {epoch}")
    positions_by_class: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions_by_class.setdefault(label, []).append(position)
    images_per_class, remainder = divmod(len(labels), max(1, len(positions_by_class)))
    # Sorted, as the order of a dict's keys would depend on the order of the images.
    classes_with_extra = set(rng.sample(sorted(positions_by_class), remainder))
    indices: list[int] = []
    for label, positions in sorted(positions_by_class.items()):
        for draw_number in range(images_per_class + (label in classes_with_extra)):
            repetition, offset = divmod(draw_number, len(positions))
            if not offset:  # a new permutation for each repetition: none comes twice before all came once
                rng.shuffle(positions)
            indices.append(positions[offset] + repetition * len(labels))
    rng.shuffle(indices)
    return indices
