"""Wait for the turn of a training that this process runs itself (`train --queue`)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import describe_wait, open_queue

_POLL_SECONDS = 0.5


def wait_for_turn(runs_dir: Path | str, config: TrainConfig) -> Run:
    """Queue a new run and wait until it is its turn, telling its place on standard error.

    Meanwhile this process starts what is before it, as any other that looks after the queue. A `RunError` says that
    the run was taken out of the queue, or that it cannot be queued.

    Args:
        runs_dir: folder of all runs.
        config: of the run.

    Returns:
        The run, which this process owns.

    Raises:
        KeyboardInterrupt: Ctrl+C was pressed; the run is taken out of the queue.
    """
    queue = open_queue(runs_dir)
    run = queue.add_training(config, waits_here=True)
    place_text = ""
    try:
        while not queue.take_turn(run):
            queue.dispatch()
            if (new_text := describe_wait(run)) and new_text != place_text:
                place_text = new_text
                print(place_text, file=sys.stderr, flush=True)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        queue.cancel(run)
        raise
    return run
