"""Images that a command is given: files, folders and patterns."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.cli.commands import explain, predict
from ftlab.cli.common.image_files import find_image_files
from ftlab.core.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as photographs are copied together: numbers, leftovers of systems, a format that is not read."""
    for name in ("1.jpg", "2.jpg", "10.jpg", "more/3.PNG", ".hidden.jpg", "@eaDir/thumb.jpg", "._1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "film.mov").write_bytes(b"x")
    return tmp_path


def test_a_folder_gives_the_images_of_a_scan_and_names_the_rest(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [file.relative_to(photos).as_posix() for file in find_image_files([str(photos)])]
    assert names == ["1.jpg", "2.jpg", "10.jpg", "more/3.PNG"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "phone.heic" in lines[0]
    assert "HEIC" in lines[0]
    assert ".mov 1" in lines[1]


def test_a_pattern_that_the_shell_left_gives_its_matches_in_natural_order(photos: Path) -> None:
    assert [file.name for file in find_image_files([f"{photos}/*.jpg"])] == ["1.jpg", "2.jpg", "10.jpg"]
    assert [file.name for file in find_image_files([f"{photos}/**/*.PNG"])] == ["3.PNG"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(photos: Path) -> None:
    (photos / "a[1].jpg").write_bytes(b"\xff\xd8\xff")
    assert [file.name for file in find_image_files([f"{photos}/a[1].jpg"])] == ["a[1].jpg"]


@pytest.mark.parametrize(
    ("name", "code"), [("{}/*.webp", "no_match"), ("{}/none.jpg", "no_file"), ("http://x/1.jpg", "address")]
)
def test_what_does_not_exist_is_refused_in_one_line(photos: Path, name: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        find_image_files([name.format(photos)])
    assert caught.value.code == f"data.{code}"
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("command", [predict.predict, explain.explain])
def test_they_are_looked_for_before_a_model_is_loaded(
    photos: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Namespace], int]
) -> None:
    monkeypatch.setattr(predict, "load_named_model", lambda _: pytest.fail("loaded"))
    monkeypatch.setattr(explain, "load_named_model", lambda _: pytest.fail("loaded"))
    options = Namespace(files=[f"{photos}/*.webp"], top=1, opacity=0.5, run="default", overlays=False, cluster=None)
    with pytest.raises(DataError, match=r"\*\.webp"):
        command(options)
