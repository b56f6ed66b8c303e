"""Odd pictures are right to the pixel, or named: in a scan before the training, and in the middle of it."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import odd, odd_invalid
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ImageError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.images import decode, decode_limits
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.runs import run_store
from ftlab.runs.events import Ended, LogMessage, Step
from ftlab.training.loop import train

GOOD = [*odd.make_valid_images()]
BAD = [*odd_invalid.make_invalid_images()]
DAMAGED = [*odd_invalid.make_damaged_images(seed=1, per_format=40)]
MOST_BYTES = 20_000_000
"""That Python may hold while it looks at a file."""
OF_MANY_READS = ("PNG of empty chunks", "JPEG of empty segments", "JPEG of fill bytes")
"""Kinds that are refused after `MAX_READS` reads."""
PLAIN = odd.encode_image(Image.fromarray(odd.draw_scenery()), "PNG")


def folder_of(root: Path, contents: list[bytes]) -> Path:
    """Two classes; the files stand in turn in one and the other, beside sound pictures, all of them called .jpg."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            (root / name / f"sound{number}.jpg").write_bytes(PLAIN)
    for number, content in enumerate(contents):
        (root / "ab"[number % 2] / f"odd{number}.jpg").write_bytes(content)
    return root


def files(found: Catalog) -> set[str]:
    return {item.path for split in SPLITS for item in found.splits[split]}


@pytest.mark.parametrize("good", GOOD, ids=[good.kind for good in GOOD])
def test_an_odd_but_sound_picture_gives_its_pixels(good: odd.ValidImage) -> None:
    stream = io.BytesIO(good.content)
    pixels = decode.read_image(stream)
    assert pixels.shape == good.pixels.shape
    assert np.abs(pixels.astype(int) - good.pixels).mean() <= good.tolerance
    height, width = good.pixels.shape[:2]
    assert decode.verify_image(stream) == decode.read_image_size(stream) == (width, height)


@pytest.mark.parametrize("bad", BAD, ids=[bad.kind for bad in BAD])
def test_a_file_that_cannot_be_used_is_named_without_filling_the_memory(
    bad: odd_invalid.InvalidImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 4 if bad.kind in OF_MANY_READS else 1  # a quarter of the reads fill a quarter of the memory
    monkeypatch.setattr(decode_limits, "MAX_READS", decode_limits.MAX_READS // part)
    for look in (decode.verify_image, decode.read_image):
        tracemalloc.start()
        try:
            with pytest.raises(ImageError) as caught:
                look(io.BytesIO(bad.content))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert caught.value.code == bad.code
        assert len(str(caught.value).splitlines()) == 1
        assert most < MOST_BYTES / part


def test_a_file_is_named_as_what_it_is() -> None:
    kinds = {}
    for bad in BAD:
        with pytest.raises(ImageError) as caught:
            decode.read_image(io.BytesIO(bad.content))
        kinds[bad.kind.removesuffix(" called .jpg")] = caught.value.values.get("kind")
    named = {kind: kinds[kind] for kind in ("EPS", "EPS with preview", "SVG", "HEIC", "PDF")}
    assert named == {"EPS": "EPS", "EPS with preview": "EPS", "SVG": "SVG", "HEIC": "HEIC", "PDF": "PDF"}


def test_a_file_of_too_many_bytes_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "long.png").write_bytes(PLAIN)
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", len(PLAIN))
    assert decode.verify_image(tmp_path / "long.png") == (96, 64)
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", len(PLAIN) - 1)
    with pytest.raises(ImageError) as caught:
        decode.verify_image(tmp_path / "long.png")
    assert caught.value.code == "too_many_bytes"


def test_formats_that_are_slow_to_decode_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decode.FORMAT_MAX_PIXELS, "AVIF", 96 * 64 - 1)
    with pytest.raises(ImageError) as caught:
        decode.read_image(io.BytesIO(odd.encode_image(Image.fromarray(odd.draw_scenery()), "AVIF")))
    assert caught.value.code == "too_large"
    assert decode.read_image(io.BytesIO(PLAIN)).shape == (64, 96, 3)


def test_numbers_that_are_written_as_text_are_read_up_to_a_megapixel() -> None:
    assert decode.read_image(io.BytesIO(b"P3 2 1 255 255 0 0 0 0 255"))[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    with pytest.raises(ImageError) as caught:
        decode.read_image(io.BytesIO(b"P3 1001 1000 255 " + b"0 " * 300))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("form", sorted(dict(DAMAGED)))
def test_damaged_files_of_every_format_are_read_or_named_and_nothing_else_happens(form: str) -> None:
    outcomes = []
    for content in (content for one, content in DAMAGED if one == form):
        try:
            width, height = decode.verify_image(io.BytesIO(content))
        except ImageError as refusal:
            outcomes.append(refusal.code)
            with pytest.raises(ImageError):
                decode.read_image(io.BytesIO(content))
        else:
            outcomes.append("read")
            assert decode.read_image(io.BytesIO(content), DecodeOptions(1 << 20)).shape == (height, width, 3)
    assert len(outcomes) == 40
    assert len(set(outcomes)) > 1, "some are still read, some are not"


def test_a_scan_takes_every_good_kind_and_names_every_bad_one(tmp_path: Path) -> None:
    contents = [*(good.content for good in GOOD), *(bad.content for bad in BAD)]
    found = scan(folder_of(tmp_path / "odd", contents))
    expected = {f"{'ab'[number % 2]}/odd{number}.jpg": bad.code for number, bad in enumerate(BAD, len(GOOD))}
    assert {one.file: one.code for one in found.problems} == expected
    assert len(files(found)) == 12 + len(GOOD)


@pytest.mark.usefixtures("one_thread")
def test_files_that_turn_bad_in_the_middle_of_a_training_are_skipped_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=64, resize=72))
    folder = folder_of(tmp_path / "odd", [PLAIN] * (len(BAD) + 2))
    given = {"epochs": 2, "batch_size": 16, "features": "fresh", "backbone": spec.name, "torch_num_threads": 1}
    settings = TrainConfig(data=str(folder), val_share=0.05, test_share=0.0, **given)  # type: ignore[arg-type]
    run = run_store.create_run(tmp_path / "runs", settings)
    told = []
    spoilt: dict[str, str] = {}
    for event in train(settings, run, pretrained=False):
        told.append(event)
        if isinstance(event, Step) and not spoilt:
            by_class = run.read_json("split.json")["splits"]["train"]
            learnt = [path for paths in by_class.values() for path in paths]
            for path, bad in zip([path for path in learnt if "odd" in path], BAD, strict=False):
                (folder / path).write_bytes(bad.content)
                spoilt[path] = bad.code
    skipped = {
        str(event.values["file"]): str(event.values["problem"]) for event in told if isinstance(event, LogMessage)
    }
    assert set(skipped) == set(spoilt)
    assert len(spoilt) > 0.8 * len(BAD)
    for path, code in spoilt.items():
        assert skipped[path].startswith(messages.get_text(f"problem.{code}").partition("{")[0])
    (ended,) = [event for event in told if isinstance(event, Ended)]
    assert ended.reason == "finished"
