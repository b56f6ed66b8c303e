"""Ctrl+C, SIGTERM, stop requests and the time limit, for a training that may be too busy to hear them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ftlab.config.train_config import TrainConfig
from ftlab.core import interruption
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.devices import rank_environment

TIME_LIMIT_GRACE_SECONDS = 5.0
"""Seconds beyond the time limit in which a training may end by itself."""
_logger = logging.getLogger(__name__)


class TrainingInterrupt:
    """Ends a training by its stop file, by Ctrl+C or by its time limit, if the training thread does not.

    What the training has computed so far is saved; its run says that it was stopped.
    """

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        guard: StopGuard,
        make_end_event: Callable[[str], Ended],
        report_end: Callable[[Ended], None],
        *,
        is_main_process: bool,
    ) -> None:
        """Watch a training.

        Args:
            run: the run directory.
            config: has the time limit.
            guard: says when the training may be ended.
            make_end_event: reason -> the event that ends the run.
            report_end: shows that event.
            is_main_process: whether this process writes to the run.
        """  # fmt: skip
        self.run, self.guard, self.make_end_event, self.report_end = run, guard, make_end_event, report_end
        self.is_main_process = is_main_process
        self._limit_seconds = config.max_minutes * 60
        self._stop_time: float | None = None
        # Of several ranks: torchrun, which would end them if one of them were lost.
        self._launcher_pid = os.getppid() if rank_environment.get_world_size() > 1 else None

    def handle_signal(self, signal_number: int) -> None:
        """Ask the training to stop; the second Ctrl+C ends it at once.

        Args:
            signal_number: of the signal.
        """
        if signal_number in (signal.SIGINT, signal.SIGTERM):
            self.guard.received_signals.append(signal_number)
            self.run.liveness.request_stop()

    def poll(self) -> None:
        """End the training once it is time and nothing is half done."""
        now = time.monotonic()
        if self._launcher_pid not in (None, os.getppid()):  # nobody looks after the ranks any more: they save and end
            self._launcher_pid = None
            self.run.liveness.request_stop()
        if self._stop_time is None and self.run.liveness.is_stop_requested():
            self._stop_time = now
        if self.guard.received_signals.count(signal.SIGINT) > 1:
            self._end_training("stopped", saves=self.guard.take_over())
        elapsed_seconds, limit = now - self.guard.start_time, self._limit_seconds
        if self._stop_time is not None and now - self._stop_time > interruption.GRACE_SECONDS:
            reason = "stopped"
        elif limit and elapsed_seconds > limit + max(TIME_LIMIT_GRACE_SECONDS, 0.1 * limit):
            reason = "time"
        else:
            return
        if self.guard.take_over():
            self._end_training(reason, saves=True)

    def _end_training(self, reason: str, *, saves: bool) -> None:
        """Save and record the training, and end this process.

        Args:
            reason: as in `Ended`.
            saves: whether the state may be saved, as the training thread has stopped; else the last checkpoint remains.
        """
        # Never released: the training thread must not write another event.
        if self.is_main_process and self.guard.event_lock.acquire(timeout=interruption.GRACE_SECONDS):
            try:
                for event in self.guard.save_state() if saves and self.guard.save_state else ():
                    self.run.append_event(event)
                end_event = self.make_end_event(reason)
                self.run.append_event(end_event)
                self.report_end(end_event)
            # Whatever it is, the process ends; the last checkpoint remains.
            except Exception as error:
                _logger.warning("%s", error)
            finally:
                self.run.liveness.release_ownership()
                interruption.end_process(self.exit_status)
        interruption.end_process(self.exit_status)

    @property
    def exit_status(self) -> int:
        """Exit status of the process: that of Ctrl+C, or 0."""
        return interruption.INTERRUPTED_STATUS if signal.SIGINT in self.guard.received_signals else 0


@contextmanager
def stop_on_signals(run: Run, guard: StopGuard, *, in_program: bool = True) -> Iterator[None]:
    """Let signals ask a training to stop, as the Stop button does; only the main thread can receive some.

    Args:
        run: that is trained.
        guard: notes the signals received.
        in_program: whether the process belongs to the training. Else only Ctrl+C is handled, and raised at once before
            the first step, where nothing is lost, and at the second time.
    """
    is_watched = in_program and interruption.is_watched()

    def request_stop(signal_number: int, _frame: object) -> None:
        if not is_watched:  # else the watching thread has noted it already
            guard.received_signals.append(signal_number)
            run.liveness.request_stop()
        if not in_program and (not guard.has_begun or len(guard.received_signals) > 1):
            raise KeyboardInterrupt

    is_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if in_program else (signal.SIGINT,)
    previous_handlers = {number: signal.signal(number, request_stop) for number in numbers if is_main_thread}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
