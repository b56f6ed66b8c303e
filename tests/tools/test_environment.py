"""Which commands make the environment; nothing is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tools import environment

PINS = [
    line.split("#")[0].strip()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("torch")
]
"""torch and torchvision, as the requirements pin them."""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run, of which none is."""
    words_of_all: list[list[str]] = []

    def record(words: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        words_of_all.append(list(words))
        if "venv" in words:
            Path(words[-1]).mkdir(parents=True)
        return subprocess.CompletedProcess(words, 1 if "-c" in words else 0)

    monkeypatch.setattr(subprocess, "run", record)
    return words_of_all


def find_pip_commands(commands: list[list[str]]) -> list[list[str]]:
    """The arguments of pip, without those that make it quiet."""
    quiet = ("--quiet", "--disable-pip-version-check")
    return [[word for word in words[3:] if word not in quiet] for words in commands if words[1:3] == ["-m", "pip"]]


def test_the_app_gets_the_torch_of_the_package_index(commands: list[list[str]], tmp_path: Path) -> None:
    environment.main(["install", str(tmp_path / "venv"), "app"])
    assert find_pip_commands(commands) == [["install", "-r", "requirements.txt"]]
    assert (tmp_path / "venv" / ".app").exists()


@pytest.mark.parametrize(
    ("build", "index"),
    [
        ("cpu", "https://download.pytorch.org/whl/cpu"),
        ("cu130", "https://download.pytorch.org/whl/cu130"),
        ("https://mirror.example/torch", "https://mirror.example/torch"),
    ],
)
def test_a_build_of_torch_comes_first_from_its_own_index_in_the_pinned_versions(
    commands: list[list[str]], tmp_path: Path, build: str, index: str
) -> None:
    environment.main(["install", str(tmp_path / "venv"), "app", "--torch", build])
    assert len(PINS) == 2
    assert find_pip_commands(commands) == [
        ["install", "--index-url", index, *PINS],
        ["install", "-r", "requirements.txt"],
    ]


def test_a_folder_of_packages_has_one_build_and_asks_no_index(commands: list[list[str]], tmp_path: Path) -> None:
    environment.main(["install", str(tmp_path / "venv"), "app", str(tmp_path), "--torch", "cpu"])
    assert find_pip_commands(commands) == [
        ["install", "--no-index", "--find-links", str(tmp_path), "-r", "requirements.txt"]
    ]


def test_a_folder_of_packages_is_filled_with_the_build_before_the_rest(
    commands: list[list[str]], tmp_path: Path
) -> None:
    folder = str(tmp_path / "wheels")
    environment.main(["download", folder, "--torch", "cpu"])
    wheel = ["wheel", "--wheel-dir", folder]
    assert find_pip_commands(commands) == [
        [*wheel, "--index-url", "https://download.pytorch.org/whl/cpu", *PINS],
        [*wheel, "--find-links", folder, "-r", "requirements.txt"],
    ]


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ((), ["install", "V", "app"]),
        (("TORCH=cpu",), ["install", "V", "app", "--torch", "cpu"]),
        (("WHEELS=wheels",), ["install", "V", "app", "wheels"]),
    ],
)
def test_make_passes_its_switches_on(tmp_path: Path, switches: tuple[str, ...], words: list[str]) -> None:
    venv = str(tmp_path / "venv")
    answer = subprocess.run(
        ["make", "-n", "app", f"VENV={venv}", f"PYTHON={sys.executable}", *switches],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in answer.stdout.splitlines() if "environment.py" in line)
    assert line.replace('"', "").split()[2:] == [word.replace("V", venv) if word == "V" else word for word in words]
