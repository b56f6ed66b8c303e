"""A zip that a visitor sends: found again by its sender alone, kept while it is used, as far as there is room."""

from __future__ import annotations

import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import drawn
import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import archive
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.access import Profile, inside, visitors
from ftlab.ui.dataset import folder_browser
from ftlab.ui.dataset.actions import Shop

PICTURE = drawn.png(64, 48)


pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def space(tmp_path: Path) -> Profile:
    return Profile(None, tmp_path / "runs", space=True)


@pytest.fixture
def local(tmp_path: Path) -> Profile:
    return Profile(tmp_path, tmp_path / "runs")


def zipped(name: str = "pets.zip", classes: tuple[str, ...] = ("ants", "bees"), each: int = 4) -> Path:
    """A zip among Gradio's uploads."""
    place = Path(get_upload_folder()) / f"sha of {name}"
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / name, "w") as out:
        for label in classes:
            for number in range(each):
                out.writestr(f"{label}/{number}.png", PICTURE)
    return place / name


def send(shop: Shop, file: Path, before: str = "") -> tuple[Any, Any, list[Any]]:
    sent, place, *shown = shop.receive(str(file), before, 0.25, 0.25)
    return sent, place, shown


def refused(token: str) -> str:
    with pytest.raises(DataError) as caught:
        uploads.find(token)
    return caught.value.code


# --- sending


def test_a_visitor_of_a_space_sends_a_zip_and_sees_what_is_in_it(space: Profile) -> None:
    file = zipped()
    sent, place, shown = send(Shop(space), file)
    assert sent == place
    assert "8</dd>" in shown[0]
    assert "ants" in shown[0]
    assert shown[9].interactive
    assert "pets" in re.sub(r"<[^>]*>", "", shown[0]), "it is called as the zip is"
    assert sent not in shown[0]
    assert not file.exists(), "the zip itself is not kept"


def test_a_training_reads_what_was_sent_by_a_command_that_works_when_typed(space: Profile) -> None:
    sent, _, _ = send(Shop(space), zipped())
    source = data_choice.choose(space, "upload", sent, 0.25, 0.25)
    settings = TrainConfig(**source.config())  # type: ignore[arg-type]
    assert Path(settings.data).is_dir()
    words = launch.command(settings, space.runs)
    assert words[words.index("--data") + 1] == str(source.folder)
    assert data_choice.scan(source).classes == ("ants", "bees")


def test_a_zip_that_is_refused_leaves_what_was_sent_before_as_it_is(space: Profile) -> None:
    shop = Shop(space)
    first, _, _ = send(shop, zipped())
    bad = zipped("bad.zip", each=0)
    sent, place, shown = send(shop, bad, first)
    assert (sent, place) == (gr.skip(), gr.skip())
    assert "There are no pictures in bad.zip" in shown[0]
    assert "ants" in shown[0]
    assert shown[9].interactive
    assert not bad.exists()
    assert uploads.find(first).is_dir()


def test_a_first_zip_that_is_refused_leaves_nothing(space: Profile) -> None:
    _, _, shown = send(Shop(space), zipped(each=0))
    assert 'role="alert"' in shown[0]
    assert not shown[9].interactive
    assert file_io.size(visitors()) == 0


def test_a_new_zip_takes_the_place_of_the_one_before(space: Profile) -> None:
    shop = Shop(space)
    first, _, _ = send(shop, zipped())
    second, _, _ = send(shop, zipped("more.zip"), first)
    assert refused(first) == "page.upload_gone"
    assert [one.name for one in visitors().iterdir()] == [second]


def test_a_file_that_is_not_among_the_uploads_is_not_removed(space: Profile, tmp_path: Path) -> None:
    elsewhere = zipped().rename(tmp_path / "mine.zip")
    send(Shop(space), elsewhere)
    assert elsewhere.exists()


def test_nothing_sent_yet_says_how(space: Profile) -> None:
    shown = Shop(space).look("upload", "", 0.25, 0.25)
    assert "Which zip?" in shown[0]
    assert not shown[9].interactive


# --- whose it is


