"""Submit a training to a cluster (`train --cluster`, `resume --cluster`): this process does not wait for its end."""

from __future__ import annotations

import sys
from argparse import Namespace

from ftlab.cli.common import queue_turn, train_process
from ftlab.cli.terminal.output import print_json
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.runs.cluster import address
from ftlab.runs.cluster.cluster_job import read_job
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue.job_queue import JobQueue


def submit_training(config: TrainConfig, options: Namespace) -> int:
    """Create a run and submit its training; with `--queue`, once its turn has come.

    Args:
        config: of the run.
        options: of the command.

    Returns:
        Exit status: 0.
    """
    address.declare_cluster(options.cluster)
    config = train_process.prepare_config(config, options.runs, trains_here=False)
    queue = open_queue(options.runs)
    return _submit_run(queue, queue.add_training(config), options)


def submit_resume(run: Run, options: Namespace) -> int:
    """Submit the rest of a training that ended early; with `--queue`, once its turn has come.

    Args:
        run: the run.
        options: of the command.

    Returns:
        Exit status: 0.
    """
    address.declare_cluster(options.cluster)
    queue = open_queue(run.path.parent)
    return _submit_run(queue, queue.add_resume(run), options)


def _submit_run(queue: JobQueue, run: Run, options: Namespace) -> int:
    """Submit a queued run and print its job.

    Args:
        queue: the queue.
        run: queued.
        options: of the command.

    Returns:
        Exit status: 0.
    """
    print(messages.get_text("console.run", run=run.path), file=sys.stderr)
    if options.queue:
        queue_turn.wait_until(lambda: not run.liveness.is_queued() or run.liveness.has_driver(), queue, run)
    else:
        queue.start_now(run)
    job = read_job(run)
    if options.json:
        print_json({"run": run.name, "path": str(run.path), "job": job.job if job else None})
    elif job is not None:
        print(messages.get_text("cli.cluster_submitted", job=job.job, address=job.address))
    return 0
