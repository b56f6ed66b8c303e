"""Thread that starts queued runs when their turn comes, for as long as its process lives. No torch."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from ftlab.core.errors import RunError
from ftlab.runs.jobs import warm_worker
from ftlab.runs.jobs.local_launcher import open_queue

POLL_SECONDS = 0.5
"""Seconds between two looks at the queue."""
WARM_DELAY_SECONDS = 5.0
"""Seconds after the start of a server, or of a training, before a spare process is started."""
_logger = logging.getLogger(__name__)


class Dispatcher:
    """Looks after the queue of a runs folder, in a thread. Several of one folder do not disturb each other."""

    def __init__(self, root: Path | str) -> None:
        """Prepare the thread.

        Args:
            root: folder of all runs.
        """
        self._queue = open_queue(root)
        self._stop_event, self._start_time = threading.Event(), time.monotonic()
        # A daemon thread: it must not keep the server from ending.
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)

    def start(self) -> None:
        """Begin to look after the queue."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; trainings go on."""
        self._stop_event.set()
        self._thread.join()

    def _run(self) -> None:
        """Start what is next, until the end; an error is logged once, and may pass."""
        last_error = ""
        while not self._stop_event.wait(POLL_SECONDS):
            try:
                self._queue.dispatch()
                self._keep_warm()
                last_error = ""
            except (RunError, OSError) as error:
                if str(error) != last_error:
                    _logger.warning("the queue stands still: %s", error)
                last_error = str(error)

    def _keep_warm(self) -> None:
        """Keep a spare process ready while nothing is trained, and for the next run while somebody waits."""
        # At the start of a server its pages come first.
        if time.monotonic() - self._start_time < WARM_DELAY_SECONDS or not warm_worker.is_allowed():
            return
        if warm_worker.SHARED_WORKER.get_process_id() is None:
            state = self._queue.read_state()
            latest_start = max((job.since for job in state.active), default=0.0)
            # Its imports would slow down a training, at the start most of all; if somebody waits, they save more.
            if state.active and (not state.waiting or time.time() - latest_start < WARM_DELAY_SECONDS):
                return
        warm_worker.SHARED_WORKER.keep_ready()
