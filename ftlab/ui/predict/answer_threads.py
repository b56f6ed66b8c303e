"""Threads for the answers that a page waits for: beside Gradio's queue, and of its own number.

An event in Gradio's queue costs two more requests and a stream of events; the answer to one image is as short as they
are. So it goes without the queue, and what the queue would bound is bounded here.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter, Lock, to_thread

from ftlab.core import messages
from ftlab.core.machine import count_cpu_cores
from ftlab.ui.common.page_events import get_sender

MAX_PARALLEL_ANSWERS = max(2, count_cpu_cores())
"""Answers that are computed at a time. More would take the processor from a training beside, and give none sooner."""
MAX_WAITING_ANSWERS = 8
"""Answers that one visitor may wait for at a time; a page waits for one."""
MAX_WAITING_ANSWERS_OF_ADDRESS = 96
"""The same, of all visitors of an address: several classes, whose last one waits for some seconds."""


@dataclass
class _VisitorLine:
    """Answers that one visitor waits for.

    Attributes:
        turn: held by the answer that is computed: one visitor never holds all threads.
        count: answers that are computed or wait.
    """

    turn: Lock = field(default_factory=Lock)
    count: int = 0


class AnswerThreads:
    """Runs handlers in threads of their own, in the order in which their events arrive. One instance per server.

    Answers of one visitor are computed one after the other.
    """

    def __init__(self, make_refusal: Callable[[str], Any]) -> None:
        """Start no thread yet.

        Args:
            make_refusal: returns the outputs of a handler that only tell a message.
        """
        self._make_refusal = make_refusal
        self._limiter = CapacityLimiter(MAX_PARALLEL_ANSWERS)
        # Of the event loop only.
        self._lines: dict[str, _VisitorLine] = {}
        self._address_counts = Counter[str]()

    def run_aside(self, handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a handler for an event with `queue=False`.

        Args:
            handler: computes the outputs.

        Returns:
            A coroutine function with the parameters of the handler, which Gradio looks at.
        """

        @functools.wraps(handler)
        async def handle_aside(*input_values: Any) -> Any:
            visitor, address = get_sender()
            line = self._lines.get(visitor) or _VisitorLine()
            if line.count >= MAX_WAITING_ANSWERS:
                return self._make_refusal(messages.get_text("server.busy_visitor"))
            if self._address_counts[address] >= MAX_WAITING_ANSWERS_OF_ADDRESS:
                return self._make_refusal(messages.get_text("server.busy_address"))
            self._lines[visitor] = line
            line.count += 1
            self._address_counts[address] += 1
            try:
                async with line.turn:
                    return await to_thread.run_sync(handler, *input_values, limiter=self._limiter)
            finally:
                line.count -= 1
                if not line.count:
                    del self._lines[visitor]
                self._address_counts[address] -= 1
                if not self._address_counts[address]:
                    del self._address_counts[address]

        return handle_aside
