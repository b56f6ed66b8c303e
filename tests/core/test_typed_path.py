"""Paths as people type and paste them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.core.typed_path import parse_typed_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder whose name has a space, a number sign and an accent."""
    folder = tmp_path / "my phötos #1"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("form", ['"{}"', "'{}'", " {}\n", "“{}”", ' "{}" ', "{}"])
def test_quotes_and_white_space_around_a_path_are_removed(photos: Path, form: str) -> None:
    assert parse_typed_path(form.format(photos)) == photos


def test_a_file_address_is_a_path(photos: Path) -> None:
    assert parse_typed_path(photos.as_uri()) == photos
    assert parse_typed_path(f'"{photos.as_uri()}"') == photos
    if os.sep == "/":
        assert parse_typed_path(f"file://localhost{photos}") == photos
        assert parse_typed_path(f"FILE:{photos}") == photos
        assert parse_typed_path("file://nas/share") == Path("//nas/share")


@pytest.mark.skipif(os.sep == "\\", reason="backslashes separate folders on Windows")
def test_backslashes_of_a_shell_are_removed_where_that_gives_a_path(photos: Path) -> None:
    escaped = str(photos).replace(" ", "\\ ").replace("#", "\\#")
    assert parse_typed_path(escaped) == photos
    assert parse_typed_path("no\\ such") == Path("no\\ such")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no quotes in names")
def test_a_path_that_exists_as_typed_is_taken_as_typed(tmp_path: Path) -> None:
    quoted = tmp_path / "'quoted'"
    quoted.mkdir()
    assert parse_typed_path(str(quoted)) == quoted
    assert parse_typed_path(quoted) == quoted


@pytest.mark.parametrize("address", ["https://example.org/a.zip", '"HTTP://x"', "hf://datasets/x", "s3://bucket/x"])
def test_an_address_on_the_network_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(DataError, match="addresses are not fetched") as caught:
        parse_typed_path(address)
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_no_path_is_left_to_whoever_opens_it() -> None:
    assert parse_typed_path("a\0b") == Path("a\0b")
    assert parse_typed_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert parse_typed_path("~") == Path.home()
