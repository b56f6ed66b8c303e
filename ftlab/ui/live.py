"""What the page shows of a run: its state, curves and log as HTML, read from the run directory. No component here.

All pages that look at one run share one `Watch`: it reads what was appended since, folds it once, and draws once for
all of them. Each part of a `Look` is a string; a page is sent only the parts that changed (`fresh`).
"""

from __future__ import annotations

import html
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ftlab import runs, words
from ftlab.backbones import TABLE
from ftlab.curves import curves_svg
from ftlab.errors import FtlabError
from ftlab.events import Epoch, Note
from ftlab.history import History
from ftlab.runs import Run

KEEP = 32
"""Runs whose folded history stays in memory."""
AGAIN = 0.4
"""Seconds in which one look serves every page."""
LOG_LINES = 80
LAST_WORDS = 4000
"""Bytes of the worker's own output that are shown when it broke off."""

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
        self._read = -AGAIN

    def look(self, again: float = AGAIN) -> Look:
        """The run as it is now, or was less than `again` seconds ago. Never raises: what cannot be read is said so."""
        with self._lock:
            if self._look is None or time.monotonic() - self._read >= again:
                try:
                    self._look = self._fresh()
                except Exception as cause:  # a tick that raises is invisible on the page (and this one is logged)
                    logging.getLogger(__name__).exception("run %s cannot be shown", self._run.name)
                    self._look, self._key = broken(self._run.name, cause), ()
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
            head=head_html(history, state),
            curves=curves_svg(history),
            log=log_html(history, _last_words(run.log) if status in ("failed", "died") else ""),
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
    return Look("", "none", "none", head_html(history, "none"), guide_html(), log_html(history), False)


def broken(name: str, cause: Exception) -> Look:
    """What stands there when a run cannot be read."""
    text = str(cause) if isinstance(cause, FtlabError | OSError) else f"{type(cause).__name__}: {cause}"
    detail = words.text("status.detail.unreadable", cause=text)
    head = _frame("failed", words.text("status.failed"), detail, None, [])
    return Look(name, "failed", "failed", head, curves_svg(History()), log_html(History()), False)


def guide_html() -> str:
    """What the curves will tell, where there are none yet."""
    told = ("loss", "accuracy", "untrained", "gap")
    points = [
        f"<li><b>{html.escape(words.text(f'curve.guide.{key}_name'))}</b>"
        f"{html.escape(words.text(f'curve.guide.{key}'))}</li>"
        for key in told
    ]
    title = html.escape(words.text("curve.guide.title"))
    return f'<div class="ftlab-guide"><p>{title}</p><ul>{"".join(points)}</ul></div>'


def state_of(history: History, status: str, stop_asked: bool) -> str:
    """What it is doing, as a key of the words in `status`."""
    if status == "finished" and history.ended:
        return history.ended.reason
    if status == "waiting" or (status == "running" and (history.started is None or history.ended)):
        return "waiting"
    if status != "running":
        return status
    if stop_asked:
        return "stopping"
    if history.progress:
        return history.progress.stage if history.progress.stage in ("features", "validation") else "training"
    return "training" if history.steps or history.epochs else "preparing"


def head_html(history: History, state: str) -> str:
    """State, progress bar and figures of a run."""
    best, ended, started = history.best, history.ended, history.started
    accuracy = _percent(best.val_accuracy) if best else None
    detail = f"status.detail.{state}"
    if state in ("finished", "time", "early"):
        detail = "status.detail.finished" if accuracy else "status.detail.finished_bare"
    elif state == "stopped" and accuracy:
        detail = "status.detail.stopped_best"
    message = (ended.message if ended and ended.message else "") or words.text("status.failed")
    values = {"accuracy": accuracy, "epoch": best.epoch if best else 0, "message": message}
    share: float | None = None
    if state in ("features", "validation") and history.progress:
        share = history.progress.done / max(1, history.progress.total)
    elif history.steps_total:
        share = history.step / history.steps_total
    if state == "waiting" or state == "preparing":
        share = -1.0
    tiles = _tiles(history, state) if started else []
    return _frame(state, words.text(f"status.{state}"), words.text(detail, **values), share, tiles)


