"""A page whose server answers late, in a real browser: what a person has chosen meanwhile stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.data.samples import sample_sets
from ftlab.runs.jobs import time_estimate
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.lesson import class_notices
from ftlab.ui.page_server import PageServer
from tests.support import drawn_images, fabricated_runs
from tests.support.served_page import ESTIMATE, open_tab, serve_page

FIRST, SECOND = (messages.get_text(f"sample.{name}.title") for name in SAMPLE_SET_NAMES)
"""Titles of the sample set that a new page shows, and of another."""
SOON = 30_000
"""Milliseconds for what needs a server's answer."""


class HeldAnswers:
    """Keeps the server's answers to what a page asks without a queue, until they are released."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.answers: list[tuple[Route, APIResponse]] = []
        self.is_holding = True
        page.route("**/run/predict*", self._hold)

    def _hold(self, route: Route) -> None:
        if not self.is_holding:
            return route.fallback()
        self.answers.append((route, route.fetch()))

    def wait_for(self, text: str) -> None:
        """Wait until an answer with this text is held; what is asked from then on is answered at once."""
        for _ in range(SOON // 50):
            if any(text in answer.text() for _, answer in self.answers):
                self.is_holding = False
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"nothing was answered with {text}")

    def release(self) -> None:
        """Let the page have the answers, and wait until it has read them."""
        for route, answer in self.answers:
            with self.page.expect_response(lambda response, url=route.request.url: response.url == url) as response:  # type: ignore[misc]
                route.fulfill(response=answer)
            response.value.finished()
        # What follows an answer without asking the server again is done by now.
        self.page.wait_for_timeout(300)


@dataclass(frozen=True)
class Room:
    """A class: what its teacher decides, images to hand out, and the address at which somebody joins."""

    rules: LessonRules
    images: Path
    url: str

    def join(self, page: Page) -> None:
        page.goto(self.url)
        page.get_by_label("Name").fill("Zoe")
        page.get_by_role("button", name="Join").click()
        expect_source(page, FIRST)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("late")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with serve_page(place, drawn_images.tiny(place / "tiny")) as url:
        yield url


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    images = drawn_images.tiny(tmp_path / "pets")
    profile = ServerProfile(tmp_path, tmp_path / "runs", ProfileKind.CLASSROOM)
    membership = Membership(profile.kind, profile.runs_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: images)
        patch.setattr(time_estimate, "find_known_estimate", lambda *_: ESTIMATE)
        patch.setattr(class_notices, "REFRESH_SECONDS", 0.5)
        page = build_app(profile)
        with PageServer(profile, page, host="127.0.0.1", port=0, membership=membership) as server:
            join_url = f"{server.url}ftlab/join?code={membership.room_code}"
            yield Room(LessonRules(profile.runs_dir), images, join_url)


def choose_source(page: Page, name: str) -> None:
    page.locator("#dataset-source label").filter(has_text=name).click()


def expect_chosen(page: Page, name: str) -> None:
    expect(page.locator("#dataset-source label:has(input:checked)")).to_contain_text(name, timeout=SOON)


def expect_source(page: Page, name: str) -> None:
    """The source is chosen, and its images are shown."""
    expect_chosen(page, name)
    expect(page.locator("#dataset-summary h2")).to_contain_text(name, timeout=SOON)


def choose_folder(page: Page, folder: Path) -> None:
    choose_source(page, "A folder of mine")
    page.locator("#dataset-folder input").fill(str(folder))
    page.locator("#dataset-folder input").press("Enter")
    expect(page.locator("#dataset-summary h2")).to_contain_text(folder.name, timeout=SOON)


def test_the_last_choice_is_restored_where_nobody_has_made_another(page: Page, url: str, place: Path) -> None:
    page.goto(url)
    expect_source(page, FIRST)
    choose_folder(page, place / "tiny")
    page.reload()
    expect(page.locator("#dataset-summary h2")).to_contain_text("tiny", timeout=SOON)
    expect_chosen(page, "A folder of mine")
    expect(page.locator("#dataset-folder input")).to_have_value(str(place / "tiny"))
    expect(page.locator("#dataset-shelf")).to_contain_text("amber")


def test_a_source_that_is_chosen_while_the_page_loads_stays(page: Page, url: str, place: Path) -> None:
    page.goto(url)
    expect_source(page, FIRST)
    choose_folder(page, place / "tiny")
    held = HeldAnswers(page)
    page.reload()
    held.wait_for(f"{place / 'tiny'}")
    choose_source(page, SECOND)
    expect_source(page, SECOND)
    held.release()
    expect_source(page, SECOND)
    expect(page.locator("#dataset-browse")).to_be_hidden()
    page.reload()
    expect_source(page, SECOND)


def test_a_question_that_arrives_after_a_later_one_does_not_stay_answered(page: Page, url: str) -> None:
    """As on a busy machine: what the page asks while it loads reaches the server after what a person has chosen."""
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held or f'"{SAMPLE_SET_NAMES[0]}"' not in (route.request.post_data or ""):
            return route.fallback()
        held.append(route)

    page.route("**/queue/join*", hold_first)
    page.goto(url)
    expect_chosen(page, FIRST)
    while not held:
        page.wait_for_timeout(50)
    choose_source(page, SECOND)
    expect_source(page, SECOND)
    with page.expect_request(
        lambda request: "/queue/join" in request.url and f'"{SAMPLE_SET_NAMES[1]}"' in (request.post_data or "")
    ):
        held[0].continue_()
    expect_source(page, SECOND)
    page.reload()
    expect_source(page, SECOND)


def test_a_page_that_somebody_works_with_does_not_jump_to_the_training(page: Page, url: str, place: Path) -> None:
    run = fabricated_runs.make_at_work(place / "runs")
    page.goto(url)
    open_tab(page, "Train")
    expect(page.locator("#train-stop")).to_be_enabled(timeout=SOON)
    page.reload()
    expect(page.locator("#train-stop")).to_be_visible(timeout=SOON)
    held = HeldAnswers(page)
    page.reload()
    held.wait_for('"selected"')
    choose_source(page, SECOND)
    held.release()
    expect_source(page, SECOND)
    expect(page.locator("#train-stop")).to_be_hidden()
    run.append_event(fabricated_runs.ended())


def test_a_source_that_is_chosen_while_the_menu_of_sources_is_renewed_stays(page: Page, room: Room) -> None:
    room.join(page)
    held = HeldAnswers(page)
    pets = room.rules.hand_out("pets", folder=str(room.images))
    held.wait_for("pets")
    choose_source(page, SECOND)
    held.release()
    choices = page.locator("#dataset-source")
    expect(choices).to_contain_text("pets")
    expect_source(page, SECOND)
    choose_source(page, "pets")
    expect_source(page, "pets")
    held = HeldAnswers(page)
    room.rules.take_back(pets.name)
    held.wait_for(f'"{SAMPLE_SET_NAMES[1]}"')
    choose_source(page, SECOND)
    held.release()
    expect(choices).not_to_contain_text("pets")
    expect_source(page, SECOND)


def test_a_source_that_is_no_longer_handed_out_is_left(page: Page, room: Room) -> None:
    pets = room.rules.hand_out("pets", folder=str(room.images))
    room.join(page)
    choose_source(page, "pets")
    expect_source(page, "pets")
    page.reload()
    expect_source(page, "pets")
    room.rules.take_back(pets.name)
    expect(page.locator("#dataset-source")).not_to_contain_text("pets", timeout=SOON)
    expect_source(page, FIRST)
