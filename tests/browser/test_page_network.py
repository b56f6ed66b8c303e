"""What conftest.py promises of a page: it reaches this machine, and what it asks of others is seen."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.support import loopback_server


def test_a_page_reaches_this_machine_and_no_other(page: Page, foreign_requests: list[str]) -> None:
    with loopback_server.serving(b"") as server:
        server.statuses.append(418)
        answer = page.goto(f"http://127.0.0.1:{server.server_port}/")
        assert answer is not None
        assert answer.status == 418
        assert page.evaluate("fetch('http://example.org/').catch(error => error.message)") == "Failed to fetch"
        assert foreign_requests == ["http://example.org/"]
        foreign_requests.clear()
