"""Fetching the files of onnxruntime-web from a registry, as it is and as it should not be."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ftlab.export import web_runtime as expected
from tests.support import loopback_server
from tools import web_runtime

FILES = {name: f"content of {name}".encode() for name in expected.WEB_RUNTIME_SHA256}


def pack(files: Mapping[str, bytes]) -> bytes:
    """A package as npm's registry has it: a tar compressed by gzip, everything below `package/`."""
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for name, content in {"package.json": b"{}", "dist/ort.all.js": b"another way", **files}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return package.getvalue()


def hash_package(package: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()


PACKAGE = pack({f"dist/{name}": content for name, content in FILES.items()})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback_server.Server]:
    """A registry on this machine that is set up as npm's."""
    for name, content in FILES.items():
        monkeypatch.setitem(expected.WEB_RUNTIME_SHA256, name, hashlib.sha256(content).hexdigest())
    with loopback_server.serving(PACKAGE) as server:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url.removesuffix("file.zip"))
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "runtime"
    place.mkdir()
    monkeypatch.setattr(expected, "WEB_RUNTIME_FOLDER", place)
    monkeypatch.setattr(web_runtime, "INTEGRITY", hash_package(PACKAGE))
    return place


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_exactly_the_files_of_the_runtime_are_written_and_fetched_once(
    registry: loopback_server.Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web_runtime.fetch_web_runtime()
    assert read_folder(folder) == FILES
    assert (
        f"{registry.url.removesuffix('file.zip')}onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"
        in capsys.readouterr().out
    )
    web_runtime.fetch_web_runtime()
    assert len(registry.asked) == 1


def test_a_damaged_file_is_fetched_again(registry: loopback_server.Server, folder: Path) -> None:
    web_runtime.fetch_web_runtime()
    (folder / "ort.wasm.min.js").write_bytes(b"")
    web_runtime.fetch_web_runtime()
    assert read_folder(folder) == FILES
    assert len(registry.asked) == 2


@pytest.mark.usefixtures("registry")
def test_a_package_of_another_hash_is_refused_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_runtime, "INTEGRITY", hash_package(b"another"))
    with pytest.raises(SystemExit, match="not the one that was published: its hash is sha512-"):
        web_runtime.fetch_web_runtime()
    assert read_folder(folder) == {}


def test_a_download_that_breaks_off_says_how_much_came(registry: loopback_server.Server, folder: Path) -> None:
    registry.cut = [100]
    with pytest.raises(SystemExit, match=rf"broke off after 100 of {len(PACKAGE)} bytes. Try again.$"):
        web_runtime.fetch_web_runtime()
    assert read_folder(folder) == {}


def test_a_registry_that_refuses_is_named_with_its_answer(registry: loopback_server.Server, folder: Path) -> None:
    registry.statuses = [404]
    with pytest.raises(SystemExit, match=r"onnxruntime-web-1.30.0.tgz cannot be downloaded: HTTP Error 404"):
        web_runtime.fetch_web_runtime()
    assert read_folder(folder) == {}


@pytest.mark.parametrize("name", FILES)
def test_a_package_without_one_of_the_files_is_refused_and_nothing_is_written(
    registry: loopback_server.Server, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    registry.content = pack({f"dist/{other}": content for other, content in FILES.items() if other != name})
    monkeypatch.setattr(web_runtime, "INTEGRITY", hash_package(registry.content))
    with pytest.raises(SystemExit, match=f"the package has no file dist/{name}"):
        web_runtime.fetch_web_runtime()
    assert read_folder(folder) == {}


def test_the_registry_is_the_one_of_the_environment_else_npms_own(tmp_path: Path) -> None:
    program = tmp_path / "npm"
    program.write_text('#!/bin/sh\ntest "$*" = "config get registry" && echo https://mirror.example/npm/\n')
    program.chmod(0o755)
    path = {"PATH": str(tmp_path)}
    assert web_runtime.find_registry(path) == "https://mirror.example/npm"
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        assert web_runtime.find_registry({**path, name: "https://other.example/"}) == "https://other.example"


def test_without_npm_and_a_registry_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Install Node\.js, or name a registry: NPM_CONFIG_REGISTRY="):
        web_runtime.find_registry({"PATH": str(tmp_path)})
