"""Folders that a page may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.server import paths
from ftlab.server.paths import resolve_inside


def refused(root: Path | None, path: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        resolve_inside(root, path)
    return caught.value.code


def test_a_path_below_the_root_is_found_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    real = (tmp_path / "pets").resolve()
    for written in ("pets", "pets/", " pets ", "./pets/../pets", str(tmp_path / "pets"), "~/pets"):
        assert resolve_inside(tmp_path, written) == real
    assert resolve_inside(tmp_path, "") == tmp_path.resolve()


def test_a_path_outside_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "rootling").mkdir()
    for written in ("..", "../rootling", "/etc", str(tmp_path), str(tmp_path / "rootling"), "a/../../b"):
        assert refused(root, written) == "page.outside"


def test_what_is_refused_names_the_command_that_would_allow_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"python -m ftlab app --data-root '/mnt/my pets'"):
        resolve_inside(tmp_path, "/mnt/my pets")


def test_a_whole_drive_holds_any_folder_but_ftlabs_own_and_names_are_relative_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(tmp_path.anchor)
    (tmp_path / "pets").mkdir()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert resolve_inside(root, str(tmp_path / "pets")) == (tmp_path / "pets").resolve()
    assert resolve_inside(root, "pets") == (tmp_path / "pets").resolve()
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    assert refused(root, str(tmp_path / "home" / "visitors" / "secret")) == "page.outside"


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "pets").mkdir(parents=True)
    other.mkdir()
    (root / "out").symlink_to(other)
    (root / "in").symlink_to(root / "pets")
    assert refused(root, "out") == "page.outside"
    assert refused(root, "out/deeper") == "page.outside"
    assert resolve_inside(root, "in") == (root / "pets").resolve()


def test_the_answer_does_not_tell_whether_something_outside_exists(tmp_path: Path) -> None:
    assert refused(tmp_path, "/etc") == refused(tmp_path, "/no-such-folder-anywhere") == "page.outside"


def test_what_is_no_path_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a\0b") == "page.no_path"
    assert refused(tmp_path, "~nobody-of-that-name/x") == "page.no_path"
    for odd_path in ("x" * 5000, "a/" * 2500 + "b", "x" * 300, "a\ud800b"):
        with pytest.raises(DataError, match=r"is not a valid path") as caught:
            resolve_inside(tmp_path, odd_path)
        assert len(str(caught.value).encode()) < 400


def test_without_a_root_every_path_is_refused() -> None:
    assert refused(None, "anything") == "page.no_folders"


def test_what_pages_send_lies_where_the_environment_says_or_in_the_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    assert paths.get_uploads_dir() == tmp_path / "home" / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "elsewhere"))
    assert paths.get_uploads_dir() == tmp_path / "elsewhere"
    assert paths.get_default_uploads_dir() == tmp_path / "home" / "uploads"
