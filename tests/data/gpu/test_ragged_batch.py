"""Whole pictures laid one behind the other: in order, none lost, decoded once where there is room."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ftlab.core.errors import ImageError
from ftlab.data.gpu import gpu_augment, ragged_batch
from ftlab.data.gpu.gpu_augment import AugmentParams
from ftlab.data.gpu.gpu_resize import CropBox
from ftlab.data.gpu.ragged_batch import RaggedBatch, RaggedLoader, RaggedSource
from ftlab.data.images.decode import ImageArray, read_image
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.loading.decode_pool import DecodePool
from ftlab.data.loading.image_cache import ImageCache
from ftlab.data.transforms.preprocess import Preprocessing


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded, as that is asked for."""
    found: list[Path] = []
    submit = DecodePool.submit

    def watched(self: DecodePool, files: Sequence[Path]) -> Future[list[ImageArray | ImageError]]:
        found.extend(files)
        return submit(self, files)

    monkeypatch.setattr(DecodePool, "submit", watched)
    return found


@pytest.fixture
def files(tiny_folder: Path) -> list[Path]:
    return sorted(path for path in tiny_folder.rglob("*") if path.is_file())


PREP = Preprocessing(8, 8, "bilinear", (0.5,) * 3, (0.5,) * 3)


def looks(index: int, size: ragged_batch.ImageSize) -> list[AugmentParams]:
    """Two, that say whose they are."""
    return [AugmentParams(CropBox(index, view, *size, 8, 8)) for view in range(2)]


def packed(files: list[Path], pieces: list[list[int]], kept: ImageCache | None = None) -> list[RaggedBatch]:
    """Index `n` and index `n + len(files)` are the same file; the last is left out."""

    def locate(index: int) -> tuple[int, Path]:
        number = index % len(files)
        if number == len(files) - 1:
            raise ImageError("left_out", file=files[number])
        return number, files[number]

    with DecodePool(2, DecodeOptions(512), use_processes=False) as decoders:
        return list(
            RaggedLoader(RaggedSource(PREP, kept or ImageCache(0), decoders, False), "train", pieces, locate, looks, 2)
        )


def pictures(pack: RaggedBatch) -> Tensor:
    return pack.pixels[: sum(3 * height * width for height, width in pack.sizes)]


def test_each_piece_is_a_pack_of_its_pictures_in_its_order(files: list[Path]) -> None:
    pieces = [[3, 1, 2], [0], [5, 4], [10, 9, 8, 7, 6, 11, 12], [13, 14]]
    for piece, pack in zip(pieces, packed(files, pieces), strict=True):
        assert pack.indices == piece
        assert pack.skipped == []
        starts = [0, *torch.tensor([3 * height * width for height, width in pack.sizes]).cumsum(0).tolist()]
        assert pack.pixels.dtype == torch.uint8
        for number, index in enumerate(piece):
            own = pack.pixels[starts[number] : starts[number + 1]].view(*pack.sizes[number], 3)
            assert torch.equal(own, torch.from_numpy(read_image(files[index])))
            assert [(way[number].crop.top, way[number].crop.left) for way in pack.params_by_view] == [
                (index, 0),
                (index, 1),
            ]


def test_what_cannot_be_read_or_is_left_out_is_named(files: list[Path]) -> None:
    files[1].write_bytes(b"")
    last = len(files) - 1
    first, second = packed(files, [[0, 1, last, 2], [1]])
    assert first.indices == [0, 2]
    assert [(index, why.code) for index, why in first.skipped] == [(1, "empty"), (last, "left_out")]
    assert (second.indices, len(second.pixels), second.sizes, second.params_by_view) == ([], 0, [], [[], []])


def test_behind_the_pictures_lie_the_tables_that_scale_them(files: list[Path]) -> None:
    """Wherever the pack is copied to, and whatever the pictures' lengths."""
    lengths = set()
    for pack in packed(files, [[0, 1, 2], [3], [4, 5, 6, 7, 8]]):
        there = pack.pixels.clone()
        lengths.add(sum(3 * height * width for height, width in pack.sizes) % 8)
        for number, (told, own) in enumerate(pack.iter_views(there)):
            expected = gpu_augment.plan_batch_resize(pack.sizes, own, PREP)
            assert own == pack.params_by_view[number]
            assert told.crop_sizes == expected.crop_sizes
            assert all(map(torch.equal, told.tables, expected.tables))
            inside = range(there.data_ptr(), there.data_ptr() + len(there))
            assert all(table.data_ptr() in inside for table in told.tables)
    assert lengths - {0}, "no table has to be moved to where its numbers may begin"


@pytest.mark.parametrize("budget", [0, 10**9])
def test_a_kept_picture_is_decoded_once(files: list[Path], budget: int, asked: list[Path]) -> None:
    kept = ImageCache(budget)
    for _ in range(2):
        whole = packed(files, [[0, 1, 2], [3, 4]], kept)
    assert asked == files[:5] * (1 if budget else 2)
    again = packed(files, [[len(files), len(files) + 1, 2], [3, 4]], kept)
    assert len(asked) == (5 if budget else 15)
    assert all(torch.equal(pictures(one), pictures(other)) for one, other in zip(whole, again, strict=True))
    files[0].write_bytes(files[8].read_bytes())
    assert torch.equal(pictures(packed(files, [[0]], kept)[0]), torch.from_numpy(read_image(files[8])).flatten())


def test_giving_up_on_the_way_stops_the_decoding(files: list[Path], asked: list[Path]) -> None:
    with DecodePool(2, DecodeOptions(512), use_processes=False) as decoders:
        source, pieces = RaggedSource(PREP, ImageCache(0), decoders, False), [[number] for number in range(1000)]
        way = RaggedLoader(source, "train", pieces, lambda _index: (0, files[0]), looks, 2)
        next(way)
        way.close()
        assert list(way) == []
    assert len(asked) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("pack", "decode"))]


def test_the_first_are_laid_together_before_they_are_asked_for(files: list[Path], asked: list[Path]) -> None:
    with DecodePool(2, DecodeOptions(512), use_processes=False) as decoders:
        source, pieces = RaggedSource(PREP, ImageCache(0), decoders, False), [[0, 1], [2], [3], [4], [5]]
        with closing(RaggedLoader(source, "train", pieces, lambda index: (index, files[index]), looks, 2)) as way:
            until = time.monotonic() + 60
            while len(asked) < 6:
                assert time.monotonic() < until
                time.sleep(0.01)
            begun = [(pack.indices, way.all_started) for pack in way]
    assert begun == [([0, 1], False), ([2], True), ([3], True), ([4], True), ([5], True)]


def test_a_bug_in_the_thread_is_raised(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_index: int, _size: ragged_batch.ImageSize) -> list[AugmentParams]:
        raise ZeroDivisionError

    monkeypatch.setitem(globals(), "looks", wrong)
    with pytest.raises(ZeroDivisionError):
        packed(files, [[0]])
