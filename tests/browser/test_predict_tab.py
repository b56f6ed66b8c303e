"""The Predict tab in a real browser: what a person sees of an answer that the model is unsure of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.inference import decision_rule
from ftlab.models import weights_file
from tests.support import drawn_images, fabricated_runs, known_evaluations
from tests.support.served_page import look, open_tab, serve_page

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """A page whose only model is unsure of every image."""
    folder = drawn_images.tiny(place / "tiny")
    run = known_evaluations.run(place / "runs", folder)
    run.append_event(fabricated_runs.ended())
    checksum = weights_file.read_checksum(run.best_weights_path)
    decision_rule.write_decision(run, decision_rule.DecisionRule(checksum, 1.0, 1.1, 50, 40))
    with serve_page(place, folder) as url:
        yield url


def test_an_unsure_answer_stays_until_a_person_rejects_it(
    page: Page, url: str, place: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    page.goto(url)
    open_tab(page, "Predict")
    expect(page.locator("#predict-model input")).to_have_value(re.compile("MobileNetV2"))
    expect(page.locator("#predict-examples")).to_contain_text("amber")
    page.locator("#predict-examples button").first.click()
    headings = page.locator("#predict-scores h2:visible")
    expect(headings).to_have_count(1)
    expect(headings).to_contain_text("unsure (below 110.0 %)")
    top_class = page.locator("#predict-scores button .name").first.inner_text()
    expect(headings).to_contain_text(top_class)
    page.locator("#predict-several > button").click()
    page.locator("#predict-files input[type=file]").set_input_files([next((place / "tiny").rglob("*.png"))])
    answer = page.locator("#predict-gallery .grid b:visible")
    expect(answer).to_have_count(1)
    expect(answer).not_to_have_text("None of these")
    look(page, screenshots, "predict-unsure-{}", widths=(390, 1280))

    switch = page.locator("#predict-reject input")
    switch.check()
    expect(headings).to_have_text("None of these")
    expect(answer).to_have_text("None of these")
    page.screenshot(path=screenshots / "predict-rejected.png", full_page=True)
    switch.uncheck()
    expect(headings).to_contain_text(top_class)
