"""Names of classes for people: in the page's language, from beside the pictures or shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset import class_names
from ftlab.data.dataset.scan import scan
from ftlab.data.samples.sample_sets import SAMPLE_SETS
from tests.support import ROOT


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")


def listed(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.usefixtures("chinese")
def test_a_list_beside_the_pictures_names_their_classes(tiny_folder: Path) -> None:
    for place in (tiny_folder, tiny_folder.parent):
        listed(place, "class,en,zh\namber,warm yellow,琥珀色\nblue,deep blue,\n")
        known = class_names.find_display_names(tiny_folder, ("amber", "blue", "green"))
        assert class_names.get_display_name("amber", known) == "琥珀色"
        assert class_names.get_display_name("blue", known) == "deep blue", "English where the page's language has none"
        assert class_names.get_display_name("green", known) == "green", "its own where nothing is said"
        (place / "labels.csv").unlink()


def test_in_english_the_english_names_are_shown(tiny_folder: Path) -> None:
    listed(tiny_folder, "class,en,zh\namber,warm yellow,琥珀色\n")
    assert (
        class_names.get_display_name("amber", class_names.find_display_names(tiny_folder, ("amber",))) == "warm yellow"
    )


def test_the_list_is_neither_a_picture_nor_a_list_of_pictures(tiny_folder: Path) -> None:
    before = scan(tiny_folder)
    listed(tiny_folder, "class,en,zh\namber,warm yellow,琥珀色\nblue,blue,蓝\n")
    after = scan(tiny_folder)
    assert after.compute_fingerprint() == before.compute_fingerprint()
    assert after.problems == before.problems == ()


def test_a_list_of_pictures_of_that_name_is_no_list_of_names(tiny_folder: Path) -> None:
    listed(tiny_folder, "path,class\namber/0.jpg,amber\n")
    assert class_names.find_display_names(tiny_folder, ("amber",)) == {}
    assert class_names.find_label_problems(tiny_folder) == []


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "en,zh\nx,y\n"])
def test_another_file_of_that_name_is_passed_over(tiny_folder: Path, text: str) -> None:
    listed(tiny_folder, text)
    assert scan(tiny_folder).problems == ()
    assert class_names.find_display_names(tiny_folder, ("amber",)) == {}


def test_a_list_without_a_language_is_named_and_stops_nothing(tiny_folder: Path) -> None:
    listed(tiny_folder, "class\namber\n")
    found = scan(tiny_folder)
    assert [(one.file, one.code) for one in found.problems] == [("labels.csv", "names_columns")]
    assert class_names.find_display_names(tiny_folder, ("amber",)) == {}


def test_a_list_in_an_old_encoding_is_named(tiny_folder: Path) -> None:
    (tiny_folder / "labels.csv").write_bytes("class,en,zh\namber,x,琥珀".encode("gb18030"))
    assert [one.code for one in scan(tiny_folder).problems] == ["names_unreadable"]
    with pytest.raises(DataError):
        class_names.read_display_names(tiny_folder / "labels.csv")


def test_spreadsheets_marks_and_accents_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("class,en,zh\r\ncafe\u0301,coffee house,咖啡馆\r\n".encode("utf-8-sig"))
    known = class_names.find_display_names(tmp_path, ("caf\u00e9",))
    assert (
        class_names.get_display_name("caf\u00e9", known)
        == class_names.get_display_name("cafe\u0301", known)
        == "coffee house"
    )


@pytest.mark.usefixtures("chinese")
def test_the_sample_sets_have_names_in_both_languages(tmp_path: Path) -> None:
    for one in SAMPLE_SETS.values():
        known = class_names.find_display_names(tmp_path, one.class_names)
        assert all(class_names.get_display_name(name, known) != name for name in one.class_names)
    assert (
        class_names.get_display_name("umbrella", class_names.find_display_names(tmp_path, ("umbrella", "mug")))
        == "雨伞"
    )


@pytest.mark.usefixtures("chinese")
def test_all_of_caltech_101_has_names(tmp_path: Path) -> None:
    shipped = map(class_names.read_display_names, (ROOT / "ftlab" / "data" / "dataset" / "class_names").glob("*.csv"))
    (known,) = (names for names in shipped if "yin_yang" in names)
    assert len(known) == 101
    assert all(set(one) == {"en", "zh"} for one in known.values())
    assert len({one["zh"] for one in known.values()}) == 101
    assert all(any("\u4e00" <= c <= "\u9fff" for c in one["zh"]) for one in known.values())
    assert all(one["zh"].isprintable() and "_" not in one["en"] for one in known.values())
    assert (
        class_names.get_display_name("cougar_body", class_names.find_display_names(tmp_path, tuple(known)))
        == "美洲狮（全身）"
    )


def test_what_ftlab_names_only_in_part_keeps_its_own_names(tmp_path: Path) -> None:
    assert class_names.find_display_names(tmp_path, ("umbrella", "my cat")) == {}


def test_what_travels_with_the_weights_names_the_classes_and_no_others() -> None:
    known = {"a": {"zh": "甲"}, "b": {"zh": "乙"}}
    assert class_names.select_display_names(known, ("b", "c")) == {"b": {"zh": "乙"}}
