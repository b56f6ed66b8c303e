"""What each process gets of a step: together the whole of it, each picture once, nobody left waiting."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.training.feeds import image_base
from ftlab.training.feeds.gpu_images import GpuImageFeed
from ftlab.training.feeds.images import ImageFeed
from tests.support.image_feeds import PREP, counted, feed, steps


@pytest.fixture
def pictures(tiny_folder: Path) -> Catalog:
    return scan.scan(tiny_folder, check=False)


@pytest.mark.parametrize(("world", "fewest"), [(2, 1), (3, 1), (5, 1), (3, 2)])
def test_processes_share_the_pictures_of_a_step(pictures: Catalog, world: int, fewest: int) -> None:
    whole = list(feed(pictures).iter_train_batches(1))
    feeds = [feed(pictures, rank, world) for rank in range(world)]
    for one in feeds:
        one.min_batch_size = fewest
    parts = [list(one.iter_train_batches(1)) for one in feeds]
    assert {len(part) for part in parts} == {len(whole)} == {5}
    for step, share in enumerate(whole):
        mine = [part[step] for part in parts]
        assert {one.global_count for one in mine} == {share.global_count} == {len(share.labels)}
        assert min(len(one.labels) for one in mine) >= fewest
        rows = torch.cat([one.inputs[one.sample_weights > 0] for one in mine])
        labels = torch.cat([one.labels[one.sample_weights > 0] for one in mine])
        assert sorted(labels.tolist()) == sorted(share.labels.tolist())
        assert sorted(rows.flatten(1).sum(1).tolist()) == pytest.approx(sorted(share.inputs.flatten(1).sum(1).tolist()))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_each_picture_is_scored_once_over_all_processes(pictures: Catalog, split: str, world: int) -> None:
    parts = [list(feed(pictures, rank, world).iter_eval_batches(split)) for rank in range(world)]
    assert sum(counted(part) for part in parts) == len(pictures.splits[split])
    assert len({len(part) for part in parts}) == 1


def test_an_epoch_can_be_entered_in_the_middle(pictures: Catalog) -> None:
    whole, rest = list(feed(pictures).iter_train_batches(2)), list(feed(pictures).iter_train_batches(2, skip_steps=3))
    assert len(rest) == 2
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[3:], rest, strict=True))


@pytest.mark.parametrize("augment", ["none", "flip", "crop"])
def test_epochs_differ_in_order_and_by_augmentation_in_pixels(pictures: Catalog, augment: str) -> None:
    one, again, other = (
        torch.cat([share.inputs for share in feed(pictures, augment=augment).iter_train_batches(epoch)]).flatten(1)
        for epoch in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    same = sum(bool((other == row).all(1).any()) for row in one)
    assert (same == len(one)) == (augment == "none")


def test_balanced_a_repeated_picture_is_varied_anew(pictures: Catalog) -> None:
    uneven = dataclasses.replace(
        pictures, splits={**pictures.splits, "train": tuple(i for i in pictures.splits["train"] if i.label < 2)[:8]}
    )
    shares = list(feed(uneven, sampling="balanced", augment="crop").iter_train_batches(1))
    labels = torch.cat([share.labels for share in shares])
    assert labels.bincount().tolist() == [4, 4]
    rows = torch.cat([share.inputs for share in shares]).flatten(1)
    assert len(rows.unique(dim=0)) == 8, "two of a picture are two variations of it"


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_a_feed_that_varies_on_the_device_hands_out_the_same_pictures(
    pictures: Catalog, sampling: str, world: int
) -> None:
    """But for rounding: half a level of 255 is 0.004."""
    settings: dict[str, Any] = {
        "augment": "crop",
        "rotate": 20.0,
        "grayscale": 0.3,
        "random_erasing": 0.3,
        "mode": "full",
        "sampling": sampling,
    }
    for rank in range(world):
        alone, batched = (
            steps(feed(pictures, rank, world, augment_device=place, **settings), 3) for place in ("cpu", "gpu")
        )
        assert [one.labels.tolist() for one in batched] == [one.labels.tolist() for one in alone]
        for one, other in zip(batched, alone, strict=True):
            assert one.inputs.dtype == torch.float32
            assert torch.allclose(one.inputs, other.inputs, rtol=0, atol=1.01 / 127.5)
            assert float((one.inputs - other.inputs).abs().mean()) < 1e-4
        rest = steps(feed(pictures, rank, world, augment_device="gpu", **settings), 3, 2)
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(batched[2:], rest, strict=True))


@pytest.mark.parametrize("world", [1, 2])
def test_a_feed_that_varies_on_the_device_leaves_out_what_cannot_be_read(pictures: Catalog, world: int) -> None:
    for item in pictures.splits["train"][::2]:
        pictures.image_path(item).write_bytes(b"")
    settings: dict[str, Any] = {"augment": "crop", "random_erasing": 1.0, "hue": 0.2, "mode": "full"}
    for rank in range(world):
        alone, batched = (
            steps(feed(pictures, rank, world, augment_device=place, **settings), 1) for place in ("cpu", "gpu")
        )
        assert [one.labels.tolist() for one in batched] == [one.labels.tolist() for one in alone]
        lost, expected = ([[index for index, _ in one.skipped] for one in told] for told in (batched, alone))
        assert lost == expected
        assert sum(map(len, lost))
        for one, other in zip(batched, alone, strict=True):
            assert torch.allclose(one.inputs, other.inputs, rtol=0, atol=1.01 / 127.5)


def test_on_a_card_the_last_pictures_of_an_evaluation_are_filled_up_by_some_that_do_not_count(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's processor plays the card. Three workers are enough for processes to decode."""
    alone = list(feed(pictures, augment="crop", mode="full").iter_eval_batches("train"))
    monkeypatch.setattr(gpu_augment, "GPU_DEVICE_TYPES", ("cpu",))
    monkeypatch.setattr(image_base, "GPU_EVAL_BATCH_SIZE", 12)
    assert gpu_augment.augment_device(TrainConfig(mode="full"), torch.device("cpu")) == "gpu"
    with closing(feed(pictures, augment="crop", mode="full", augment_device="gpu", num_workers=3)) as found:
        shares = list(found.iter_eval_batches("train"))
    assert [len(share.labels) for share in shares] == [12, 12]
    assert [share.global_count for share in shares] == [12, 6]
    assert [share.sample_weights.tolist() for share in shares] == [[1.0] * 12, [1.0] * 6 + [0.0] * 6]
    inputs = torch.cat([share.inputs for share in shares])[:18]
    assert torch.equal(inputs, torch.cat([share.inputs for share in alone]))
    assert torch.equal(torch.cat([share.labels for share in shares])[:18], torch.cat([share.labels for share in alone]))


