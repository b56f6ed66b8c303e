"""Answers to the latest question of each page only.

Handlers run at the same time, so an answer may overtake a later one; an answer to an outdated question is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gradio as gr

MAX_TRACKED_PAGES = 500
"""Pages whose last question is remembered."""


class LatestQuestions:
    """The last question of each page (Gradio session) about one part of the page."""

    def __init__(self) -> None:
        """Start without any question."""
        self._questions: OrderedDict[str, object] = OrderedDict()

    def get_question(self, request: gr.Request | None) -> object:
        """Return the last question of a page; None where it is no longer known."""
        return self._questions.get(_get_session_id(request))

    def answer_latest(
        self, request: gr.Request | None, question: object, compute_outputs: Callable[[], list[Any]]
    ) -> list[Any]:
        """Compute outputs, and drop them where the page has asked something else meanwhile.

        Args:
            request: request of the page; None in tests and direct calls.
            question: what the page asks, compared by equality.
            compute_outputs: computes the outputs of the handler.

        Returns:
            The outputs, or as many `gr.skip()`, which leave the page as it is.
        """
        session_id = _get_session_id(request)
        self._questions[session_id] = question
        self._questions.move_to_end(session_id)
        while len(self._questions) > MAX_TRACKED_PAGES:
            self._questions.popitem(last=False)
        outputs = compute_outputs()
        # A page that was dropped from memory meanwhile gets its answer: better late than never.
        return outputs if self._questions.get(session_id, question) == question else [gr.skip()] * len(outputs)


def _get_session_id(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""
