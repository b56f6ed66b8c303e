"""The teacher's page and the projector in a browser: hostile names, a lesson from its beginning to its end."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.runs import run_notes, run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.page_server import PageServer
from tests.support import fabricated_runs as fab
from tests.support.hostile_text import CANARY, EVIL
from tests.support.served_page import look

NAMES = ("Ann", EVIL[:40], "שלום\u202e عالم", "😀" * 40, "</script><script>alert(3)</script>", "{name} {count}")


class Lesson:
    """A class with a server, and its teacher's browser."""

    def __init__(self, place: Path) -> None:
        self.profile = ServerProfile(None, place / "runs", ProfileKind.CLASSROOM)
        self.membership = Membership(self.profile.kind, self.profile.runs_dir)
        self.url = ""

    def enroll(self, number: int, name: str) -> str:
        self.membership.join(f"{number:032x}", self.membership.room_code, name)
        return run_quota.make_owner(f"{number:032x}")

    def make_run(self, owner: str, title: str) -> Run:
        run = fab.make(self.profile.runs_dir, [*fab.story(), fab.ended()])
        run_quota.write_owner(run, owner)
        run_notes.write_notes(run, title=title, notes=title)
        return run

    def join(self, page: Page, name: str) -> None:
        page.goto(f"{self.url}ftlab/join?code={self.membership.room_code}")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#page-who")).to_contain_text(name)

    def lead(self, page: Page) -> None:
        page.add_init_script(CANARY)
        page.goto(f"{self.url}ftlab/join?code={self.membership.teacher_code}")
        page.get_by_label("Name").fill("Ms Lee")
        page.get_by_role("button", name="Join").click()
        expect(page.get_by_role("heading", name="The class")).to_be_visible()


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lesson]:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    lesson = Lesson(tmp_path)
    with PageServer(
        lesson.profile, build_app(lesson.profile), host="127.0.0.1", port=0, membership=lesson.membership
    ) as server:
        lesson.url = server.url
        yield lesson


def test_names_of_others_are_text_and_break_no_layout(lesson: Lesson, page: Page, tmp_path: Path) -> None:
    runs = [lesson.make_run(lesson.enroll(number, name), name) for number, name in enumerate(NAMES)]
    LessonRules(lesson.profile.runs_dir).hand_out(EVIL, folder="/data/x")
    lesson.lead(page)
    rows = page.locator("#members li")
    expect(rows).to_have_count(len(NAMES) + 1)
    expect(rows.nth(1)).to_contain_text(NAMES[1].strip())
    expect(page.locator("#handed")).to_contain_text("<img src=x")
    look(page, tmp_path, "teacher {}")
    for run in runs:
        LessonRules(lesson.profile.runs_dir).change(projected_run=run.name)
        page.goto(f"{lesson.url}ftlab/projector")
        expect(page.locator("#accuracy")).to_have_text("93.8 %")
        expect(page.locator("#curves svg").first).to_be_visible()
        look(page, tmp_path, "projector {}")
    assert page.locator("img, main script").count() == 0
    assert page.evaluate("window.hasRun") is None


def test_a_lesson_is_led_and_ended(lesson: Lesson, page: Page, tmp_path: Path) -> None:
    owner = lesson.enroll(1, "Ann")
    run = lesson.make_run(owner, "Cats against dogs")
    rules = LessonRules(lesson.profile.runs_dir)
    lesson.lead(page)
    said = page.get_by_role("status")
    page.get_by_role("button", name="Pause new trainings").click()
    expect(said).to_contain_text("paused")
    assert rules.read().is_paused
    page.get_by_role("button", name="Allow new trainings").click()
    expect(page.get_by_role("button", name="Pause new trainings")).to_be_visible()
    page.locator("#modes").get_by_label("Frozen").check()
    page.get_by_label("Most epochs").fill("9")
    page.get_by_role("button", name="Apply").click()
    expect(said).to_contain_text("settings were changed")
    assert (rules.read().modes, rules.read().max_epochs) == (("frozen",), 9)
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_role("button", name="Stop sharing")).to_be_visible()
    assert run_notes.read_notes(run).is_shared
    page.get_by_role("button", name="Project", exact=True).click()
    expect(page.get_by_text("on the projector", exact=True)).to_be_visible()

    room_code = lesson.membership.room_code
    erase = page.get_by_role("button", name="Erase the lesson")
    expect(erase).to_be_disabled()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save everything").click()
    saved_path = tmp_path / "lesson.zip"
    download.value.save_as(saved_path)
    with zipfile.ZipFile(saved_path) as archive:
        assert f"runs/{run.name}/best.safetensors" in archive.namelist()
    page.get_by_label("I have the zip").check()
    page.once("dialog", lambda dialog: dialog.dismiss())
    erase.click()
    assert run.path.is_dir(), "asked once more, and not confirmed"
    page.once("dialog", lambda dialog: dialog.accept())
    erase.click()
    expect(said).to_contain_text("Trainings erased: 1")
    expect(page.locator(".code")).to_have_text(lesson.membership.room_code)
    assert lesson.membership.room_code != room_code
    assert not run.path.exists()


START_JS = """async ({index, values}) => {
  const session = 'direct' + Math.random();
  const body = JSON.stringify({data: values, fn_index: index, session_hash: session});
  await fetch('/gradio_api/queue/join', {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
  const reader = (await fetch('/gradio_api/queue/data?session_hash=' + session)).body.getReader();
  let told = '';
  while (!told.includes('process_completed')) told += new TextDecoder().decode((await reader.read()).value);
  return told;
}"""
"""Sends an event as the page does, without its buttons."""


def test_a_student_is_told_what_is_locked_and_cannot_start(lesson: Lesson, page: Page) -> None:
    rules = LessonRules(lesson.profile.runs_dir)
    rules.change(is_paused=True)
    lesson.join(page, "Ann")
    expect(page.locator("#page-who")).to_contain_text("student")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-lesson")).to_contain_text("paused")
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The teacher has paused new trainings")
    assert run_store.list_run_names(lesson.profile.runs_dir) == []

    config = json.loads(page.evaluate("fetch('/config').then(answer => answer.text())"))
    components = {component["id"]: component for component in config["components"]}
    start = next(event for event in config["dependencies"] if event["api_name"] == "start_training")
    values = [components[number]["props"].get("value") for number in start["inputs"]]
    told = page.evaluate(START_JS, {"index": start["id"], "values": values})
    assert "The teacher has paused new trainings" in told
    assert run_store.list_run_names(lesson.profile.runs_dir) == []

    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Join the class")).to_be_visible()
    assert lesson.membership.list_members() == {}


def test_a_student_finds_a_handed_data_set_without_a_reload(lesson: Lesson, page: Page, tmp_path: Path) -> None:
    lesson.join(page, "Ann")
    menu = page.locator("#dataset-source")
    expect(menu.locator("label").first).to_be_visible()
    LessonRules(lesson.profile.runs_dir).hand_out("Pets of the school", folder=str(tmp_path / "nothing"))
    choice = menu.get_by_text("Pets of the school")
    expect(choice).to_be_visible(timeout=20_000)
    choice.click()
    expect(page.locator("#dataset-about")).to_contain_text("The teacher hands out this data set")
