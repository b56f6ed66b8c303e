"""What a run is doing, in more detail than its status: the key of the sentences that the page shows of it."""

from __future__ import annotations

from ftlab.runs.directory import Run
from ftlab.runs.history import History
from ftlab.runs.jobs import launch

SILENT_STOP_TIMEOUT_SECONDS, BUSY_STOP_TIMEOUT_SECONDS = 5.0, 30.0
"""Seconds after a stop request until the process may be killed: without a heartbeat, and with one.

A process with a heartbeat gets two of its longest steps more.
"""


def derive_state(history: History, status: str, run: Run) -> str:
    """Return what a run is doing, as a message key below `status`.

    Args:
        history: its events so far.
        status: as `RunLiveness.get_status` returns it.
        run: the run.

    Returns:
        The key.
    """
    if status == "finished" and history.end_event:
        return history.end_event.reason
    if status == "stopped" and run.liveness.read_end_event() is None:
        return "ended"
    if status not in ("running", "hanging"):
        return status
    stop_request_age = run.liveness.seconds_since_stop_request() if run.liveness.is_stop_requested() else None
    if stop_request_age is not None:
        last_beat = run.liveness.read_last_beat()
        timeout_seconds = (
            SILENT_STOP_TIMEOUT_SECONDS
            if status == "hanging"
            else BUSY_STOP_TIMEOUT_SECONDS + 2 * (last_beat.longest_step_seconds if last_beat else 0.0)
        )
        # Terminate, kill, and the time that a kill takes: after that it is shown as overdue again.
        if run.liveness.is_force_stopped() and stop_request_age < 3 * launch.TERMINATE_TIMEOUT_SECONDS:
            return "ending"
        return "overdue" if stop_request_age > timeout_seconds else "stopping"
    return "hanging" if status == "hanging" else derive_activity(history)


def derive_activity(history: History) -> str:
    """Return what a working process does, by its last event, as a message key below `status`."""
    # These two stages come before the start event.
    if history.progress and history.progress.stage in ("download", "statistics"):
        return history.progress.stage
    if history.start_event is None or history.end_event:
        return "waiting"
    if history.progress:
        return history.progress.stage if history.progress.stage in ("features", "validation") else "training"
    return "training" if history.steps or history.epochs else "preparing"