def test_on_a_card_views_come_in_batches(pictures: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.image_path(pictures.splits["train"][1]).write_bytes(b"")
    pieces = [[0, 1, 2], [5, 3], [1]]
    assert isinstance(feed(pictures), ImageFeed)
    monkeypatch.setattr(gpu_augment, "GPU_DEVICE_TYPES", ("cpu",))
    found = feed(pictures)
    assert isinstance(found, GpuImageFeed)
    with closing(found):
        told = list(found.iter_view_batches("train", pieces, 3))
    assert [indices for indices, _, _ in told] == [[0, 2], [5, 3], []]
    assert [[index for index, _ in refused] for _, _, refused in told] == [[1], [], [1]]
    for indices, views, _ in told[:2]:
        assert torch.equal(views, torch.stack([found.read_views("train", index, 3) for index in indices], dim=1))


def test_several_batches_make_a_step(pictures: Catalog) -> None:
    assert feed(pictures, batch_size=3, grad_accum_steps=2).steps_per_epoch == 3
    assert [len(share.labels) for share in feed(pictures, batch_size=3, grad_accum_steps=2).iter_train_batches(1)] == [
        6,
        6,
        6,
    ]


@pytest.mark.parametrize("fewest", [1, 2])
def test_a_share_that_cannot_be_read_keeps_its_process_in_step(pictures: Catalog, fewest: int) -> None:
    for item in pictures.splits["train"]:
        pictures.image_path(item).write_bytes(b"")
    second_rank = feed(pictures, rank=1, world=2)
    second_rank.min_batch_size = fewest
    for share in second_rank.iter_train_batches(1):
        assert share.inputs.shape == (fewest, 3, 32, 32)
        assert share.sample_weights.tolist() == [0.0] * fewest
        assert 1 <= len(share.skipped) <= 2
    alone = list(feed(pictures).iter_train_batches(1))
    assert {len(share.labels) for share in alone} == {0}
    assert sum(len(share.skipped) for share in alone) == 18


# What comes next


def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is begun from here on: split, epoch (0: as it is evaluated), first step."""
    found: list[tuple[str, int, int]] = []
    begin = GpuImageFeed.start_loader

    def watched(self: GpuImageFeed, split: str, epoch: int = 0, skip: int = 0) -> Any:
        found.append((split, epoch, skip))
        return begin(self, split, epoch, skip)

    monkeypatch.setattr(GpuImageFeed, "start_loader", watched)
    return found


SETTINGS: dict[str, Any] = {"augment": "crop", "mode": "full", "augment_device": "gpu", "epochs": 2}


def test_the_first_pictures_of_what_comes_next_are_begun_before_the_last_are_used(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing twice: a training of two epochs, whose network is judged before the first."""
    asked, told = begun(monkeypatch), []
    with closing(feed(pictures, **SETTINGS)) as found:
        for number in range(5):
            batches = found.iter_eval_batches("val") if number % 2 == 0 else found.iter_train_batches((number + 1) // 2)
            *_, last = batches
            told.append((asked[-1], float(last.inputs.sum())))
    val, first, second = ("val", 0, 0), ("train", 1, 0), ("train", 2, 0)
    assert asked == [val, first, val, second, val]
    assert [after for after, _ in told] == [first, val, second, val, val]
    with closing(feed(pictures, **SETTINGS)) as other:
        alone = [list(other.iter_eval_batches("val"))]
    alone += [steps(feed(pictures, **SETTINGS), number) for number in (1, 2)]
    sums = [float(shares[-1].inputs.sum()) for shares in alone]
    assert [total for _, total in told] == [sums[0], sums[1], sums[0], sums[2], sums[0]]


def test_what_comes_otherwise_is_as_it_would_be(pictures: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch that is entered in the middle, or left there; a split that no training evaluates."""
    asked = begun(monkeypatch)
    with closing(feed(pictures, **SETTINGS)) as found:
        list(found.iter_eval_batches("val"))
        rest = list(found.iter_train_batches(1, 3))
        way = found.iter_train_batches(2)
        next(way)
        way.close()  # type: ignore[attr-defined]
        again = list(found.iter_eval_batches("test"))
    assert asked == [("val", 0, 0), ("train", 1, 0), ("train", 1, 3), ("val", 0, 0), ("train", 2, 0), ("test", 0, 0)]
    assert all(
        torch.equal(a.inputs, b.inputs) for a, b in zip(rest, steps(feed(pictures, **SETTINGS), 1, 3), strict=True)
    )
    assert sum(len(share.labels) for share in again) == len(pictures.splits["test"])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("pack", "decode"))]


def test_on_a_card_the_processes_that_decoded_ahead_go_on(pictures: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one split to the next, and what they have decoded is used."""
    monkeypatch.setattr(gpu_augment, "GPU_DEVICE_TYPES", ("cpu",))
    items = [*pictures.splits["train"], *pictures.splits["val"]]
    pieces = [list(range(start, start + 6)) for start in range(0, 18, 6)]
    with Prefetcher(map(pictures.image_path, items), PREP.decode_options, 3) as early:
        with closing(feed(pictures, early=early, num_workers=3)) as found:
            assert isinstance(found, GpuImageFeed)
            views = torch.cat([made for _, made, _ in found.iter_view_batches("train", pieces, 2)], dim=1)
            list(found.iter_view_batches("val", [[0, 1]], 1))
        assert early.pool.workers
        assert [worker.process.poll() for worker in early.pool.workers.workers] == [None]
        assert len(early.pending) == len(pictures.splits["val"]) - 2
    expected = torch.stack([feed(pictures).read_views("train", index, 2) for index in range(18)], dim=1)
    assert torch.equal(views, expected)
