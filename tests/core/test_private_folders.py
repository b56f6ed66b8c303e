"""Folders of ftlab's own that no data set reaches on a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftlab.core import private_folders
from ftlab.core.errors import DataError
from ftlab.core.private_folders import declare_private_folders, is_barred
from ftlab.data.dataset import scan
from ftlab.server.paths import list_private_folders, resolve_inside


@pytest.fixture
def root(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root in which ftlab's home and the runs lie too."""
    monkeypatch.setenv(private_folders._PRIVATE_FOLDERS_VARIABLE, "")
    monkeypatch.setenv("FTLAB_HOME", str(tiny_folder / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tiny_folder / "sent"))
    for folder in ("home/visitors/t/x", "home/uploads/x", "home/archives/x", "home/data/x", "sent/x", "runs/one/x"):
        (tiny_folder / folder).mkdir(parents=True)
        os.link(tiny_folder / "amber" / "amber_1.jpg", tiny_folder / folder / "secret.jpg")
    declare_private_folders(list_private_folders(tiny_folder / "runs"))
    return tiny_folder.resolve()


@pytest.mark.parametrize(
    "path",
    ["home", "home/visitors", "home/uploads/x", "home/archives", "sent", "sent/x/secret.jpg", "runs", "runs/one"],
)
def test_no_typed_path_leads_into_one(root: Path, path: str) -> None:
    (root / "link").symlink_to(root / path)
    for typed_path in (path, root / path, f"amber/../{path}", "link"):
        with pytest.raises(DataError):
            resolve_inside(root, typed_path)


def test_published_images_and_what_lies_beside_may_be_used(root: Path) -> None:
    for path in ("home/data/x", "amber", ""):
        assert resolve_inside(root, path) == root / path


def test_a_scan_does_not_enter_them_and_a_list_names_nothing_in_them(root: Path) -> None:
    assert "secret" not in str(scan.scan(root))
    assert set(scan.scan(root).classes) == {"amber", "blue", "green"}
    names = ["amber/amber_2.jpg", "blue/blue_1.jpg", "home/uploads/x/secret.jpg", "runs/one/x/secret.jpg"]
    rows = [f"{name},{'ab'[index % 2]}" for index, name in enumerate(names)]
    (root / "list.csv").write_text("\n".join(["path,label", *rows, "amber/amber_3.jpg,a", "blue/blue_2.jpg,b"]))
    catalog = scan.scan(root / "list.csv")
    assert "secret" not in str(catalog.splits)


def test_from_within_an_upload_itself_nothing_is_barred(root: Path) -> None:
    upload = root / "home" / "visitors" / "t"
    assert not is_barred(upload, upload / "x")
    assert is_barred(root, upload / "x")
