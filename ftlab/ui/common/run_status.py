"""State, curves and log of a run as HTML, read from the run directory. No Gradio components.

All pages of one language that show a run share one `RunWatcher`: it reads the events appended since its last look,
folds them once, and renders once for all pages. Each part of a `RunSnapshot` is a string; a page is sent only the parts
that changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs import run_table
from ftlab.runs.directory import Run
from ftlab.runs.history import History
from ftlab.runs.jobs import postmortem
from ftlab.runs.jobs.local_launcher import describe_wait
from ftlab.runs.liveness import ACTIVE_STATUSES
from ftlab.ui.common import run_state, run_status_view
from ftlab.ui.common.curves_view import render_curves, render_guide

MAX_WATCHED_RUNS = 32
"""Runs whose folded history stays in memory."""
SNAPSHOT_MAX_AGE_SECONDS = 0.4
"""Seconds for which a snapshot serves every page without another look."""
RESUMABLE_STATUSES = ("stopped", "failed", "died")
"""Statuses from which a run can be resumed."""
TROUBLED_STATES = ("failed", "died", "ended", "hanging", "overdue")
"""States in which the last lines of the process's own output may explain more."""


@dataclass(frozen=True)
class RunSnapshot:
    """State of a run as the page shows it at one moment.

    Attributes:
        run_name: name of the run; empty for none.
        status: as `RunLiveness.get_status` returns it, or `none`.
        state: message key below `status`; finer than the status.
        head_html: heading, progress and figures; text is escaped in all HTML.
        curves_html: curves.
        log_html: log.
        has_model: there are weights that predictions can use.
        stop_action: what can be done to an active run: `stop`, `end` (kill), or empty: only wait.
        has_improved: an epoch was better than the untrained network.
    """

    run_name: str
    status: str
    state: str
    head_html: str
    curves_html: str
    log_html: str
    has_model: bool
    stop_action: str = ""
    has_improved: bool = False

    @property
    def is_live(self) -> bool:
        """Return whether a process works on the run, or will as soon as it can."""
        return self.status in ACTIVE_STATUSES

    @property
    def allows_start(self) -> bool:
        """Return whether Start can be pressed: not while what was started last has not begun, as by a second click."""
        return self.state not in ("queued", "waiting")

    @property
    def is_resumable(self) -> bool:
        """Return whether the run can be resumed."""
        return self.status in RESUMABLE_STATUSES

    def digest_parts(self) -> dict[str, str]:
        """Return a digest of each part, by which a page knows which parts changed."""
        buttons = f"{self.status} {self.has_model} {self.has_improved} {self.stop_action} {self.allows_start}"
        parts = {"head": self.head_html, "curves": self.curves_html, "log": self.log_html, "buttons": buttons}
        return {key: digest_text(text) for key, text in parts.items()}


