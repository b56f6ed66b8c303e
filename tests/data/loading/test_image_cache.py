"""Decoded pictures in memory: never more than the budget, never other than what the file holds now."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.images.decode import ImageArray
from ftlab.data.loading import image_cache
from ftlab.data.loading.image_cache import ImageCache


class Counted:
    """Decodes, and counts how often."""

    def __init__(self, slow: Callable[[], object] = lambda: None) -> None:
        self.files: list[Path] = []
        self.slow = slow

    def __call__(self, file: Path) -> ImageArray:
        self.files.append(file)
        self.slow()
        return decode.read_image(file)


def picture(file: Path, shade: int, side: int = 8) -> Path:
    Image.new("RGB", (side, side), (shade, 0, 0)).save(file)
    return file


def test_a_picture_is_decoded_once(tmp_path: Path) -> None:
    kept, read, file = ImageCache(10_000), Counted(), picture(tmp_path / "a.png", 200)
    first, second = kept.get("a", file, read), kept.get("a", file, read)
    assert len(read.files) == 1
    assert np.array_equal(first, second)
    assert np.array_equal(second, decode.read_image(file))


def test_without_a_budget_it_is_decoded_each_time(tmp_path: Path) -> None:
    kept, read, file = ImageCache(0), Counted(), picture(tmp_path / "a.png", 200)
    for _ in range(3):
        kept.get("a", file, read)
    assert (len(read.files), kept.size_bytes) == (3, 0)


def test_hundreds_of_pictures_never_take_more_than_the_budget(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{number}.png", number % 256, side=4 + number % 30) for number in range(400)]
    kept, read = ImageCache(100_000), Counted()
    for _ in range(2):
        for number, file in enumerate(files):
            assert kept.get(number, file, read)[0, 0].tolist() == [number % 256, 0, 0]
            assert kept.size_bytes <= 100_000
    assert kept.size_bytes == sum(one.nbytes + image_cache.ENTRY_OVERHEAD_BYTES for _, one in kept.entries.values())
    assert kept.size_bytes > 90_000, "it is made use of"
    again = read.files[400:]
    assert 0 < len(again) < 400, "some were kept, and all of those"
    assert len(again) == 400 - len(kept.entries)


def test_what_was_changed_on_the_disk_is_seen(tmp_path: Path) -> None:
    kept, read, file = ImageCache(10_000), Counted(), picture(tmp_path / "a.png", 1)
    before = file.stat()
    kept.get("a", file, read)
    picture(file, 2)
    assert kept.get("a", file, read)[0, 0, 0] == 2
    assert kept.get("a", file, read)[0, 0, 0] == 2
    size = kept.size_bytes
    picture(tmp_path / "other.png", 3).replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy program sets it
    assert kept.get("a", file, read)[0, 0, 0] == 3
    assert (len(read.files), kept.size_bytes) == (3, size)


def test_what_was_removed_is_missed(tmp_path: Path) -> None:
    kept, file = ImageCache(10_000), picture(tmp_path / "a.png", 1)
    kept.get("a", file, Counted())
    file.unlink()
    for _ in range(2):
        with pytest.raises(ImageError) as caught:
            kept.get("a", file, Counted())
        assert caught.value.problem == str(ImageError("missing", file=file).problem)
    picture(file, 4)
    assert kept.get("a", file, Counted())[0, 0, 0] == 4


def test_a_picture_that_cannot_be_read_is_tried_each_time(tmp_path: Path) -> None:
    kept, read, file = ImageCache(10_000), Counted(), tmp_path / "a.png"
    file.write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(ImageError):
            kept.get("a", file, read)
    assert (len(read.files), kept.size_bytes) == (2, 0)


def test_threads_share_it(tmp_path: Path) -> None:
    """Eight threads meet in the middle of decoding, so that each picture is put in by several of them."""
    meeting = threading.Barrier(8)
    files = [picture(tmp_path / f"{number}.png", number) for number in range(4)]
    kept, read = ImageCache(4 * (8 * 8 * 3 + image_cache.ENTRY_OVERHEAD_BYTES)), Counted(meeting.wait)
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda number: kept.get(number % 4, files[number % 4], read)[0, 0, 0], range(8)))
    assert first == [0, 1, 2, 3] * 2
    assert kept.size_bytes == 4 * (8 * 8 * 3 + image_cache.ENTRY_OVERHEAD_BYTES)
    again = Counted()
    assert [kept.get(number, files[number], again)[0, 0, 0] for number in range(4)] == [0, 1, 2, 3]
    assert not again.files


@pytest.mark.parametrize(
    ("free", "on_card", "megabytes"),
    [(800_000_000, False, 400), (50_000_000_000, False, 1000), (50_000_000_000, True, 25_000), (0, True, 0)],
)
def test_the_budget_is_a_part_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, *, on_card: bool, megabytes: int
) -> None:
    monkeypatch.setattr(machine, "get_available_memory", lambda: free)
    assert image_cache.compute_budget_mb(TrainConfig(mode="full"), on_gpu=on_card) == megabytes
    for chosen in (0, 7):
        assert image_cache.compute_budget_mb(TrainConfig(mode="full", image_cache_mb=chosen), on_gpu=on_card) == chosen
    upper = TrainConfig(mode="full", unfreeze_from="auto", activations="cached")
    assert image_cache.compute_budget_mb(upper, on_gpu=on_card) == 0
    assert image_cache.compute_budget_mb(replace(upper, unfreeze_all_epoch=2), on_gpu=on_card) == megabytes
    assert image_cache.compute_budget_mb(TrainConfig(mode="frozen"), on_gpu=on_card) == 0, (
        "its pictures are looked at once"
    )
