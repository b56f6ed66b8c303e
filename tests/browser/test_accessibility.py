"""The page examined by axe-core, the checker of accessibility that browsers offer to developers: each tab as it looks
when it has something to show, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from ftlab.evaluation import datasets, evaluate
from tests.support import drawn_images, fabricated_runs, known_evaluations
from tests.support.served_page import open_settings, open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


# What waits for an answer is faint on purpose, and takes a moment to have its colors again.
IS_SETTLED_JS = """() => ![...document.querySelectorAll('.pending')].some((element) => element.checkVisibility())
  && !document.getAnimations().some((animation) => animation instanceof CSSTransition)"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accessibility")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """A page with two runs that have ended; the pictures of the second one are evaluated."""
    folder = drawn_images.tiny(place / "tiny")
    for _ in range(2):
        run = known_evaluations.run(place / "runs", folder)
        for event in [*fabricated_runs.story(), fabricated_runs.ended()]:
            run.append_event(event)
    evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, "val"))
    with serve_page(place, folder) as url:
        yield url


def find_violations(page: Page) -> list[str]:
    """What breaks a rule of axe-core, whatever its impact: rule, element, and what would mend it."""
    page.wait_for_function(IS_SETTLED_JS)
    page.evaluate(AXE_SCRIPT)
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for violation in report["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(
    page: Page, url: str, theme: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    page.goto(f"{url}?__theme={theme}")
    expect(page.locator("#dataset-summary h2")).to_be_visible()
    page.locator("#dataset-doctor > button").click()
    assert find_violations(page) == []

    open_tab(page, "Train")
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    page.locator("#train-runs input").click()
    page.get_by_role("option").first.click()
    expect(page.locator("#train-curves .frame").first).to_be_visible()
    open_settings(page)
    assert find_violations(page) == []

    open_tab(page, "Predict")
    page.locator("#predict-examples button").first.click()
    expect(page.locator("#predict-overlay img").first).to_be_visible()
    assert find_violations(page) == []

    open_tab(page, "Inspect")
    page.locator("#inspect-split label").filter(has_text="Validation").click()
    expect(page.locator("#inspect-scores")).to_contain_text("First guess right")
    page.locator("#inspect-matrix td button").first.click()
    expect(page.locator("#inspect-gallery h2")).to_be_visible()
    page.locator("#inspect-gallery button[data-index]").first.click()
    expect(page.locator("#inspect-pair img").first).to_be_visible()
    assert find_violations(page) == []

    open_tab(page, "Compare")
    expect(page.locator("#compare-shown table").first).to_be_visible()
    page.locator("#compare-pair-examples button").first.click()
    expect(page.locator("#compare-pair-right img.under")).to_be_visible()
    assert find_violations(page) == []

    open_tab(page, "Runs")
    page.locator("#shelf-table tr[data-run]").first.click()
    expect(page.locator(".ftlab-picked h2")).to_be_visible()
    assert find_violations(page) == []