def digest_text(text: str) -> str:
    """Return a short digest of a text."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


class RunWatcher:
    """Incremental reader of one run's events, shared by all pages that show it. Thread-safe."""

    def __init__(self, run: Run) -> None:
        """Start with nothing read."""
        self._run = run
        self._lock = threading.Lock()
        self._history, self._offset = History(), 0
        self._snapshot: RunSnapshot | None = None
        self._render_key: tuple[object, ...] = ()
        self._snapshot_time = 0.0
        self._awaits_exit_record = False

    def take_snapshot(self, max_age_seconds: float | None = None) -> RunSnapshot:
        """Return a snapshot of the run that is at most `max_age_seconds` seconds old.

        Never raises: the handler is called by a timer, where the page would not show an error. So the snapshot says it.

        Args:
            max_age_seconds: in seconds; None for `SNAPSHOT_MAX_AGE_SECONDS`.

        Returns:
            The snapshot.
        """
        with self._lock:
            if self._snapshot is None or time.monotonic() - self._snapshot_time >= (
                SNAPSHOT_MAX_AGE_SECONDS if max_age_seconds is None else max_age_seconds
            ):
                try:
                    self._snapshot = self._render_snapshot()
                except Exception as cause:
                    error_snapshot, self._render_key = build_error_snapshot(self._run.name, cause), ()
                    # Logged once, not at every tick.
                    if error_snapshot != self._snapshot:
                        logging.getLogger(__name__).exception("run %s cannot be shown", self._run.name)
                    self._snapshot = error_snapshot
                self._snapshot_time = time.monotonic()
            return self._snapshot

    def read_history(self) -> History:
        """Return all events of the run so far, folded."""
        self.take_snapshot()
        return self._history

    def _render_snapshot(self) -> RunSnapshot:
        """Return a new snapshot, or the last one where nothing it depends on has changed."""
        run = self._run
        status, record = run.liveness.get_status(), run.liveness.read_process_record()
        exit_unrecorded = status == "died" and record is not None and record.code is None
        if exit_unrecorded and self._snapshot is not None and self._snapshot.is_live and not self._awaits_exit_record:
            # The parent process may be about to record how it ended: wait for one look before calling it unknown.
            self._awaits_exit_record = True
            return self._snapshot
        self._awaits_exit_record = False
        self._read_events()
        history = self._history
        if status not in ACTIVE_STATUSES and history.end_event is None:
            # Where the log lost its last line, the end is inferred.
            history.add_events(filter(None, [run.liveness.read_end_event()]))
        state = run_state.derive_state(history, status, run)
        is_silent = state in ("hanging", "overdue")
        # All that the HTML depends on; the last beat only where the time since then is shown.
        render_key = (
            history.event_count,
            status,
            state,
            record,
            run.best_weights_path.is_file(),
            run.liveness.read_last_beat() if is_silent else None,
            describe_wait(run) if state == "queued" else "",
        )
        if self._snapshot is not None and render_key == self._render_key:
            return self._snapshot
        last_output = postmortem.read_last_output(run) if state in TROUBLED_STATES else ""
        is_over = status not in ACTIVE_STATUSES
        snapshot = RunSnapshot(
            run_name=run.name,
            status=status,
            state=state,
            head_html=self._render_head(status, state, last_output if is_over else ""),
            curves_html=render_curves(history),
            # The head of an active run changes every second, and would send the output again and again.
            log_html=run_status_view.render_log(history, "" if is_over else last_output),
            has_model=run.best_weights_path.is_file(),
            stop_action="" if is_over else {"overdue": "end", "stopping": "", "ending": ""}.get(state, "stop"),
            has_improved=history.best_epoch is not None and history.best_epoch.epoch > 0,
        )
        self._render_key = render_key
        return snapshot

    def _render_head(self, status: str, state: str, last_output: str) -> str:
        """Return the card with the state, and for a process that died or hangs the reason."""
        run, history = self._run, self._history
        render_state = partial(run_status_view.render_state, history, about=run_table.describe_run(run))
        if state in ("died", "ended"):
            death_cause = postmortem.find_cause(run)
            resume_text = messages.get_text(
                "death.next.saved" if run.last_checkpoint_path.exists() else "death.next.nothing"
            )
            resume_hint = "" if death_cause.code == "unclaimed" else resume_text
            return render_state(
                state, death_cause.label, f"{death_cause.explanation} {resume_hint}".strip(), last_output
            )
        if status not in ACTIVE_STATUSES and (weights_error := run.find_lost_weights()):
            return render_state(state, detail=str(weights_error))
        if state == "queued":
            place_text = describe_wait(run)
            detail = messages.get_text("status.detail.queued", place=place_text).strip()
            return render_state(state, detail=detail)
        last_beat = run.liveness.read_last_beat()
        if state not in ("hanging", "overdue"):
            return render_state(state, last_output=last_output)
        values = {
            "asked": run_status_view.format_duration(run.liveness.seconds_since_stop_request()),
            "silence": run_status_view.format_duration(last_beat.silence_seconds if last_beat else 0.0),
            "doing": run_status_view.describe_activity(history, run_state.derive_activity(history)),
            "waits": postmortem.describe_silence(run),
        }
        detail_key = "overdue_silent" if state == "overdue" and status == "hanging" else state
        return render_state(state, detail=messages.get_text(f"status.detail.{detail_key}", **values).replace("  ", " "))

    def _read_events(self) -> None:
        """Fold the events that were appended since the last look."""
        try:
            size = (self._run.path / "metrics.jsonl").stat().st_size
        except OSError:
            size = 0
        # Shorter than before: the file was replaced, and the events of the old one do not count.
        if size < self._offset:
            self._history, self._offset = History(), 0
        events, self._offset = self._run.read_events(self._offset)
        self._history.add_events(events)


_WATCHERS: OrderedDict[tuple[Path, str], RunWatcher] = OrderedDict()
_WATCHERS_LOCK = threading.Lock()


def watch_run(run: Run) -> RunWatcher:
    """Return the watcher of a run in the current language; the `MAX_WATCHED_RUNS` last used stay in memory."""
    key = run.path, messages.current_language()
    with _WATCHERS_LOCK:
        # Removed and inserted again: the dictionary's order is that of the last use.
        watcher = _WATCHERS.pop(key, None) or RunWatcher(run)
        _WATCHERS[key] = watcher
        while len(_WATCHERS) > MAX_WATCHED_RUNS:
            _WATCHERS.popitem(last=False)
        return watcher


def build_empty_snapshot() -> RunSnapshot:
    """Return the snapshot that is shown when no run is chosen."""
    history = History()
    return RunSnapshot(
        "",
        "none",
        "none",
        run_status_view.render_state(history, "none"),
        render_guide(),
        run_status_view.render_log(history),
        False,
    )


def build_deleted_snapshot(*, in_trash: bool) -> RunSnapshot:
    """Return the snapshot of a run that was deleted while a page showed it.

    Args:
        in_trash: it lies in the bin, and can be restored.

    Returns:
        The snapshot.
    """
    empty_snapshot, reason = build_empty_snapshot(), "binned" if in_trash else "gone"
    head_html = run_status_view.render_card(
        "none", messages.get_text(f"status.{reason}"), messages.get_text(f"status.detail.{reason}")
    )
    return replace(empty_snapshot, state=reason, head_html=head_html)


def build_error_snapshot(run_name: str, cause: Exception) -> RunSnapshot:
    """Return the snapshot of a run that cannot be read.

    Args:
        run_name: name of the run.
        cause: the error; of a bug, its type is shown too.

    Returns:
        The snapshot.
    """
    text = str(cause) if isinstance(cause, FtlabError | OSError) else f"{type(cause).__name__}: {cause}"
    detail = messages.get_text("status.detail.unreadable", cause=text)
    head_html = run_status_view.render_card("failed", messages.get_text("status.failed"), detail)
    return RunSnapshot(
        run_name, "failed", "failed", head_html, render_curves(History()), run_status_view.render_log(History()), False
    )
