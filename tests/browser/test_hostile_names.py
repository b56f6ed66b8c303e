"""Names of classes, files, runs and people that are scripts, in a real browser: none of them ever runs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from ftlab.evaluation import datasets, evaluate
from ftlab.runs import run_notes, run_quota
from ftlab.runs.jobs import time_estimate
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.page_server import PageServer
from tests.support import drawn_images, fabricated_runs, known_evaluations
from tests.support.hostile_text import CANARY, FILE_NAMES, SCRIPTS
from tests.support.served_page import ESTIMATE, open_tab

pytestmark = pytest.mark.usefixtures("one_thread")
SOON = 60_000
"""Milliseconds for what needs a server's answer."""


class Room:
    """A class whose names are scripts, with a trained model on images whose names are scripts too."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.images = drawn_images.tiny(place / "data" / FILE_NAMES[0])
        for folder, name in zip(sorted(self.images.iterdir()), FILE_NAMES, strict=False):
            first = min(folder.iterdir())
            first.rename(first.with_name(f"{FILE_NAMES[0]}{first.suffix}"))
            folder.rename(folder.with_name(name))
        self.profile = ServerProfile(place / "data", place / "runs", ProfileKind.CLASSROOM)
        self.membership = Membership(self.profile.kind, self.profile.runs_dir)
        self.url = ""
        for number, text in enumerate(SCRIPTS):
            owner = self.membership.join(f"{number:032x}", self.membership.room_code, text).owner
            run = fabricated_runs.make(
                self.profile.runs_dir,
                [*fabricated_runs.story(), fabricated_runs.ended("failed", text)],
                data=text,
                sample="",
            )
            run_quota.write_owner(run, owner)
            run_notes.write_notes(run, title=text, notes=text, is_shared=True)
        self.model = known_evaluations.run(self.profile.runs_dir, self.images)
        self.model.append_event(fabricated_runs.ended())
        run_quota.write_owner(self.model, owner)
        run_notes.write_notes(self.model, title=SCRIPTS[0], is_shared=True)
        evaluate.evaluate_with_decision(self.model, datasets.load_split_dataset(self.model, "val"))
        LessonRules(self.profile.runs_dir).hand_out(FILE_NAMES[0], folder=str(self.images))

    def join(self, page: Page, code: str, name: str) -> None:
        page.add_init_script(CANARY)
        page.goto(f"{self.url}ftlab/join?code={code}")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Join").click()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    place = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        patch.setenv("FTLAB_HOME", str(place / "home"))
        patch.setattr(time_estimate, "find_known_estimate", lambda *_: ESTIMATE)
        room = Room(place)
        page = build_app(room.profile)
        with PageServer(room.profile, page, host="127.0.0.1", port=0, membership=room.membership) as server:
            room.url = server.url
            yield room


@pytest.fixture(autouse=True)
def one_home(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of all tests keeps what was sent to it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(room.place / "uploads"))
    monkeypatch.setenv("FTLAB_HOME", str(room.place / "home"))


def send_file(page: Page, field: str, name: str, content: bytes, mime_type: str) -> None:
    payload: FilePayload = {"name": name, "mimeType": mime_type, "buffer": content}
    page.locator(f"{field} input[type=file]").set_input_files(payload)


def expect_nothing_ran(page: Page) -> None:
    assert page.evaluate("window.hasRun") is None
    elements = page.locator("img[src=x], svg[onload], a[href^='javascript:']")
    assert elements.evaluate_all("found => found.map(element => element.outerHTML)") == []


def test_the_join_page_takes_what_its_address_has_as_text(room: Room, page: Page) -> None:
    page.add_init_script(CANARY)
    for text in SCRIPTS:
        page.goto(f"{room.url}ftlab/join?code={quote(text)}&name={quote(text)}")
        expect(page.get_by_label("Code")).to_have_value(text)
        page.get_by_label("Name").fill(text)
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#refusal")).to_contain_text("wrong")
        expect_nothing_ran(page)


def test_the_tabs_of_a_training_show_names_of_others_as_text(room: Room, page: Page) -> None:
    room.join(page, room.membership.room_code, f"me {SCRIPTS[0]}")
    expect(page.locator("#page-who")).to_contain_text("<img", timeout=SOON)
    offered = page.locator("#dataset-source label").filter(has_text=FILE_NAMES[0])
    offered.first.click()
    expect(page.locator("#dataset-summary")).to_contain_text(FILE_NAMES[0], timeout=SOON)
    expect_nothing_ran(page)
    open_tab(page, "Train")
    expect(page.locator("#train-command textarea")).to_be_visible(timeout=SOON)
    expect_nothing_ran(page)
    open_tab(page, "Predict")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(buffer, "PNG")
    send_file(page, "#predict-image", f"{FILE_NAMES[0]}.png", buffer.getvalue(), "image/png")
    expect(page.locator("body")).to_contain_text(FILE_NAMES[2], timeout=SOON)
    expect_nothing_ran(page)


def test_a_zip_of_names_that_are_scripts_is_looked_through_as_text(room: Room, page: Page) -> None:
    buffer, picture = io.BytesIO(), drawn_images.png(48, 48)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in FILE_NAMES[:3]:
            for number in range(4):
                archive.writestr(f"{FILE_NAMES[1]}/{name}/{FILE_NAMES[0]}{number}.png", picture)
            archive.writestr(f"{FILE_NAMES[1]}/{name}/{FILE_NAMES[0]}.jpg", b"no picture")
    room.join(page, room.membership.room_code, "Zoe")
    page.locator("#dataset-source label").filter(has_text="zip").first.click(timeout=SOON)
    send_file(page, "#dataset-zip", f"{FILE_NAMES[0]}.zip", buffer.getvalue(), "application/zip")
    expect(page.locator("#dataset-summary")).to_contain_text(FILE_NAMES[2], timeout=SOON)
    expect_nothing_ran(page)


def test_the_teachers_page_and_the_projector_show_names_as_text(room: Room, page: Page) -> None:
    room.join(page, room.membership.teacher_code, f"Ms {SCRIPTS[0]}")
    expect(page.locator("#members li").first).to_be_visible(timeout=SOON)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#members li").filter(has_text=SCRIPTS[1][:20]).get_by_role("button", name="Remove").click()
    expect(page.locator("#barred")).to_contain_text(SCRIPTS[1][:20])
    expect(page.locator("#runs")).to_contain_text("<img")
    expect_nothing_ran(page)
    page.get_by_role("button", name="Let in again").click()
    expect(page.locator("#barred-section")).to_be_hidden()
    page.get_by_role("button", name="Close the room to new names").click()
    expect(page.get_by_role("button", name="Open the room to new names")).to_be_visible()
    assert room.membership.is_closed
    page.get_by_role("button", name="Open the room to new names").click()
    expect(page.get_by_role("button", name="Close the room to new names")).to_be_visible()
    for name in (room.model.name, *(path.name for path in sorted(room.profile.runs_dir.glob("2*"))[:3])):
        LessonRules(room.profile.runs_dir).change(projected_run=name)
        page.goto(f"{room.url}ftlab/projector")
        expect(page.locator("#result")).to_be_visible()
        expect_nothing_ran(page)
