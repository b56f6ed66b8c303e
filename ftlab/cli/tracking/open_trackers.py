"""Open accelerate's trackers, so that each writes where ftlab says and gets nothing but a run's curves and settings.

The trackers are imported when they are opened: accelerate and torch are in the process by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftlab.cli.tracking.tracker_series import Parameters
from ftlab.core import user_dirs
from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

PROJECT = "ftlab"
"""Name under which trackers put runs together, where the environment names no other (`WANDB_PROJECT` …)."""
TENSORBOARD_FOLDER = "tensorboard"
"""Folder of the event files, in the run directory."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as its trackers know it.

    Attributes:
        run: the run directory; its name is that of the series.
        parameters: hyper-parameters.
        is_resumed: an earlier process has opened the trackers for this run.
    """

    run: Run
    parameters: Parameters
    is_resumed: bool


@dataclass(frozen=True)
class OpenTracker:
    """A tracker that has begun to record a run.

    Attributes:
        tracker: accelerate's.
        code: of the log message that says where the curves are.
        values: of that message.
        writer: TensorBoard's, which gets each point with its time; the others take the time of arrival.
        find_problem: returns what the tracker has lost without raising; empty if nothing.
    """

    tracker: Any
    code: str
    values: dict[str, object]
    writer: Any = None
    find_problem: Callable[[], str] = field(default=lambda: "")

    def log(self, points: dict[str, float], step: int, time: float) -> None:
        """Record points of a step; whatever the tracker raises propagates.

        Args:
            points: values by the name of the series.
            step: optimizer step.
            time: of the event, in seconds since 1970.
        """
        if self.writer is None:
            self.tracker.log(points, step=step)
            return
        for name, value in points.items():  # accelerate would wait for the disk after each step
            self.writer.add_scalar(name, value, global_step=step, walltime=time)

    def flush(self) -> None:
        """Let the points so far be seen; a `RunError` says that the tracker has lost some."""
        if self.writer is not None:
            self.writer.flush()
        self.check()

    def finish(self) -> None:
        """Write out everything and close; whatever the tracker raises propagates."""
        self.tracker.finish()
        self.check()

    def check(self) -> None:
        """Check that the tracker has kept everything.

        Raises:
            RunError: it has lost something.
        """
        if problem := self.find_problem():
            raise RunError("run.tracker_lost", cause=problem)


def open_tracker(name: str, tracked: TrackedRun) -> OpenTracker:
    """Open a tracker for a run, or continue the series of a resumed one; whatever it raises propagates.

    Args:
        name: of `TRACKER_NAMES`.
        tracked: the run.

    Returns:
        The tracker.
    """
    return _OPENERS[name](tracked)


def _start(tracker: Any) -> Any:
    """Return a tracker of accelerate, started."""
    # Only the main process has trackers: accelerate need not ask, which would start its state anew after the training.
    tracker.main_process_only = False
    tracker.start()
    return tracker


def _open_tensorboard(tracked: TrackedRun) -> OpenTracker:
    from accelerate.tracking import TensorBoardTracker

    tracker = _start(TensorBoardTracker(TENSORBOARD_FOLDER, tracked.run.path))
    if not tracked.is_resumed:
        tracker.store_init_configuration(tracked.parameters)
    return OpenTracker(tracker, "tracker_tensorboard", {"place": tracked.run.path.parent}, writer=tracker.tracker)


def _open_trackio(tracked: TrackedRun) -> OpenTracker:
    # Read when trackio is imported; its own default lies in the cache of Hugging Face.
    folder = os.environ.setdefault("TRACKIO_DIR", str(user_dirs.get_ftlab_home() / "trackio"))
    import trackio.run
    from accelerate.tracking import TrackioTracker

    is_remote = bool(os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL"))
    if not is_remote:
        # Else it asks huggingface.co who the user is, for a run that stays here, and writes the answer down.
        vars(trackio.run)["_get_default_namespace"] = _refuse_lookup
    options = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False, "resume": "allow"}
    tracker = _start(TrackioTracker(PROJECT, name=tracked.run.name, config=dict(tracked.parameters), **options))

    def find_problem() -> str:
        # trackio warns of what it could not write, and goes on.
        return ", ".join(sorted(tracker.run._warned_failures))

    code = "tracker_trackio_remote" if is_remote else "tracker_trackio"
    return OpenTracker(tracker, code, {"place": Path(folder), "project": PROJECT}, find_problem=find_problem)


def _refuse_lookup() -> str:
    """Take the place of trackio's question to huggingface.co.

    Raises:
        LookupError: always; trackio takes it as "nobody is signed in".
    """
    raise LookupError("runs of this machine belong to nobody")


def _open_wandb(tracked: TrackedRun) -> OpenTracker:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else its errors are reported to its makers, offline too
    import wandb
    from accelerate.tracking import WandBTracker

    # Without an account W&B would ask for one at the terminal, or fail.
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    settings = wandb.Settings(
        console="off", disable_code=True, disable_git=True, save_code=False, x_save_requirements=False,
        x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
    )  # fmt: skip
    tracker = _start(
        WandBTracker(
            os.environ.get("WANDB_PROJECT", PROJECT),
            name=tracked.run.name, id=tracked.run.name, resume="allow", dir=str(tracked.run.path), mode=mode,
            config=dict(tracked.parameters), settings=settings,
        )
    )  # fmt: skip
    if mode == "online":
        return OpenTracker(tracker, "tracker_wandb", {"place": tracker.run.url})
    return OpenTracker(tracker, "tracker_wandb_offline", {"place": Path(tracker.run.dir).parent})


def _open_mlflow(tracked: TrackedRun) -> OpenTracker:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # on by itself, for a local database too
    folder, artifact_folder = user_dirs.get_ftlab_home() / "mlflow", None
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        artifact_folder = (folder / "artifacts").as_uri()
    import mlflow
    from accelerate.tracking import MLflowTracker

    earlier_runs: list[Any] = []
    if tracked.is_resumed:
        earlier_runs = mlflow.search_runs(
            experiment_names=[os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)],
            filter_string=f"attributes.run_name = '{tracked.run.name}'",
            output_format="list",
        )
    run_id = earlier_runs[0].info.run_id if earlier_runs else None
    tracker = _start(MLflowTracker(PROJECT, artifact_folder, run_id=run_id, run_name=tracked.run.name))
    if run_id is None:
        tracker.store_init_configuration(tracked.parameters)
    return OpenTracker(tracker, "tracker_mlflow", {"place": mlflow.get_tracking_uri()})


_OPENERS: dict[str, Callable[[TrackedRun], OpenTracker]] = {
    "tensorboard": _open_tensorboard,
    "trackio": _open_trackio,
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
}
