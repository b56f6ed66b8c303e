"""The queue's launchers: for this machine, where each training is a local process, and by the run. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ftlab.runs.cluster import cluster_job
from ftlab.runs.cluster.address import CLUSTER_ENV, is_slurm_address
from ftlab.runs.cluster.ray_launcher import RayLauncher
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, warm_worker
from ftlab.runs.queue import places
from ftlab.runs.queue.job_queue import JobQueue
from ftlab.runs.queue.launcher import Launcher
from ftlab.runs.queue.places import QueuePlace
from ftlab.runs.slurm.slurm_launcher import SlurmLauncher


class LocalLauncher:
    """Starts trainings as processes of this machine; see `ftlab.runs.queue.launcher.Launcher`."""

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        """Start the process of a run; a `RunError` says why it cannot be started.

        Args:
            run: the run directory.
            command: the command, as a person would type it.
            environment: environment variables.
            working_dir: working directory.
        """
        if not warm_worker.SHARED_WORKER.launch(run, command, environment, working_dir):
            launch.spawn_process(command, run, environment=environment, working_dir=working_dir, gated=True)

    def terminate(self, run: Run) -> None:
        """End the process of a run and its children; a `RunError` says that there is none."""
        launch.terminate_run(run)

    def is_alive(self, run: Run) -> bool:
        """Return whether the process of a run is alive."""
        return run.liveness.is_process_alive()


class RunLauncher:
    """Starts each run where it was queued for: on this machine, or on the cluster that its environment names."""

    def __init__(self) -> None:
        """Prepare the launchers; none needs anything before it is used."""
        self._local: Launcher = LocalLauncher()
        self._ray: Launcher = RayLauncher()
        self._slurm: Launcher = SlurmLauncher()

    def launch(self, run: Run, command: Sequence[str], environment: Mapping[str, str], working_dir: str) -> None:
        """Start a training, see `ftlab.runs.queue.launcher.Launcher`; a `RunError` says why it cannot be started.

        Args:
            run: the run directory.
            command: the command, as a person would type it.
            environment: environment variables.
            working_dir: working directory.
        """
        self._get_launcher(environment.get(CLUSTER_ENV)).launch(run, command, environment, working_dir)

    def terminate(self, run: Run) -> None:
        """End a training that does not react; a `RunError` says that there is none."""
        self._find_launcher(run).terminate(run)

    def is_alive(self, run: Run) -> bool:
        """Return whether a training works on the run."""
        return self._find_launcher(run).is_alive(run)

    def _get_launcher(self, address: str | None) -> Launcher:
        """Return the launcher for the address of a cluster; that of this machine without one."""
        if not address:
            return self._local
        return self._slurm if is_slurm_address(address) else self._ray

    def _find_launcher(self, run: Run) -> Launcher:
        """Return the launcher that has a run now."""
        job = cluster_job.read_job(run) if run.liveness.names_driver() else None
        launcher = self._get_launcher(job.address if job else None)
        # A job of Slurm may wait in silence for days; one of Ray has a driver that says so.
        return launcher if launcher is self._slurm or run.liveness.has_driver() else self._local


def open_queue(root: Path | str) -> JobQueue:
    """Return the queue of a runs folder."""
    return JobQueue(root, RunLauncher())


def describe_wait(run: Run) -> str:
    """Return place and minutes of a queued run as a sentence, at most a second old; empty if it does not wait."""
    return places.describe_place(_get_place_table(run.path.parent).find_place(run))


def read_places(root: Path, *, fresh: bool = False) -> dict[str, QueuePlace]:
    """Return the places of the queued runs of a folder by their names, the next one first, at most a second old.

    Args:
        root: folder of the runs.
        fresh: as they are now.
    """
    return _get_place_table(root).read_places(fresh=fresh)


@lru_cache(maxsize=16)
def _get_place_table(root: Path) -> places.PlaceTable:
    """Return the table of places of a runs folder, which all pages of this process share."""
    return places.PlaceTable(open_queue(root))
