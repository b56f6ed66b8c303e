"""A zip that a visitor sends: found again by its sender alone, kept while it is used, as far as there is room."""

from __future__ import annotations

import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources.archive_entries import ArchiveLimits
from ftlab.runs import run_store
from ftlab.runs.liveness import RunLiveness
from ftlab.runs.queue import train_command
from ftlab.server.paths import get_visitors_dir, resolve_inside
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.server.upload_quota import UPLOAD_QUOTA_BYTES
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.dataset import folder_browser
from ftlab.ui.dataset.actions import DatasetActions
from tests.support import drawn_images, small_archives
from tests.support.page_outputs import SHOWN
from tests.support.people import HOST

PICTURE = drawn_images.png(64, 48)


pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def space(tmp_path: Path) -> ServerProfile:
    return ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE)


@pytest.fixture
def local(tmp_path: Path) -> ServerProfile:
    return ServerProfile(tmp_path, tmp_path / "runs")


def zipped(name: str = "pets.zip", classes: tuple[str, ...] = ("ants", "bees"), each: int = 4) -> Path:
    """A zip among Gradio's uploads."""
    place = Path(get_upload_folder()) / f"sha of {name}"
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / name, "w") as out:
        for label in classes:
            for number in range(each):
                out.writestr(f"{label}/{number}.png", PICTURE)
    return place / name


def send(shop: DatasetActions, file: Path, before: str = "") -> tuple[Any, Any, list[Any]]:
    sent, place, *shown = shop.receive_upload(str(file), before, 0.25, 0.25)
    return sent, place, shown


def refused(token: str) -> str:
    with pytest.raises(DataError) as caught:
        uploads.find_upload(token, HOST)
    return caught.value.code


# --- sending


def test_a_visitor_of_a_space_sends_a_zip_and_sees_what_is_in_it(space: ServerProfile) -> None:
    file = zipped()
    sent, place, shown = send(DatasetActions(space), file)
    assert sent == place
    assert "8</dd>" in shown[0]
    assert "ants" in shown[0]
    assert shown[9].interactive
    assert "pets" in re.sub(r"<[^>]*>", "", shown[0]), "it is called as the zip is"
    assert sent not in shown[0]
    assert not file.exists(), "the zip itself is not kept"


@pytest.mark.usefixtures("faulty_decoder")
def test_images_in_a_zip_that_crash_the_decoder_or_take_all_memory_are_named_and_left_out(space: ServerProfile) -> None:
    file = zipped()
    with zipfile.ZipFile(file, "a") as out:
        for name in ("ants/aborts.png", "bees/eats.png"):
            out.writestr(name, PICTURE)
    sent, _, shown = send(DatasetActions(space), file)
    assert "8</dd>" in shown[0], "the others are read"
    problems = re.sub(r"<[^>]*>", " ", shown[1])
    assert re.search(r"made the image decoder crash.*ants/aborts\.png", problems)
    assert re.search(r"more than 500 MB.*bees/eats\.png", problems)
    assert sent not in shown[1]


# --- names in an encoding that the zip does not say

GARBLED = "кот".encode("cp866").decode("cp852")


def legacy_zip(file: Path | None = None) -> Path:
    """A zip whose names are written in code page 866, among Gradio's uploads unless it is to lie elsewhere."""
    place = Path(get_upload_folder()) / "sha"
    place.mkdir(parents=True, exist_ok=True)
    names = [f"{label}/{number}.png".encode("cp866") for label in ("кот", "пёс") for number in range(4)]
    return small_archives.write_legacy_zip(file or place / "pets.zip", dict.fromkeys(names, PICTURE))


def choose(shop: DatasetActions, token: str, encoding: object) -> tuple[Any, Any, dict[str, Any]]:
    """New token, location and what is shown after a choice in the menu of encodings."""
    sent, place, _, *shown = shop.choose_name_encoding("upload", token, 0.25, 0.25, encoding, {})
    return sent, place, dict(zip(SHOWN, shown, strict=True))


