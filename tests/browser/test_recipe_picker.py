"""Recipes and files of settings on the Train tab, in a real browser: chosen, changed, saved, loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support import drawn_images
from tests.support.served_page import open_settings, open_tab, serve_page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with serve_page(place, drawn_images.tiny(place / "tiny")) as url:
        yield url


def test_a_recipe_is_chosen_changed_saved_and_loaded_into_another_page(
    page: Page, url: str, place: Path, screenshots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    page.goto(f"{url}?__theme=light")
    open_tab(page, "Train")
    choose(page, "Cats and dogs: two phases")
    expect(page.locator("#train-recipe-about")).to_contain_text("0.983")
    open_settings(page)
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
    load(page, kept)
    see_what_was_kept(page, screenshots, 1280, "light")

    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{url}?__theme=dark")
    open_tab(page, "Train")
    open_settings(page)
    load(page, kept)
    see_what_was_kept(page, screenshots, 390, "dark")
    kept.write_text('{"epochs": -3}', encoding="utf-8")
    load(page, kept)
    expect(page.get_by_text("“Epochs” is -3").or_(page.get_by_text('"Epochs" is -3')).first).to_be_visible()
    expect(page.locator("#train-epochs input")).to_have_value("12")


def load(page: Page, settings: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load").click()
    chooser.value.set_files(settings)


def see_what_was_kept(page: Page, screenshots: Path, width: int, theme: str) -> None:
    wait_for(page, "--epochs 12")
    wait_for(page, "--unfreeze-from features.12.conv.1")
    expect(page.locator("#train-recipe input")).to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".ftlab-form").screenshot(path=screenshots / f"recipes-{width}-{theme}.png")


def choose(page: Page, title: str) -> None:
    page.locator("#train-recipe input").click()
    page.get_by_role("option", name=title).click()


def wait_for(page: Page, words: str) -> None:
    """Until the command that is shown has these words."""
    page.wait_for_function(
        "words => document.querySelector('#train-command textarea').value.includes(words)", arg=words, timeout=20_000
    )
