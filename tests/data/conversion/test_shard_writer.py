"""Shards of a data set: their bytes, their limits, and what is left when writing fails."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.shard_index import INDEX_FILE_NAME, read_index
from ftlab.data.sources.listing import DatasetProblem
from tests.support.image_folders import CLASSES, make_folders, save_image


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Five images of each class for training, two for validation; none for test."""
    root = tmp_path / "images"
    make_folders(root, *(f"train/{name}" for name in CLASSES), count=5)
    return scan(make_folders(root, *(f"val/{name}" for name in CLASSES)))


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def list_members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def test_every_image_is_there_once_with_its_bytes_and_its_class(catalog: Catalog, tmp_path: Path) -> None:
    index = write_shards(catalog, tmp_path / "out", limits=ShardLimits(images=4))
    assert [(entry.file, entry.samples) for entry in index.shards["train"]] == [
        ("train-000000.tar", 4),
        ("train-000001.tar", 4),
        ("train-000002.tar", 2),
    ]
    assert (index.count_samples("val"), index.shards["test"], index.classes) == (4, (), CLASSES)
    contents: dict[str, bytes] = {}
    for entry in index.shards["train"]:
        assert (tmp_path / "out" / entry.file).stat().st_size == entry.bytes
        contents |= list_members(tmp_path / "out" / entry.file)
    assert len(contents) == 30
    for item in catalog.splits["train"]:
        key = item.path.removesuffix(".jpg")
        assert contents[f"{key}.jpg"] == catalog.image_path(item).read_bytes()
        assert contents[f"{key}.cls"] == str(item.label).encode()
        expected = {"class": CLASSES[item.label], "label": item.label, "path": item.path}
        assert json.loads(contents[f"{key}.json"]) == expected
    assert read_index(tmp_path / "out") == index


def test_the_same_images_and_seed_give_the_same_bytes(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(catalog, tmp_path / "first")
    for path in catalog.root.rglob("*.jpg"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    write_shards(catalog, tmp_path / "second")
    assert read_folder(tmp_path / "first") == read_folder(tmp_path / "second")
    write_shards(catalog, tmp_path / "third", seed=1)
    first, third = (list_members(tmp_path / name / "train-000000.tar") for name in ("first", "third"))
    assert first == third
    assert list(first) != list(third), "the seed changes the order alone"


def test_classes_are_mixed_within_a_shard(catalog: Catalog, tmp_path: Path) -> None:
    write_shards(catalog, tmp_path / "out")
    labels = [data for name, data in list_members(tmp_path / "out" / "train-000000.tar").items() if name[-3:] == "cls"]
    assert labels != sorted(labels)


def test_a_shard_is_no_larger_than_its_limit_unless_one_image_is(catalog: Catalog, tmp_path: Path) -> None:
    everything = write_shards(catalog, tmp_path / "all").shards["train"][0]
    half = everything.bytes // 2
    entries = write_shards(catalog, tmp_path / "half", limits=ShardLimits(max_bytes=half)).shards["train"]
    assert len(entries) > 1
    assert all(entry.bytes <= half for entry in entries)
    entries = write_shards(catalog, tmp_path / "tiny", limits=ShardLimits(max_bytes=1)).shards["train"]
    assert [entry.samples for entry in entries] == [1] * 10


def test_names_that_are_long_or_foreign_or_have_dots_are_kept(tmp_path: Path) -> None:
    names = {"2024.01.02", "Käfer شاحنة", "x" * 150}
    for name in names:
        save_image(tmp_path / "images" / "amber" / f"{name}.jpg")
    write_shards(scan(make_folders(tmp_path / "images", "blue", count=3)), tmp_path / "out")
    files = (tmp_path / "out").glob("*.tar")
    contents = {name: data for file in files for name, data in list_members(file).items()}
    described = {json.loads(data)["path"] for name, data in contents.items() if name.endswith(".json")}
    assert {f"amber/{name}.jpg" for name in names} <= described
    assert not [name for name in contents if name.rpartition("/")[2].count(".") != 1]


def test_an_image_that_cannot_be_read_any_more_is_told_and_left_out(catalog: Catalog, tmp_path: Path) -> None:
    gone = catalog.splits["train"][0]
    catalog.image_path(gone).unlink()
    problems: list[DatasetProblem] = []
    index = write_shards(catalog, tmp_path / "out", on_problem=problems.append)
    assert [(problem.file, problem.code) for problem in problems] == [(gone.path, "missing")]
    assert index.count_samples("train") == 9


def test_a_data_set_whose_images_are_gone_leaves_nothing(catalog: Catalog, tmp_path: Path) -> None:
    for path in catalog.root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="can no longer be read"):
        write_shards(catalog, tmp_path / "out")
    assert read_folder(tmp_path / "out") == {}


def test_shards_are_replaced_only_where_that_is_asked_for(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(catalog, out, limits=ShardLimits(images=1))
    with pytest.raises(DataError, match="holds shards already"):
        write_shards(catalog, out)
    write_shards(catalog, out, overwrite=True)
    assert set(read_folder(out)) == {"train-000000.tar", "val-000000.tar", INDEX_FILE_NAME}


def test_shards_of_a_killed_command_are_told_and_replaced(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(catalog, out)
    (out / INDEX_FILE_NAME).unlink()
    (out / "val-000001.tar.1-2.part").write_bytes(b"half")
    with pytest.raises(DataError, match="did not end"):
        write_shards(catalog, out)
    write_shards(catalog, out, overwrite=True)
    assert set(read_folder(out)) == {"train-000000.tar", "val-000000.tar", INDEX_FILE_NAME}


def test_a_folder_with_other_files_is_never_overwritten(catalog: Catalog, tmp_path: Path) -> None:
    for out in (tmp_path / "images", save_image(tmp_path / "mine" / "0.jpg").parent):
        before = sorted(out.rglob("*"))
        with pytest.raises(DataError, match="holds other files"):
            write_shards(catalog, out, overwrite=True)
        assert sorted(out.rglob("*")) == before


def test_the_data_set_itself_is_never_written_to(catalog: Catalog) -> None:
    with pytest.raises(DataError, match="lies in the data set"):
        write_shards(catalog, catalog.root / "shards")
    assert not (catalog.root / "shards").exists()


@pytest.mark.parametrize("interruption", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("renames", [0, 2, 7])  # of seven shards and the index
def test_what_is_broken_off_leaves_nothing(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException, renames: int
) -> None:
    rename, moved = os.replace, list[Path]()

    def break_off(source: Path, target: Path) -> None:
        if len(moved) == renames:
            raise interruption
        rename(source, target)
        moved.append(target)

    monkeypatch.setattr(os, "replace", break_off)
    with pytest.raises(DataError if isinstance(interruption, OSError) else KeyboardInterrupt) as caught:
        write_shards(catalog, tmp_path / "out", limits=ShardLimits(images=2))
    assert read_folder(tmp_path / "out") == {}
    if isinstance(caught.value, DataError):
        assert "No space left on device" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
