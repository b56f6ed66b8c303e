"""Where ftlab keeps what belongs to no run, and libraries their caches if the home folder cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftlab.core import user_dirs
from tests.support import ROOT


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Space: the place of its persistent storage, which nobody has added yet; other folders are below `tmp_path`."""
    monkeypatch.setenv("SPACE_ID", "someone/ftlab")
    monkeypatch.delenv("FTLAB_HOME")
    monkeypatch.setattr(user_dirs, "SPACE_STORAGE", tmp_path / "data")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "data"


@pytest.fixture
def closed_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder that nobody may write."""
    home = tmp_path / "closed"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    allows = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home and allows(path, mode))


def test_the_folder_is_the_named_one_else_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "here"))
    assert user_dirs.get_ftlab_home() == tmp_path / "here"
    monkeypatch.delenv("FTLAB_HOME")
    assert user_dirs.get_ftlab_home() == Path.home() / ".ftlab"
    assert user_dirs.get_default_runs_dir() == Path("runs")


def test_a_space_with_storage_keeps_everything_there(space: Path) -> None:
    space.mkdir()
    assert user_dirs.is_storage_persistent()
    assert user_dirs.get_ftlab_home() == space / "ftlab"
    assert user_dirs.get_default_runs_dir() == space / "runs"


def test_a_space_without_storage_keeps_everything_in_a_temporary_folder(space: Path, tmp_path: Path) -> None:
    assert not user_dirs.is_storage_persistent()
    assert user_dirs.get_ftlab_home() == tmp_path / "temporary" / "ftlab-space" / "ftlab"
    assert user_dirs.get_default_runs_dir() == tmp_path / "temporary" / "ftlab-space" / "runs"
    space.touch()  # a file is no storage
    assert not user_dirs.is_storage_persistent()


def test_on_a_space_too_a_named_folder_takes_precedence(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.mkdir()
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "here"))
    assert user_dirs.get_ftlab_home() == tmp_path / "here"


@pytest.mark.usefixtures("closed_home")
def test_caches_go_below_ftlabs_folder_where_the_home_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "ftlab"))
    environment = {"FTLAB_HOME": str(tmp_path / "ftlab"), "MPLCONFIGDIR": "mine"}
    user_dirs.redirect_library_caches(environment)
    cache = tmp_path / "ftlab" / "cache"
    assert environment.pop("XDG_CACHE_HOME") == str(cache)
    assert environment.pop("TRITON_CACHE_DIR") == str(cache / "triton")
    assert environment.pop("CUDA_CACHE_PATH") == str(cache / "cuda")
    assert environment == {"FTLAB_HOME": str(tmp_path / "ftlab"), "MPLCONFIGDIR": "mine"}


@pytest.mark.usefixtures("closed_home", "space")
def test_a_space_needs_no_variable_for_that() -> None:
    environment = {"SPACE_ID": "someone/ftlab"}
    user_dirs.redirect_library_caches(environment)
    assert environment["XDG_CACHE_HOME"] == str(user_dirs.get_ftlab_home() / "cache")


@pytest.mark.usefixtures("closed_home")
def test_without_a_folder_of_ftlab_to_write_nothing_is_redirected() -> None:
    environment: dict[str, str] = {}
    user_dirs.redirect_library_caches(environment)
    assert environment == {}


def test_caches_stay_where_they_are_in_a_home_folder_that_can_be_written(tmp_path: Path) -> None:
    environment = {"FTLAB_HOME": str(tmp_path)}
    user_dirs.redirect_library_caches(environment)
    assert environment == {"FTLAB_HOME": str(tmp_path)}


def test_the_libraries_follow_and_write_nothing_into_a_home_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TORCH_HOME", "HF_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ftlab, matplotlib, torch.hub, huggingface_hub.constants as hub;"
            "print(matplotlib.get_configdir(), matplotlib.get_cachedir(), torch.hub.get_dir(), hub.HF_HOME)",
        ],
        env={**environment, "HOME": str(tmp_path / "file"), "FTLAB_HOME": str(tmp_path / "ftlab")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    cache = tmp_path / "ftlab" / "cache"
    assert answer.stdout.split() == [
        *(str(cache / name) for name in ("matplotlib", "matplotlib", "torch/hub", "huggingface")),
    ]
    assert answer.stderr == ""
