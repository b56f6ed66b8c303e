"""The page, served by this process, for tests that open it in a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.data.samples import sample_sets
from ftlab.runs.jobs import time_estimate
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.common import data_choice
from ftlab.ui.page_server import PageServer

ESTIMATE = TimeEstimate(seconds=12.0, images_per_second=190.0)
"""How long a training takes, as the page says; nothing is measured."""


@contextmanager
def serve_page(place: Path, sample_folder: Path) -> Iterator[str]:
    """Address of the page of a local start: its data root is `place`, its runs lie in `place/runs`, what is sent to it
    in `place/uploads`. Every sample set is the one in `sample_folder`."""
    profile = ServerProfile(place, place / "runs")
    # A page remembers what it scanned, and another one of this process called other pictures by the same name.
    data_choice.scan_futures.clear()
    data_choice.split_catalogs.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        patch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: sample_folder)
        patch.setattr(time_estimate, "find_known_estimate", lambda *_: ESTIMATE)
        with PageServer(profile, build_app(profile), host="127.0.0.1", port=0) as server:
            yield server.url


def look(page: Page, folder: Path, name: str, widths: Sequence[int] = (1280, 390)) -> None:
    """Keep in `folder` what the page shows in windows of these widths, under its `name` with the width in the place of
    its braces. Nothing on the page is wider than the window. The last width stays."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
        page.screenshot(path=folder / f"{name.format(width)}.png", full_page=True)


def open_tab(page: Page, name: str) -> None:
    """Press a tab. Where the window is too narrow for all of them, Gradio keeps the last ones in a menu; whether one
    fits at 390 px depends on the font that was loaded when the page measured them."""
    tab, menu = page.get_by_role("tab", name=name), page.locator(".overflow-menu > button")
    expect(tab.or_(menu).first).to_be_visible()
    page.wait_for_function("() => document.fonts.status === 'loaded'")
    for _ in range(300):
        if tab.is_visible():
            tab.click()
            return
        if menu.is_visible():
            menu.click()
            page.locator(".overflow-dropdown button").filter(has_text=name).click()
            return
        page.wait_for_timeout(100)
    pytest.fail(f"no tab {name}")


def open_settings(page: Page) -> None:
    """Unfold the panel of all settings on the Train tab."""
    page.locator("#train-settings-panel > button").click()
    expect(page.locator("#train-search input")).to_be_visible()
