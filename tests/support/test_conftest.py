"""What conftest.py promises to every other test: no network, a place of its own, pictures, a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support import browser, loopback_server

ELSEWHERE = "192.0.2.1"  # set aside for documentation (RFC 5737): nobody answers there


def test_this_machine_can_be_reached() -> None:
    with loopback_server.serving(b"") as server:
        socket.create_connection(("localhost", server.server_port), timeout=5).close()


@pytest.mark.parametrize("host", [ELSEWHERE, "example.org"])
def test_no_other_machine_can_be_reached(host: str, network_attempts: Path) -> None:
    with pytest.raises(OSError, match="the tests have no network"):
        socket.create_connection((host, 80), timeout=5)
    assert host in network_attempts.read_text().splitlines()[-1]


def test_no_process_that_a_test_starts_can_reach_one(network_attempts: Path) -> None:
    code = f"import urllib.request as r; r.urlopen('http://{ELSEWHERE}/child', timeout=5)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "the tests have no network" in done.stderr
    assert f"http://{ELSEWHERE}/child" in network_attempts.read_text().splitlines()[-1]


def test_each_test_has_places_of_its_own(tmp_path: Path) -> None:
    own = [Path.cwd(), *(Path(os.environ[name]) for name in ("FTLAB_HOME", "TORCH_HOME", "GRADIO_TEMP_DIR"))]
    assert all(place.is_relative_to(tmp_path) for place in own)


def test_the_tiny_folder_holds_three_classes_of_eight(tiny_folder: Path) -> None:
    counts = {folder.name: len(list(folder.iterdir())) for folder in tiny_folder.iterdir()}
    assert counts == {"amber": 8, "blue": 8, "green": 8}
    sides: list[int] = []
    for file in tiny_folder.glob("*/*"):
        with Image.open(file) as picture:
            sides += picture.size
    assert 64 <= min(sides) < max(sides) <= 120


def test_the_browser_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_BROWSER", sys.executable)
    assert browser.find() == sys.executable
    monkeypatch.setenv("FTLAB_BROWSER", str(tmp_path / "none"))
    assert browser.find() is None


@pytest.mark.skipif(os.name == "nt", reason="there are no snaps on Windows")
def test_a_confined_browser_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"chromium-browser": "exec /snap/bin/chromium", "google-chrome": "exec /opt/google/chrome/chrome"}
    for name, line in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find() == str(tmp_path / "google-chrome")
