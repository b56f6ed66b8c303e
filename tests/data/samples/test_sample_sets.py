"""The built-in sample sets: the same pictures everywhere, a ground that means nothing, and a ground that is a trap."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.core.errors import DataError
from ftlab.data.samples import sample_sets
from ftlab.data.samples.drawing.grounds import BACKGROUNDS
from ftlab.data.samples.drawing.scene import render_scene
from ftlab.data.samples.drawing.surfaces import Surface, plain_paint
from ftlab.data.samples.sample_sets import IMAGE_SIDE_PIXELS, SAMPLE_SETS, SPLITS, SampleSet

TINY = SampleSet(("fish", "mug"), (2, 1, 1), (0.3, 0.3), {})
EVERY = [(name, label) for name, chosen in SAMPLE_SETS.items() for label in chosen.class_names]

Drawn = tuple[np.ndarray, np.ndarray]


DRAW = sample_sets.draw_image


@cache
def drawn(name: str, split: str, label: str, index: int) -> Drawn:
    return DRAW(name, split, label, index)


def several(name: str, split: str, count: int) -> dict[str, list[Drawn]]:
    """The first pictures of each class, by class."""
    with ThreadPoolExecutor(2) as pool:
        jobs = list(itertools.product(SAMPLE_SETS[name].class_names, range(count)))
        pictures = pool.map(lambda job: drawn(name, split, *job), jobs)
        return {
            label: [picture for _, picture in group]
            for label, group in itertools.groupby(zip(jobs, pictures, strict=True), key=lambda row: row[0][0])
        }


def ground_colour(picture: Drawn) -> Any:
    pixels, mask = picture
    return pixels[~mask].mean(axis=0)


def read_by_ground(train: dict[str, list[Drawn]], test: dict[str, list[Drawn]]) -> float:
    """Accuracy of one who looks at the mean colour around the object only, and takes the nearest class."""
    means = {label: np.mean([ground_colour(p) for p in pictures], axis=0) for label, pictures in train.items()}
    hits = [
        min(means, key=lambda name: float(np.linalg.norm(means[name] - ground_colour(picture)))) == label
        for label, pictures in test.items()
        for picture in pictures
    ]
    return sum(hits) / len(hits)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A set of eight pictures, each drawn once for all tests."""
    monkeypatch.setitem(SAMPLE_SETS, "tiny", TINY)
    monkeypatch.setattr(sample_sets, "draw_image", drawn)
    return "tiny"


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_sets_are_those_of_the_configuration_and_have_words() -> None:
    assert tuple(SAMPLE_SETS) == SAMPLE_SET_NAMES
    for name in SAMPLE_SETS:
        assert messages.get_text(f"sample.{name}.title")
        assert len(messages.get_text(f"sample.{name}.description")) > 40


def test_shapes_has_six_classes_of_eighty_pictures() -> None:
    assert SAMPLE_SETS["shapes"].class_names == ("balloon", "fish", "mug", "mushroom", "sailboat", "umbrella")
    assert SAMPLE_SETS["shapes"].split_counts == (32, 24, 24)


@pytest.mark.parametrize(("name", "label"), EVERY)
def test_the_object_is_whole_and_large_enough_in_the_square_that_networks_see(name: str, label: str) -> None:
    low, high = {"shapes": (0.12, 0.45), "shortcut": (0.025, 0.09)}[name]
    margin = IMAGE_SIDE_PIXELS // 16  # a resize to 256 and a crop of 224 cut away a sixteenth on each side
    for index in range(3):
        pixels, mask = drawn(name, "test", label, index)
        assert pixels.shape == (IMAGE_SIDE_PIXELS, IMAGE_SIDE_PIXELS, 3)
        assert pixels.dtype == np.dtype(np.uint8)
        assert mask.shape == (IMAGE_SIDE_PIXELS, IMAGE_SIDE_PIXELS)
        assert mask.dtype == np.dtype(np.bool_)
        assert low <= mask.mean() <= high
        assert mask[margin:-margin, margin:-margin].sum() == mask.sum()


