"""The order in which an epoch sees its pictures: a function of (seed, epoch)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ftlab.config.train_config import TrainConfig
from ftlab.data.loading import loader


def sample_epoch_indices(config: TrainConfig, labels: Sequence[int], epoch: int) -> list[int]:
    """Positions of N pictures in the order of an epoch, N of them.

    `shuffled`: each once. `balanced`: as many of each class (one more or less): of a large class some, other ones each
    epoch, of a small one each several times. Its r-th repetition stands as position + r · N, so that it can be varied
    in another way than the first.

    Args:
        labels: of the pictures, by position.
    """
    if config.sampling == "shuffled":
        return loader.shuffle_indices(config.seed, epoch, len(labels))
    rng = random.Random(f"{config.seed}/balanced {epoch}")
    positions_by_class: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions_by_class.setdefault(label, []).append(position)
    images_per_class, remainder = divmod(len(labels), max(1, len(positions_by_class)))
    classes_with_extra = set(rng.sample(sorted(positions_by_class), remainder))
    indices: list[int] = []
    for label, positions in sorted(positions_by_class.items()):
        for draw_number in range(images_per_class + (label in classes_with_extra)):
            repetition, offset = divmod(draw_number, len(positions))
            if not offset:
                rng.shuffle(positions)
            indices.append(positions[offset] + repetition * len(labels))
    rng.shuffle(indices)
    return indices
