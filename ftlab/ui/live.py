"""What the page shows of a run: its state, curves and log as HTML, read from the run directory. No component here.

All pages that look at one run share one `Watch`: it reads what was appended since, folds it once, and draws once for
all of them. Each part of a `Look` is a string; a page is sent only the parts that changed (`fresh`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ftlab import runs, words
from ftlab.errors import FtlabError
from ftlab.history import History
from ftlab.runs import Run
from ftlab.ui import live_view as view
from ftlab.ui.curves_view import drawing

KEEP = 32
"""Runs whose folded history stays in memory."""
AGAIN = 0.4
"""Seconds in which one look serves every page."""
STOPPED = ("stopped", "failed", "died")
"""States from which a run can be resumed."""


@dataclass(frozen=True)
class Look:
    """One look at a run.

    Attributes:
        run: its name; empty for none.
        status: as `Run.status` gives it, or `none`.
        state: key of its words in `status`: finer than the status.
        head, curves, log: HTML; all text in it is escaped.
        best: whether it has a model that can be tried.
    """

    run: str
    status: str
    state: str
    head: str
    curves: str
    log: str
    best: bool

    @property
    def live(self) -> bool:
        return self.status in runs.LIVE

    @property
    def resumable(self) -> bool:
        return self.status in STOPPED

    def marks(self) -> dict[str, str]:
        """A short mark of each part: equal marks, equal parts."""
        parts = {"head": self.head, "curves": self.curves, "log": self.log, "buttons": f"{self.status} {self.best}"}
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
        status = run.status()
        self._poll()
        history = self._history
        key = (history.count, status, run.stop_asked(), run.best.exists())
        if self._look is not None and key == self._key:
            return self._look
        state = state_of(history, status, run.stop_asked())
        look = Look(
            run=run.name,
            status=status,
            state=state,
            head=view.state(history, state),
            curves=drawing(history),
            log=view.log(history, view.last_words(run.log) if status in ("failed", "died") else ""),
            best=run.best.exists(),
        )
        self._key = key
        return look

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
    return Look("", "none", "none", view.state(history, "none"), view.guide(), view.log(history), False)


def broken(name: str, cause: Exception) -> Look:
    """What stands there when a run cannot be read."""
    text = str(cause) if isinstance(cause, FtlabError | OSError) else f"{type(cause).__name__}: {cause}"
    detail = words.text("status.detail.unreadable", cause=text)
    head = view.frame("failed", words.text("status.failed"), detail)
    return Look(name, "failed", "failed", head, drawing(History()), view.log(History()), False)


def state_of(history: History, status: str, stop_asked: bool) -> str:
    """What it is doing, as a key of the words in `status`."""
    if status == "finished" and history.ended:
        return history.ended.reason
    if status == "running" and history.progress and history.progress.stage == "download":  # before it is started
        return "stopping" if stop_asked else "download"
    if status == "waiting" or (status == "running" and (history.started is None or history.ended)):
        return "waiting"
    if status != "running":
        return status
    if stop_asked:
        return "stopping"
    if history.progress:
        return history.progress.stage if history.progress.stage in ("features", "validation") else "training"
    return "training" if history.steps or history.epochs else "preparing"
