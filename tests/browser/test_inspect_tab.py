"""The Inspect tab in a real browser: from an evaluation to a mistake and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.evaluation import datasets, evaluate
from tests.support import drawn_images, fabricated_runs, known_evaluations
from tests.support.served_page import look, open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("inspect")
    folder = drawn_images.tiny(place / "tiny")
    (folder / "blue").rename(folder / "<b>blue ${alert(1)}")
    run = known_evaluations.run(place / "runs", folder)
    run.append_event(fabricated_runs.ended())  # else a page that is loaded again turns to it in the Train tab
    evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, "val"))
    with serve_page(place, folder) as url:
        yield url


def test_a_person_evaluates_presses_a_mistake_and_sees_both_maps_on_any_screen(
    page: Page, url: str, screenshots: Path
) -> None:
    page.goto(url)
    open_tab(page, "Inspect")
    expect(page.locator("#inspect-scores")).to_contain_text("Nothing evaluated yet")
    page.locator("#inspect-split label").filter(has_text="Training").click()
    page.locator("#inspect-go").click()
    expect(page.locator("#inspect-scores")).to_contain_text("First guess right", timeout=60_000)
    wrong = page.locator("#inspect-matrix td.miss button").first
    count = wrong.inner_text()
    wrong.click()
    expect(page.locator("#inspect-gallery h2")).to_contain_text("predicted as")
    pictures = page.locator("#inspect-gallery button[data-index]")
    expect(pictures).to_have_count(int(count))
    expect(page.locator("#inspect-kind input:checked")).to_have_count(0)
    pictures.first.click()
    expect(page.locator("#inspect-pair img.under")).to_have_count(2)
    expect(page.locator("#inspect-pair")).to_contain_text("the predicted class")
    # The heat maps follow what was pressed, with no table or figure between.
    gallery_box, pair_box = (
        page.locator("#inspect-gallery").bounding_box(),
        page.locator("#inspect-pair").bounding_box(),
    )
    assert gallery_box
    assert pair_box
    assert pair_box["y"] - gallery_box["y"] < 700
    expect(page.locator("#inspect-pair figure").first).to_be_in_viewport()
    page.screenshot(path=screenshots / "inspect.png", full_page=True)

    recall = page.locator("#inspect-classes thead button").nth(3)
    values = page.locator("#inspect-classes tbody td:nth-child(4) span")
    for rising in (False, True):
        recall.click()
        shares = [float(one.removesuffix(" %")) for one in values.all_inner_texts()]
        assert shares == sorted(shares, reverse=not rising)
    with page.expect_download() as given:
        page.locator("#inspect-downloads button").first.click()
    assert given.value.suggested_filename == "train-best-report.html"
    page.reload()
    open_tab(page, "Inspect")
    expect(page.locator("#inspect-scores")).to_contain_text("Nothing evaluated yet")
    look_at_some(page)
    look(page, screenshots, "inspect-{}-light")
    page.locator("#inspect-split label").filter(has_text="Training").click()
    expect(page.locator("#inspect-scores")).to_contain_text("First guess right")


def test_it_fits_the_screen_in_the_dark(page: Page, url: str, screenshots: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{url}?__theme=dark")
    open_tab(page, "Inspect")
    expect(page.locator("#inspect-scores")).to_contain_text("Nothing evaluated yet")
    look_at_some(page)
    look(page, screenshots, "inspect-{}-dark", widths=(390, 1280))


def look_at_some(page: Page) -> None:
    """Take any of the validation pictures, which were evaluated before."""
    page.locator("#inspect-split label").filter(has_text="Validation").click()
    expect(page.locator("#inspect-scores")).to_contain_text("First guess right")
    page.locator("#inspect-kind label").last.click()
    expect(page.locator("#inspect-gallery h2")).to_have_text("At random")
    page.locator("#inspect-gallery button[data-index]").first.click()
    expect(page.locator("#inspect-pair img.under")).to_have_count(2)
