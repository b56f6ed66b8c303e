"""What the page shows of a run: its state, curves and log as HTML, read from the run directory. No component here.

All pages that look at one run share one `RunWatcher`: it reads what was appended since, folds it once, and draws once for
all of them. Each part of a `RunSnapshot` is a string; a page is sent only the parts that changed (`fresh`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.history import History
from ftlab.runs.jobs import launch, postmortem
from ftlab.ui.common import run_status_view
from ftlab.ui.common.curves_view import render_curves

MAX_WATCHED_RUNS = 32
"""Runs whose folded history stays in memory."""
SNAPSHOT_MAX_AGE_SECONDS = 0.4
"""Seconds in which one look serves every page."""
RESUMABLE_STATUSES = ("stopped", "failed", "died")
"""States from which a run can be resumed."""
TROUBLED_STATES = ("failed", "died", "ended", "hanging", "overdue")
"""States in which the process's own last lines may tell more."""
SILENT_STOP_TIMEOUT_SECONDS, BUSY_STOP_TIMEOUT_SECONDS = 5.0, 30.0
"""Seconds after which a process that was asked to stop may be ended by force: one that is silent, and one that works.
The latter gets two of its longest steps more."""


@dataclass(frozen=True)
class RunSnapshot:
    """One look at a run.

    Attributes:
        run_name: its name; empty for none.
        status: as `Run.status` gives it, or `none`.
        state: key of its words in `status`: finer than the status.
        head_html, curves_html, log_html: HTML; all text in it is escaped.
        has_model: whether it has a model that can be tried.
        stop_action: what can be done to a run at work: `stop_action`, `end` (by force), or nothing but wait.
    """

    run_name: str
    status: str
    state: str
    head_html: str
    curves_html: str
    log_html: str
    has_model: bool
    stop_action: str = ""

    @property
    def is_live(self) -> bool:
        return self.status in run_store.ACTIVE_STATUSES

    @property
    def is_resumable(self) -> bool:
        return self.status in RESUMABLE_STATUSES

    def digest_parts(self) -> dict[str, str]:
        """A short mark of each part: equal marks, equal parts."""
        buttons = f"{self.status} {self.has_model} {self.stop_action}"
        parts = {"head": self.head_html, "curves": self.curves_html, "log": self.log_html, "buttons": buttons}
        return {key: digest_text(text) for key, text in parts.items()}


def digest_text(text: str) -> str:
    """A short mark of a text, equal for equal texts."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


class RunWatcher:
    """The story of one run as far as it was read; safe to share between threads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._history, self._offset = History(), 0
        self._snapshot: RunSnapshot | None = None
        self._render_key: tuple[object, ...] = ()
        self._snapshot_time = 0.0
        self._awaits_exit_record = False

    def take_snapshot(self, max_age_seconds: float | None = None) -> RunSnapshot:
        """The run as it is now, or was less than `max_age_seconds` seconds ago (None: `SNAPSHOT_MAX_AGE_SECONDS`).

        Never raises: that it cannot be read is said on the page, where an error of a tick would not be seen.
        """
        with self._lock:
            if self._snapshot is None or time.monotonic() - self._snapshot_time >= (
                SNAPSHOT_MAX_AGE_SECONDS if max_age_seconds is None else max_age_seconds
            ):
                try:
                    self._snapshot = self._render_snapshot()
                except Exception as cause:
                    error_snapshot, self._render_key = build_error_snapshot(self._run.name, cause), ()
                    if error_snapshot != self._snapshot:
                        logging.getLogger(__name__).exception("run %s cannot be shown", self._run.name)
                    self._snapshot = error_snapshot
                self._snapshot_time = time.monotonic()
            return self._snapshot

    def read_history(self) -> History:
        """All of the run's events so far, folded."""
        self.take_snapshot()
        return self._history

    def _render_snapshot(self) -> RunSnapshot:
        run = self._run
        status, record = run.get_status(), run.read_process_record()
        exit_unrecorded = status == "died" and record is not None and record.code is None
        if exit_unrecorded and self._snapshot is not None and self._snapshot.is_live and not self._awaits_exit_record:
            self._awaits_exit_record = True  # whoever waits for the process may be writing down how it ended
            return self._snapshot
        self._awaits_exit_record = False
        self._read_events()
        history = self._history
        state = derive_state(history, status, run)
        is_silent = state in ("hanging", "overdue")
        render_key = (
            history.event_count,
            status,
            state,
            record,
            run.best_weights_path.exists(),
            run.read_last_beat() if is_silent else None,
        )
        if self._snapshot is not None and render_key == self._render_key:
            return self._snapshot
        last_output = postmortem.read_last_output(run) if state in TROUBLED_STATES else ""
        is_over = status not in run_store.ACTIVE_STATUSES
        snapshot = RunSnapshot(
            run_name=run.name,
            status=status,
            state=state,
            head_html=self._render_head(status, state, last_output if is_over else ""),
            curves_html=render_curves(history),
            log_html=run_status_view.render_log(
                history, "" if is_over else last_output
            ),  # the head of one at work is drawn anew every second
            has_model=run.best_weights_path.exists(),
            stop_action="" if is_over else {"overdue": "end", "stopping": "", "ending": ""}.get(state, "stop"),
        )
        self._render_key = render_key
        return snapshot

    def _render_head(self, status: str, state: str, last_output: str) -> str:
        run, history = self._run, self._history
        if state in ("died", "ended"):
            death_cause = postmortem.find_cause(run)
            resume_text = messages.get_text(
                "death.next.saved" if run.last_checkpoint_path.exists() else "death.next.nothing"
            )
            resume_hint = "" if death_cause.code == "unclaimed" else resume_text
            return run_status_view.render_state(
                history, state, death_cause.label, f"{death_cause.explanation} {resume_hint}".strip(), last_output
            )
        last_beat = run.read_last_beat()
        if state not in ("hanging", "overdue"):
            return run_status_view.render_state(history, state, last_output=last_output)
        values = {
            "asked": run_status_view.format_duration(run.seconds_since_stop_request()),
            "silence": run_status_view.format_duration(last_beat.silence_seconds if last_beat else 0.0),
            "doing": run_status_view.describe_activity(history, derive_activity(history)),
            "waits": postmortem.describe_silence(run),
        }
        detail_key = "overdue_silent" if state == "overdue" and status == "hanging" else state
        return run_status_view.render_state(
            history, state, detail=messages.get_text(f"status.detail.{detail_key}", **values).replace("  ", " ")
        )

    def _read_events(self) -> None:
        try:
            size = (self._run.path / "metrics.jsonl").stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._offset:  # the file was replaced: what was read of the old one tells nothing
            self._history, self._offset = History(), 0
        events, self._offset = self._run.read_events(self._offset)
        self._history.add_events(events)


