"""The files of onnxruntime-web: present and right, or one line with the command that fetches them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ftlab.core.errors import FtlabError
from ftlab.export import web_runtime

FILES = {name: f"content of {name}".encode() for name in web_runtime.WEB_RUNTIME_SHA256}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files, whose hashes are expected."""
    for name, content in FILES.items():
        monkeypatch.setitem(web_runtime.WEB_RUNTIME_SHA256, name, hashlib.sha256(content).hexdigest())
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_folder_is_found_where_all_files_are_those_of_the_version(folder: Path) -> None:
    assert web_runtime.find_web_runtime(folder) == folder


@pytest.mark.parametrize("name", FILES)
def test_a_checkout_without_a_file_says_so_in_one_line_with_the_command(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FtlabError) as caught:
        web_runtime.find_web_runtime(folder)
    line = str(caught.value)
    assert f"{name} is missing" in line
    assert line.endswith("make web-runtime")
    assert "\n" not in line


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_version_or_a_damaged_one_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(FILES[name][:-1])
    with pytest.raises(FtlabError, match=f"{name} is not the file of onnxruntime-web 1.30.0.*make web-runtime$"):
        web_runtime.find_web_runtime(folder)


def test_the_licenses_are_in_every_checkout() -> None:
    license_text, notices = (
        (web_runtime.WEB_RUNTIME_FOLDER / name).read_text(encoding="utf-8") for name in web_runtime.WEB_RUNTIME_LICENSES
    )
    assert license_text.startswith("MIT License\n\nCopyright (c) Microsoft Corporation\n")
    assert all(name in notices for name in ("Eigen", "protobuf", "flatbuffers", "Emscripten"))
