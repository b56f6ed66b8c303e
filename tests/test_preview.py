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
from ftlab.core.errors import ConfigError, PictureError
from ftlab.data.dataset import catalog
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading.loader import order, views_of
from ftlab.data.preview import EPOCHS, preview, spread
from ftlab.data.transforms import preprocess
from ftlab.training.feeds.images import PictureFeed

INDEX = 7


@pytest.fixture
def pictures(tiny_folder: Path) -> Catalog:
    return catalog.scan(tiny_folder)


def feed(pictures: Catalog, settings: TrainConfig) -> PictureFeed:
    """What a training of that configuration reads its pictures from."""
    process: Any = SimpleNamespace(process_index=0, num_processes=1, device=torch.device("cpu"))
    prep = preprocess.chosen(backbones.get(settings.backbone), settings)
    return PictureFeed(pictures, prep, train_config.resolve(settings), process)


VARIED: dict[str, Any] = {"augment": "crop", "rotate": 20.0, "hue": 0.1, "erase": 0.5, "side": 64, "seed": 5}


@pytest.mark.parametrize("knobs", [{"mode": "full"}, {"mode": "frozen", "features": "fresh", **VARIED}], ids=str)
def test_the_variants_are_those_that_training_makes_in_its_first_epochs(
    pictures: Catalog, knobs: dict[str, Any]
) -> None:
    settings = TrainConfig(batch_size=4, **knobs)
    shown = preview(pictures, settings, INDEX)
    training = feed(pictures, settings)
    assert len(shown.variants) == EPOCHS
    assert shown.views == 0
    for epoch, variant in enumerate(shown.variants, 1):
        batches = torch.cat([share.inputs for share in training.train(epoch)])
        mine = batches[order(settings.seed, epoch, 18).index(INDEX)]
        pixels = torch.from_numpy(variant.copy()).permute(2, 0, 1)
        assert torch.equal(preprocess.normalise(pixels[None], training.prep)[0], mine)
    assert len({variant.tobytes() for variant in shown.variants}) == EPOCHS


@pytest.mark.parametrize("knobs", [{}, {"feature_views": 5}, {"feature_views": 4, "rotate": 20.0}], ids=str)
def test_with_cached_features_each_epoch_shows_the_view_that_it_draws(pictures: Catalog, knobs: dict[str, Any]) -> None:
    settings = TrainConfig(mode="frozen", **knobs)
    shown = preview(pictures, settings, INDEX)
    assert shown.views == settings.feature_views
    training = feed(pictures, settings)
    for epoch, variant in enumerate(shown.variants, 1):
        number = int(views_of(0, epoch, shown.views, 18)[INDEX])
        assert np.array_equal(variant, training.every_view("train", INDEX, number + 1)[number].permute(1, 2, 0).numpy())


def test_beside_them_is_the_evaluation_crop(pictures: Catalog) -> None:
    settings = TrainConfig(mode="full", **VARIED)
    shown = preview(pictures, settings, INDEX)
    expected = feed(pictures, settings).every_view("train", INDEX, 1)[0]
    assert np.array_equal(shown.evaluation, expected.permute(1, 2, 0).numpy())
    assert shown.item == pictures.splits["train"][INDEX]


def test_without_augmentation_all_are_the_evaluation_crop(pictures: Catalog) -> None:
    for settings in (TrainConfig(augment="none"), TrainConfig(mode="full", augment="none")):
        shown = preview(pictures, settings, 0)
        assert {one.tobytes() for one in shown.variants} == {shown.evaluation.tobytes()}


def test_behind_the_last_picture_it_begins_again(pictures: Catalog) -> None:
    assert preview(pictures, TrainConfig(), 18 + INDEX).item == pictures.splits["train"][INDEX]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 18, 97, 100, 1000])
def test_one_after_the_other_shows_each_picture_once_and_soon_another_class(count: int) -> None:
    shown = [spread(number, count) for number in range(count)]
    assert sorted(shown) == list(range(count))
    if count >= 10:
        assert all(abs(a - b) > count / 4 for a, b in pairwise(shown))


def test_what_cannot_be_shown_is_said(pictures: Catalog) -> None:
    with pytest.raises(ConfigError):
        preview(pictures, TrainConfig(resize=100), 0)
    pictures.path(pictures.splits["train"][0]).write_bytes(b"")
    with pytest.raises(PictureError):
        preview(pictures, TrainConfig(), 0)
