"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import file_io


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_the_old(folder: Path) -> None:
    file = folder / "x"
    file.write_text("old")
    with file_io.atomic_write(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
        assert part.parent == folder, "on the same disk"
    assert file.read_text() == "new"
    assert names(folder) == ["x"]


def test_the_old_can_move_aside(folder: Path) -> None:
    file, before = folder / "x", folder / "y"
    for text in ("one", "two", "three"):
        with file_io.atomic_write(file, before) as part:
            part.write_text(text)
    assert (file.read_text(), before.read_text()) == ("three", "two")


def test_an_error_leaves_the_old_and_nothing_beside_it(folder: Path) -> None:
    file = folder / "x"
    file.write_text("old")

    def interrupted() -> None:
        with file_io.atomic_write(file) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert file.read_text() == "old"
    assert names(folder) == ["x"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_so_does_a_disk_that_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = folder / "x"
    file.write_text("old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"), file_io.atomic_write(file) as part:
        part.write_text("new")
    assert file.read_text() == "old"
    assert names(folder) == ["x"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no call that settles a folder")
def test_nothing_is_in_place_before_it_is_on_the_disk_and_the_move_is_settled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def noted(name: str) -> Any:
        real = getattr(os, name)

        def call(*given: Any) -> Any:
            told.append(name)
            return real(*given)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    with file_io.atomic_write(folder / "x") as part:
        part.write_text("new")
    assert told == ["fsync", "replace", "fsync"]


def test_a_private_file_is_its_owners_alone_and_replaces_one_that_was_not(folder: Path) -> None:
    path = folder / "new" / "secret"
    for content in (b"first", b"second"):
        file_io.write_private_file(path, content)
        assert path.read_bytes() == content
        assert [file.name for file in path.parent.iterdir()] == ["secret"]
        if os.name != "nt":
            assert path.stat().st_mode & 0o777 == 0o600
            path.chmod(0o644)


def test_what_killed_processes_left_is_swept_away_and_what_is_being_written_is_not(folder: Path) -> None:
    inner = folder / "last"
    inner.mkdir()
    gone = 2**22 + 1  # no process has such a number
    for name in (f"x.{gone}-1.part", f"x.{os.getpid()}-1.part", "x.part"):
        (inner / name).touch()
    (folder / "kept").touch()
    file_io.remove_stale_parts(folder)
    assert names(inner) == [f"x.{os.getpid()}-1.part"]
    assert (folder / "kept").exists()


def test_what_killed_writers_of_one_name_left_is_swept_away_and_nothing_else_beside_it(folder: Path) -> None:
    gone = 2**22 + 1
    for name in (f"out.folder.{gone}-1.part", f"out.folder.{os.getpid()}-1.part", f"other.folder.{gone}-1.part"):
        (folder / name).mkdir()
        (folder / name / "files").touch()
    for name in (f"out.{gone}-1.part", "out.part", "out"):
        (folder / name).touch()
    file_io.remove_stale_parts_of(folder / "out")
    kept = {f"out.folder.{os.getpid()}-1.part", f"other.folder.{gone}-1.part", "out.part", "out"}
    assert {path.name for path in folder.iterdir()} == kept


def test_free_room_is_told_in_bytes(folder: Path) -> None:
    assert file_io.get_free_bytes(folder) > 1_000_000


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # a socket's address has at most 107 bytes


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), str])
def test_only_a_regular_file_is_opened_and_nothing_is_waited_for(folder: Path, make: Callable[[Path], object]) -> None:
    make(folder / "x")
    for read in (file_io.read_regular_file, file_io.open_regular_file, file_io.open_regular_descriptor):
        with pytest.raises(OSError, match=r"Not a regular file|Is a directory|No such file"):
            read(folder / "x")


def test_a_pipe_that_takes_the_place_of_a_file_meanwhile_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, state = folder / "x", os.stat_result((0o100644, *[0] * 9))
    os.mkfifo(file)
    monkeypatch.setattr(os, "stat", lambda _path: state)
    with pytest.raises(OSError, match="Not a regular file"):
        file_io.read_regular_file(file)


def test_a_regular_file_is_read_also_through_a_link(folder: Path) -> None:
    (folder / "x").write_bytes(b"content")
    (folder / "link").symlink_to("x")
    assert file_io.read_regular_file(folder / "link") == b"content"
