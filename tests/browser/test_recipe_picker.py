"""Recipes and files of settings on the Train tab, in a real browser: chosen, changed, saved, loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.served_page import open_tab, serve_page

pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def url(tmp_path: Path, tiny_folder: Path) -> Iterator[str]:
    with serve_page(tmp_path, tiny_folder) as url:
        yield url


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_recipe_is_chosen_changed_saved_and_loaded(
    page: Page, url: str, screenshots: Path, tmp_path: Path, width: int, theme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}?__theme={theme}")
    open_tab(page, "Train")
    choose(page, "Cats and dogs: two phases")
    expect(page.locator("#train-recipe-about")).to_contain_text("0.983")
    expect(page.locator("#train-epochs input")).to_have_value("20")
    page.locator("#train-epochs input").fill("12")
    page.locator("#train-epochs input").press("Tab")
    wait_for(page, "--epochs 12")
    with page.expect_download() as download:
        page.locator("#train-keep").click()
    kept = tmp_path / "config.json"
    download.value.save_as(kept)
    assert json.loads(kept.read_text())["epochs"] == 12
    choose(page, "Quick: the best in a minute")
    wait_for(page, "--head-init imagenet")
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load").click()
    chooser.value.set_files(kept)
    wait_for(page, "--epochs 12")
    wait_for(page, "--unfreeze-from features.12.conv.1")
    expect(page.locator("#train-recipe input")).to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".ftlab-form").screenshot(path=screenshots / f"recipes-{width}-{theme}.png")
    kept.write_text('{"epochs": -3}', encoding="utf-8")
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load").click()
    chooser.value.set_files(kept)
    expect(page.get_by_text("“Epochs” is -3").or_(page.get_by_text('"Epochs" is -3')).first).to_be_visible()
    expect(page.locator("#train-epochs input")).to_have_value("12")


def choose(page: Page, title: str) -> None:
    page.locator("#train-recipe input").click()
    page.get_by_role("option", name=title).click()


def wait_for(page: Page, words: str) -> None:
    """Until the command that is shown has these words."""
    page.wait_for_function(
        "words => document.querySelector('#train-command textarea').value.includes(words)", arg=words, timeout=20_000
    )
