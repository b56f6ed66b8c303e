"""What the page shows of a run: its state, curves and log as HTML, read from the run directory. No component here.

All pages that look at one run share one `Watch`: it reads what was appended since, folds it once, and draws once for
all of them. Each part of a `Look` is a string; a page is sent only the parts that changed (`fresh`).
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
from ftlab.ui.common.curves_view import drawing

KEEP = 32
"""Runs whose folded history stays in memory."""
AGAIN = 0.4
"""Seconds in which one look serves every page."""
STOPPED = ("stopped", "failed", "died")
"""States from which a run can be resumed."""
BROKEN = ("failed", "died", "ended", "hanging", "overdue")
"""States in which the process's own last lines may tell more."""
DEAF, SLOW = 5.0, 30.0
"""Seconds after which a process that was asked to stop may be ended by force: one that is silent, and one that works.
The latter gets two of its longest steps more."""


@dataclass(frozen=True)
class Look:
    """One look at a run.

    Attributes:
        run: its name; empty for none.
        status: as `Run.status` gives it, or `none`.
        state: key of its words in `status`: finer than the status.
        head, curves, log: HTML; all text in it is escaped.
        best: whether it has a model that can be tried.
        stop: what can be done to a run at work: `stop`, `end` (by force), or nothing but wait.
    """

    run: str
    status: str
    state: str
    head: str
    curves: str
    log: str
    best: bool
    stop: str = ""

    @property
    def live(self) -> bool:
        return self.status in run_store.LIVE

    @property
    def resumable(self) -> bool:
        return self.status in STOPPED

    def marks(self) -> dict[str, str]:
        """A short mark of each part: equal marks, equal parts."""
        buttons = f"{self.status} {self.best} {self.stop}"
        parts = {"head": self.head, "curves": self.curves, "log": self.log, "buttons": buttons}
        return {key: mark(text) for key, text in parts.items()}


def mark(text: str) -> str:
    """A short mark of a text, equal for equal texts."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Watch:
    """The story of one run as far as it was read; safe to share between threads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._history, self._offset = History(), 0
        self._look: Look | None = None
        self._key: tuple[object, ...] = ()
        self._read = 0.0
        self._late = False

    def look(self, again: float | None = None) -> Look:
        """The run as it is now, or was less than `again` seconds ago (None: `AGAIN`).

        Never raises: that it cannot be read is said on the page, where an error of a tick would not be seen.
        """
        with self._lock:
            if self._look is None or time.monotonic() - self._read >= (AGAIN if again is None else again):
                try:
                    self._look = self._fresh()
                except Exception as cause:
                    seen, self._key = broken(self._run.name, cause), ()
                    if seen != self._look:
                        logging.getLogger(__name__).exception("run %s cannot be shown", self._run.name)
                    self._look = seen
                self._read = time.monotonic()
            return self._look

    def history(self) -> History:
        """All of the run's events so far, folded."""
        self.look()
        return self._history

    def _fresh(self) -> Look:
        run = self._run
        status, record = run.status(), run.record()
        unseen = status == "died" and record is not None and record.code is None
        if unseen and self._look is not None and self._look.live and not self._late:
            self._late = True  # whoever waits for the process may be writing down how it ended
            return self._look
        self._late = False
        self._poll()
        history = self._history
        state = state_of(history, status, run)
        silent = state in ("hanging", "overdue")
        key = (history.count, status, state, record, run.best.exists(), run.pulse() if silent else None)
        if self._look is not None and key == self._key:
            return self._look
        last_words = postmortem.last_words(run) if state in BROKEN else ""
        over = status not in run_store.LIVE
        look = Look(
            run=run.name,
            status=status,
            state=state,
            head=self._head(status, state, last_words if over else ""),
            curves=drawing(history),
            log=run_status_view.log(
                history, "" if over else last_words
            ),  # the head of one at work is drawn anew every second
            best=run.best.exists(),
            stop="" if over else {"overdue": "end", "stopping": "", "ending": ""}.get(state, "stop"),
        )
        self._key = key
        return look

    def _head(self, status: str, state: str, last_words: str) -> str:
        run, history = self._run, self._history
        if state in ("died", "ended"):
            found = postmortem.cause(run)
            resume = messages.text("death.next.saved" if run.last.exists() else "death.next.nothing")
            again = "" if found.code == "unclaimed" else resume
            return run_status_view.state(history, state, found.word, f"{found.why} {again}".strip(), last_words)
        heard = run.pulse()
        if state not in ("hanging", "overdue"):
            return run_status_view.state(history, state, last_words=last_words)
        values = {
            "asked": run_status_view.duration(run.asked_since()),
            "silence": run_status_view.duration(heard.silence if heard else 0.0),
            "doing": run_status_view.doing(history, work_of(history)),
            "waits": postmortem.silence(run),
        }
        key = "overdue_silent" if state == "overdue" and status == "hanging" else state
        return run_status_view.state(
            history, state, detail=messages.text(f"status.detail.{key}", **values).replace("  ", " ")
        )

    def _poll(self) -> None:
        try:
            size = (self._run.path / "metrics.jsonl").stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._offset:  # the file was replaced: what was read of the old one tells nothing
            self._history, self._offset = History(), 0
        events, self._offset = self._run.tail(self._offset)
        self._history.add(events)


