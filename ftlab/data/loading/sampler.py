"""The order in which an epoch sees its pictures: a function of (seed, epoch)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ftlab.config.train_config import TrainConfig
from ftlab.data.loading import loader


def order(config: TrainConfig, labels: Sequence[int], epoch: int) -> list[int]:
    """Positions of N pictures in the order of an epoch, N of them.

    `shuffled`: each once. `balanced`: as many of each class (one more or less): of a large class some, other ones each
    epoch, of a small one each several times. Its r-th repetition stands as position + r · N, so that it can be varied
    in another way than the first.

    Args:
        labels: of the pictures, by position.
    """
    if config.sampling == "shuffled":
        return loader.order(config.seed, epoch, len(labels))
    rng = random.Random(f"{config.seed}/balanced {epoch}")
    members: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    share, left = divmod(len(labels), max(1, len(members)))
    fuller = set(rng.sample(sorted(members), left))
    drawn: list[int] = []
    for label, positions in sorted(members.items()):
        for number in range(share + (label in fuller)):
            repetition, place = divmod(number, len(positions))
            if not place:
                rng.shuffle(positions)
            drawn.append(positions[place] + repetition * len(labels))
    rng.shuffle(drawn)
    return drawn