def _tiles(history: History, state: str) -> list[tuple[str, str, str]]:
    """(what, figure, remark) of the figures under the bar."""
    started, best, progress = history.started, history.best, history.progress
    assert started is not None
    untrained = next((row for row in history.epochs if row.epoch == 0), None)
    epoch = min(started.epochs, max([row.epoch for row in (*history.steps[-1:], *history.epochs[-1:])], default=0))
    rate = next((row.images_per_second for row in (*history.steps[-1:], *history.epochs[-1:])), None)
    if progress:
        rate = progress.images_per_second
    tiles = [
        (
            words.text("status.tile.best"),
            _percent(best.val_accuracy) or "–" if best else "–",
            words.text("status.tile.untrained", accuracy=_percent(untrained.val_accuracy) or "–") if untrained else "",
        ),
        (
            words.text("status.tile.epoch"),
            words.text("status.tile.of", now=epoch, all=started.epochs),
            words.text("status.tile.step", now=history.step, all=history.steps_total),
        ),
        (
            words.text("status.tile.speed"),
            f"{rate:,.0f}" if rate else "–",
            words.text("status.tile.device", device=started.device),
        ),
    ]
    if history.ended and state not in ("waiting", "features", "preparing"):
        left, remark = duration(history.ended.seconds), ""
        tiles.append((words.text("status.tile.took"), left, remark))
    elif state == "features" and progress:
        seconds = (progress.total - progress.done) / rate if rate else None
        remark = words.text("status.tile.pictures", done=progress.done, total=progress.total)
        tiles.append((words.text("status.tile.left"), duration(seconds), remark))
    else:
        remark = words.text("status.tile.images", train=started.train_images, val=started.val_images)
        tiles.append((words.text("status.tile.left"), duration(history.seconds_left()), remark))
    return tiles


def _frame(state: str, word: str, detail: str, share: float | None, tiles: list[tuple[str, str, str]]) -> str:
    bar = ""
    if share is not None:
        percent = min(100.0, max(0.0, 100 * share))
        css, width = ("bar unknown", "") if share < 0 else ("bar", f' style="width:{percent:.1f}%"')
        value = "" if share < 0 else f' aria-valuenow="{percent:.0f}"'
        name = html.escape(words.text("status.bar"))
        bar = (
            f'<div class="{css}" role="progressbar" aria-label="{name}" aria-valuemin="0" aria-valuemax="100"'
            f"{value}><i{width}></i></div>"
        )
    cells = "".join(
        f'<div class="tile"><span class="what">{html.escape(what)}</span><b>{html.escape(figure)}</b>'
        f'<span class="remark">{html.escape(remark)}</span></div>'
        for what, figure, remark in tiles
    )
    return (
        f'<div class="ftlab-state {html.escape(state)}"><div class="word"><i></i>{html.escape(word)}</div>'
        f'<div class="detail">{html.escape(detail)}</div>{bar}<div class="tiles">{cells}</div></div>'
    )


def log_html(history: History, last_words: str = "") -> str:
    """The notes and the epochs of a run in the order of time, and what the process wrote last when it broke off."""
    rows: list[tuple[float, str, str]] = [(row.time, "note", _note(row)) for row in history.log]
    rows += [(row.time, "best" if row.best and row.epoch else "epoch", _epoch(row)) for row in history.epochs]
    lines = [
        f'<li class="{css}"><time>{time.strftime("%H:%M:%S", time.localtime(at))}</time>{html.escape(text)}</li>'
        for at, css, text in sorted(rows)[-LOG_LINES:]
    ]
    listed = (
        f"<ol>{''.join(reversed(lines))}</ol>" if lines else f"<p>{html.escape(words.text('status.log.empty'))}</p>"
    )
    if last_words:
        listed = f"<p>{html.escape(words.text('status.log.last'))}</p><pre>{html.escape(last_words)}</pre>" + listed
    return f'<div class="ftlab-log">{listed}</div>'


def _note(note: Note) -> str:
    try:
        return words.text(f"log.{note.code}", **note.values)
    except (KeyError, IndexError, ValueError):  # written by another version: its code is better than nothing
        return " ".join([note.code, *(f"{key}={value}" for key, value in note.values.items())])


def _epoch(row: Epoch) -> str:
    accuracy = _percent(row.val_accuracy) or "–"
    loss = "–" if row.val_loss is None else f"{row.val_loss:.3f}"
    key = "status.log.untrained" if row.epoch == 0 else "status.log.best" if row.best else "status.log.epoch"
    return words.text(key, epoch=row.epoch, accuracy=accuracy, loss=loss)


def _last_words(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - LAST_WORDS))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-15:])


def duration(seconds: float | None) -> str:
    """A length of time for people: 4 s, 3 min 20 s, 1 h 05 min; a dash when it is not known."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return words.text("status.lasts.seconds", s=whole)
    if whole < 3600:
        return words.text("status.lasts.minutes", m=whole // 60, s=whole % 60)
    return words.text("status.lasts.hours", h=whole // 3600, m=whole % 3600 // 60)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def title(run: Run) -> str:
    """One line that tells a run from the others: when, what, how it stands, how good it got."""
    stamp, clock, backbone, mode, _ = run.name.split("-", 4)
    ended = run.ended()
    return words.text(
        "status.run" if ended is None or ended.best_val_accuracy is None else "status.run_best",
        day=f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}",
        clock=f"{clock[:2]}:{clock[2:4]}",
        backbone=TABLE[backbone].title if backbone in TABLE else backbone,
        mode=mode,
        status=words.text(f"status.short.{run.status()}"),
        accuracy=_percent(ended.best_val_accuracy if ended else None),
    )