def kept_zips() -> list[str]:
    """Tokens of the uploads whose zips are still there."""
    return [file.parent.name for file in get_visitors_dir().rglob("*.zip")]


def test_names_are_read_in_another_encoding_from_the_zip_that_was_sent(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    token, _, shown = send(shop, legacy_zip())
    menu = shown[-2]
    assert "кот" in shown[0]
    assert (menu.visible, menu.value) == (True, ""), "the names do not say their encoding"
    for encoding, shown_name in (("cp852", GARBLED), ("", "кот"), ("cp866", "кот"), ([1], "кот")):
        before, (token, place, page) = token, choose(shop, token, encoding)
        assert token == place
        assert shown_name in page["summary"]
        assert "pets" in re.sub(r"<[^>]*>", "", page["summary"]), "the set keeps the name of the zip"
        assert page["names"].visible
        assert page["names"].value == (encoding if encoding in ("cp852", "cp866") else "")
        assert refused(before) == "page.upload_gone"
        assert kept_zips() == [token]


def test_an_encoding_that_the_names_are_not_in_is_refused_and_changes_nothing(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    token, _, _ = send(shop, legacy_zip())
    sent, place, page = choose(shop, token, "utf-8")
    assert (sent, place) == (gr.skip(), gr.skip())
    assert "is not in the encoding utf-8" in page["summary"]
    assert "кот" in page["summary"]
    assert (page["names"].visible, page["names"].value) == (True, "")
    assert "кот" in choose(shop, token, "cp866")[2]["summary"], "the zip is still there"


def test_a_new_zip_is_read_as_it_suggests_whatever_was_chosen_for_the_one_before(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    token = choose(shop, send(shop, legacy_zip())[0], "cp852")[0]
    _, _, shown = send(shop, legacy_zip(), token)
    assert "кот" in shown[0]
    assert shown[-2].value == ""


def test_a_zip_whose_names_say_their_encoding_is_not_kept_and_has_no_menu(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    token, _, shown = send(shop, zipped(classes=("кот", "пёс")))
    assert not shown[-2].visible
    assert not kept_zips()
    assert "Send it again" in choose(shop, token, "cp866")[2]["summary"]
    assert uploads.find_upload(token, HOST).is_dir()


def test_a_kept_zip_counts_towards_the_limits_on_uploads(space: ServerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, file = DatasetActions(space), legacy_zip()
    zip_bytes = file.stat().st_size
    token, _, _ = send(shop, file)
    used_bytes = uploads.open_upload_quota(space).measure_used_bytes()
    assert used_bytes >= 8 * len(PICTURE) + zip_bytes
    monkeypatch.setattr(uploads, "UPLOAD_QUOTA_BYTES", used_bytes + 4 * len(PICTURE))
    assert "no space" in choose(shop, token, "cp852")[2]["summary"]
    monkeypatch.setattr(uploads, "UPLOAD_QUOTA_BYTES", used_bytes + 8 * len(PICTURE))
    assert GARBLED in choose(shop, token, "cp852")[2]["summary"]


def test_a_training_keeps_the_pictures_that_it_reads_when_the_names_are_read_anew(
    space: ServerProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = DatasetActions(space)
    token, _, _ = send(shop, legacy_zip())
    run_store.create_run(space.runs_dir, TrainConfig(data=str(uploads.find_upload(token, HOST))))
    monkeypatch.setattr(RunLiveness, "is_active", lambda _self: True)
    new_token, _, _ = choose(shop, token, "cp852")
    assert uploads.find_upload(token, HOST).is_dir()
    assert kept_zips() == [new_token]


def test_a_zip_that_the_page_did_not_store_is_not_moved(space: ServerProfile, tmp_path: Path) -> None:
    file = legacy_zip(tmp_path / "mine.zip")
    send(DatasetActions(space), file)
    assert file.exists()
    assert not kept_zips()


def test_a_zip_below_the_servers_folder_is_read_anew_by_its_path_and_trained_on_so(
    local: ServerProfile, tmp_path: Path
) -> None:
    shop, path = DatasetActions(local), str(legacy_zip(tmp_path / "pets.zip"))
    shown = shop.show_dataset("folder", path, 0.25, 0.25)
    assert "кот" in shown[0]
    assert (shown[-2].visible, shown[-2].value) == (True, "")
    sent, place, remembered, *shown = shop.choose_name_encoding(
        "folder", path, 0.25, 0.25, "cp852", {"folder x": "gbk"}
    )
    assert sent == gr.skip()
    assert remembered == {"folder x": "gbk", f"folder {path}": "cp852"}
    assert GARBLED in shown[0]
    assert (shown[-2].visible, shown[-2].value) == (True, "cp852")
    source = data_choice.parse_source(local, "folder", place, 0.25, 0.25)
    assert source.to_config_fields()["zip_names"] == "cp852"
    _, place, remembered, *shown = shop.choose_name_encoding("folder", place, 0.25, 0.25, "", remembered)
    assert (place, remembered) == (path, {"folder x": "gbk"})
    assert "кот" in shown[0]
    (tmp_path / "pets").mkdir()
    folder = data_choice.join_location(str(tmp_path / "pets"), "", zip_names="cp852")
    assert data_choice.parse_source(local, "folder", folder, 0.25, 0.25).zip_names == "", "a folder has no such names"


def test_others_read_the_zips_of_a_server_as_it_detects_and_do_not_fill_its_disk(tmp_path: Path) -> None:
    profile = ServerProfile(tmp_path, tmp_path / "runs", ProfileKind.NETWORK)
    path = str(legacy_zip(tmp_path / "pets.zip"))
    shop = DatasetActions(profile)
    shown = shop.show_dataset("folder", path, 0.25, 0.25)
    assert "кот" in shown[0]
    assert not shown[-2].visible
    location = data_choice.join_location(path, "", zip_names="cp852")
    assert data_choice.parse_source(profile, "folder", location, 0.25, 0.25).zip_names == ""


def test_a_training_reads_what_was_sent_by_a_command_that_works_when_typed(space: ServerProfile) -> None:
    sent, _, _ = send(DatasetActions(space), zipped())
    source = data_choice.parse_source(space, "upload", sent, 0.25, 0.25)
    settings = TrainConfig(**source.to_config_fields())  # type: ignore[arg-type]
    assert Path(settings.data).is_dir()
    words = train_command.build_train_command(settings, space.runs_dir)
    assert words[words.index("--data") + 1] == str(source.folder)
    assert data_choice.scan_source(source).classes == ("ants", "bees")


def test_a_zip_that_is_refused_leaves_what_was_sent_before_as_it_is(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    first, _, _ = send(shop, zipped())
    bad = zipped("bad.zip", each=0)
    sent, place, shown = send(shop, bad, first)
    assert (sent, place) == (gr.skip(), gr.skip())
    assert "There are no pictures in bad.zip" in shown[0]
    assert "ants" in shown[0]
    assert shown[9].interactive
    assert not bad.exists()
    assert uploads.find_upload(first, HOST).is_dir()


def test_a_first_zip_that_is_refused_leaves_nothing(space: ServerProfile) -> None:
    _, _, shown = send(DatasetActions(space), zipped(each=0))
    assert 'role="alert"' in shown[0]
    assert not shown[9].interactive
    assert file_io.get_folder_size(get_visitors_dir()) == 0


def test_a_new_zip_takes_the_place_of_the_one_before(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    first, _, _ = send(shop, zipped())
    second, _, _ = send(shop, zipped("more.zip"), first)
    assert refused(first) == "page.upload_gone"
    assert [one.name for one in get_visitors_dir().iterdir()] == [second]


def test_a_file_that_is_not_among_the_uploads_is_not_removed(space: ServerProfile, tmp_path: Path) -> None:
    elsewhere = zipped().rename(tmp_path / "mine.zip")
    send(DatasetActions(space), elsewhere)
    assert elsewhere.exists()


def test_nothing_sent_yet_says_how(space: ServerProfile) -> None:
    shown = DatasetActions(space).show_dataset("upload", "", 0.25, 0.25)
    assert "Which zip?" in shown[0]
    assert not shown[9].interactive


# --- whose it is


def test_a_name_cannot_be_guessed_or_bent(space: ServerProfile) -> None:
    names = {send(DatasetActions(space), zipped(f"{number}.zip"))[0] for number in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{32}0{16}", name) for name in names)
    for bent in ("..", ".", "../samples", f"{min(names)}/..", min(names).upper() + "\0", "0" * 48, "a" * 47, "*"):
        assert refused(bent) == "page.upload_gone"
    assert refused("") == "page.no_upload"


def test_no_path_that_is_typed_leads_to_what_others_sent(tmp_path: Path) -> None:
    home = user_dirs.get_ftlab_home()
    profile = ServerProfile(home.parent.resolve(), tmp_path / "runs")
    sent, _, _ = send(DatasetActions(profile), zipped())
    for typed in (get_visitors_dir(), get_visitors_dir() / sent, uploads.find_upload(sent, HOST)):
        with pytest.raises(DataError, match="is outside"):
            resolve_inside(profile.data_root, typed)
    with pytest.raises(DataError, match="is outside"):
        folder_browser.list_folder(home.parent.resolve(), f"{home}/")
    assert home.name not in [one.path.name for one in folder_browser.list_folder(home.parent.resolve(), "").entries]
    with pytest.raises(DataError, match="is outside"):
        data_choice.parse_source(profile, "folder", str(home), 0.15, 0.15)
    assert data_choice.parse_source(profile, "upload", sent, 0.15, 0.15).folder == uploads.find_upload(sent, HOST)


@pytest.mark.skipif(os.name == "nt", reason="rights are others on Windows")
def test_other_people_of_the_machine_cannot_look_into_it(space: ServerProfile) -> None:
    sent, _, _ = send(DatasetActions(space), zipped())
    assert (get_visitors_dir() / sent).stat().st_mode & 0o077 == 0


def test_the_browser_finds_it_again_after_a_reload(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    sent, _, shown = send(shop, zipped())
    sample, _, place, *_ = shop.restore_choice(shown[10], sent)
    assert (sample, place) == ("upload", sent)
    assert shop.open_source_inputs(sample, "")[3].visible
    assert "8</dd>" in shop.show_dataset(sample, place, 0.25, 0.25)[0]
    assert shop.restore_choice(shown[10], None)[2] == ""


# --- how long it stays


def age(token: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(get_visitors_dir() / token, (then, then))


def test_what_nobody_used_for_a_while_is_removed_and_that_is_said(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    old, _, _ = send(shop, zipped())
    new, _, _ = send(shop, zipped("new.zip"))
    age(old, uploads.SPACE_RETENTION_SECONDS + 60)
    age(new, uploads.SPACE_RETENTION_SECONDS - 60)
    uploads.remove_expired_uploads(space)
    assert refused(old) == "page.upload_gone"
    assert "it was not used for a while" in shop.show_dataset("upload", old, 0.25, 0.25)[0]
    assert uploads.find_upload(new, HOST)


def test_looking_at_it_counts_as_use(space: ServerProfile) -> None:
    shop = DatasetActions(space)
    sent, _, _ = send(shop, zipped())
    age(sent, uploads.SPACE_RETENTION_SECONDS - 60)
    shop.show_first_page("upload", sent, 0.25, 0.25, "", "")
    assert time.time() - (get_visitors_dir() / sent).stat().st_mtime < 60


def test_what_a_training_reads_stays_whatever_its_age(space: ServerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = DatasetActions(space)
    sent, _, _ = send(shop, zipped())
    run = run_store.create_run(space.runs_dir, TrainConfig(data=str(uploads.find_upload(sent, HOST))))
    age(sent, uploads.SPACE_RETENTION_SECONDS * 9)
    monkeypatch.setattr(RunLiveness, "is_active", lambda _self: True)
    uploads.remove_expired_uploads(space)
    second, _, _ = send(shop, zipped("second.zip"), sent)
    assert uploads.find_upload(sent, HOST).is_dir(), "not removed for its age, nor for the next one"
    assert uploads.find_upload(second, HOST).is_dir()
    assert run.path.is_dir()
    monkeypatch.undo()


def test_what_a_killed_server_left_half_unpacked_is_removed(space: ServerProfile) -> None:
    left = get_visitors_dir() / ".x-abc.part"
    left.mkdir(parents=True)
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    uploads.remove_expired_uploads(space)
    assert not left.exists()


# --- how much there is room for


def test_all_visitors_together_have_a_quota(space: ServerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_QUOTA_BYTES", 34 * len(PICTURE))  # each zip counts while it is there
    shop = DatasetActions(space)
    first, _, _ = send(shop, zipped())
    second, _, _ = send(shop, zipped("second.zip"))
    _, _, shown = send(shop, zipped("third.zip"))
    assert "no space for more uploads" in shown[0]
    assert {one.name for one in get_visitors_dir().iterdir()} == {first, second}
    age(first, uploads.SPACE_RETENTION_SECONDS + 60)
    assert "8</dd>" in send(shop, zipped("third.zip"))[2][0]


def test_a_stranger_may_send_less_than_somebody_at_home(space: ServerProfile, local: ServerProfile) -> None:
    assert uploads.SPACE_UNPACK_LIMITS.max_bytes < uploads.UNPACK_LIMITS.max_bytes <= UPLOAD_QUOTA_BYTES
    assert uploads.SPACE_UNPACK_LIMITS.max_entries < uploads.UNPACK_LIMITS.max_entries
    assert uploads.get_retention_seconds(space) < uploads.get_retention_seconds(local)


def test_a_zip_of_more_than_a_stranger_may_send_is_refused(
    space: ServerProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SPACE_UNPACK_LIMITS", ArchiveLimits(max_entries=10, max_bytes=1 << 20))
    _, _, shown = send(DatasetActions(space), zipped(each=9))
    assert "more than 10 entries" in shown[0]


# --- a zip or a list below the server's folder


@pytest.mark.usefixtures("tiny_folder")
def test_a_zip_and_a_list_are_offered_and_scanned_like_a_folder(local: ServerProfile, tmp_path: Path) -> None:
    zipped().rename(tmp_path / "pets.zip")
    (tmp_path / "tiny.csv").write_text(
        "path,label\n" + "".join(f"tiny/amber/amber_{n}.jpg,{'ab'[n % 2]}\n" for n in (1, 2, 3, 5, 6, 7))
    )
    shop = DatasetActions(local)
    offered = {one.path.name: one.content for one in folder_browser.list_folder(tmp_path.resolve(), "").entries}
    assert (offered["pets.zip"], offered["tiny.csv"], offered["tiny"]) == ("zip", "list", "classes")
    typed, _ = shop.pick_folder(gr.EventData(None, {"folder": str(tmp_path / "pets.zip")}))
    assert typed == str(tmp_path / "pets.zip")
    assert "8</dd>" in shop.show_dataset("folder", typed, 0.25, 0.25)[0]
    shown = shop.show_dataset("folder", str(tmp_path / "tiny.csv"), 0.25, 0.25)
    assert "tiny.csv" in shown[0]
    assert "Classes as in the list" in shown[0]
    assert shown[7].visible
    with pytest.raises(DataError, match="There is no folder"):
        data_choice.parse_source(local, "folder", "notes.txt", 0.15, 0.15)
