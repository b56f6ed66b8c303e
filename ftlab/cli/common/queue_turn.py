"""Wait for the turn of a training that this process runs itself (`train --queue`, `resume --queue`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import describe_wait, open_queue
from ftlab.runs.queue.job_queue import JobQueue

_POLL_SECONDS = 0.5


def wait_for_turn(runs_dir: Path | str, config: TrainConfig) -> Run:
    """Queue a new run and wait until it is its turn; a `RunError` says that it was cancelled, or cannot be queued.

    Args:
        runs_dir: folder of all runs.
        config: of the run.

    Returns:
        The run, which this process owns.
    """
    queue = open_queue(runs_dir)
    return _wait_in_queue(queue, queue.add_training(config, waits_here=True))


def wait_to_resume(run: Run) -> Run:
    """Queue a run that goes on and wait until it is its turn; a `RunError` says that it was cancelled, or cannot go on.

    Args:
        run: a run that ended early.

    Returns:
        The run, which this process owns.
    """
    queue = open_queue(run.path.parent)
    return _wait_in_queue(queue, queue.add_resume(run, waits_here=True))


def _wait_in_queue(queue: JobQueue, run: Run) -> Run:
    """Wait until it is the turn of a run; a `RunError` says that it was taken out of the queue.

    Args:
        queue: the queue.
        run: queued with `waits_here`.

    Returns:
        The run, which this process owns.
    """
    wait_until(lambda: queue.take_turn(run), queue, run)
    return run


def wait_until(has_left: Callable[[], bool], queue: JobQueue, run: Run) -> None:
    """Wait until a run has left the queue, printing its place on standard error.

    Meanwhile this process starts what is before it, as any other that looks after the queue.

    Args:
        has_left: returns whether the run has left the queue.
        queue: the queue.
        run: that waits.

    Raises:
        KeyboardInterrupt: Ctrl+C was pressed; the run is taken out of the queue.
    """
    place_text = ""
    try:
        while not has_left():
            queue.dispatch()
            if (new_text := describe_wait(run)) and new_text != place_text:
                place_text = new_text
                print(place_text, file=sys.stderr, flush=True)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        queue.cancel(run)
        raise
