"""What a training makes of one picture: the evaluation crop, and the picture as its first epochs see it.

The same functions with the same seed as the training's own, so it shows what will be, not an example of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray
from ftlab.data.loading.loader import sample_view_indices
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing

PREVIEW_EPOCHS = 9
"""Epochs that are shown, from the first on."""


@dataclass(frozen=True)
class AugmentPreview:
    """One training picture.

    Attributes:
        item: which it is.
        eval_image: as validation and prediction see it, uint8 [side, side, 3].
        epoch_images: as the first `PREVIEW_EPOCHS` epochs see it, likewise.
        view_count: with cached features how many there are, of which each epoch draws one; 0 where each epoch varies the
            picture anew.
    """

    item: ImageItem
    eval_image: ImageArray
    epoch_images: tuple[ImageArray, ...]
    view_count: int


def make_preview(catalog: Catalog, config: TrainConfig, index: int) -> AugmentPreview:
    """What a training with that configuration makes of a training picture.

    Args:
        catalog: dealt by the configuration's seed.
        config: of the training.
        index: of the picture in the training split; beyond its end it begins again.

    Raises:
        PictureError: the picture cannot be read.
        ConfigError: the sizes contradict each other, or the backbone cannot be looked up.
    """
    config = fill_defaults(config)
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config)
    items = catalog.splits["train"]
    index %= len(items)
    pixels = decode.read_image(catalog.image_path(items[index]), min_side=prep.min_side)
    if config.caches_features:
        epoch_images = _make_cached_views(pixels, prep, config, index, len(items))
    else:
        epoch_images = [
            augment.augment_for_epoch(pixels, prep, config, epoch, index) for epoch in range(1, PREVIEW_EPOCHS + 1)
        ]
    return AugmentPreview(
        items[index],
        _to_hwc(preprocess.resize_and_center_crop(pixels, prep)),
        tuple(map(_to_hwc, epoch_images)),
        config.views_per_image if config.caches_features else 0,
    )


def spread_index(position: int, count: int) -> int:
    """The index of the picture that is shown as number 0, 1 …: each once before one comes again, from class to class
    rather than one class after the other."""
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return position * step % count


def _make_cached_views(
    pixels: ImageArray, prep: Preprocessing, config: TrainConfig, index: int, image_count: int
) -> list[Tensor]:
    view_indices = [
        int(sample_view_indices(config.seed, epoch, config.views_per_image, image_count)[index])
        for epoch in range(1, PREVIEW_EPOCHS + 1)
    ]
    views = {view_index: augment.make_view(pixels, prep, config, view_index, index) for view_index in set(view_indices)}
    return [views[view_index] for view_index in view_indices]


def _to_hwc(image: Tensor) -> ImageArray:
    """uint8 [3, side, side] -> uint8 [side, side, 3]."""
    return image.permute(1, 2, 0).numpy()