def test_a_name_cannot_be_guessed_or_bent(space: Profile) -> None:
    names = {send(Shop(space), zipped(f"{number}.zip"))[0] for number in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    for bent in ("..", ".", "../samples", f"{min(names)}/..", min(names).upper() + "\0", "0" * 32, "a" * 31, "*"):
        assert refused(bent) == "page.upload_gone"
    assert refused("") == "page.no_upload"


def test_no_path_that_is_typed_leads_to_what_others_sent(tmp_path: Path) -> None:
    home = user_dirs.home()
    profile = Profile(home.parent.resolve(), tmp_path / "runs")
    sent, _, _ = send(Shop(profile), zipped())
    for typed in (visitors(), visitors() / sent, uploads.find(sent)):
        with pytest.raises(DataError, match="lies outside"):
            inside(profile.data_root, typed)
    assert "visitors" not in [one.path.name for one in folder_browser.look(home.parent.resolve(), f"{home}/").folders]
    with pytest.raises(DataError, match="lies outside"):
        data_choice.choose(profile, "folder", str(home), 0.15, 0.15)
    assert data_choice.choose(profile, "upload", sent, 0.15, 0.15).folder == uploads.find(sent)


@pytest.mark.skipif(os.name == "nt", reason="rights are others on Windows")
def test_other_people_of_the_machine_cannot_look_into_it(space: Profile) -> None:
    sent, _, _ = send(Shop(space), zipped())
    assert (visitors() / sent).stat().st_mode & 0o077 == 0


def test_the_browser_finds_it_again_after_a_reload(space: Profile) -> None:
    shop = Shop(space)
    sent, _, shown = send(shop, zipped())
    sample, _, place, *_, sending, _, _ = shop.restore(shown[10], sent)
    assert (sample, place) == ("upload", sent)
    assert sending.visible
    assert "8</dd>" in shop.look(sample, place, 0.25, 0.25)[0]
    assert shop.restore(shown[10], None)[2] == ""


# --- how long it stays


def age(token: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(visitors() / token, (then, then))


def test_what_nobody_used_for_a_while_is_removed_and_that_is_said(space: Profile) -> None:
    shop = Shop(space)
    old, _, _ = send(shop, zipped())
    new, _, _ = send(shop, zipped("new.zip"))
    age(old, uploads.SPACE_KEEP + 60)
    age(new, uploads.SPACE_KEEP - 60)
    uploads.clear(space)
    assert refused(old) == "page.upload_gone"
    assert "nobody had used it" in shop.look("upload", old, 0.25, 0.25)[0]
    assert uploads.find(new)


def test_looking_at_it_counts_as_use(space: Profile) -> None:
    shop = Shop(space)
    sent, _, _ = send(shop, zipped())
    age(sent, uploads.SPACE_KEEP - 60)
    shop.first("upload", sent, 0.25, 0.25, "", "")
    assert time.time() - (visitors() / sent).stat().st_mtime < 60


def test_what_a_training_reads_stays_whatever_its_age(space: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(space)
    sent, _, _ = send(shop, zipped())
    run = run_store.create(space.runs, TrainConfig(data=str(uploads.find(sent))))
    age(sent, uploads.SPACE_KEEP * 9)
    monkeypatch.setattr(Run, "live", lambda self: True)
    uploads.clear(space)
    second, _, _ = send(shop, zipped("second.zip"), sent)
    assert uploads.find(sent).is_dir(), "not removed for its age, nor for the next one"
    assert uploads.find(second).is_dir()
    assert run.path.is_dir()
    monkeypatch.undo()


def test_what_a_killed_server_left_half_unpacked_is_removed(space: Profile) -> None:
    left = visitors() / ".x-abc.part"
    left.mkdir(parents=True)
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    uploads.clear(space)
    assert not left.exists()


# --- how much there is room for


def test_all_visitors_together_have_a_quota(space: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "QUOTA", 20 * len(PICTURE))
    shop = Shop(space)
    first, _, _ = send(shop, zipped())
    second, _, _ = send(shop, zipped("second.zip"))
    _, _, shown = send(shop, zipped("third.zip"))
    assert "no room for more uploads" in shown[0]
    assert {one.name for one in visitors().iterdir()} == {first, second}
    age(first, uploads.SPACE_KEEP + 60)
    assert "8</dd>" in send(shop, zipped("third.zip"))[2][0]


def test_a_stranger_may_send_less_than_somebody_at_home(space: Profile, local: Profile) -> None:
    assert uploads.SPACE_LIMITS.bytes < uploads.LIMITS.bytes <= uploads.QUOTA
    assert uploads.SPACE_LIMITS.entries < uploads.LIMITS.entries
    assert uploads.kept(space) < uploads.kept(local)


def test_a_zip_of_more_than_a_stranger_may_send_is_refused(space: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SPACE_LIMITS", archive.Limits(entries=10, bytes=1 << 20))
    _, _, shown = send(Shop(space), zipped(each=9))
    assert "more than 10 entries" in shown[0]


# --- a zip or a list below the server's folder


def test_a_zip_and_a_list_are_offered_and_scanned_like_a_folder(
    local: Profile, tmp_path: Path, tiny_folder: Path
) -> None:
    zipped().rename(tmp_path / "pets.zip")
    (tmp_path / "tiny.csv").write_text(
        "path,label\n" + "".join(f"tiny/amber/amber_{n}.jpg,{'ab'[n % 2]}\n" for n in (1, 2, 3, 5, 6, 7))
    )
    shop = Shop(local)
    offered = {one.path.name: one.pictures for one in folder_browser.look(tmp_path.resolve(), "").folders}
    assert (offered["pets.zip"], offered["tiny.csv"], offered["tiny"]) == ("zip", "list", "classes")
    typed, _ = shop.pick(gr.EventData(None, {"folder": str(tmp_path / "pets.zip")}))
    assert typed == str(tmp_path / "pets.zip")
    assert "8</dd>" in shop.look("folder", typed, 0.25, 0.25)[0]
    shown = shop.look("folder", str(tmp_path / "tiny.csv"), 0.25, 0.25)
    assert "tiny.csv" in shown[0]
    assert "Sorted by the list" in shown[0]
    assert shown[7].visible
    with pytest.raises(DataError, match="There is no folder"):
        data_choice.choose(local, "folder", "notes.txt", 0.15, 0.15)
