"""Real browsers of a class that ask about images, all at once."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright

from tests.support import browser as browsers
from tests.support.class_load import AnswerReport
from tests.support.served_page import open_tab

TIMEOUT_MILLISECONDS = 120_000.0
_TAG_PATTERN = re.compile(r"b\d+q\d+b")


def ask_in_browsers(
    url: str, students: Sequence[httpx.Client], count: int, images: Sequence[Path], report: AnswerReport
) -> None:
    """Ask about so many images in a browser of each student; the first model that the page offers is asked.

    Args:
        url: address of the page.
        students: clients that have joined, whose cookies the browsers get.
        count: images of each.
        images: photographs, dealt in turn.
        report: gets the answers.
    """
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browsers.find(), args=[*browsers.ARGUMENTS])
        pages = [_open_page(running, url, student) for student in students]
        for question in range(count):
            began, tags = time.monotonic(), list[str]()
            for number, page in enumerate(pages):
                tags.append(f"b{number}q{question}b")
                image = images[(number * count + question) % len(images)]
                file: FilePayload = {"name": f"{tags[-1]}.jpg", "mimeType": "image/jpeg", "buffer": image.read_bytes()}
                if question:
                    page.locator("#predict-image").get_by_label("Remove Image").click()
                page.locator("#predict-image input[type=file]").set_input_files(file)
            for page, tag in zip(pages, tags, strict=True):
                # The image that can be downloaded is called as the one that was sent.
                page.locator(f"#predict-overlay .downloads a[download*='{tag}']").first.wait_for()
                report.delays.append(time.monotonic() - began)
                shown = set(_TAG_PATTERN.findall(page.locator("#predict-overlay").inner_html()))
                report.faults += [f"{tag} shows {shown}"] if shown != {tag} else []
        running.close()


def _open_page(running: Browser, url: str, student: httpx.Client) -> Page:
    """Open the Predict tab in a browser of its own, and choose the first model."""
    context = running.new_context()
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in student.cookies.items()])
    page = context.new_page()
    page.goto(url)
    open_tab(page, "Predict")
    page.locator("#predict-model input").click()
    page.get_by_role("option").first.click()
    return page
