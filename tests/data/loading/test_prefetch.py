"""Pictures decoded while the engine loads: the same as without, each once, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ImageError
from ftlab.data.dataset import scan
from ftlab.data.images.decode import ImageArray, read_image
from ftlab.data.images.decode_options import DecodeOptions, ValueRange, ValueRanges
from ftlab.data.isolation import isolated
from ftlab.data.loading import prefetch
from ftlab.data.loading.prefetch import Prefetcher
from tests.support.image_feeds import PREP, feed


@pytest.fixture
def files(tiny_folder: Path) -> list[Path]:
    return sorted(path for path in tiny_folder.rglob("*") if path.is_file())


def decoded(early: Prefetcher) -> None:
    """Wait until all are."""
    end = time.monotonic() + 120
    while not all(coming.done() for coming, _ in early.pending.values()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_was_decoded_is_what_is_read_and_is_given_once(files: list[Path]) -> None:
    files[1].write_bytes(b"")
    others = set(psutil.Process().children())
    with Prefetcher(files, DecodeOptions(512)) as early:
        decoded(early)
        early.cancel_pending()
        for file in files[:1] + files[2:]:
            found = early.take_image(file)
            assert found is not None
            assert np.array_equal(found, read_image(file))
            assert early.take_image(file) is None
        with pytest.raises(ImageError) as refusal:
            early.take_image(files[1])
        assert (refusal.value.code, refusal.value.values["file"]) == ("empty", str(files[1]))
        assert early.take_image(files[0].with_name("other.png")) is None
        early.close()
    assert set(psutil.Process().children()) <= others


def test_the_processes_of_a_scan_go_on_with_decoding(files: list[Path]) -> None:
    isolated.verify_images([str(file) for file in files])
    of_scan = set(psutil.Process().children())
    with Prefetcher(files, DecodeOptions(512)) as early:
        decoded(early)
        assert early.pool.workers
        assert {worker.process.pid for worker in early.pool.workers.workers} <= {child.pid for child in of_scan}
        assert set(psutil.Process().children()) == of_scan
        pixels = early.take_image(files[0])
    assert pixels is not None
    assert np.array_equal(pixels, read_image(files[0]))
    assert isolated.read_image_size(files[0]) == pixels.shape[1::-1], "another process takes their place"


def test_when_it_is_enough_the_rest_is_left_to_others(files: list[Path]) -> None:
    with Prefetcher(files * 20, DecodeOptions(512)) as early:
        early.cancel_pending()
        begun = [early.take_image(file) for file in files]
    assert None in begun
    for file, pixels in zip(files, begun, strict=True):
        assert pixels is None or np.array_equal(pixels, read_image(file))


def test_it_begins_where_pictures_are_looked_at_once(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scan.scan(tiny_folder, check=False)
    given: list[tuple[list[Path], DecodeOptions, int]] = []
    monkeypatch.setattr(prefetch, "Prefetcher", lambda files, *others: given.append((list(files), *others)))
    monkeypatch.setattr(prefetch, "count_cpu_cores", lambda: 2)
    prefetch.start_prefetcher(found, TrainConfig(mode="frozen", resize=700, image_size=600))
    every = [found.image_path(item) for split in ("train", "val") for item in found.splits[split]]
    assert given == [(every, DecodeOptions(700), 1)]
    prefetch.start_prefetcher(found, TrainConfig(mode="full"))
    prefetch.start_prefetcher(found, TrainConfig(mode="frozen", features="fresh"))
    monkeypatch.setattr(prefetch, "count_cpu_cores", lambda: 1)
    prefetch.start_prefetcher(found, TrainConfig(mode="frozen"))
    assert len(given) == 1
    monkeypatch.setattr(prefetch, "count_cpu_cores", lambda: 64)
    for workers in (None, 4):
        prefetch.start_prefetcher(found, TrainConfig(mode="frozen", num_workers=workers))
    assert [processes for *_, processes in given[1:]] == [16, 4]


def test_no_more_than_a_second_or_two_are_enough_for(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "MAX_IMAGES_PER_PROCESS", 6)
    monkeypatch.setattr(prefetch, "MIN_IMAGES_PER_PROCESS", 4)
    for processes, pictures, started in ((1, 6, 1), (2, 12, 2), (9, len(files), 1 + len(files) // 4)):
        with Prefetcher(files, DecodeOptions(512), processes) as early:
            assert [file in early.pending for file in files] == [index < pictures for index in range(len(files))]
            assert early.pool.workers
            assert len(early.pool.workers.workers) == started
    monkeypatch.setattr(prefetch, "get_available_memory", lambda: 25_000_000)
    with Prefetcher(files, DecodeOptions(512), 9) as early:
        assert len(early.pending) == 5


def test_its_processes_decode_on_and_nothing_twice(files: list[Path]) -> None:
    files[1].write_bytes(b"")
    with Prefetcher(files[:6], DecodeOptions(512), 2) as early:
        tasks = early.submit_each([files[7], files[0], files[1], files[9]])
        assert list(early.pending) == files[2:6]
        found = [task.result()[place] for task, place in tasks]
        again = [task.result()[place] for task, place in early.submit_each(files[:1])]
        assert early.pool.workers
        assert len(early.pool.workers.workers) == 1
    assert isinstance(found[2], ImageError)
    for pixels, file in zip([*found[:2], found[3], *again], [files[7], files[0], files[9], files[0]], strict=True):
        assert not isinstance(pixels, ImageError)
        assert np.array_equal(pixels, read_image(file))


def test_a_feed_takes_them_where_they_are_as_it_would_read_them(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftlab.training.feeds import image_base

    found = scan.scan(tiny_folder, check=False)
    expected = feed(found).read_views("train", 3, 2)
    files = [found.image_path(item) for item in found.splits["train"]]

    def none(*_: object, **__: object) -> ImageArray:
        raise AssertionError("it was decoded before")

    options = PREP.decode_options
    for other_options in (
        options,
        options.with_min_side(options.min_side + 1),
        dataclasses.replace(options, exact=True),
        dataclasses.replace(options, value_ranges=ValueRanges(uint16=ValueRange(0, 4095))),
    ):
        with Prefetcher(files, other_options) as early:
            decoded(early)
            pictures = feed(found, early=early)
            with monkeypatch.context() as patch:
                if other_options == options:
                    patch.setattr(image_base, "read_image", none)
                assert pictures.read_views("train", 3, 2).equal(expected)
