"""The language of a request: the cookie that the page's switch has set, else what the browser asks for."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from ftlab.server.people.languages import LANGUAGE_COOKIE, choose_language


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-Hans-CN", "zh"),
        ("en-GB,en;q=0.9,zh-CN;q=0.8", "en"),
        ("fr-FR,fr;q=0.9,zh;q=0.8,en;q=0.7", "zh"),
        ("en;q=0.2, zh-TW;q=0.7", "zh"),
        ("zh;q=0, en;q=0.1", "en"),
        ("fr, *;q=0.5", ""),
        ("zh;q=high, en;q=0.5", "en"),
        ("../zh", ""),
        ("", ""),
    ],
)
def test_the_most_wanted_language_that_there_is(accepted: str, language: str) -> None:
    assert choose_language(Headers({"accept-language": accepted})) == language


def test_a_program_that_asks_for_no_language_gets_the_servers() -> None:
    assert choose_language(Headers({})) == ""


def test_the_language_chosen_on_the_page_wins() -> None:
    headers = {"accept-language": "zh-CN", "cookie": f"other=1; {LANGUAGE_COOKIE}=en"}
    assert choose_language(Headers(headers)) == "en"


@pytest.mark.parametrize("value", ["xx", "../../zh", ""])
def test_a_cookie_with_a_language_that_there_is_not_counts_for_nothing(value: str) -> None:
    headers = {"accept-language": "zh-CN", "cookie": f"{LANGUAGE_COOKIE}={value}"}
    assert choose_language(Headers(headers)) == "zh"
