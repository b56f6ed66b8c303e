"""Preview of augmentation: an image's evaluation crop, and the image as the first epochs will see it.

Made by the same functions with the same seed as in training, so it shows what will be, not an example of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.images.decode import ImageArray
from ftlab.data.isolation import isolated
from ftlab.data.loading.loader import sample_view_indices
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing

PREVIEW_EPOCHS = 9
"""Epochs that are shown, from the first on."""


@dataclass(frozen=True)
class AugmentPreview:
    """Preview of one training image.

    Attributes:
        item: the image.
        eval_image: the image as validation and prediction see it, uint8 [S, S, 3].
        epoch_images: the image as the first `PREVIEW_EPOCHS` epochs see it, uint8 [S, S, 3] each.
        view_count: cached views, of which each epoch draws one; 0 if each epoch augments the image anew.
        last_cached_epoch: the last epoch that draws a cached view, where later ones augment the image anew; else 0.
    """

    item: ImageItem
    eval_image: ImageArray
    epoch_images: tuple[ImageArray, ...]
    view_count: int
    last_cached_epoch: int


def make_preview(catalog: Catalog, config: TrainConfig, index: int) -> AugmentPreview:
    """Return what a run with that configuration makes of a training image.

    An unreadable image is an `ImageError`; contradictory sizes, or an unknown backbone, are a `ConfigError`.

    Args:
        catalog: split with the configuration's seed.
        config: configuration of the run.
        index: position of the image in the training split; wraps around at its end.
    """
    config = fill_defaults(config)
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config, catalog.value_ranges)
    items = catalog.splits["train"]
    index %= len(items)
    pixels = isolated.read_image(catalog.image_path(items[index]), prep.decode_options)
    last_cached_epoch = config.unfreeze_all_epoch if config.caches_views else 0
    cached_count = min(last_cached_epoch or PREVIEW_EPOCHS, PREVIEW_EPOCHS) if config.caches_views else 0
    epoch_images = _make_cached_views(pixels, prep, config, index, len(items), cached_count)
    epoch_images += [
        augment.augment_for_epoch(pixels, prep, config, epoch, index)
        for epoch in range(cached_count + 1, PREVIEW_EPOCHS + 1)
    ]
    return AugmentPreview(
        items[index],
        _to_hwc(preprocess.resize_and_center_crop(pixels, prep)),
        tuple(map(_to_hwc, epoch_images)),
        config.views_per_image if config.caches_views else 0,
        last_cached_epoch,
    )


def spread_index(position: int, count: int) -> int:
    """Return the index of the image to show as number `position` (0, 1, …), spread over the classes.

    Each image comes once before one comes again.

    Args:
        position: position in the preview, from 0.
        count: number of images.
    """
    # Steps of the golden ratio spread evenly at any length; coprime to `count`, they visit every index. Images are
    # sorted by class, so distant indices are different classes.
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return position * step % count


def _make_cached_views(
    pixels: ImageArray, prep: Preprocessing, config: TrainConfig, index: int, image_count: int, epoch_count: int
) -> list[Tensor]:
    """Return the cached view that each of the first `epoch_count` epochs draws, uint8 [3, S, S] each."""
    view_indices = [
        int(sample_view_indices(config.seed, epoch, config.views_per_image, image_count)[index])
        for epoch in range(1, epoch_count + 1)
    ]
    # Each view is made once, however many epochs draw it.
    views = {view_index: augment.make_view(pixels, prep, config, view_index, index) for view_index in set(view_indices)}
    return [views[view_index] for view_index in view_indices]


def _to_hwc(image: Tensor) -> ImageArray:
    """Return the image as an array: uint8 [3, S, S] -> uint8 [S, S, 3]."""
    return image.permute(1, 2, 0).numpy()
