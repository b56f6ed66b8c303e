"""The Dataset tab: what a choice of pictures shows, and what it refuses."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ftlab.core.errors import DataError, FtlabError
from ftlab.data.dataset import catalog, scan
from ftlab.data.images.data_uri import crop_square
from ftlab.data.isolation.thumbnails import make_thumbnails
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice
from ftlab.ui.dataset import folder_browser, gallery_view, view
from ftlab.ui.dataset.actions import DatasetActions
from tests.support.page_outputs import SHOWN

EVIL = "<img src=x onerror=alert(1)>"


pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def shop(tmp_path: Path) -> DatasetActions:
    return DatasetActions(ServerProfile(tmp_path, tmp_path / "runs"))


def look(shop: DatasetActions, folder: Path | str, val: float = 0.25, test: float = 0.25) -> dict[str, Any]:
    return dict(zip(SHOWN, shop.show_dataset("folder", str(folder), val, test), strict=True))


def add_class(folder: Path, name: str, count: int = 8, colour: tuple[int, int, int] = (90, 90, 90)) -> None:
    (folder / name).mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (40, 30), colour).save(folder / name / f"{index}.jpg")


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


# --- a folder that can be used


def test_a_folder_shows_classes_and_counts_by_split_sizes_and_layout(shop: DatasetActions, tiny_folder: Path) -> None:
    shown = look(shop, tiny_folder)
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", shown["summary"])
    assert [text(row) for row in rows] == ["amber 4 2 2", "blue 4 2 2", "green 4 2 2", "All 12 6 6"]
    said = text(shown["summary"])
    assert "24 pictures 3 classes" in said
    assert "50 % are for training, 25 % for validation and 25 % for the test" in said
    assert str(tiny_folder) in said
    assert shown["problems"].count("Every file can be used") == 1


def test_the_reading_is_stated_and_one_choice_changes_it(shop: DatasetActions, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for outer, colour in (("photo", (90, 90, 90)), ("sketch", (250, 240, 230))):
        for inner in ("cat", "dog"):
            add_class(folder / outer, inner, colour=colour)
    refused = look(shop, folder)
    assert "hold folders of the same names (cat, dog)" in text(refused["summary"])
    assert (refused["layout"].visible, refused["layout"].value) == (True, "auto")
    place, remembered = shop.choose_layout("folder", str(folder), "inner_classes", {})
    assert remembered == {f"folder {folder}": "inner_classes"}
    shown = look(shop, place)
    assert "2 classes, because you chose that the folders in photo, sketch are the classes." in text(shown["summary"])
    assert shown["layout"].value == "inner_classes"
    source = data_choice.parse_source(shop.profile, "folder", place, 0.25, 0.25)
    assert source.to_config_fields()["layout"] == "inner_classes"
    assert shop.restore_choice(shown["kept"])[2] == place
    assert shop.choose_layout("folder", place, "auto", remembered) == [str(folder), {}]
    assert shop.choose_layout("folder", place, "<script>", "anything") == [str(folder), {}]
    assert look(shop, f"{folder}\n\n<script>")["layout"].value == "auto"


def test_sample_sets_have_no_folders_to_read(shop: DatasetActions) -> None:
    assert look(shop, "")["names"].visible is False


def test_a_row_of_pictures_a_class_is_shown_at_once_each_marked_with_its_split(
    shop: DatasetActions, tiny_folder: Path
) -> None:
    gallery = look(shop, tiny_folder)["gallery"]
    assert re.findall(r"<h3><bdi>(\w+)", gallery) == ["amber", "blue", "green"]
    assert gallery.count("<img") == 24
    assert gallery.count('class="dot val"') == 6


def test_an_answer_that_was_overtaken_is_not_given(
    shop: DatasetActions, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page: Any = SimpleNamespace(session_hash="one page")
    scan, overtaken = data_choice.scan_source, list[Any]()

    def slow(*given: Any, **more: Any) -> Any:
        overtaken.append(shop.show_dataset("folder", "", 0.25, 0.25, request=page))
        return scan(*given, **more)

    monkeypatch.setattr(data_choice, "scan_source", slow)
    late = shop.show_dataset("folder", str(tiny_folder), 0.25, 0.25, request=page)
    assert "Which folder?" in overtaken[0][0]
    assert late == [gr.skip()] * len(SHOWN)


def test_classes_have_their_names_in_the_pages_language(
    shop: DatasetActions, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_folder / "labels.csv").write_text("class,en,zh\namber,warm,琥珀<b>\n", encoding="utf-8")
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    shown = look(shop, tiny_folder)
    for part in ("summary", "gallery"):
        assert "<bdi>琥珀&lt;b&gt;</bdi>" in shown[part]
        assert "<bdi>blue</bdi>" in shown[part]
    assert ("琥珀<b>", "amber") in shown["classes"].choices


def test_shares_are_asked_for_only_where_the_layout_leaves_them_open(shop: DatasetActions, tmp_path: Path) -> None:
    def asked(*parts: str) -> tuple[bool, bool]:
        folder = tmp_path / "-".join(parts or ("flat",))
        for part in parts or ("",):
            add_class(folder / part, "ants")
            add_class(folder / part, "bees")
        shown = look(shop, folder)
        return shown["val"].visible, shown["test"].visible

    assert asked() == (True, True)
    assert asked("train", "test") == (True, False)
    assert asked("train", "val") == (False, False)


def test_other_shares_deal_the_same_pictures_again_as_a_new_scan_would(tiny_folder: Path) -> None:
    first = scan.scan(tiny_folder, val_share=0.15, test_share=0.15)
    for val, test in ((0.25, 0.25), (0.5, 0.0), (0.1, 0.6)):
        again = scan.resplit(first, val_share=val, test_share=test, seed=3)
        assert again == scan.scan(tiny_folder, val_share=val, test_share=test, seed=3)


def test_test_pictures_stay_test_pictures_when_validation_is_dealt_again(tmp_path: Path) -> None:
    for part in ("train", "test"):
        add_class(tmp_path / "set" / part, "ants")
        add_class(tmp_path / "set" / part, "bees")
    first = scan.scan(tmp_path / "set", val_share=0.15)
    again = scan.resplit(first, val_share=0.5, test_share=0.4, seed=0)
    assert again == scan.scan(tmp_path / "set", val_share=0.5, test_share=0.4)
    assert again.splits["test"] == first.splits["test"]


def test_files_are_looked_at_once_whoever_asks_and_again_when_asked_to(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = []
    real = scan.scan

    def counted(*given: Any, **named: Any) -> catalog.Catalog:
        scans.append(given)
        return real(*given, **named)

    monkeypatch.setattr(scan, "scan", counted)
    one = data_choice.DataSource("folder", tiny_folder, 0.15, 0.15)
    threads = [threading.Thread(target=data_choice.scan_source, args=(one,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data_choice.scan_source(data_choice.DataSource("folder", tiny_folder, 0.3, 0.3))
    assert len(scans) == 1
    data_choice.scan_source(one, fresh=True)
    assert len(scans) == 2


def test_a_scan_that_failed_is_tried_again(tmp_path: Path) -> None:
    source = data_choice.DataSource("folder", tmp_path / "pets", 0.15, 0.15)
    with pytest.raises(DataError):
        data_choice.scan_source(source)
    assert data_choice.find_scanned_catalog(source) is None
    add_class(tmp_path / "pets", "ants")
    add_class(tmp_path / "pets", "bees")
    assert len(data_choice.scan_source(source).classes) == 2
    assert data_choice.find_scanned_catalog(source) is not None


def test_the_choice_is_kept_for_a_reload(shop: DatasetActions, tiny_folder: Path) -> None:
    kept = look(shop, tiny_folder)["kept"]
    sample, folder, _, _, val, test = shop.restore_choice(kept)
    assert (sample, folder, val, test) == ("folder", str(tiny_folder), 0.25, 0.25)
    _, browse, shelf, *_ = shop.open_source_inputs(sample, folder)
    assert browse.visible
    assert "amber" in shelf


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {"sample": "../x"},
        {"sample": "folder", "folder": 3, "val": "x"},
        {"sample": "shapes", "val": 9, "test": -9},
        "folder",
    ],
)
def test_what_a_browser_kept_is_not_trusted(shop: DatasetActions, kept: object) -> None:
    _, folder, _, _, val, test = shop.restore_choice(kept)
    assert folder is None
    assert (val, test) in [(0.15, 0.15), (None, None), (0.9, 0.0)]


# --- a folder that cannot


def test_a_folder_that_cannot_be_used_gives_one_sentence_and_nothing_is_lost(
    shop: DatasetActions, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    shown = look(shop, tmp_path / "empty")
    assert 'role="alert"' in shown["summary"]
    assert str(tmp_path / "empty") in shown["summary"]
    assert shown["go"].interactive is False
    for left in ("val", "test", "kept"):
        assert "value" not in shown[left]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "No folder is given yet"),
        ("/etc", "is outside"),
        ("nowhere/at/all", "There is no folder"),
        ("a\0b", "is not a valid path"),
    ],
)
def test_what_is_typed_wrong_is_said(shop: DatasetActions, typed: str, said: str) -> None:
    with pytest.raises(FtlabError, match=said):
        data_choice.parse_source(shop.profile, "folder", typed, 0.15, 0.15)


def test_the_nearest_folder_that_exists_is_named(shop: DatasetActions, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=rf"nearest existing one is {re.escape(str(tmp_path.resolve() / 'photos'))}"):
        data_choice.parse_source(shop.profile, "folder", "photos/pets/ants", 0.15, 0.15)


def test_nobody_scans_the_whole_root_by_choosing_folder(shop: DatasetActions, tmp_path: Path) -> None:
    add_class(tmp_path, "ants")
    add_class(tmp_path, "bees")
    assert "Which folder?" in look(shop, f"{tmp_path}{os.sep}")["summary"]


def test_a_space_refuses_a_folder_whatever_is_sent(tmp_path: Path) -> None:
    closed = DatasetActions(ServerProfile(None, tmp_path, ProfileKind.SPACE))
    add_class(tmp_path / "pets", "ants")
    assert "does not read folders" in look(closed, tmp_path / "pets")["summary"]
    assert closed.render_listing(str(tmp_path)) == ""
    for sent in ({"folder": str(tmp_path)}, {}, None, [1], "x"):
        assert closed.pick_folder(SimpleNamespace(_data=sent)) == [gr.skip(), ""]  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [-1, 7, float("inf"), "x", None, True])
def test_a_share_stays_within_its_bounds_whatever_is_sent(tmp_path: Path, share: Any) -> None:
    source = data_choice.parse_source(ServerProfile(None, tmp_path), "shapes", "", share, share)
    assert 0.01 <= source.val_share <= 0.9
    assert 0.0 <= source.test_share <= 0.9


# --- words of a person


def test_class_and_file_names_are_escaped_wherever_they_land(shop: DatasetActions, tmp_path: Path) -> None:
    add_class(tmp_path / "pets", EVIL)
    add_class(tmp_path / "pets", "${alert(1)}`")
    (tmp_path / "pets" / EVIL / "<b>bad.jpg").write_bytes(b"\xff\xd8\xff")
    shown = look(shop, tmp_path / "pets")
    for part in ("summary", "problems", "gallery"):
        assert "<img src=x" not in shown[part]
        assert "<b>bad" not in shown[part]
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown["summary"]
    assert "&lt;img src=x" in shop.render_listing(str(tmp_path / "pets"))
    assert "<img" not in shop.render_listing(str(tmp_path / "pets"))


def test_the_reading_direction_of_a_name_stays_its_own_and_no_name_turns_the_page(
    shop: DatasetActions, tmp_path: Path
) -> None:
    for name in ("\u202eevil", "שלום"):
        add_class(tmp_path / "pets", name)
    (tmp_path / "pets" / "שלום" / "bad.jpg").write_bytes(b"")
    shown = look(shop, tmp_path / "pets")
    assert "<bdi>שלום</bdi>" in shown["summary"]
    assert r"<bdi>\u202eevil</bdi>" in shown["summary"]
    assert '<bdi dir="ltr">שלום/bad.jpg</bdi>' in shown["problems"]
    assert "\u202e" not in "".join(shown[part] for part in ("summary", "problems", "gallery"))
    assert (r"\u202eevil", "\u202eevil") in shown["classes"].choices


# --- problems


def test_problems_are_listed_with_file_reason_and_remedy_and_equal_ones_stand_together(
    shop: DatasetActions, tiny_folder: Path
) -> None:
    for index in range(9):
        (tiny_folder / "amber" / f"empty{index}.png").touch()
    (tiny_folder / "blue" / "page.jpg").write_text("<html>")
    said = look(shop, tiny_folder)["problems"]
    assert "Problems: 10" in text(said)
    assert said.count("The file is empty.") == 1
    assert "Copy or download it again." in said
    assert all(f"amber/empty{index}.png" in said for index in range(9))
    assert "6 more files" in said
    assert "blue/page.jpg" in said


def test_a_long_list_of_problems_is_counted(shop: DatasetActions, tiny_folder: Path) -> None:
    for index in range(view.MAX_LISTED_PROBLEMS + 17):
        (tiny_folder / "amber" / f"empty{index}.png").touch()
    assert "… and 17 more." in text(look(shop, tiny_folder)["problems"])


# --- pictures


def test_pages_of_a_class_show_every_picture_and_begin_again(shop: DatasetActions, tmp_path: Path) -> None:
    add_class(tmp_path / "pets", "ants", count=100)
    add_class(tmp_path / "pets", "bees", count=3)
    given = ("folder", str(tmp_path / "pets"), 0.25, 0.25, "ants", gallery_view.ALL_CHOICE)
    page, first = shop.show_first_page(*given)
    seen = set(re.findall(r"ants/\d+\.jpg", first))
    assert len(seen) == gallery_view.IMAGES_PER_PAGE
    for turned in (1, 2, 3):
        page, gallery = shop.show_next_page(*given, page)
        assert page == turned
        assert gallery.count("<img") == gallery_view.IMAGES_PER_PAGE
        seen |= set(re.findall(r"ants/\d+\.jpg", gallery))
    assert len(seen) == 100


def test_a_split_shows_its_pictures_only(shop: DatasetActions, tiny_folder: Path) -> None:
    _, gallery = shop.show_first_page("folder", str(tiny_folder), 0.25, 0.25, gallery_view.ALL_CHOICE, "val")
    assert gallery.count("<img") == 6
    assert set(re.findall(r'class="dot (\w+)"', gallery)) == {"val"}


def test_many_classes_are_shown_a_dozen_at_a_time(shop: DatasetActions, tmp_path: Path) -> None:
    for index in range(15):
        add_class(tmp_path / "pets", f"class{index}", count=2)
    gallery = look(shop, tmp_path / "pets", test=0.0)["gallery"]
    assert re.findall(r"<h3><bdi>(\w+)", gallery) == [f"class{index}" for index in range(12)]
    assert "Classes 1 to 12 of 15" in text(gallery)
    _, gallery = shop.show_next_page(
        "folder", str(tmp_path / "pets"), 0.25, 0.0, gallery_view.ALL_CHOICE, gallery_view.ALL_CHOICE, 0
    )
    assert re.findall(r"<h3><bdi>(\w+)", gallery) == ["class12", "class13", "class14"]


def test_a_thumbnail_is_the_middle_square() -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    assert crop_square(pixels, 10).shape == (10, 10, 3)
    assert crop_square(pixels, 10)[:, 1:-1].min() == 255


def test_a_picture_that_has_gone_leaves_a_note_and_one_that_is_mended_appears(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    assert make_thumbnails([file]) == [None]
    Image.new("RGB", (9, 9)).save(file)
    assert str(make_thumbnails([file])[0]).startswith("data:image/jpeg;base64,")


# --- finding a folder


def test_the_shelf_lists_what_begins_like_what_is_typed(tmp_path: Path) -> None:
    root = (tmp_path / "home").resolve()
    for name in ("Pets", "pears", "photos", ".hidden"):
        (root / name).mkdir(parents=True)
    (root / "people.txt").touch()

    def names(typed: str) -> list[str]:
        return [one.path.name for one in folder_browser.list_folder(root, typed).entries]

    assert names(f"{root}/") == ["pears", "Pets", "photos"]
    assert names(f"{root}/pe") == ["pears", "Pets"]
    assert names("ph") == ["photos"]
    assert names(".h") == [".hidden"]
    assert names(f"{root}/Pets") == []
    assert names("photos/no/such/thing") == []
    assert names("ph/no/such/thing") == ["photos"]


def test_the_shelf_leads_back_up_to_the_root_and_no_further(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "a" / "b").mkdir(parents=True)
    assert folder_browser.list_folder(root, "a/b/").ancestors == (root, root / "a", root / "a" / "b")
    with pytest.raises(DataError):
        folder_browser.list_folder(root, "..")


def test_the_shelf_says_where_pictures_are(tiny_folder: Path) -> None:
    root = tiny_folder.parent.resolve()
    (root / "notes").mkdir(exist_ok=True)
    assert {
        one.path.name: one.content
        for one in folder_browser.list_folder(root, "").entries
        if one.path.name in ("tiny", "notes")
    } == {
        "tiny": "classes",
        "notes": "",
    }
    assert {one.content for one in folder_browser.list_folder(root, "tiny/").entries} == {"own"}


def test_the_shelf_shows_no_link_that_leads_out(tmp_path: Path) -> None:
    root = (tmp_path / "root").resolve()
    (root / "pets").mkdir(parents=True)
    (root / "out").symlink_to("/")
    assert [one.path.name for one in folder_browser.list_folder(root, "").entries] == ["pets"]


def test_pressing_a_folder_goes_in_and_pressing_one_outside_does_not(shop: DatasetActions, tmp_path: Path) -> None:
    (tmp_path / "pets" / "ants").mkdir(parents=True)
    typed, shelf = shop.pick_folder(SimpleNamespace(_data={"folder": str(tmp_path / "pets")}))  # type: ignore[arg-type]
    assert typed == f"{tmp_path.resolve() / 'pets'}{os.sep}"
    assert "ants" in shelf
    typed, shelf = shop.pick_folder(SimpleNamespace(_data={"folder": "/etc"}))  # type: ignore[arg-type]
    assert typed == gr.skip()
    assert "pets" in shelf
