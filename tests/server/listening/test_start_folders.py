"""What a server tells at its start of folders that cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.core.errors import FtlabError
from ftlab.server.listening.start_folders import check_runs_folder, check_upload_folder
from tests.support import fabricated_runs

Fail = Callable[[int], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Lets every new file fail, as root's do on a disk that is full or mounted for reading."""

    def set_error(code: int) -> None:
        def refuse(**_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)

    return set_error


def test_folders_that_can_be_written_are_made_and_nothing_is_left_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    assert (check_runs_folder(tmp_path / "a" / "runs"), check_upload_folder()) == ("", "")
    assert [*(tmp_path / "a" / "runs").iterdir(), *(tmp_path / "uploads").iterdir()] == []


def test_runs_that_can_only_be_read_are_served_with_a_warning_and_an_empty_folder_is_not(
    tmp_path: Path, fail: Fail
) -> None:
    fail(errno.EROFS)
    with pytest.raises(FtlabError, match=r"Runs cannot be written to .* \(Read-only file system\).*--runs"):
        check_runs_folder(tmp_path)
    fabricated_runs.make(tmp_path, fabricated_runs.story())
    assert "no training can start; those that are there can be used" in check_runs_folder(tmp_path)


def test_on_a_full_disk_the_page_starts_as_it_deletes_runs(tmp_path: Path, fail: Fail) -> None:
    fail(errno.ENOSPC)
    for notice in (check_runs_folder(tmp_path), check_upload_folder()):
        assert "(No space left on device)" in notice
        assert "Free some space" in notice
        assert "\n" not in notice


def test_without_a_folder_for_what_is_sent_no_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for folder, cause in ((tmp_path / "file", "Not a directory"), (tmp_path / "file" / "below", "Not a directory")):
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
        with pytest.raises(FtlabError) as caught:
            check_upload_folder()
        assert cause in str(caught.value)
        assert str(folder) in str(caught.value)
