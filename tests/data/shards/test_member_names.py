"""Names of members: where WebDataset cuts them, and keys that it does not cut."""

from __future__ import annotations

import pytest

from ftlab.data.shards.member_names import KeyMaker, get_image_extension, is_metadata_name, split_member_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1.jpg", ("1", "jpg")),
        ("train/ants/1.JPG", ("train/ants/1", "jpg")),
        ("v1.0/1.seg.png", ("v1.0/1", "seg.png")),
        ("2024.01.02.jpg", ("2024", "01.02.jpg")),
        ("README", None),
        ("a/.hidden", None),
        ("a.b/c", None),
    ],
)
def test_the_first_dot_of_the_file_name_ends_the_key(name: str, expected: tuple[str, str] | None) -> None:
    assert split_member_name(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("__key__", True), ("__a__/1.jpg", True), ("__a__.jpg", False)])
def test_members_with_names_of_metadata_belong_to_no_sample(name: str, *, expected: bool) -> None:
    assert is_metadata_name(name) is expected


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("train/ants/1.jpg", "train/ants/1"),
        ("v1.0/ants/IMG.2024.01.jpeg", "v1.0/ants/IMG_2024_01"),
        ("ants/no suffix.v2", "ants/no suffix_v2"),
        ("../outside/1.png", "outside/1"),
        ("/data/1.png", "data/1"),
        ("C:/data/1.png", "C_/data/1"),
        ("a\nb/1.png", "a_b/1"),
        ("__meta__/1.png", "_meta/1"),
        (".hidden.png", "_hidden"),
    ],
)
def test_a_key_is_cut_nowhere_and_stays_in_its_folder(path: str, key: str) -> None:
    assert KeyMaker().make_key(path) == key
    name = f"{key}.{get_image_extension(path)}"
    assert split_member_name(name) == (key, get_image_extension(path))
    assert not is_metadata_name(name)


def test_keys_that_would_be_equal_are_numbered() -> None:
    maker = KeyMaker()
    paths = ["a/1.jpg", "a/1.png", "a/1.5.jpg", "a/1_5.jpg", "a/1-2.jpg"]
    assert [maker.make_key(path) for path in paths] == ["a/1", "a/1-2", "a/1_5", "a/1_5-2", "a/1-2-2"]


def test_a_file_without_the_suffix_of_an_image_has_an_extension_all_the_same() -> None:
    assert [get_image_extension(path) for path in ("a/1.TIFF", "a/1", "a/1.scan")] == ["tiff", "img", "img"]
