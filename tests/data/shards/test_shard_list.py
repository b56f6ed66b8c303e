"""What names shards: folders, patterns, addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.shard_list import find_shards, is_shard_source
from ftlab.data.shards.stream import ShardStream
from tests.support.image_folders import CLASSES, make_folders
from tests.support.shard_server import serving_shards
from tests.support.tar_shards import members, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Shards of eight training and four validation images, two in each."""
    root = make_folders(tmp_path / "images", *(f"train/{name}" for name in CLASSES), count=4)
    catalog = scan(make_folders(root, *(f"val/{name}" for name in CLASSES)))
    write_shards(catalog, tmp_path / "out", limits=ShardLimits(2))
    return tmp_path / "out"


def test_a_folder_with_an_index_has_splits_classes_and_counts(folder: Path) -> None:
    shards = find_shards(str(folder), "train")
    assert [Path(location).name for location in shards.locations] == [f"train-00000{number}.tar" for number in range(4)]
    assert (shards.classes, shards.sample_counts, shards.count_samples()) == (CLASSES, (2, 2, 2, 2), 8)
    assert find_shards(str(folder)).count_samples() == 12
    with pytest.raises(DataError, match="no shards of the split test"):
        find_shards(str(folder), "test")


def test_a_folder_without_an_index_is_its_tar_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for number in (10, 9):
        write_tar(tmp_path / "s" / f"x{number}.tar", members("a"))
    shards = find_shards(str(tmp_path / "s"))
    assert [Path(location).name for location in shards.locations] == ["x9.tar", "x10.tar"]
    assert (shards.sample_counts, shards.count_samples(), shards.classes) == (None, None, ())


def test_shards_on_a_server_are_found_by_their_index_and_never_listed(folder: Path) -> None:
    with serving_shards(folder) as server:
        shards = find_shards(f"{server.url}/", "val")
        assert server.asked == [("/shards.json", "")]
        remote = list(ShardStream(shards))
        assert [path for path, _ in server.asked[1:]] == ["/val-000000.tar", "/val-000001.tar"]
    assert remote == list(ShardStream(find_shards(str(folder), "val")))


def test_file_systems_of_fsspec_are_read(folder: Path) -> None:
    import fsspec  # brought by torch

    for path in folder.iterdir():
        fsspec.filesystem("memory").pipe(f"/shards/{path.name}", path.read_bytes())
    try:
        remote = list(ShardStream(find_shards("memory://shards", "train"), buffer_size=3))
    finally:
        fsspec.filesystem("memory").rm("/shards", recursive=True)
    assert remote == list(ShardStream(find_shards(str(folder), "train"), buffer_size=3))
    with pytest.raises(DataError, match="cannot be read"):
        list(ShardStream(find_shards("memory://shards/none.tar")))
    with pytest.raises(DataError, match="cannot be read"):
        list(ShardStream(find_shards("nosuch://bucket/none.tar")))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("http://h/a-{08..11}.tar", [f"http://h/a-{number}.tar" for number in ("08", "09", "10", "11")]),
        ("s3://b/{x,y}-{0..1}.tar", [f"s3://b/{name}-{number}.tar" for name in "xy" for number in "01"]),
        ("hf://datasets/u/d/one.tar", ["hf://datasets/u/d/one.tar"]),
    ],
)
def test_a_pattern_names_each_shard(pattern: str, expected: list[str]) -> None:
    assert is_shard_source(pattern)
    assert list(find_shards(pattern).locations) == expected


@pytest.mark.parametrize("braces", ["{5..2}", "{0..99999999}", "{}", "{a}", "{0..999}{0..9999}"])
def test_a_pattern_that_names_none_or_too_many_is_one_line(braces: str) -> None:
    with pytest.raises(DataError, match="no list of shards") as caught:
        find_shards(f"http://user:secret@h/{braces}.tar")
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


def test_what_names_shards_is_told_from_folders_of_images(folder: Path, tmp_path: Path) -> None:
    assert is_shard_source(str(folder))
    assert not is_shard_source(str(tmp_path / "images"))
    assert not is_shard_source(str(tmp_path / "none"))
    assert not is_shard_source("pets.zip")
