"""The preview shows what a training will see, to the pixel."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ftlab.config import backbones, train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, ImageError
from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading.loader import sample_view_indices, shuffle_indices
from ftlab.data.preview import PREVIEW_EPOCHS, make_preview, spread_index
from ftlab.data.transforms import preprocess
from ftlab.training.feeds.images import ImageFeed

INDEX = 7


@pytest.fixture
def pictures(tiny_folder: Path) -> Catalog:
    return scan.scan(tiny_folder)


def feed(pictures: Catalog, settings: TrainConfig) -> ImageFeed:
    """What a training of that configuration reads its pictures from."""
    process: Any = SimpleNamespace(process_index=0, num_processes=1, device=torch.device("cpu"))
    prep = preprocess.from_config(backbones.get_backbone_spec(settings.backbone), settings)
    return ImageFeed(pictures, prep, train_config.fill_defaults(settings), process)


VARIED: dict[str, Any] = {
    "augment": "crop",
    "rotate": 20.0,
    "hue": 0.1,
    "random_erasing": 0.5,
    "image_size": 64,
    "seed": 5,
}


@pytest.mark.parametrize("fields", [{"mode": "full"}, {"mode": "frozen", "features": "fresh", **VARIED}], ids=str)
def test_the_variants_are_those_that_training_makes_in_its_first_epochs(
    pictures: Catalog, fields: dict[str, Any]
) -> None:
    settings = TrainConfig(batch_size=4, **fields)
    shown = make_preview(pictures, settings, INDEX)
    training = feed(pictures, settings)
    assert len(shown.epoch_images) == PREVIEW_EPOCHS
    assert shown.view_count == 0
    for epoch, variant in enumerate(shown.epoch_images, 1):
        batches = torch.cat([share.inputs for share in training.iter_train_batches(epoch)])
        mine = batches[shuffle_indices(settings.seed, epoch, 18).index(INDEX)]
        pixels = torch.from_numpy(variant.copy()).permute(2, 0, 1)
        assert torch.equal(preprocess.normalize_batch(pixels[None], training.prep)[0], mine)
    assert len({variant.tobytes() for variant in shown.epoch_images}) == PREVIEW_EPOCHS


@pytest.mark.parametrize("fields", [{}, {"cached_views": 5}, {"cached_views": 4, "rotate": 20.0}], ids=str)
def test_with_cached_features_each_epoch_shows_the_view_that_it_draws(
    pictures: Catalog, fields: dict[str, Any]
) -> None:
    settings = TrainConfig(mode="frozen", **fields)
    shown = make_preview(pictures, settings, INDEX)
    assert shown.view_count == settings.cached_views
    training = feed(pictures, settings)
    for epoch, variant in enumerate(shown.epoch_images, 1):
        number = int(sample_view_indices(0, epoch, shown.view_count, 18)[INDEX])
        assert np.array_equal(variant, training.read_views("train", INDEX, number + 1)[number].permute(1, 2, 0).numpy())


def test_where_a_last_phase_trains_all_layers_its_epochs_show_the_picture_augmented_anew(pictures: Catalog) -> None:
    phases: dict[str, Any] = {
        "unfreeze_from": "auto",
        "activations": "cached",
        "unfreeze_epoch": 2,
        "unfreeze_all_epoch": 5,
    }
    settings = TrainConfig(mode="full", backbone="resnet18", cached_views=4, **VARIED, **phases)
    shown = make_preview(pictures, settings, INDEX)
    assert (shown.view_count, shown.last_cached_epoch) == (4, 5)
    training = feed(pictures, settings)
    for epoch, variant in enumerate(shown.epoch_images[:5], 1):
        number = int(sample_view_indices(settings.seed, epoch, 4, 18)[INDEX])
        assert np.array_equal(variant, training.read_views("train", INDEX, number + 1)[number].permute(1, 2, 0).numpy())
    anew = make_preview(pictures, TrainConfig(mode="full", backbone="resnet18", **VARIED), INDEX)
    assert anew.last_cached_epoch == 0
    for variant, expected in zip(shown.epoch_images[5:], anew.epoch_images[5:], strict=True):
        assert np.array_equal(variant, expected)


def test_beside_them_is_the_evaluation_crop(pictures: Catalog) -> None:
    settings = TrainConfig(mode="full", **VARIED)
    shown = make_preview(pictures, settings, INDEX)
    expected = feed(pictures, settings).read_views("train", INDEX, 1)[0]
    assert np.array_equal(shown.eval_image, expected.permute(1, 2, 0).numpy())
    assert shown.item == pictures.splits["train"][INDEX]


def test_without_augmentation_all_are_the_evaluation_crop(pictures: Catalog) -> None:
    for settings in (TrainConfig(augment="none"), TrainConfig(mode="full", augment="none")):
        shown = make_preview(pictures, settings, 0)
        assert {one.tobytes() for one in shown.epoch_images} == {shown.eval_image.tobytes()}


def test_behind_the_last_picture_it_begins_again(pictures: Catalog) -> None:
    assert make_preview(pictures, TrainConfig(), 18 + INDEX).item == pictures.splits["train"][INDEX]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 18, 97, 100, 1000])
def test_one_after_the_other_shows_each_picture_once_and_soon_another_class(count: int) -> None:
    shown = [spread_index(number, count) for number in range(count)]
    assert sorted(shown) == list(range(count))
    if count >= 10:
        assert all(abs(a - b) > count / 4 for a, b in pairwise(shown))


def test_what_cannot_be_shown_is_said(pictures: Catalog) -> None:
    with pytest.raises(ConfigError):
        make_preview(pictures, TrainConfig(resize=100), 0)
    pictures.image_path(pictures.splits["train"][0]).write_bytes(b"")
    with pytest.raises(ImageError):
        make_preview(pictures, TrainConfig(), 0)
