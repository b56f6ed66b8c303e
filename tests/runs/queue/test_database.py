"""The lock of the queue and the memory of turns: across threads, processes and damages."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from ftlab.core.errors import RunError
from ftlab.runs.queue import database
from ftlab.runs.queue.database import QueueDatabase
from tests.support import ROOT

HOLD = """
import sys, time
from ftlab.runs.queue.database import QueueDatabase
with QueueDatabase(sys.argv[1]).lock() as turns:
    turns["lost"] = 1.0
    print("held", flush=True)
    time.sleep(60)
"""


def test_turns_are_kept_and_a_journal_beside_the_file_is_used(tmp_path: Path) -> None:
    with QueueDatabase(tmp_path / "runs").lock() as turns:
        assert turns == {}
        turns["ann"] = 5.0
    with QueueDatabase(tmp_path / "runs").lock() as turns:
        assert turns == {"ann": 5.0}
        turns["ann"] = 6.0
    assert QueueDatabase(tmp_path / "runs").read_turns() == {"ann": 6.0}
    connection = sqlite3.connect(tmp_path / "runs" / database.DATABASE_FILE)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_only_one_thread_is_inside_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most = []

    def enter(number: int) -> None:
        with QueueDatabase(tmp_path).lock() as turns:
            inside.append(number)
            most.append(len(inside))
            turns[str(number)] = 1.0
            inside.remove(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 30
    assert len(QueueDatabase(tmp_path).read_turns()) == 30


def test_the_system_releases_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    with QueueDatabase(tmp_path).lock() as turns:
        assert turns == {}, "what it had not finished is not there"


def test_whoever_holds_it_for_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    with QueueDatabase(tmp_path).lock():
        with pytest.raises(RunError) as caught, QueueDatabase(tmp_path).lock():
            pytest.fail("it is held")
        assert caught.value.code == "run.queue_locked"
        assert QueueDatabase(tmp_path).read_turns() == {}, "reading waits for nobody"


@pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / database.DATABASE_FILE).write_bytes(content)
    assert QueueDatabase(tmp_path).read_turns() == {}
    with QueueDatabase(tmp_path).lock() as turns:
        turns["ann"] = 1.0
    assert QueueDatabase(tmp_path).read_turns() == {"ann": 1.0}


def test_a_lock_on_a_file_that_was_deleted_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the file just before the lock is taken: the one in its place is locked instead."""
    path, real, deleted = tmp_path / database.DATABASE_FILE, database._read_turns, list[Path]()

    def delete_first(connection: sqlite3.Connection) -> dict[str, float]:
        if not deleted:
            path.unlink()
            deleted.append(path)
        return real(connection)

    monkeypatch.setattr(database, "_read_turns", delete_first)
    with QueueDatabase(tmp_path).lock():
        assert path.is_file()
        other = sqlite3.connect(path, timeout=0.05, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    assert deleted


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder", encoding="utf-8")
    with pytest.raises(RunError) as caught, QueueDatabase(tmp_path / "runs").lock():
        pytest.fail("there is no place for it")
    assert caught.value.code == "run.write"


def test_a_disk_that_is_mounted_for_reading_is_told_as_the_system_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def connect(*_: object, **_options: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    (tmp_path / database.DATABASE_FILE).touch()
    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(RunError, match=r"Runs cannot be written to .*: Read-only file system\. Free"):
        QueueDatabase(tmp_path).lock().__enter__()
