"""The last question of each page: answers may overtake each other, and one to an older question is not given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gradio as gr

MAX_TRACKED_PAGES = 500
"""Pages whose last question is remembered."""


class LatestQuestions:
    """What each page asks about now, by its session. One for what is shown in one place."""

    def __init__(self) -> None:
        self._questions: OrderedDict[str, object] = OrderedDict()

    def get_question(self, request: gr.Request | None) -> object:
        """What a page asked about last; None where that is not known any more."""
        return self._questions.get(_get_session_id(request))

    def answer_latest(
        self, request: gr.Request | None, question: object, compute_outputs: Callable[[], list[Any]]
    ) -> list[Any]:
        """What a look gives, unless the page asked about something else meanwhile: then nothing changes."""
        session_id = _get_session_id(request)
        self._questions[session_id] = question
        self._questions.move_to_end(session_id)
        while len(self._questions) > MAX_TRACKED_PAGES:
            self._questions.popitem(last=False)
        outputs = compute_outputs()
        return outputs if self._questions.get(session_id, question) == question else [gr.skip()] * len(outputs)


def _get_session_id(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""
