"""What a training makes of one picture: the evaluation crop, and the picture as its first epochs see it.

The same functions with the same seed as the training's own, so it shows what will be, not an example of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, resolve
from ftlab.data.dataset.catalog import Catalog, Item
from ftlab.data.images import decode
from ftlab.data.images.decode import Pixels
from ftlab.data.loading.loader import views_of
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing

EPOCHS = 9
"""Epochs that are shown, from the first on."""


@dataclass(frozen=True)
class Preview:
    """One training picture.

    Attributes:
        item: which it is.
        evaluation: as validation and prediction see it, uint8 [side, side, 3].
        variants: as the first `EPOCHS` epochs see it, likewise.
        views: with cached features how many there are, of which each epoch draws one; 0 where each epoch varies the
            picture anew.
    """

    item: Item
    evaluation: Pixels
    variants: tuple[Pixels, ...]
    views: int


def preview(pictures: Catalog, config: TrainConfig, index: int) -> Preview:
    """What a training with that configuration makes of a training picture.

    Args:
        pictures: dealt by the configuration's seed.
        config: of the training.
        index: of the picture in the training split; beyond its end it begins again.

    Raises:
        PictureError: the picture cannot be read.
        ConfigError: the sizes contradict each other, or the backbone cannot be looked up.
    """
    config = resolve(config)
    prep = preprocess.chosen(backbones.get(config.backbone), config)
    items = pictures.splits["train"]
    index %= len(items)
    pixels = decode.read(pictures.path(items[index]), at_least=prep.detail)
    if config.caches_features:
        made = _cached(pixels, prep, config, index, len(items))
    else:
        made = [augment.in_epoch(pixels, prep, config, epoch, index) for epoch in range(1, EPOCHS + 1)]
    return Preview(
        items[index],
        _upright(preprocess.evaluation(pixels, prep)),
        tuple(map(_upright, made)),
        config.cached_views if config.caches_features else 0,
    )


def spread(number: int, count: int) -> int:
    """The index of the picture that is shown as number 0, 1 …: each once before one comes again, from class to class
    rather than one class after the other."""
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return number * step % count


def _cached(pixels: Pixels, prep: Preprocessing, config: TrainConfig, index: int, count: int) -> list[Tensor]:
    drawn = [int(views_of(config.seed, e, config.cached_views, count)[index]) for e in range(1, EPOCHS + 1)]
    made = {number: augment.view(pixels, prep, config, number, index) for number in set(drawn)}
    return [made[number] for number in drawn]


def _upright(picture: Tensor) -> Pixels:
    """uint8 [3, side, side] -> uint8 [side, side, 3]."""
    return picture.permute(1, 2, 0).numpy()
