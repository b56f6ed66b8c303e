"""Take a run out of the queue without training it: cancelled, or failed before it began. No torch."""

from __future__ import annotations

from contextlib import suppress

from ftlab.core.errors import RunError
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended
from ftlab.runs.queue import marker


def end_queued(run: Run, reason: str, message: str | None = None) -> None:
    """Take a run out of the queue and record why. A resumed run that is cancelled is what it was before.

    Args:
        run: the run.
        reason: `stopped` or `failed`.
        message: the error.
    """
    has_begun = bool(run.read_events()[0])
    if reason == "failed" or not has_begun:
        history = run.load_history()
        best = history.best_epoch
        with suppress(RunError):  # a full disk: it is out of the queue all the same
            run.append_event(
                Ended(
                    reason=reason,
                    epoch=history.epochs[-1].epoch if history.epochs else 0,
                    step=history.steps_done,
                    best_epoch=best.epoch if best else None,
                    best_val_accuracy=best.val_accuracy if best else None,
                    seconds=0.0,
                    message=message,
                )
            )
    marker.remove_marker(run)
