"""What is kept to save time: found again by its key, within a budget, and never a reason to fail."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ftlab.core import file_io, kv_cache
from ftlab.core.kv_cache import DiskCache


def rows(first: int, count: int, width: int = 30) -> list[tuple[bytes, bytes]]:
    return [(f"key {n}".encode(), n.to_bytes(4, "big") * (width // 4)) for n in range(first, first + count)]


@pytest.fixture
def kept(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "kept" / "things.sqlite", 1_000_000)


def test_what_was_put_in_comes_out_again(kept: DiskCache) -> None:
    put = rows(0, 1200)
    kept.put(put)
    assert kept.get([key for key, _ in put] + [b"another"]) == dict(put)
    kept.put([(put[0][0], b"")])
    assert kept.get([put[0][0]]) == {put[0][0]: b""}


def test_nothing_is_made_by_asking(kept: DiskCache) -> None:
    assert kept.get([b"key"]) == {}
    assert not kept.path.exists()


def test_what_was_not_used_longest_goes_when_the_budget_is_spent(
    kept: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 20_000 * 86_400
    for number in range(8):
        monkeypatch.setattr(time, "time", lambda number=number: day + number * 86_400)
        kept.get([b"key 0"])
        kept.put(rows(number * 100, 100, width=2000))
    assert kept.path.stat().st_size <= kept.budget_bytes
    assert kept.get([b"key 0"]), "it was used every day"
    assert not kept.get([b"key 50"])
    assert kept.get([b"key 750"])


def test_more_than_the_budget_or_the_disk_holds_is_not_kept(kept: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.put(rows(0, 300, width=4000))
    assert not kept.path.exists()
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: kv_cache.MIN_FREE_DISK_BYTES + 100)
    kept.put(rows(0, 10))
    assert not kept.path.exists()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_given_up(kept: DiskCache, content: bytes) -> None:
    kept.path.parent.mkdir()
    kept.path.write_bytes(content)
    assert kept.get([b"key 1"]) == {}
    kept.put(rows(0, 3))
    kept.put(rows(0, 3))
    assert kept.get([key for key, _ in rows(0, 3)]) == dict(rows(0, 3))


@pytest.mark.parametrize(
    "change",
    [
        "value = substr(value, 1, length(value) - 4)",
        "value = zeroblob(length(value))",
        "value = 'a text'",
        "value = CAST(x'ff' AS TEXT)",
        "value = 7",
        "value = value || x'00'",
        "value = (SELECT value FROM kept WHERE key = CAST('key 2' AS BLOB))",
        "checksum = 0",
        "checksum = x'00'",
    ],
)
def test_a_value_that_is_not_as_it_was_put_in_counts_as_missing_and_can_be_put_in_again(
    kept: DiskCache, change: str
) -> None:
    kept.put(rows(0, 4))
    with closing(sqlite3.connect(kept.path)) as other:
        other.execute(f"UPDATE kept SET {change} WHERE key = CAST('key 1' AS BLOB)")
        other.commit()
    sound = dict(rows(0, 1) + rows(2, 2))
    assert kept.get([key for key, _ in rows(0, 4)]) == sound
    kept.put(rows(1, 1))
    assert kept.get([key for key, _ in rows(0, 4)]) == dict(rows(0, 4))


def test_nothing_wrong_comes_out_of_a_file_that_is_damaged_anywhere(kept: DiskCache) -> None:
    rng = random.Random(0)
    put = [(rng.randbytes(16), rng.randbytes(width)) for width in (8, 60, 2000, 5000) for _ in range(12)]
    kept.put(put)
    sound = kept.path.read_bytes()
    for _ in range(10):
        start, length = rng.randrange(len(sound)), rng.choice([1, 4, 4096])
        for damage in (rng.randbytes(length), bytes(length), sound[:length]):
            kept.path.write_bytes(sound[:start] + damage + sound[start + length :])
            assert kept.get([key for key, _ in put]).items() <= dict(put).items()
        kept.path.write_bytes(sound[:start])
        assert kept.get([key for key, _ in put]).items() <= dict(put).items()
        for _ in range(2):  # the first may find out that the file is of no use
            kept.put(put[:3])
        assert len(kept.get([key for key, _ in put[:3]])) == 3


def test_values_of_versions_without_checksums_are_not_believed(kept: DiskCache) -> None:
    kept.path.parent.mkdir()
    with closing(sqlite3.connect(kept.path)) as old:
        old.execute("CREATE TABLE kept (key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL)")
        old.executemany("INSERT INTO kept VALUES (?, 1, ?)", rows(0, 3))
        old.commit()
    assert kept.get([key for key, _ in rows(0, 3)]) == {}
    kept.put(rows(0, 2))
    assert kept.get([key for key, _ in rows(0, 3)]) == dict(rows(0, 2))


def test_a_table_of_other_columns_is_given_up(kept: DiskCache) -> None:
    kept.path.parent.mkdir()
    with closing(sqlite3.connect(kept.path)) as other:
        other.execute("CREATE TABLE kept (name TEXT)")
    kept.put(rows(0, 3))
    kept.put(rows(0, 3))
    assert len(kept.get([key for key, _ in rows(0, 3)])) == 3


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_neither_opened_nor_removed(kept: DiskCache, make: Callable[[Path], None]) -> None:
    kept.path.parent.mkdir()
    make(kept.path)
    kept.put(rows(0, 3))
    assert kept.get([key for key, _ in rows(0, 3)]) == {}
    assert os.path.lexists(kept.path)


def test_what_can_be_read_but_not_written_is_read(kept: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.put(rows(0, 600))
    monkeypatch.setattr(time, "time", lambda: 30_000 * 86_400)  # so that reading would mark them
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(f"file:{path}?mode=ro", timeout, uri=True))
    kept.put(rows(600, 1))
    assert kept.get([key for key, _ in rows(0, 601)]) == dict(rows(0, 600))


def test_one_that_is_full_of_something_else_is_given_up(kept: DiskCache) -> None:
    kept.path.parent.mkdir()
    with sqlite3.connect(kept.path) as other:
        other.execute("CREATE TABLE other AS SELECT zeroblob(2000000) AS value")
    other.close()
    kept.put(rows(0, 3))
    assert not kept.path.exists()
    kept.put(rows(0, 3))
    assert len(kept.get([key for key, _ in rows(0, 3)])) == 3


def test_one_that_another_process_writes_to_is_left_alone(kept: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.put(rows(0, 3))
    monkeypatch.setattr(kv_cache, "LOCK_TIMEOUT_SECONDS", 0.01)
    other = sqlite3.connect(kept.path)
    other.execute("BEGIN EXCLUSIVE")
    kept.put(rows(3, 3))
    assert kept.get([b"key 1"]) == {}
    other.rollback()
    other.close()
    assert len(kept.get([key for key, _ in rows(0, 6)])) == 3


def test_without_a_place_for_it_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    kept = DiskCache(tmp_path / "home" / "things.sqlite", 1_000_000)
    kept.put(rows(0, 3))
    assert kept.get([b"key 1"]) == {}
