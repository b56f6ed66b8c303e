"""The package `webdataset` reads the shards that are written here, and its own are read here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.member_names import split_member_name
from ftlab.data.shards.reader import iter_shard
from ftlab.data.shards.shard_sample import ShardSample
from tests.support.image_folders import CLASSES, make_folders
from tests.support.tar_shards import find_problems, read_samples

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*unclosed file:ResourceWarning",  # webdataset 1.0.2 leaves its shards to the garbage collector
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)

ODD_NAMES = ("2024.05.01 a.jpg", "2024.05.02 a.jpg", "ü.jpg", "__meta__.jpg", ".hidden.x.jpg", "long" * 45 + ".jpg")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Images in two classes, some with names that a reader would cut at the first dot or pass over."""
    folder = make_folders(tmp_path / "images", *(f"train/{name}" for name in CLASSES), "val/amber")
    content = next((folder / "train" / "amber").iterdir()).read_bytes()
    for number, name in enumerate(ODD_NAMES):
        (folder / "train" / CLASSES[number % 2] / name).write_bytes(content)
    return scan(folder)


def read_by_webdataset(folder: Path) -> list[dict[str, Any]]:
    """The training samples, undecoded; with more than one shard it would ask for another order."""
    urls = [str(file) for file in sorted(folder.glob("train-*.tar"))]
    return list(webdataset.WebDataset(urls, shardshuffle=False))


def test_webdataset_reads_each_image_with_its_class_and_its_path(catalog: Catalog, tmp_path: Path) -> None:
    index = write_shards(catalog, tmp_path / "out", limits=ShardLimits(images=10))
    samples = read_by_webdataset(tmp_path / "out")
    assert len(samples) == index.count_samples("train") == len(catalog.splits["train"])
    described = [json.loads(sample["json"]) for sample in samples]
    assert {values["path"] for values in described} >= {f"train/{CLASSES[0]}/2024.05.01 a.jpg"}
    read = {values["path"]: (int(s["cls"]), s["jpg"]) for values, s in zip(described, samples, strict=True)}
    assert read == {item.path: (item.label, catalog.image_path(item).read_bytes()) for item in catalog.splits["train"]}


def test_both_readers_give_the_same_samples_in_the_same_order(catalog: Catalog, tmp_path: Path) -> None:
    write_shards(catalog, tmp_path / "out", limits=ShardLimits(images=10))
    files = sorted((tmp_path / "out").glob("train-*.tar"))
    read = [sample for file in files for sample in iter_shard(file)]
    assert all(isinstance(sample, ShardSample) for sample in read)
    assert [(sample.key, sample.image) for sample in read if isinstance(sample, ShardSample)] == [
        (sample["__key__"], sample["jpg"]) for sample in read_by_webdataset(tmp_path / "out")
    ]


def test_webdataset_decodes_the_same_pixels(catalog: Catalog, tmp_path: Path) -> None:
    write_shards(catalog, tmp_path / "out")
    pipeline = webdataset.WebDataset(str(tmp_path / "out" / "train-000000.tar"), shardshuffle=False)
    count = 0
    for pixels, label, values in pipeline.decode("rgb8").to_tuple("jpg", "cls", "json"):
        with Image.open(catalog.root / values["path"]) as image:
            assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
        assert (catalog.classes[label], label) == (values["class"], values["label"])
        count += 1
    assert count == len(catalog.splits["train"])


@pytest.mark.parametrize("options", [{}, {"format": "GNU_FORMAT"}, {"format": "PAX_FORMAT"}, {"keep_meta": True}])
def test_shards_of_webdataset_are_read(tmp_path: Path, options: dict[str, Any]) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "JPEG")
    pattern = str(tmp_path / "pets-%03d.tar")
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0, **options) as writer:
        for number in range(10):
            name, label = CLASSES[number % 2], number % 2
            members = ({"cls": label}, {"json": {"class": name}}, {"cls": name}, {"cls": label, "json": {"x": 1}})
            writer.write({"__key__": f"a/{number:04d}", "jpg": stream.getvalue(), **members[number % 4]})
    files = sorted(tmp_path.glob("pets-*.tar"))
    assert len(files) == 3
    assert [code for file in files for code in find_problems(file, CLASSES)] == []
    samples = [sample for file in files for sample in iter_shard(file, classes=CLASSES)]
    assert [(s.key, s.label, s.image) for s in samples if isinstance(s, ShardSample)] == [
        (f"a/{number:04d}", number % 2, stream.getvalue()) for number in range(10)
    ]


def test_pixels_that_webdataset_encodes_are_an_image(tmp_path: Path) -> None:
    pixels = np.full((16, 16, 3), 200, np.uint8)
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "1", "png": pixels, "cls": 0})
    (sample,) = read_samples(tmp_path / "a.tar")
    with Image.open(io.BytesIO(sample.image)) as image:
        assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("name", ["a/b.c/d.e.jpg", "a.jpg", "a.seg.PNG", "ü/x.y", "a/b", ".a.jpg", "a/b."])
def test_names_are_split_as_webdataset_splits_them(name: str) -> None:
    from webdataset.tariterators import base_plus_ext

    key, extension = base_plus_ext(name)
    assert split_member_name(name) == ((key, extension.lower()) if key and extension is not None else None)
