"""The index of a folder of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftlab.core.errors import DataError
from ftlab.data.shards.shard_index import INDEX_FILE_NAME, ShardEntry, ShardIndex, read_index, write_index

INDEX = ShardIndex(("ants", "bées"), {"train": (ShardEntry("train-000000.tar", 3, 4096),), "val": (), "test": ()})


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    write_index(folder, INDEX)
    assert read_index(folder) == INDEX
    assert [path.name for path in folder.iterdir()] == [INDEX_FILE_NAME]


def test_a_folder_without_an_index_has_no_shards_that_count(tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"There is no shards\.json in") as caught:
        read_index(tmp_path)
    assert caught.value.code == "shards.no_index"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "shards.index_version"),
        ({"format": "wids"}, "shards.index_version"),
        ({"classes": "ants"}, "shards.index"),
        ({"classes": [1]}, "shards.index"),
        ({"splits": {"train": []}}, "shards.index"),
        ({"splits": []}, "shards.index"),
        (
            {"splits": {"train": [{"file": "../x.tar", "samples": 1, "bytes": 1}], "val": [], "test": []}},
            "shards.index",
        ),
        ({"splits": {"train": [{"file": "x.tar", "samples": "1", "bytes": 1}], "val": [], "test": []}}, "shards.index"),
        ({"splits": {"train": ["x.tar"], "val": [], "test": []}}, "shards.index"),
    ],
)
def test_a_damaged_index_is_one_line(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    (tmp_path / INDEX_FILE_NAME).write_text(json.dumps(INDEX.to_json() | change))
    with pytest.raises(DataError) as caught:
        read_index(tmp_path)
    assert caught.value.code == code
    assert len(str(caught.value).splitlines()) == 1
