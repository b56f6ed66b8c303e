"""The menus of the Dataset tab in a real browser: how folders are read, and how the names in a zip are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.ui.train import preflight
from tests.support import drawn_images, small_archives
from tests.support.served_page import open_tab, serve_page

PICTURE = drawn_images.png(64, 48)
SOON = 30_000
"""Milliseconds for what needs a server's answer."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("menus")


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with serve_page(place, drawn_images.tiny(place / "tiny")) as url:
        yield url
        # The Train tab asks for the speed a little later: while the page says that it is known.
        time.sleep(2 * preflight.MEASURE_DELAY_SECONDS)


def open_source(page: Page, url: str, name: str) -> None:
    """The Dataset tab of a fresh page, with this kind of source chosen."""
    page.goto(url)
    expect(page.locator("#dataset-summary")).to_contain_text("amber", timeout=SOON)
    page.locator("#dataset-source label").filter(has_text=name).click()


def read_folder(page: Page, folder: Path) -> None:
    page.locator("#dataset-folder input").fill(str(folder))
    page.locator("#dataset-folder input").press("Enter")


def choose(page: Page, menu: str, option: str) -> None:
    """Take an option of a Gradio drop-down menu."""
    page.locator(f"{menu} input").click()
    page.get_by_role("option", name=option).click()


def expect_command(page: Page, pattern: str) -> None:
    """Wait until the command on the Train tab matches; the Dataset tab is open again then."""
    open_tab(page, "Train")
    expect(page.locator("#train-command textarea")).to_have_value(re.compile(pattern), timeout=SOON)
    open_tab(page, "Dataset")


def test_the_reading_of_the_folders_is_chosen_and_trained_with(
    page: Page, url: str, place: Path, screenshots: Path
) -> None:
    folder = place / "pictures"
    for split, name in ((split, name) for split in ("train", "val") for name in ("ants", "bees")):
        (folder / split / name).mkdir(parents=True)
        for number in range(4):
            (folder / split / name / f"{number}.png").write_bytes(PICTURE)
    (folder / "labels.csv").write_text(
        "path,label\n" + "".join(f"train/ants/{number}.png,{'ab'[number % 2]}1\n" for number in range(4))
    )
    open_source(page, url, "A folder of mine")
    summary, menu = page.locator("#dataset-summary"), page.locator("#dataset-layout input")
    read_folder(page, folder)
    expect(summary).to_contain_text("2 splits × 2 classes, because folders are named like splits", timeout=SOON)
    expect(menu).to_have_value("Automatic")
    expect_command(page, r"--data \S*pictures (?!.*--layout)")
    choose(page, "#dataset-layout", "Each folder is a class")
    expect(summary).to_contain_text("2 classes, because you chose", timeout=SOON)
    expect(page.locator("#dataset-class input")).to_be_visible()
    expect(summary.get_by_role("rowheader", name="val", exact=True)).to_be_visible()
    expect_command(page, r"--data \S*pictures .*--layout classes")
    page.screenshot(path=screenshots / "dataset-layout.png")
    page.reload()
    expect(summary).to_contain_text("2 classes, because you chose", timeout=SOON)
    expect(menu).to_have_value("Each folder is a class")
    choose(page, "#dataset-layout", "The list in the folder decides")
    expect(summary).to_contain_text("because the list labels.csv gives the labels", timeout=SOON)
    expect_command(page, r"--layout list")
    choose(page, "#dataset-layout", "Folders are splits")
    expect(summary).to_contain_text("2 splits × 2 classes", timeout=SOON)
    expect_command(page, r"--layout splits")


def test_the_names_in_a_zip_are_read_in_another_encoding_without_sending_it_again(
    page: Page, url: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshots: Path
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    names = [f"{label}/{number}.png".encode("cp866") for label in ("кот", "пёс") for number in range(4)]
    file = small_archives.write_legacy_zip(tmp_path / "pets.zip", dict.fromkeys(names, PICTURE))
    garbled = "кот".encode("cp866").decode("cp852")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/upload" in request.url else None)
    open_source(page, url, "A zip of mine")
    summary, menu = page.locator("#dataset-summary"), page.locator("#dataset-zip-names input")
    page.locator("#dataset-zip input[type=file]").set_input_files(file)
    expect(summary).to_contain_text("кот", timeout=SOON)
    expect(menu).to_be_visible()
    upload_count = len(sent)
    assert upload_count
    choose(page, "#dataset-zip-names", "Central European, DOS (cp852)")
    expect(summary).to_contain_text(garbled, timeout=SOON)
    choose(page, "#dataset-zip-names", "UTF-8")
    expect(summary).to_contain_text("is not in the encoding utf-8", timeout=SOON)
    expect(summary).to_contain_text(garbled)
    page.reload()
    expect(summary).to_contain_text(garbled, timeout=SOON)
    expect(menu).to_have_value("Central European, DOS (cp852)")
    choose(page, "#dataset-zip-names", "Cyrillic, DOS (cp866)")
    expect(summary).to_contain_text("пёс", timeout=SOON)
    page.screenshot(path=screenshots / "dataset-zip-names.png")
    assert len(sent) == upload_count, "the zip was sent once"
    expect_command(page, r"--data \S*visitors\S*pets(?!.*--zip-names)")


def test_a_zip_below_the_servers_folder_is_trained_on_with_the_encoding_that_was_chosen(
    page: Page, url: str, place: Path
) -> None:
    names = [f"{label}/{number}.png".encode("cp866") for label in ("кот", "пёс") for number in range(4)]
    file = small_archives.write_legacy_zip(place / "typed.zip", dict.fromkeys(names, PICTURE))
    open_source(page, url, "A folder of mine")
    summary = page.locator("#dataset-summary")
    read_folder(page, file)
    expect(summary).to_contain_text("кот", timeout=SOON)
    choose(page, "#dataset-zip-names", "Central European, DOS (cp852)")
    expect(summary).to_contain_text("кот".encode("cp866").decode("cp852"), timeout=SOON)
    expect_command(page, r"typed\.zip .*--zip-names cp852")
    read_folder(page, place / "tiny")
    expect(summary).to_contain_text("amber", timeout=SOON)
    expect(page.locator("#dataset-zip-names")).not_to_be_visible()
    expect_command(page, r"tiny (?!.*--zip-names)")
