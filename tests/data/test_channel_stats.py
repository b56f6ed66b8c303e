"""Colour statistics of a folder: each picture counts alike, and known pixels give known figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ftlab.data import channel_stats
from ftlab.data.channel_stats import ChannelStats, StatsProgress
from ftlab.data.dataset import scan
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.images import decode


def laid(folder: Path, *pictures: npt.NDArray[np.uint8]) -> Catalog:
    """Training pictures in a folder, without loss."""
    items = []
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{number}.png")
        items.append(ImageItem(f"{number}.png", 0))
    return Catalog(folder, "flat", ("a",), {"train": tuple(items), "val": (), "test": ()}, (), 0)


def computed(pictures: Catalog, workers: int = 2) -> tuple[list[StatsProgress], ChannelStats]:
    *told, found = channel_stats.compute_channel_stats(pictures, workers)
    assert isinstance(found, ChannelStats)
    return [one for one in told if isinstance(one, StatsProgress)], found


def test_mean_and_deviation_of_known_pixels() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, :, 0] = 255  # half of red is 1, half 0
    pixels[..., 1] = 51
    pixels[0, 0, 2], pixels[0, 1, 2], pixels[1, 0, 2], pixels[1, 1, 2] = 0, 85, 170, 255
    mean, std = channel_stats.measure_image(pixels)
    assert mean.tolist() == pytest.approx([0.5, 0.2, 0.5])
    assert std.tolist() == pytest.approx([0.5, 0.0, np.std([0, 1 / 3, 2 / 3, 1])])


def test_of_any_pixels_it_is_numpys_population_deviation() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    mean, std = channel_stats.measure_image(pixels)
    assert mean.tolist() == pytest.approx((pixels / 255).mean((0, 1)).tolist())
    assert std.tolist() == pytest.approx((pixels / 255).std((0, 1)).tolist())


def test_each_picture_counts_alike_whatever_its_size(tmp_path: Path) -> None:
    small, large = np.zeros((2, 2, 3), np.uint8), np.full((90, 60, 3), 204, np.uint8)
    small[0] = 102  # mean 0.2, deviation 0.2; the large one: mean 0.8, none
    _, found = computed(laid(tmp_path, small, large))
    assert found.mean == pytest.approx((0.5, 0.5, 0.5))
    assert found.std == pytest.approx((0.1, 0.1, 0.1))
    assert found.count == 2


def test_it_is_the_mean_of_the_deviations_not_the_deviation_of_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pictures = [np.clip(rng.normal(40 + 20 * number, 12, (20, 30, 3)), 0, 255).astype(np.uint8) for number in range(9)]
    _, found = computed(laid(tmp_path, *pictures))
    expected = np.mean([(one / 255).std((0, 1)) for one in pictures], axis=0)
    assert found.std == pytest.approx(tuple(expected), abs=1e-6)
    assert found.std[0] < 0.5 * (np.stack(pictures)[..., 0] / 255).std()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_bits_do_not_depend_on_the_threads(tiny_folder: Path, workers: int) -> None:
    pictures = scan.scan(tiny_folder)
    told, found = computed(pictures, workers)
    assert found == computed(pictures, 2)[1]
    assert [one.total for one in told] == [18] * len(told)
    assert told[-1].done == 18
    train = [decode.read_image(pictures.image_path(item)) / 255 for item in pictures.splits["train"]]
    assert found.mean == pytest.approx(tuple(np.mean([one.mean((0, 1)) for one in train], axis=0)), abs=1e-6)


def test_pictures_of_one_colour_can_be_divided_by_their_deviation(tmp_path: Path) -> None:
    _, found = computed(laid(tmp_path, np.full((8, 8, 3), 77, np.uint8)))
    assert found.std == pytest.approx((1 / 255,) * 3, abs=1e-6)


def test_what_cannot_be_read_is_left_out_and_nothing_readable_is_said(tmp_path: Path) -> None:
    pictures = laid(tmp_path, np.full((8, 8, 3), 51, np.uint8), np.full((8, 8, 3), 153, np.uint8))
    (tmp_path / "0.png").write_bytes(b"broken")
    assert computed(pictures)[1].mean == pytest.approx((0.6, 0.6, 0.6))
    (tmp_path / "1.png").unlink()
    assert computed(pictures)[1].count == 0


def test_of_very_many_pictures_evenly_chosen_ones_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_stats, "MAX_IMAGES", 4)
    pictures = laid(tmp_path, *(np.full((4, 4, 3), 10 * number, np.uint8) for number in range(8)))
    _, found = computed(pictures)
    assert found.count == 4
    assert found.mean == pytest.approx((30 / 255,) * 3, abs=1e-6)  # 0, 20, 40, 60


def test_giving_up_on_the_way_stops_the_reading(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_stats, "IMAGES_PER_TASK", 2)
    work = channel_stats.compute_channel_stats(scan.scan(tiny_folder), 1)
    assert next(work) == StatsProgress(2, 18)
    work.close()  # type: ignore[attr-defined]