@pytest.mark.parametrize("label", SAMPLE_SETS["shapes"].class_names)
def test_the_mask_parts_the_object_from_the_ground(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Painted over, the object changes wherever the mask is, and nothing changes elsewhere."""
    before, mask = drawn("shapes", "test", label, 0)
    green = plain_paint(np.array([0, 0.6, 0], np.float32))

    def repainted(surfaces: list[Surface], *rest: Any) -> Drawn:
        return render_scene([replace(surface, paint=green) for surface in surfaces], *rest)

    monkeypatch.setattr(sample_sets, "render_scene", repainted)
    after, same = sample_sets.draw_image("shapes", "test", label, 0)
    changed = (before != after).any(axis=-1).astype(np.uint8)
    square = np.ones((9, 9), np.uint8)  # the lens blurs over three pixels
    assert np.array_equal(mask, same)
    assert not changed[cv2.dilate(mask.astype(np.uint8), square) == 0].any()
    assert changed[mask].mean() > 0.97


def test_the_same_picture_whatever_was_drawn_before_and_in_any_thread() -> None:
    job = ("shapes", "val", "mug", 3)
    alone = sample_sets.draw_image(*job)
    sample_sets.draw_image("shapes", "val", "fish", 3)
    with ThreadPoolExecutor(3) as pool:
        for pixels, mask in pool.map(lambda _: sample_sets.draw_image(*job), range(3)):
            assert np.array_equal(pixels, alone[0])
            assert np.array_equal(mask, alone[1])


def test_the_same_picture_in_another_process() -> None:
    code = (
        "import hashlib; from ftlab.data.samples import sample_sets; "
        "print(hashlib.sha256(sample_sets.draw_image('shortcut', 'test', 'fish', 0)[0].tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(drawn("shortcut", "test", "fish", 0)[0].tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("job", "colour", "pixels_of_object"),
    [
        (("shapes", "train", "umbrella", 0), (165.0, 135.7, 102.8), 25408),
        (("shapes", "test", "mug", 7), (135.8, 147.6, 95.6), 16918),
        (("shortcut", "train", "fish", 5), (91.1, 170.8, 171.8), 4294),
        (("shortcut", "test", "balloon", 1), (164.9, 120.6, 75.3), 4215),
    ],
)
def test_a_picture_changes_only_with_the_version(
    job: tuple[str, str, str, int], colour: tuple[float, ...], pixels_of_object: int
) -> None:
    """Recorded for version 1: mean colour, and size of the object. Other builds of OpenCV may round otherwise."""
    pixels, mask = drawn(*job)
    assert pixels.mean(axis=(0, 1)) == pytest.approx(colour, abs=1.0)
    assert mask.sum() == pytest.approx(pixels_of_object, rel=0.01)


def test_no_two_pictures_are_alike() -> None:
    sums = {
        picture[0].tobytes()
        for split in ("train", "test")
        for p in several("shapes", split, 2).values()
        for picture in p
    }
    assert len(sums) == 24


def test_in_shapes_the_ground_does_not_tell_the_class() -> None:
    """Six classes: by chance one sixth is right. Every class meets every ground."""
    kinds = len(BACKGROUNDS)
    train, test = several("shapes", "train", kinds), several("shapes", "test", kinds // 2)
    assert read_by_ground(train, test) < 1 / 6 + 0.15


def test_in_shortcut_the_ground_tells_the_class_in_validation_and_misleads_in_the_test() -> None:
    train = several("shortcut", "train", 8)
    assert read_by_ground(train, several("shortcut", "val", 4)) > 0.9
    assert read_by_ground(train, several("shortcut", "test", 6)) < 0.15


def test_a_set_is_laid_out_as_a_data_folder_with_its_masks_beside_it(tiny: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = sample_sets.ensure_sample_set(tiny, tmp_path, lambda done, total: told.append((done, total)))
    files = {"train": ("000", "001"), "val": ("000",), "test": ("000",)}
    names = {f"{split}/{label}/{n}" for split in SPLITS for label in TINY.class_names for n in files[split]}
    assert folder == tmp_path / "samples" / "tiny-v1" / "pictures"
    assert everything_below(folder) == {f"{name}.jpg" for name in names}
    assert everything_below(folder.parent / "masks") == {f"{name}.png" for name in names}
    assert told == [(done, 8) for done in range(1, 9)]


def test_the_files_hold_what_was_drawn(tiny: str, tmp_path: Path) -> None:
    path = sample_sets.ensure_sample_set(tiny, tmp_path) / "test" / "mug" / "000.jpg"
    pixels, mask = sample_sets.draw_image(tiny, "test", "mug", 0)
    with Image.open(path) as file:
        assert np.abs(np.asarray(file).astype(int) - pixels).mean() < 4  # JPEG
    assert np.array_equal(sample_sets.load_mask(path), mask)
    with Image.open(path.parents[3] / "masks" / "test" / "mug" / "000.png") as file:
        assert set(np.unique(np.asarray(file))) == {0, 255}


def test_a_set_is_drawn_once(tiny: str, tmp_path: Path) -> None:
    folder = sample_sets.ensure_sample_set(tiny, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    assert sample_sets.ensure_sample_set(tiny, tmp_path, lambda _done, _total: pytest.fail("drawn again")) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")} == before


def test_files_that_vanished_or_were_emptied_are_drawn_again(tiny: str, tmp_path: Path) -> None:
    folder = sample_sets.ensure_sample_set(tiny, tmp_path)
    contents = {path: path.read_bytes() for path in folder.parent.rglob("*.*")}
    gone, emptied, *_ = sorted(folder.rglob("*.jpg"))
    shutil.rmtree(gone.parent)
    emptied.parent.mkdir(exist_ok=True)
    emptied.write_bytes(b"")
    next((folder.parent / "masks").rglob("*.png")).unlink()
    sample_sets.ensure_sample_set(tiny, tmp_path)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*.*")} == contents


def test_it_lives_in_the_home_of_ftlab(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "mine"))
    assert sample_sets.ensure_sample_set(tiny) == tmp_path / "mine" / "samples" / "tiny-v1" / "pictures"


def test_who_stops_it_finds_nothing_half_drawn(tiny: str, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_sets.ensure_sample_set(tiny, tmp_path, stop)
    assert list((tmp_path / "samples").iterdir()) == []


def test_what_a_killed_process_left_is_no_set_and_is_cleared_away_later(tiny: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from ftlab.data.samples import sample_sets; "
        "sample_sets.SAMPLE_SETS['tiny'] = sample_sets.SampleSet(('fish', 'mug'), (2, 1, 1), (0.3, 0.3), {}); "
        "sample_sets.ensure_sample_set('tiny', Path(sys.argv[1]), lambda done, total: os._exit(9))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    (left,) = (tmp_path / "samples").iterdir()
    assert left.name.startswith(".tiny-v1-")

    assert len(everything_below(sample_sets.ensure_sample_set(tiny, tmp_path))) == 8
    assert left.exists(), "it could be another process at work"
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    (tmp_path / "samples" / "tiny-v1").rename(tmp_path / "elsewhere")
    sample_sets.ensure_sample_set(tiny, tmp_path)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["tiny-v1"]


def test_of_two_that_draw_at_once_both_get_the_set(tiny: str, tmp_path: Path) -> None:
    first: list[Path] = []

    def another(_done: int, _total: int) -> None:
        if not first:
            first.append(sample_sets.ensure_sample_set(tiny, tmp_path))

    assert sample_sets.ensure_sample_set(tiny, tmp_path, another) == first[0]
    assert len(everything_below(first[0])) == 8
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["tiny-v1"]


def test_a_place_that_cannot_be_written_is_named_with_a_remedy(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match=r"samples.*FTLAB_HOME"):
        sample_sets.ensure_sample_set(tiny, tmp_path)


def test_a_file_that_is_no_sample_has_no_mask(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sample_sets.load_mask(tmp_path / "a" / "b" / "c" / "picture.jpg")
