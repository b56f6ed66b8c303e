"""The page as a room sees it, in a real browser: the larger size, and one part of the page on the full screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.support import drawn_images, fabricated_runs, known_evaluations
from tests.support.served_page import open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("presentation")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """A page with a run that has curves and weights."""
    folder = drawn_images.tiny(place / "tiny")
    run = known_evaluations.run(place / "runs", folder)
    for event in [*fabricated_runs.story(), fabricated_runs.ended()]:
        run.append_event(event)
    with serve_page(place, folder) as url:
        yield url


def measure(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box
    return box


def test_the_page_is_enlarged_on_a_wide_screen_and_remembers_it(page: Page, url: str, screenshots: Path) -> None:
    page.goto(url)
    open_tab(page, "Train")
    start, button = page.locator("#train-start"), page.get_by_role("button", name="Presentation size")
    height = measure(start)["height"]
    for width, scale in ((1280, 1.35), (1920, 1.6)):
        page.set_viewport_size({"width": width, "height": 800})
        button.click()
        assert measure(start)["height"] == pytest.approx(scale * height, rel=0.05)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is wider than the window"
        page.screenshot(path=screenshots / f"large-{width}.png")
        button.click()
        assert measure(start)["height"] == pytest.approx(height, rel=0.05)
    button.click()
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.set_viewport_size({"width": 390, "height": 800})
    expect(button).to_be_hidden()
    open_tab(page, "Train")
    assert measure(start)["height"] <= 1.05 * height


def test_an_open_menu_stands_below_its_field_at_the_larger_size(page: Page, url: str) -> None:
    page.goto(url)
    open_tab(page, "Train")
    page.get_by_role("button", name="Presentation size").click()
    page.locator("#train-recipe input").click()
    menu, field = (
        measure(page.locator("#train-recipe .options")),
        measure(page.locator("#train-recipe .container > .wrap")),
    )
    assert menu["x"] == pytest.approx(field["x"], abs=12)
    assert menu["width"] == pytest.approx(field["width"], abs=24)
    assert -4 <= menu["y"] - (field["y"] + field["height"]) <= 16


def test_the_values_at_the_pointer_stand_beside_it_at_the_larger_size(page: Page, url: str) -> None:
    page.goto(url)
    open_tab(page, "Train")
    show_run(page)
    page.get_by_role("button", name="Presentation size").click()
    drawing = page.locator("#train-curves .frame").first
    drawing.hover()
    readout = page.locator("#train-curves .readout")
    expect(readout).to_be_visible()
    box, area = measure(readout), measure(drawing)
    pointer = area["x"] + area["width"] / 2
    assert min(abs(box["x"] - pointer), abs(box["x"] + box["width"] - pointer)) < 40


def test_curves_and_an_explained_prediction_fill_the_screen(
    page: Page, url: str, place: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    page.goto(url)
    open_tab(page, "Train")
    show_run(page)
    curves = page.locator("#train-curves .ftlab-curves")
    small = measure(curves)
    curves.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement?.id === 'train-curves'")
    full = measure(curves)
    assert full["width"] > 1200, small
    assert 0.6 * 800 < full["height"] <= 800
    page.screenshot(path=screenshots / "full-screen-curves.png")
    curves.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => !document.fullscreenElement")
    assert measure(curves)["width"] == pytest.approx(small["width"], abs=1)

    open_tab(page, "Predict")
    page.locator("#predict-examples button").first.click()
    overlay = page.locator("#predict-overlay img").first
    expect(overlay).to_be_visible()
    page.locator("#predict-full-screen").get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement?.id === 'predict-result'")
    scores, image = measure(page.locator("#predict-scores")), measure(overlay)
    assert scores["x"] + scores["width"] <= image["x"], "the answer stands beside its evidence"
    assert image["y"] + image["height"] <= 800
    assert image["height"] > 0.6 * 800
    page.screenshot(path=screenshots / "full-screen-answer.png")


def show_run(page: Page) -> None:
    """Choose the run that has curves."""
    page.locator("#train-runs input").click()
    page.get_by_role("option").first.click()
    expect(page.locator("#train-curves .frame").first).to_be_visible()
