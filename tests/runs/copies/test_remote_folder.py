"""Places for copies: paths and addresses, and one line about whatever goes wrong there."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from ftlab.core.errors import RunError
from ftlab.runs.copies.remote_folder import RemoteFolder, hide_secrets, is_address


def test_an_address_is_told_from_a_path() -> None:
    assert is_address("s3://bucket/runs")
    assert not is_address("/mnt/backup")
    assert not is_address(r"C:\backup")


def test_nobody_reads_the_password_of_an_address() -> None:
    assert hide_secrets("sftp://ann:secret@host/runs?key=1") == "sftp://host/runs"
    assert hide_secrets("/mnt/a?b@c") == "/mnt/a?b@c"


def test_files_are_put_replaced_listed_and_removed(tmp_path: Path) -> None:
    folder = RemoteFolder(str(tmp_path / "a" / "b"))
    assert folder.read_bytes("list") is None
    assert folder.list_names("files") == set()
    (tmp_path / "source").write_bytes(b"1")
    folder.put_file(tmp_path / "source", "files/one")
    folder.replace_bytes("list", b"first")
    folder.replace_bytes("list", b"second")
    assert folder.read_bytes("list") == b"second"
    assert folder.list_names("files") == {"one"}
    folder.get_file("files/one", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"1"
    folder.remove_file("files/one")
    folder.remove_file("files/one")
    assert folder.list_names("files") == set()
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["files", "list"]


def test_an_unknown_scheme_is_one_line() -> None:
    with pytest.raises(RunError) as caught:
        RemoteFolder("nowhere://bucket/runs")
    assert caught.value.code == "copy.failed"
    assert len(str(caught.value).splitlines()) == 1


def test_a_library_that_is_missing_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def miss(_place: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", miss)
    with pytest.raises(RunError, match="pip install") as caught:
        RemoteFolder("s3://bucket/runs")
    assert caught.value.code == "copy.library"


def test_a_place_that_refuses_is_one_line_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = RemoteFolder(str(tmp_path / "file" / "below"))
    with pytest.raises(RunError) as caught:
        folder.replace_bytes("list", b"")
    assert caught.value.code == "copy.failed"
