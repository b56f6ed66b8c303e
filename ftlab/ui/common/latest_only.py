"""The last question of each page: answers may overtake each other, and one to an older question is not given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gradio as gr

PAGES = 500
"""Pages whose last question is remembered."""


class Latest:
    """What each page asks about now, by its session. One for what is shown in one place."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, object] = OrderedDict()

    def of(self, request: gr.Request | None) -> object:
        """What a page asked about last; None where that is not known any more."""
        return self._asked.get(_session(request))

    def answer(self, request: gr.Request | None, question: object, look: Callable[[], list[Any]]) -> list[Any]:
        """What a look gives, unless the page asked about something else meanwhile: then nothing changes."""
        session = _session(request)
        self._asked[session] = question
        self._asked.move_to_end(session)
        while len(self._asked) > PAGES:
            self._asked.popitem(last=False)
        shown = look()
        return shown if self._asked.get(session, question) == question else [gr.skip()] * len(shown)


def _session(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""
