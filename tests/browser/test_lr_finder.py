"""The section that finds a learning rate, in a real browser: one click takes the rate over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.runs.jobs import lr_sweep
from tests.support import drawn_images
from tests.support.fabricated_sweep import make_sweep
from tests.support.served_page import open_settings, open_tab, serve_page


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("rates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lr_sweep, "run_lr_sweep", lambda *_, **__: make_sweep())
        with serve_page(place, drawn_images.tiny(place / "set")) as url:
            yield url


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_one_click_takes_the_rate_over(page: Page, url: str, screenshots: Path, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}?__theme={theme}")
    open_tab(page, "Train")
    open_settings(page)
    page.locator("#train-find > button").click()
    expect(page.locator("#train-find-use")).to_be_hidden()
    page.locator("#train-find-start").click()
    suggestion = f"{make_sweep().suggest_learning_rate():g}"
    expect(page.locator("#train-find-curve .said")).to_contain_text(suggestion)
    page.locator("#train-find-use").click()
    expect(page.locator("#train-rate input")).to_have_value(suggestion)
    expect(page.locator("#train-command textarea")).to_have_value(re.compile(f"--learning-rate {suggestion}"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#train-find").screenshot(path=screenshots / f"rates-{width}-{theme}.png")
