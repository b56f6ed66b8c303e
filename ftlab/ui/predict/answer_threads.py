"""Threads for the answers that a page waits for: beside Gradio's queue, and of its own number.

An event in Gradio's queue costs two more requests and a stream of events; the answer to one image is as short as they
are. So it goes without the queue, and what the queue would bound is bounded here.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from anyio import CapacityLimiter, to_thread

from ftlab.core import messages
from ftlab.ui.common.page_events import get_visitor_name

MAX_PARALLEL_ANSWERS = 4
"""Answers that are computed at a time: so many images go through a graph together."""
MAX_WAITING_ANSWERS = 8
"""Answers that one visitor may wait for at a time; a page waits for one."""


class AnswerThreads:
    """Runs handlers in threads of their own, in the order in which their events arrive. One instance per server."""

    def __init__(self, make_refusal: Callable[[str], Any]) -> None:
        """Start no thread yet.

        Args:
            make_refusal: returns the outputs of a handler that only tell a message.
        """
        self._make_refusal = make_refusal
        self._limiter = CapacityLimiter(MAX_PARALLEL_ANSWERS)
        # Of the event loop only.
        self._waiting_counts = Counter[str]()

    def run_aside(self, handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a handler for an event with `queue=False`.

        Args:
            handler: computes the outputs.

        Returns:
            A coroutine function with the parameters of the handler, which Gradio looks at.
        """

        @functools.wraps(handler)
        async def handle_aside(*input_values: Any) -> Any:
            visitor = get_visitor_name()
            if self._waiting_counts[visitor] >= MAX_WAITING_ANSWERS:
                return self._make_refusal(messages.get_text("server.busy_visitor"))
            self._waiting_counts[visitor] += 1
            try:
                return await to_thread.run_sync(handler, *input_values, limiter=self._limiter)
            finally:
                self._waiting_counts[visitor] -= 1
                if not self._waiting_counts[visitor]:
                    del self._waiting_counts[visitor]

        return handle_aside
