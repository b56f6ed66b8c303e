"""Threads for the answers that a page waits for: beside Gradio's queue, and of its own number.

An event in Gradio's queue costs two more requests and a stream of events; the answer to one image is as short as they
are. So it goes without the queue, and what the queue would bound is bounded here.
"""

from __future__ import annotations

import asyncio
import functools
import time
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
PAUSE_SHARE = 1.5
"""While a training is at work, the place of an answer stays empty for as long as the answer took, times this: those who
ask without end get two fifths of these threads' time. Nobody waits for that who finds another place free."""
MAX_PAUSE_SECONDS = 1.0
"""Longest such pause: an answer that waited for a slow file took none of the processor."""
TRAINING_CHECK_SECONDS = 2.0
"""Seconds for which it counts whether a training is at work."""
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
    """Runs handlers in threads of their own, in the order in which their events arrive.

    Answers of one visitor are computed one after the other. The handlers of one instance share its bounds, whether the
    page or a program asks.
    """

    def __init__(self, is_training: Callable[[], bool] = lambda: False) -> None:
        """Start no thread yet.

        Args:
            is_training: whether a training is at work on this machine; called in a thread, now and then.
        """
        self._is_training = is_training
        self._training_check = (-TRAINING_CHECK_SECONDS, False)
        self._places = CapacityLimiter(MAX_PARALLEL_ANSWERS)
        # Of the event loop, which itself keeps no task alive.
        self._pauses: set[asyncio.Task[None]] = set()
        # Of its own, with a thread for each place: that of anyio is for all of a server's other work.
        self._threads = CapacityLimiter(MAX_PARALLEL_ANSWERS)
        # Of the event loop only.
        self._lines: dict[str, _VisitorLine] = {}
        self._address_counts = Counter[str]()

    def run_aside(
        self, handler: Callable[..., Any], make_refusal: Callable[[str], Any]
    ) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a handler for an event with `queue=False`.

        Args:
            handler: computes the outputs.
            make_refusal: returns the outputs of the handler that only tell a message, or raises an error with it.

        Returns:
            A coroutine function with the parameters of the handler, which Gradio looks at.
        """

        @functools.wraps(handler)
        async def handle_aside(*input_values: Any) -> Any:
            visitor, address = get_sender()
            line = self._lines.get(visitor) or _VisitorLine()
            if line.count >= MAX_WAITING_ANSWERS:
                return make_refusal(messages.get_text("server.busy_visitor"))
            if self._address_counts[address] >= MAX_WAITING_ANSWERS_OF_ADDRESS:
                return make_refusal(messages.get_text("server.busy_address"))
            self._lines[visitor] = line
            line.count += 1
            self._address_counts[address] += 1
            try:
                async with line.turn:
                    return await self._answer_in_place(functools.partial(handler, *input_values))
            finally:
                line.count -= 1
                if not line.count:
                    del self._lines[visitor]
                self._address_counts[address] -= 1
                if not self._address_counts[address]:
                    del self._address_counts[address]

        return handle_aside

    async def _answer_in_place(self, compute_answer: Callable[[], Any]) -> Any:
        """Compute an answer in a thread when a place is free, and free the place again, after a pause if need be.

        Args:
            compute_answer: a handler with its arguments.

        Returns:
            The answer.
        """
        place = object()
        await self._places.acquire_on_behalf_of(place)
        start_time = time.monotonic()
        try:
            return await to_thread.run_sync(compute_answer, limiter=self._threads)
        finally:
            # Beside the answer, which waits for none of it.
            task = asyncio.create_task(self._free_place(place, time.monotonic() - start_time))
            self._pauses.add(task)
            task.add_done_callback(self._pauses.discard)

    async def _free_place(self, place: object, answer_seconds: float) -> None:
        """Free a place, after a pause while a training is at work.

        Args:
            place: that an answer has taken.
            answer_seconds: how long the answer took.
        """
        try:
            if await self._check_training():
                await asyncio.sleep(min(MAX_PAUSE_SECONDS, PAUSE_SHARE * answer_seconds))
        finally:
            self._places.release_on_behalf_of(place)

    async def _check_training(self) -> bool:
        """Return whether a training is at work, as it was found in the last `TRAINING_CHECK_SECONDS`."""
        check_time, is_training = self._training_check
        if time.monotonic() - check_time >= TRAINING_CHECK_SECONDS:
            is_training = await to_thread.run_sync(self._is_training)
            self._training_check = (time.monotonic(), is_training)
        return is_training
