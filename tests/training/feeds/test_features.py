"""What each process gets of a step where a frozen backbone has looked at all pictures before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import Catalog
from ftlab.models.execution.features import Features
from ftlab.training.feeds import features
from ftlab.training.feeds.features import FeatureFeed
from tests.support import image_feeds
from tests.support.image_feeds import counted


@pytest.fixture
def pictures(tiny_folder: Path) -> Catalog:
    return scan.scan(tiny_folder, check=False)


def feed(pictures: Catalog, rank: int = 0, world: int = 1, views: int = 2) -> FeatureFeed:
    """Features (view, number of the picture); the second training picture could not be read."""
    found = {}
    for split, many in (("train", views), ("val", 1)):
        kept = [index for index in range(len(pictures.splits[split])) if split == "val" or index != 1]
        rows = [[[view, index] for index in kept] for view in range(many)]
        found[split] = Features(torch.tensor(rows, dtype=torch.float32), kept, [])
    return FeatureFeed(image_feeds.feed(pictures, rank, world), found)


def test_features_keep_their_labels_when_pictures_are_missing(pictures: Catalog) -> None:
    shares = list(feed(pictures).iter_train_batches(1))
    truth = [item.label for item in pictures.splits["train"]]
    seen = sorted(int(row[1]) for share in shares for row in share.inputs)
    assert seen == [0, *range(2, 18)]
    for share in shares:
        assert share.labels.tolist() == [truth[int(row[1])] for row in share.inputs]
    assert feed(pictures).steps_per_epoch == len(shares) == 4  # 17 pictures: the last one joins its neighbours


def test_an_epoch_draws_a_view_of_each_picture_and_scoring_takes_the_first(pictures: Catalog) -> None:
    drawn = {
        epoch: torch.cat([share.inputs for share in feed(pictures, views=3).iter_train_batches(epoch)])
        for epoch in (1, 2)
    }
    assert set(drawn[1][:, 0].tolist()) == {0, 1, 2}
    by_picture = {epoch: dict(rows[:, [1, 0]].tolist()) for epoch, rows in drawn.items()}
    assert by_picture[1] != by_picture[2]
    scored = torch.cat([share.inputs for share in feed(pictures, views=3).iter_eval_batches("train")])
    assert set(scored[:, 0].tolist()) == {0}


@pytest.mark.parametrize("world", [2, 5])
def test_processes_share_the_pictures_of_a_step(pictures: Catalog, world: int) -> None:
    whole = list(feed(pictures).iter_train_batches(1))
    parts = [list(feed(pictures, rank, world).iter_train_batches(1)) for rank in range(world)]
    for step, share in enumerate(whole):
        rows = torch.cat([part[step].inputs[part[step].sample_weights > 0] for part in parts])
        assert sorted(rows.tolist()) == sorted(share.inputs.tolist())
    assert sum(counted(list(feed(pictures, rank, world).iter_eval_batches("val"))) for rank in range(world)) == 3


@pytest.mark.parametrize("together", [1, 8, 1000])
def test_an_epoch_can_be_entered_in_the_middle(
    pictures: Catalog, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is taken from memory at a time. The numbers also lie where they would lie: the last bits of a product
    may depend on that."""
    monkeypatch.setattr(features, "IMAGES_PER_GATHER", together)
    whole = list(feed(pictures).iter_train_batches(2))
    for skip in range(len(whole) + 1):
        rest = list(feed(pictures).iter_train_batches(2, skip))
        for undisturbed, resumed in zip(whole[skip:], rest, strict=True):
            assert torch.equal(undisturbed.inputs, resumed.inputs)
            assert torch.equal(undisturbed.labels, resumed.labels)
            assert undisturbed.inputs.storage_offset() == resumed.inputs.storage_offset()
