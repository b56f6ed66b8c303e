"""The Runs tab in a real browser: a run is found, named, deleted and brought back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from ftlab.runs import run_store
from tests.support import drawn_images, fabricated_runs
from tests.support.fabricated_runs import make_with_notes
from tests.support.hostile_text import EVIL
from tests.support.served_page import look, open_tab, serve_page


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page's `url` and the `root` of its runs."""
    place = tmp_path_factory.mktemp("runs")
    make_with_notes(place / "runs", "First try", "the example of the page")
    make_with_notes(place / "runs", mode="full")
    make_with_notes(place / "runs", EVIL, "Käfer: " + "a long note " * 30, mode="scratch")
    with serve_page(place, drawn_images.tiny(place / "tiny")) as url:
        yield SimpleNamespace(url=url, root=place / "runs")


def test_it_fits_the_screen_in_the_dark(page: Page, lab: SimpleNamespace, screenshots: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{lab.url}?__theme=dark")
    open_tab(page, "Runs")
    pick_the_first_try(page)
    look(page, screenshots, "runs-{}-dark", widths=(390, 1280))


def test_a_person_finds_names_deletes_and_brings_back_a_run(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    page.goto(lab.url)
    open_tab(page, "Runs")
    pick_the_first_try(page)
    look(page, screenshots, "runs-{}-light", widths=(390, 1280))
    rows = page.locator("#shelf-table tr[data-run]")
    page.locator("#shelf-search input").press_sequentially("full")
    expect(rows).to_have_count(1)
    rows.locator("button").click()
    expect(page.locator("#shelf-title input")).to_have_value("")
    page.locator("#shelf-title input").fill("Everything learns")
    page.locator("#shelf-notes textarea").fill("slow\nand good")
    page.locator("#shelf-save").click()
    expect(rows).to_contain_text("Everything learns")
    expect(page.locator("#shelf-picked")).to_contain_text("Everything learns")
    page.locator("#shelf-search input").fill("")
    expect(rows).to_have_count(3)
    expect(page.locator("#shelf-table input:checked")).to_have_count(1)
    page.locator("#shelf-train").click()
    expect(page.locator("#train-progress")).to_contain_text("Finished")
    open_tab(page, "Runs")
    page.locator("#shelf-delete").click()
    expect(page.locator("#shelf-picked")).to_contain_text("It is in the bin")
    expect(rows).to_have_count(2)
    expect(page.locator("#shelf-table input:checked")).to_have_count(0)
    open_tab(page, "Train")
    expect(page.locator("#train-progress")).to_contain_text("That run is in the bin")
    open_tab(page, "Runs")
    page.locator("#shelf-of label").filter(has_text="Bin").click()
    expect(rows).to_have_count(1)
    page.locator("#shelf-empty").click()
    expect(page.locator("#shelf-warning")).to_contain_text("gone for good")
    page.screenshot(path=screenshots / "runs-bin.png", full_page=True)
    page.locator("#shelf-no").click()
    rows.locator("input").check()
    page.locator("#shelf-restore").click()
    expect(page.locator("#shelf-table")).to_contain_text("The bin is empty")
    assert len(run_store.list_run_names(lab.root)) == 3


def test_those_that_ended_without_a_model_are_selected_by_one_press(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    failed = fabricated_runs.make(lab.root, [fabricated_runs.ended("failed")])
    page.goto(lab.url)
    open_tab(page, "Runs")
    page.get_by_role("button", name="Select the one that ended without a model").click()
    expect(page.locator("#shelf-table tr.picked")).to_have_attribute("data-run", failed.name)
    expect(page.locator("#shelf-table input:checked")).to_have_count(1)
    look(page, screenshots, "runs-useless-{}", widths=(390, 1280))
    page.locator("#shelf-delete").click()
    expect(page.locator("#shelf-table tr[data-run]")).to_have_count(3)
    expect(page.locator("#shelf-totals button")).to_have_count(0)


def pick_the_first_try(page: Page) -> None:
    rows = page.locator("#shelf-table tr[data-run]")
    expect(rows).to_have_count(3)
    rows.filter(has_text="First try").locator("button").click()
    expect(page.locator("#shelf-title input")).to_have_value("First try")
