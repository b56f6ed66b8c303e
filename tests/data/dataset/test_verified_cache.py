"""A picture that was sound is not tried again as long as nobody touches it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.dataset import scan, verified_cache
from ftlab.data.dataset.verify import verify_images
from ftlab.data.isolation import isolated
from ftlab.data.sources import listing


@pytest.fixture
def pictures(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Written long enough ago, as far as anybody can tell."""
    monkeypatch.setattr(verified_cache, "MIN_FILE_AGE_SECONDS", -1.0)
    (tiny_folder / "amber" / "cut.jpg").write_bytes((tiny_folder / "amber" / "amber_1.jpg").read_bytes()[:900])
    return tiny_folder


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are tried."""
    names: list[str] = []
    check = isolated.verify_images

    def noted(files: Sequence[str]) -> list[tuple[int, int] | ImageError]:
        names.extend(Path(file).name for file in files)
        return check(files)

    monkeypatch.setattr(isolated, "verify_images", noted)
    return names


def test_a_second_look_tries_what_was_not_sound_and_finds_the_same(pictures: Path, tried: list[str]) -> None:
    first = scan.scan(pictures)
    assert len(tried) == 25
    tried.clear()
    assert scan.scan(pictures) == first
    assert tried == ["cut.jpg"]
    assert first.image_sizes


def test_sizes_that_are_cut_or_altered_are_found_again(pictures: Path, tried: list[str]) -> None:
    first = scan.scan(pictures)
    for change in ("substr(value, 1, 3)", "zeroblob(8)", "5"):
        with closing(sqlite3.connect(Path(os.environ["FTLAB_HOME"], "checked.sqlite"))) as file:
            file.execute(f"UPDATE kept SET value = {change} WHERE key IN (SELECT key FROM kept LIMIT 7)")
            file.commit()
        tried.clear()
        assert scan.scan(pictures) == first
        assert len(tried) == 8
        tried.clear()
        scan.scan(pictures)
        assert tried == ["cut.jpg"]


def test_what_was_touched_is_tried_again(pictures: Path, tried: list[str]) -> None:
    scan.scan(pictures)
    changed, replaced, moved = (pictures / "blue" / f"blue_{number}.jpg" for number in (1, 2, 3))
    with changed.open("r+b") as file:  # as long as before, and no picture any more
        file.write(b"\0" * 100)
    Image.new("RGB", (90, 70)).save(replaced)
    shutil.move(moved, pictures / "green" / "blue_3.jpg")
    tried.clear()
    second = scan.scan(pictures)
    assert sorted(tried) == ["blue_1.jpg", "blue_2.jpg", "blue_3.jpg", "cut.jpg"]
    assert {one.file for one in second.problems} == {"amber/cut.jpg", "blue/blue_1.jpg"}


def test_what_was_written_just_now_may_be_written_to_again(
    pictures: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified_cache, "MIN_FILE_AGE_SECONDS", 3.0)
    scan.scan(pictures)
    scan.scan(pictures)
    assert len(tried) == 50
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10)
    scan.scan(pictures)
    scan.scan(pictures)
    assert len(tried) == 50 + 25 + 1


def test_other_programs_may_find_otherwise(pictures: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    scan.scan(pictures)
    monkeypatch.setattr(verified_cache, "version", lambda _name: "another")
    scan.scan(pictures)
    assert len(tried) == 50


def test_a_look_that_is_ended_is_not_in_vain(pictures: Path, tried: list[str]) -> None:
    def enough(done: int, _total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan.scan(pictures, workers=1, progress=enough)
    tried.clear()
    scan.scan(pictures)
    assert len(tried) == 25 - 9, "one of the ten was the one that is cut short"
    assert "amber_1.jpg" not in tried


def test_sizes_are_of_upright_pictures_and_each_is_told_of_in_turn(pictures: Path) -> None:
    turned = Image.new("RGB", (90, 40)).getexif()
    turned[0x0112] = 6
    Image.new("RGB", (90, 40)).save(pictures / "green" / "turned.jpg", exif=turned)
    names = {f"green/{file.name}": 1 for file in sorted((pictures / "green").iterdir())}
    told: list[tuple[int, int]] = []
    for _ in range(2):
        found: dict[str, listing.ImagesByClass] = {"train": {"green": dict(names)}}
        sizes, problems = verify_images(
            pictures, found, progress=lambda *both: told.append(both), cache=verified_cache.open_verified_cache()
        )
        assert sizes[list(names).index("green/turned.jpg")] == (40, 90)
        assert not problems
    assert told == [(number, 9) for number in range(1, 10)] * 2


def test_it_takes_no_more_than_a_hundred_bytes_a_picture() -> None:
    kept = verified_cache.open_verified_cache()
    kept.put([(number.to_bytes(16, "big"), (500, 375)) for number in range(20_000)])
    assert Path(os.environ["FTLAB_HOME"], "checked.sqlite").stat().st_size < 20_000 * 100
