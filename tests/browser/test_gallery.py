"""The page of a folder of overlays in a browser, opened as a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from ftlab.reporting.html import gallery
from ftlab.reporting.html.gallery import GalleryImage
from tests.support.served_page import look

NAMES = ("<b>ants</b>", "蜜蜂")


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    """Seventy images: every tenth is a mistake, the later the less sure, and the third one is explained otherwise."""
    (tmp_path / "out").mkdir()
    images = []
    for number in range(70):
        overlay = tmp_path / "out" / f"{number} #.jpg"
        Image.new("RGB", (60, 40 + number), (3 * number, 90, 120)).save(overlay)
        answer, other = NAMES if number % 2 else NAMES[::-1]
        is_mistake = number % 10 == 0
        scores = ((answer, 0.9995 - 0.005 * number), (other, 0.0005 + 0.005 * number))
        truth = other if is_mistake else answer
        source = tmp_path / f"{number} #.jpg"
        images.append(GalleryImage(overlay, (60, 40 + number), source, answer, scores, truth, is_mistake))
    images[2] = dataclasses.replace(images[2], explained_class=NAMES[0], notes=("No evidence.",))
    return gallery.write_gallery(tmp_path / "out", images, "Model", "run")


def test_a_person_sorts_filters_and_sees_more(page: Page, page_path: Path, screenshots: Path) -> None:
    page.goto(page_path.as_uri())
    cards = page.locator("article")
    expect(cards).to_have_count(60)
    expect(page.locator("article.mistake")).to_have_count(7)
    expect(cards.nth(0)).to_contain_text("In truth: <b>ants</b>")  # the mistake that the model was surest of
    expect(cards.nth(0).locator(".bars li").nth(0)).to_contain_text("> 99.9 %")
    expect(cards.nth(7)).to_contain_text("69 #.jpg")  # then what it was least sure of
    loaded = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    assert cards.nth(0).locator("img").evaluate(loaded) == [60, 40]
    look(page, screenshots, "gallery_{}")
    page.get_by_role("button", name="Show more").click()
    expect(cards).to_have_count(70)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    page.get_by_label("Order").select_option("As in the folder")
    expect(cards.nth(2)).to_contain_text("Evidence for <b>ants</b>")
    expect(cards.nth(2)).to_contain_text("No evidence.")
    expect(cards.nth(1).locator(".explained")).to_be_hidden()
    page.get_by_label("Order").select_option("Least sure first")
    expect(cards.nth(0)).to_contain_text("69 #.jpg")
    page.get_by_label("Order").select_option("Most sure first")
    page.get_by_label("Predicted class").select_option("蜜蜂 (35)")
    expect(cards).to_have_count(35)
    expect(cards.nth(1)).to_contain_text("2 #.jpg")
