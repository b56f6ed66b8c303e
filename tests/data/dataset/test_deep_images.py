"""The value range of a data set: estimated once, from the pictures that may be trained on, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftlab.cli import main
from ftlab.data.dataset import catalog, deep_images, scan
from ftlab.data.images.decode_options import ValueRange, ValueRanges
from tests.support.deep_files import make_tiff, ramp, write_deep_folder


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_scan_tells_the_bits_that_are_used(bits: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_deep_folder(tmp_path / "deep", bits)
    assert scan.scan(folder, check=False).value_ranges == ValueRanges(uint16=ValueRange(0, 2**bits - 1))
    assert main.main(["scan", str(folder)]) == 0
    sentence = f"16-bit pictures use values up to {2**bits - 1} ({bits} bits): shown at that range."
    assert sentence in capsys.readouterr().out


def test_pictures_that_fill_their_bits_need_no_word(tmp_path: Path, tiny_folder: Path) -> None:
    full = scan.scan(write_deep_folder(tmp_path / "deep", 16))
    assert full.value_ranges == ValueRanges(uint16=ValueRange(0, 65535))
    assert deep_images.format_ranges(full.value_ranges) == []
    assert not scan.scan(tiny_folder).value_ranges


def test_other_splits_and_seeds_give_the_same_range_and_it_is_recorded(tmp_path: Path) -> None:
    folder = write_deep_folder(tmp_path / "deep")
    found = scan.scan(folder)
    assert scan.scan(folder, seed=5, val_share=0.4, workers=1).value_ranges == found.value_ranges
    assert scan.resplit(found, val_share=0.3, test_share=0.2, seed=3).value_ranges == found.value_ranges
    assert catalog.catalog_from_json(found.to_json()).value_ranges == found.value_ranges
    old = {key: value for key, value in found.to_json().items() if key != "value_ranges"}
    assert catalog.catalog_from_json(old).value_ranges == ValueRanges()


def test_what_only_validates_decides_nothing(tmp_path: Path) -> None:
    write_deep_folder(tmp_path / "deep" / "train", 12)
    write_deep_folder(tmp_path / "deep" / "val", 16)
    assert scan.scan(tmp_path / "deep").value_ranges == ValueRanges(uint16=ValueRange(0, 4095))


def test_deep_pictures_among_others_are_found(tmp_path: Path) -> None:
    folder = write_deep_folder(tmp_path / "deep", 10, count=2)
    for index in range(20):
        Image.new("L", (40, 40), index).save(folder / "rising" / f"plain_{index}.png")
        Image.new("L", (40, 40), index).save(folder / "falling" / f"plain_{index}.jpg")
    (folder / "rising" / "float.tif").write_bytes(make_tiff(ramp(1, dtype=np.float32), sample_format=3))
    (folder / "rising" / "damaged.png").write_bytes((folder / "rising" / "0.png").read_bytes()[:200])
    found = scan.scan(folder, check=False)
    assert found.value_ranges == ValueRanges(uint16=ValueRange(0, 1023), float32=ValueRange(0, 1))
    assert deep_images.format_ranges(ValueRanges(float32=ValueRange(-2, 3.5))) == [
        "Floating-point pictures are shown from -2 (black) to 3.5 (white)."
    ]


def test_one_wild_value_that_darkens_all_others_is_named(tmp_path: Path) -> None:
    folder = write_deep_folder(tmp_path / "deep", 11)
    samples = ramp(1500, side=48)
    samples[3, 3] = 65535
    Image.fromarray(samples[..., 0]).save(folder / "rising" / "3.png")
    found = scan.scan(folder)
    assert [(problem.file, problem.code) for problem in found.problems] == [("rising/3.png", "bright_value")]
    assert "65535" in found.problems[0].problem


@pytest.mark.parametrize(("train_bits", "val_bits", "code"), [(16, 12, "split_dark"), (12, 16, "split_bright")])
def test_a_split_of_other_bits_than_the_training_is_named(
    train_bits: int, val_bits: int, code: str, tmp_path: Path
) -> None:
    write_deep_folder(tmp_path / "train", train_bits, count=2)
    write_deep_folder(tmp_path / "val", val_bits, count=2)
    (problem,) = scan.scan(tmp_path, val_share=0.2, test_share=0).problems
    assert (problem.file, problem.code) == ("val/falling/0.png", code)
    assert f"up to {2**train_bits - 1})" in problem.problem
