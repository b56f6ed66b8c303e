"""One task of a Slurm job: it starts one rank of a training and waits for its end. No torch.

submitit pickles a `SlurmTask` into the run directory, and each task of the job calls it. What is known of the run stays
in its directory: the rank names itself there, and task 0 is the driver as long as the job has the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.core import lazy_import
from ftlab.core.errors import RunError
from ftlab.runs.cluster.cluster_job import read_job
from ftlab.runs.directory import Run
from ftlab.runs.queue import queue_exit, start_gate

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class SlurmTask:
    """What a task needs to start its rank.

    Attributes:
        run_path: the run directory, on a path that all machines share.
        command: the command of the training, as a person would type it.
        variables: environment variables of the training.
        working_dir: working directory.
    """

    run_path: str
    command: tuple[str, ...]
    variables: dict[str, str]
    working_dir: str

    def __call__(self) -> int:
        """Train as one rank of the run.

        Returns:
            0, also where the run was stopped or taken by another job before it began.

        Raises:
            RunError: the rank ended with an error; Slurm ends the other ones then.
        """
        run, job = Run(Path(self.run_path)), lazy_import.import_module("submitit").JobEnvironment()
        is_main = job.global_rank == 0
        if run.liveness.is_stop_requested():
            if is_main:
                queue_exit.end_queued(run, "stopped")
                run.liveness.end_driver()
            return 0
        is_new = run.liveness.is_queued()
        if is_main and not is_new and not _may_go_on(run, job.raw_job_id):
            return 0
        process = self._start_rank(run, read_rank_variables(), is_gated=is_main and is_new)
        heartbeat = run.liveness.create_driver_heartbeat()
        try:
            while process.poll() is None:
                if is_main:
                    heartbeat.beat()
                time.sleep(_POLL_SECONDS)
        finally:
            # Where Slurm takes the machine back, submitit leaves by an exception and puts the job into the queue again.
            process.kill()
            process.wait()
        if is_main:
            run.liveness.end_driver()
        if process.returncode:
            raise RunError("cluster.ranks", cause=f"rank {job.global_rank}: exit status {process.returncode}")
        return 0

    def checkpoint(self) -> Any:
        """Return what the job is to run when it is put into the queue again; submitit calls it by this name."""
        return lazy_import.import_module("submitit").helpers.DelayedSubmission(self)

    def _start_rank(self, run: Run, rank_variables: dict[str, str], *, is_gated: bool) -> subprocess.Popen[bytes]:
        """Start the process of a rank; its output goes to the log of the run.

        Args:
            run: the run.
            rank_variables: say which rank it is.
            is_gated: it takes the run out of the queue first, and ends if that has been done already.

        Returns:
            The process.
        """
        variables = {**self.variables, **rank_variables, start_gate.RUN_FOLDER_ENV: self.run_path}
        if is_gated:
            variables[start_gate.GATE_ENV] = self.run_path
        with run.log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self.command[1:]],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.working_dir,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **variables},
            )
        assert process.stdin is not None
        with process.stdin as gate:
            gate.write(start_gate.GO_LINE if is_gated else b"")
        return process


def read_rank_variables() -> dict[str, str]:
    """Return the environment variables by which PyTorch finds the other ranks, from Slurm's; none for one task."""
    helpers = lazy_import.import_module("submitit").helpers
    ranks = helpers.TorchDistributedEnvironment()
    if ranks.world_size == 1:
        return {}
    return {
        "MASTER_ADDR": ranks.master_addr,
        "MASTER_PORT": str(ranks.master_port),
        "WORLD_SIZE": str(ranks.world_size),
        "RANK": str(ranks.rank),
        "LOCAL_RANK": str(ranks.local_rank),
        "LOCAL_WORLD_SIZE": str(ranks.local_world_size),
    }


def _may_go_on(run: Run, job_id: str) -> bool:
    """Return whether a run that was begun is to go on in this job, which Slurm has started again.

    Args:
        run: the run.
        job_id: of this job; another one may have taken the run meanwhile.
    """
    job, end_event = read_job(run), run.liveness.read_end_event()
    if job is None or job.job != job_id:
        return False
    if end_event is not None and end_event.reason != "failed":
        run.liveness.end_driver()
        return False
    # Slurm has ended the ranks of the earlier attempt, wherever they were.
    run.liveness.release_ownership()
    return True
