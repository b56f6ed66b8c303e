"""One picture through two runs, in the Compare tab, in a real browser: both maps of a class stand side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support import drawn_images, known_evaluations
from tests.support.served_page import open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    folder = drawn_images.tiny(place / "tiny")
    for seed in (1, 2):
        known_evaluations.run(place / "runs", folder, seed)
    with serve_page(place, folder) as url:
        yield url


def test_a_person_takes_an_example_and_sees_both_maps_of_a_class(
    page: Page, url: str, place: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    page.goto(url)
    open_tab(page, "Compare")
    expect(page.locator("#compare-pair-said")).to_contain_text("No picture yet")
    page.locator("#compare-pair-examples button").first.click()
    for side in ("left", "right"):
        expect(page.locator(f"#compare-pair-{side} img.under")).to_have_count(1, timeout=60_000)
    name = page.locator("#compare-pair-right .ftlab-scores button .name").nth(1).inner_text()
    page.locator("#compare-pair-right .ftlab-scores button").nth(1).click()
    for side in ("left", "right"):
        expect(page.locator(f"#compare-pair-{side} .caption b")).to_have_text(name)
    expect(page.locator("#compare-pair-class input")).to_have_value(name)
    page.locator("#compare-pair-opacity input[type=number]").fill("1")
    page.keyboard.press("Enter")
    for one in page.locator("#compare-pair img.over").all():
        expect(one).to_have_css("opacity", "1")
    page.screenshot(path=screenshots / "compare-pair.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=screenshots / "compare-pair-390.png", full_page=True)
