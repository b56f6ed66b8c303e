"""Paths that lead nowhere, and files that are none: one line each, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftlab.cli import main

ODD_PATHS = [
    "x" * 300,
    "/".join("a" * 3000),
    "a\nb",
    "a\0b.zip",
    os.fsdecode(b"\xff\xfe.csv"),
    "~nobody/x",
    "CON",
    "pipe",
    "pipe.zip",
    "pipe.tar.gz",
    "pipe.csv",
    "pipe.jsonl",
    "pipe.pt",
    "pipe.safetensors",
    "pipe.json",
    "/dev/zero",
    "loop",
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ODD_PATHS:
        if name.startswith("pipe"):
            os.mkfifo(name)
    Path("loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_path_that_cannot_be_used_is_told_in_one_line(
    path: str, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tiny_folder))
    for words in (
        ("scan", path),
        ("train", "--data", path),
        ("train", *data, "--exclude", path),
        ("train", *data, "--init-from", path),
        ("train", "--config", path),
        ("predict", path, "x.jpg"),
        ("resume", path),
    ):
        assert main.main([*words]) == 2, words
        told = capsys.readouterr().err.strip()
        assert told.startswith("ftlab"), words
        assert len(told.splitlines()) == 1, words


def test_pipes_among_the_pictures_are_passed_over(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("labels.csv", "list.csv", "amber/pipe.jpg"):
        os.mkfifo(tiny_folder / name)
    assert main.main(["scan", str(tiny_folder)]) == 0
    assert "amber/pipe.jpg" in capsys.readouterr().out