_WATCHES: OrderedDict[Path, Watch] = OrderedDict()
_LOCK = threading.Lock()


def watch(run: Run) -> Watch:
    """The one watch of that run; the `KEEP` last used stay in memory."""
    with _LOCK:
        found = _WATCHES.pop(run.path, None) or Watch(run)
        _WATCHES[run.path] = found
        while len(_WATCHES) > KEEP:
            _WATCHES.popitem(last=False)
        return found


def nothing() -> Look:
    """What stands there when no run is looked at."""
    history = History()
    return Look(
        "",
        "none",
        "none",
        run_status_view.state(history, "none"),
        run_status_view.guide(),
        run_status_view.log(history),
        False,
    )


def gone(binned: bool) -> Look:
    """What stands there when the run that was looked at is deleted.

    Args:
        binned: it lies in the bin.
    """
    bare, why = nothing(), "binned" if binned else "gone"
    head = run_status_view.frame("none", messages.text(f"status.{why}"), messages.text(f"status.detail.{why}"))
    return replace(bare, state=why, head=head)


def broken(name: str, cause: Exception) -> Look:
    """What stands there when a run cannot be read."""
    text = str(cause) if isinstance(cause, FtlabError | OSError) else f"{type(cause).__name__}: {cause}"
    detail = messages.text("status.detail.unreadable", cause=text)
    head = run_status_view.frame("failed", messages.text("status.failed"), detail)
    return Look(name, "failed", "failed", head, drawing(History()), run_status_view.log(History()), False)


def state_of(history: History, status: str, run: Run) -> str:
    """What it is doing, as a key of the words in `status`."""
    if status == "finished" and history.ended:
        return history.ended.reason
    if status == "stopped" and run.ended() is None:
        return "ended"
    if status not in ("running", "hanging"):
        return status
    asked = run.asked_since() if run.stop_asked() else None
    if asked is not None:
        heard = run.pulse()
        patience = DEAF if status == "hanging" else SLOW + 2 * (heard.step if heard else 0.0)
        if run.end_asked() and asked < 3 * launch.PATIENCE:
            return "ending"
        return "overdue" if asked > patience else "stopping"
    return "hanging" if status == "hanging" else work_of(history)


def work_of(history: History) -> str:
    """What a process does that works, by what it told last."""
    if history.progress and history.progress.stage in ("download", "statistics"):  # before it is started
        return history.progress.stage
    if history.started is None or history.ended:
        return "waiting"
    if history.progress:
        return history.progress.stage if history.progress.stage in ("features", "validation") else "training"
    return "training" if history.steps or history.epochs else "preparing"
