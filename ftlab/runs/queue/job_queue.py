"""The queue of one runs folder: queue a run, start what is next, take a turn in this process, cancel.

Any process may do any of it at any time. What changes the queue is done under one lock, which the system releases when
its holder is killed; so a run is started once, and after a kill at any moment again only if it has not begun.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs import run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.liveness import ACTIVE_STATUSES, DRIVER_FILE
from ftlab.runs.queue import fair_order, marker, queue_exit, queue_limits, queue_pause, train_command
from ftlab.runs.queue.database import QueueDatabase
from ftlab.runs.queue.fair_order import ActiveJob, QueuedJob
from ftlab.runs.queue.launcher import Launcher

MAX_LAUNCHES = 3
"""Processes that are started for a run and end before they begin, until the run counts as failed."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueState:
    """The queue at one moment.

    Attributes:
        active: the runs that are trained.
        waiting: the runs that wait, the next one first; held ones last.
    """

    active: list[ActiveJob]
    waiting: list[QueuedJob]


class JobQueue:
    """The queue of a runs folder. Holds no state: any number of objects and processes may use one folder."""

    def __init__(self, root: Path | str, launcher: Launcher) -> None:
        """Refer to the queue of a folder; nothing is created yet.

        Args:
            root: folder of all runs.
            launcher: starts the runs.
        """
        self.root = Path(root).absolute()
        self._launcher = launcher
        self._database = QueueDatabase(self.root)

    def add_training(
        self,
        config: TrainConfig,
        owner: str = "",
        *,
        seconds: float | None = None,
        is_pausable: bool = False,
        waits_here: bool = False,
    ) -> Run:
        """Create a run and queue it; a `RunError` says that the folder cannot be written, or is full.

        Args:
            config: the configuration.
            owner: whose run it is, as `run_quota.make_owner` returns it.
            seconds: how long it will probably take; None if that is not known.
            is_pausable: a pause of the queue binds it.
            waits_here: this process waits for its turn, by `take_turn`, and trains the run itself.

        Returns:
            The run.
        """
        run_quota.check_start(self.root, owner)
        with self._database.lock():
            self._check_waiting(owner)
            run = run_store.create_run(self.root, config)
            with run.translate_write_errors():
                run_quota.write_owner(run, owner)
            run_marker = marker.make_marker(
                config.device, owner, seconds=seconds, is_pausable=is_pausable, waits_here=waits_here
            )
            marker.write_marker(run, run_marker)
        return run

    def add_resume(self, run: Run, *, is_pausable: bool = False, waits_here: bool = False) -> Run:
        """Queue a run that goes on from its last checkpoint.

        Args:
            run: a run that ended early.
            is_pausable: as for `add_training`.
            waits_here: as for `add_training`.

        Returns:
            The run.

        Raises:
            RunError: it is active or queued already, it is finished, its `config.json` is damaged, or there is no space
                left for its owner's runs.
        """
        owner = run_quota.read_owner(run)
        run_quota.check_start(self.root, owner)
        with self._database.lock():
            status = run.liveness.get_status()
            if status in ACTIVE_STATUSES:
                raise RunError("run.busy", run=run.name)
            if status == "finished":
                raise RunError("run.finished", run=run.name)
            config = run.load_config()  # a damaged one is reported here, not by a process that dies of it
            self._check_waiting(owner)
            run_marker = marker.make_marker(
                config.device, owner, resumes=True, is_pausable=is_pausable, waits_here=waits_here
            )
            marker.write_marker(run, run_marker)
        return run

    def dispatch(self) -> list[Run]:
        """Start the runs whose turn it is; any process may call it at any time.

        Returns:
            The runs that this call started.
        """
        started = list[Run]()
        # Nothing is locked, nor created, where nobody waits: this is called several times a second.
        if not marker.list_queued(self.root, run_store.list_run_names(self.root)):
            return started
        with self._database.lock() as turns:
            while (job := self._find_next(turns)) is not None:
                if self._start_job(job):
                    started.append(job.run)
                turns[job.marker.owner] = time.time()
        return started

    def start_now(self, run: Run) -> None:
        """Start a queued run whether or not it is its turn, unless somebody has done so already.

        Args:
            run: queued without `waits_here`.

        Raises:
            RunError: it cannot be started; it counts as failed then.
        """
        with self._database.lock():
            run_marker = marker.read_marker(run)
            if run_marker is None or self._launcher.is_alive(run):
                return
            try:
                self._launch(QueuedJob(run, run_marker))
            except RunError as error:
                queue_exit.end_queued(run, "failed", str(error))
                raise

    def take_turn(self, run: Run) -> bool:
        """Take a run out of the queue for this process, if it is its turn.

        Args:
            run: queued with `waits_here`.

        Returns:
            Whether this process is to train it now.

        Raises:
            RunError: it is not queued any more: somebody has cancelled it.
        """
        if not run.liveness.is_queued():
            raise RunError("run.cancelled", run=run.name)
        marker.show_waiter(run)
        with self._database.lock() as turns:
            job = self._find_next(turns, waits_here=run.name)
            if job is None or not run.liveness.is_queued():
                return False
            run.liveness.set_owner(os.getpid())
            marker.remove_marker(run)
            turns[job.marker.owner] = time.time()
        return True

    def cancel(self, run: Run) -> bool:
        """Take a run out of the queue for good. A run that has not begun counts as stopped then.

        Returns:
            Whether it was queued; otherwise its process has to be asked to stop.
        """
        with self._database.lock():
            if not run.liveness.is_queued() or self._launcher.is_alive(run):
                return False
            queue_exit.end_queued(run, "stopped")
        return True

    def terminate(self, run: Run) -> None:
        """End the process of a run that does not react; a `RunError` says that there is none."""
        self._launcher.terminate(run)

    def read_state(self) -> QueueState:
        """Return who is trained and who waits, in order."""
        run_names = run_store.list_run_names(self.root)
        active = self._list_active(run_names)
        turns = fair_order.merge_turns(self._database.read_turns(), active)
        ordered = fair_order.order_jobs(self._list_waiting(run_names, active), turns)
        return QueueState(active, sorted(ordered, key=lambda job: job.is_held))

    def _check_waiting(self, owner: str) -> None:
        """Check that a person may have one more run waiting.

        Raises:
            RunError: there are as many as may be.
        """
        limit = queue_limits.read_limits().waiting_per_person
        if limit is None:
            return
        queued = marker.list_queued(self.root, run_store.list_run_names(self.root))
        if sum(queued_marker.owner == owner for _, queued_marker in queued) >= limit:
            raise RunError("run.queue_full", limit=limit)

    def _find_next(self, turns: dict[str, float], *, waits_here: str = "") -> QueuedJob | None:
        """Return the next job that a process is to be started for; None if there is none, or no device is free.

        Args:
            turns: when each person last had a turn.
            waits_here: name of the run that this process waits for; only this one is returned then.
        """
        run_names = run_store.list_run_names(self.root)
        active = self._list_active(run_names)
        waiting = [job for job in self._list_waiting(run_names, active) if not job.is_held]
        # A cluster has a scheduler of its own: what is trained there uses no device of this machine.
        devices = [job.device for job in active if not job.run.liveness.has_driver()]
        limit = queue_limits.read_limits().running_per_device
        for job in fair_order.order_jobs(waiting, fair_order.merge_turns(turns, active)):
            is_free = job.marker.is_for_cluster or fair_order.count_on_device(job.marker.device, devices) < limit
            if is_free and job.run.name == waits_here:
                return job
            if job.marker.waiter_pid:
                if not job.marker.is_waiter_alive():
                    queue_exit.end_queued(job.run, "stopped")
                # It is its turn, and it takes it itself: the place is kept for it.
                elif not marker.is_waiter_silent(job.run):
                    devices.append(job.marker.device)
                continue
            if is_free and not waits_here:
                return job
            devices.append(job.marker.device)
        return None

    def _list_active(self, run_names: list[str]) -> list[ActiveJob]:
        """Return the runs that a process trains, whoever started it."""
        active = []
        for run in self._iter_owned(run_names):
            if self._launcher.is_alive(run):
                record = run.liveness.read_process_record()
                owner, since = run_quota.read_owner(run), record.since if record else 0.0
                active.append(ActiveJob(run, owner, marker.read_device(run), since))
        return active

    def _iter_owned(self, run_names: list[str]) -> Iterator[Run]:
        """Iterate over the runs that name a process or a driver, alive or not; the others are looked at no further.

        Yields:
            A run.
        """
        for name in run_names:
            folder = os.path.join(self.root, name)  # noqa: PTH118 - see `list_queued`
            if any(os.path.exists(os.path.join(folder, file)) for file in ("pid", DRIVER_FILE)):  # noqa: PTH110, PTH118
                yield Run(self.root / name)

    def _list_waiting(self, run_names: list[str], active: list[ActiveJob]) -> list[QueuedJob]:
        """Return the queued runs; those whose process has only just been started are active."""
        active_names, is_paused = {job.run.name for job in active}, queue_pause.is_paused(self.root)
        queued = marker.list_queued(self.root, run_names)
        return [
            QueuedJob(run, queued_marker, is_paused and queued_marker.is_pausable)
            for run, queued_marker in queued
            if run.name not in active_names
        ]

    def _start_job(self, job: QueuedJob) -> bool:
        """Start the process of a queued run; a run that cannot be started fails, so that it holds nobody up.

        Args:
            job: the run.

        Returns:
            Whether it was started.
        """
        try:
            self._launch(job)
        except RunError as error:
            _logger.warning("run %s could not be started: %s", job.run.name, error)
            queue_exit.end_queued(job.run, "failed", str(error))
            return False
        return True

    def _launch(self, job: QueuedJob) -> None:
        """Start the process of a queued run; the errors of the launcher propagate.

        Args:
            job: the run.

        Raises:
            RunError: its processes ended before they began, again and again.
        """
        run, job_marker = job.run, job.marker
        if job_marker.launches >= MAX_LAUNCHES:
            raise RunError("run.never_began", count=MAX_LAUNCHES)
        config = run.load_config()  # a damaged one is reported here
        # Before the process exists: one that ends before it begins must not be started for ever.
        marker.write_marker(run, dataclasses.replace(job_marker, launches=job_marker.launches + 1))
        command = (
            train_command.build_resume_command(run)
            if job_marker.resumes
            else train_command.build_train_command(config, self.root)
        )
        # The folder may be gone, or be unknown to a container: absolute paths need none.
        is_known = bool(job_marker.working_dir) and Path(job_marker.working_dir).is_dir()
        working_dir = job_marker.working_dir if is_known else str(self.root)
        self._launcher.launch(run, command, marker.build_job_environment(job_marker), working_dir)
