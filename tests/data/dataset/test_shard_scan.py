"""Shards scanned in one pass: the classes and splits of the folder that they were made of, and what is left out."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, DataError
from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog, catalog_from_json
from ftlab.data.dataset.scan import scan
from tests.support.shard_server import serving_shards
from tests.support.tar_shards import write_tar


@pytest.fixture
def shards(tmp_path: Path, tiny_folder: Path) -> Path:
    """All images of the tiny folder, five in a shard."""
    write_shards(scan(tiny_folder), tmp_path / "shards", limits=ShardLimits(5))
    return tmp_path / "shards"


def names_by_split(catalog: Catalog) -> dict[str, set[tuple[str, int]]]:
    """Path before the shard and label, by split."""
    return {
        split: {("/".join(item.path.split("/")[-2:]), item.label) for item in items}
        for split, items in catalog.splits.items()
    }


def test_shards_have_the_classes_splits_and_images_of_their_folder(shards: Path, tiny_folder: Path) -> None:
    folder, found = scan(tiny_folder), scan(shards)
    assert (found.classes, found.layout, found.problems) == (folder.classes, "split", ())
    assert names_by_split(found) == names_by_split(folder)
    assert (found.total_bytes, found.image_sizes) == (folder.total_bytes, folder.image_sizes)
    item = found.splits["val"][0]
    content = (tiny_folder / "/".join(item.path.split("/")[-2:])).read_bytes()
    assert found.content_hashes[item.path] == hashlib.sha256(content).digest()
    assert not found.is_remote
    assert catalog_from_json(found.to_json()) == found


def test_shards_on_a_server_are_scanned_alike(shards: Path) -> None:
    with serving_shards(shards) as server:
        remote = scan(server.url)
    local = scan(shards)
    assert (remote.splits, remote.content_hashes) == (local.splits, local.content_hashes)
    assert remote.is_remote


def test_shards_without_names_of_splits_are_split_by_the_seed(tmp_path: Path, tiny_folder: Path) -> None:
    files = [(name, file) for name in ("amber", "blue") for file in sorted((tiny_folder / name).iterdir())]
    members = [(f"{name}{at}{end}", data) for at, (name, file) in enumerate(files)
               for end, data in ((".cls", name.encode()), (".jpg", file.read_bytes()))]  # fmt: skip
    (tmp_path / "foreign").mkdir()
    write_tar(tmp_path / "foreign/part-0.tar", members)
    catalog = scan(tmp_path / "foreign", seed=3)
    assert (catalog.layout, catalog.classes) == ("flat", ("amber", "blue"))
    assert all(catalog.splits[split] for split in ("train", "val", "test"))
    assert scan(tmp_path / "foreign", seed=3).splits == catalog.splits


def test_a_copied_shard_counts_once_and_an_image_that_cannot_be_decoded_not_at_all(shards: Path) -> None:
    expected = names_by_split(scan(shards))
    (shards / "shards.json").unlink()
    shutil.copy(shards / "train-000000.tar", shards / "train-000009.tar")
    shutil.copy(shards / "train-000000.tar", shards / "val-000009.tar")
    write_tar(shards / "train-000010.tar", [("x.cls", b"blue"), ("x.jpg", b"\xff\xd8\xff")])
    found = scan(shards)
    assert names_by_split(found) == expected
    codes = [problem.code for problem in found.problems]
    assert codes.count("shard_repeated_elsewhere") == 10
    assert len(codes) == 11


def test_many_repeated_samples_are_counted_in_one_line(tmp_path: Path, tiny_folder: Path) -> None:
    write_shards(scan(tiny_folder), tmp_path / "s", limits=ShardLimits(100))
    (tmp_path / "s/shards.json").unlink()
    for number in range(1, 4):
        shutil.copy(tmp_path / "s/train-000000.tar", tmp_path / f"s/train-00000{number}.tar")
    problems = scan(tmp_path / "s").problems
    assert sum(problem.code == "shard_repeated_elsewhere" for problem in problems) == 20
    assert [problem.values for problem in problems if problem.code == "shard_more_repeated"] == [{"count": 34}]


def test_excluded_images_are_left_out_by_their_path(shards: Path) -> None:
    path = scan(shards).splits["train"][0].path
    assert path not in [item.path for item in scan(shards, exclude=[path]).splits["train"]]


def test_a_training_that_reads_each_epoch_is_refused_shards_on_a_server(shards: Path) -> None:
    with serving_shards(shards) as server:
        with pytest.raises(ConfigError, match="--mode frozen"):
            from_config.locate_source(TrainConfig(data=server.url, mode="full"))
        from_config.locate_source(TrainConfig(data=server.url, mode="frozen"))
        with pytest.raises(DataError, match="404"):
            from_config.locate_source(TrainConfig(data=f"{server.url}/none", mode="frozen"))