_WATCHERS: OrderedDict[Path, RunWatcher] = OrderedDict()
_WATCHERS_LOCK = threading.Lock()


def watch_run(run: Run) -> RunWatcher:
    """The one watch of that run; the `MAX_WATCHED_RUNS` last used stay in memory."""
    with _WATCHERS_LOCK:
        watcher = _WATCHERS.pop(run.path, None) or RunWatcher(run)
        _WATCHERS[run.path] = watcher
        while len(_WATCHERS) > MAX_WATCHED_RUNS:
            _WATCHERS.popitem(last=False)
        return watcher


def build_empty_snapshot() -> RunSnapshot:
    """What stands there when no run is looked at."""
    history = History()
    return RunSnapshot(
        "",
        "none",
        "none",
        run_status_view.render_state(history, "none"),
        run_status_view.render_guide(),
        run_status_view.render_log(history),
        False,
    )


def build_deleted_snapshot(in_trash: bool) -> RunSnapshot:
    """What stands there when the run that was looked at is deleted.

    Args:
        in_trash: it lies in the bin.
    """
    empty_snapshot, reason = build_empty_snapshot(), "binned" if in_trash else "gone"
    head_html = run_status_view.render_card(
        "none", messages.get_text(f"status.{reason}"), messages.get_text(f"status.detail.{reason}")
    )
    return replace(empty_snapshot, state=reason, head_html=head_html)


def build_error_snapshot(run_name: str, cause: Exception) -> RunSnapshot:
    """What stands there when a run cannot be read."""
    text = str(cause) if isinstance(cause, FtlabError | OSError) else f"{type(cause).__name__}: {cause}"
    detail = messages.get_text("status.detail.unreadable", cause=text)
    head_html = run_status_view.render_card("failed", messages.get_text("status.failed"), detail)
    return RunSnapshot(
        run_name, "failed", "failed", head_html, render_curves(History()), run_status_view.render_log(History()), False
    )


def derive_state(history: History, status: str, run: Run) -> str:
    """What it is doing, as a key of the words in `status`."""
    if status == "finished" and history.end_event:
        return history.end_event.reason
    if status == "stopped" and run.read_end_event() is None:
        return "ended"
    if status not in ("running", "hanging"):
        return status
    stop_request_age = run.seconds_since_stop_request() if run.is_stop_requested() else None
    if stop_request_age is not None:
        last_beat = run.read_last_beat()
        timeout_seconds = (
            SILENT_STOP_TIMEOUT_SECONDS
            if status == "hanging"
            else BUSY_STOP_TIMEOUT_SECONDS + 2 * (last_beat.longest_step_seconds if last_beat else 0.0)
        )
        if run.is_force_stopped() and stop_request_age < 3 * launch.TERMINATE_TIMEOUT_SECONDS:
            return "ending"
        return "overdue" if stop_request_age > timeout_seconds else "stopping"
    return "hanging" if status == "hanging" else derive_activity(history)


def derive_activity(history: History) -> str:
    """What a process does that works, by what it told last."""
    if history.progress and history.progress.stage in ("download", "statistics"):  # before it is started
        return history.progress.stage
    if history.start_event is None or history.end_event:
        return "waiting"
    if history.progress:
        return history.progress.stage if history.progress.stage in ("features", "validation") else "training"
    return "training" if history.steps or history.epochs else "preparing"
