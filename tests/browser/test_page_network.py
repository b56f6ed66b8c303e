"""What conftest.py promises of a page: it reaches this machine, what it asks of others is seen, each is new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.support import loopback_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with loopback_server.serving(b"") as server:
        yield f"http://127.0.0.1:{server.server_port}/"


def test_a_page_reaches_this_machine_and_no_other(page: Page, foreign_requests: list[str]) -> None:
    with loopback_server.serving(b"") as server:
        server.statuses.append(418)
        answer = page.goto(f"http://127.0.0.1:{server.server_port}/")
        assert answer is not None
        assert answer.status == 418
        assert page.evaluate("fetch('http://example.org/').catch(error => error.message)") == "Failed to fetch"
        assert foreign_requests == ["http://example.org/"]
        foreign_requests.clear()


@pytest.mark.parametrize("visit", ["first", "second"])
def test_the_browser_remembers_nothing_of_another_test(page: Page, url: str, visit: str) -> None:
    page.goto(url)
    remembered = page.evaluate("[document.cookie, localStorage.visit, sessionStorage.visit]")
    assert remembered == ["", None, None], f"on the {visit} visit"
    page.evaluate("document.cookie = 'visit=1; max-age=600'; localStorage.visit = sessionStorage.visit = '1'")
