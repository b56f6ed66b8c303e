"""The language of a visitor: chosen on the page, as a cookie says, else the one that the browser asks for."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from ftlab.core import messages

LANGUAGE_COOKIE = "ftlab_language"
"""Name of the cookie, which a script of the page writes."""
LANGUAGE_KEY = "ftlab.language"
"""Key of an ASGI scope with the language of the request."""
_MAX_RANGES = 20
"""Languages of an `Accept-Language` header that are looked at."""


def choose_language(headers: Headers) -> str:
    """Return the language of the texts in the answer to a request.

    Args:
        headers: of the request.

    Returns:
        One of `messages.list_languages`; empty where the request asks for none of them.
    """
    known_languages = messages.list_languages()
    chosen_language = cookie_parser(headers.get("cookie", "")).get(LANGUAGE_COOKIE, "")
    if chosen_language in known_languages:
        return chosen_language
    accepted = (tag.partition("-")[0] for tag in _parse_accepted(headers.get("accept-language", "")))
    return next((language for language in accepted if language in known_languages), "")


def _parse_accepted(header: str) -> list[str]:
    """Return the language tags of an `Accept-Language` header (RFC 9110, 12.5.4), the most wanted first."""
    weighted_tags = []
    for language_range in header.split(",")[:_MAX_RANGES]:
        tag, _, parameter = language_range.partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if weight > 0:
            weighted_tags.append((weight, tag.strip().lower()))
    # Stable: of two with the same weight the first is wanted more.
    return [tag for _, tag in sorted(weighted_tags, key=lambda weighted: -weighted[0])]
