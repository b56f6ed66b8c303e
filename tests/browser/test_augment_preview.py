"""The preview of augmented pictures on the Train tab, in a real browser: it is drawn on demand and follows the form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.served_page import look, open_settings, open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("preview")
    rng = np.random.default_rng(0)
    for split, name in ((split, name) for split in ("train", "val") for name in ("<cube>", "ring")):
        (place / "set" / split / name).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(place / "set" / split / name / f"{index}.png")
    with serve_page(place, place / "set") as url:
        yield url


def test_it_is_drawn_when_it_is_opened_fits_the_screen_and_follows_the_form(
    page: Page, url: str, screenshots: Path
) -> None:
    page.goto(url)
    open_tab(page, "Train")
    images, note = page.locator("#train-preview img"), page.locator("#train-preview p").last
    expect(images).to_have_count(0)
    open_settings(page)
    page.locator("#train-preview-fold > button").click()
    expect(images).to_have_count(10)
    look(page, screenshots, "preview-{}-light", widths=(390, 1280))
    expect(note).to_contain_text("sees 2 views")
    page.locator("#train-mode").get_by_text("Full fine-tune").click()
    expect(note).to_contain_text("Each epoch augments it anew")
    first, file = images.nth(1).get_attribute("src") or "", page.locator("#train-preview .file")
    page.locator("#train-rotate input[type=number]").fill("90")
    expect(images.nth(1)).not_to_have_attribute("src", first)
    page.locator("#train-image-size input").fill("96")
    expect(note).to_contain_text("96 × 96 pixels")
    before = file.inner_text()
    page.locator("#train-preview-another").click()
    expect(file).not_to_have_text(before)
    page.screenshot(path=screenshots / "preview.png", full_page=True)
    page.locator("#train-augment").get_by_test_id("none-radio-label").click()
    expect(page.locator("#train-preview .ftlab-trouble")).to_contain_text('"Rotation" augments the training pictures')
    page.locator("#train-preview-fold > button").click()
    expect(page.locator("#train-preview")).to_be_hidden()


def test_it_fits_the_screen_in_the_dark(page: Page, url: str, screenshots: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{url}?__theme=dark")
    open_tab(page, "Train")
    open_settings(page)
    page.locator("#train-preview-fold > button").click()
    expect(page.locator("#train-preview img")).to_have_count(10)
    look(page, screenshots, "preview-{}-dark", widths=(390, 1280))
