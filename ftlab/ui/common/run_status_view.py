"""A run's state, figures and log as HTML: pure functions of its history."""

from __future__ import annotations

import time

from ftlab.config.backbones import TABLE, TIMM
from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Note, Step
from ftlab.runs.history import History

LOG_LINES = 80
_GOING_NOWHERE = ("died", "ended", "failed", "hanging", "overdue", "ending")
"""States without a time that is left."""


def guide() -> Markup:
    """What the curves will tell, where there are none yet."""
    told = ("loss", "accuracy", "untrained", "gap")
    points = [
        tag("li", tag("b", messages.text(f"curve.guide.{key}_name")), tag("span", messages.text(f"curve.guide.{key}")))
        for key in told
    ]
    return tag("div", tag("p", messages.text("curve.guide.title")), tag("ul", *points), class_="ftlab-guide")


def state(history: History, now: str, word: str = "", detail: str = "", last_words: str = "") -> Markup:
    """State in words, progress bar and figures of a run that does `now` (see `live.state_of`).

    Args:
        word, detail: in place of those that `now` has by itself.
        last_words: what the process wrote last when it broke off.
    """
    share: float | None = None
    if now in ("waiting", "preparing"):
        share = -1.0
    elif now in ("download", "statistics", "features", "validation") and history.progress:
        share = history.progress.done / max(1, history.progress.total)
    elif history.steps_total:
        share = history.step / history.steps_total
    word, detail = word or messages.text(f"status.{now}"), detail or _detail(history, now)
    return frame(now, word, detail, share, _tiles(history, now), _last_words(last_words))


def _detail(history: History, now: str) -> str:
    best, ended = history.best, history.ended
    accuracy = percent(best.val_accuracy) if best else None
    key = f"status.detail.{now}"
    if now in ("finished", "time", "early"):
        key = "status.detail.finished" if accuracy else "status.detail.finished_bare"
    elif now == "stopped" and accuracy:
        key = "status.detail.stopped_best" if best and best.epoch else "status.detail.stopped_untrained"
    message = (ended.message if ended and ended.message else "") or messages.text("status.failed")
    values = {"accuracy": accuracy, "epoch": best.epoch if best else 0, "message": message, **_megabytes(history)}
    return messages.text(key, **values)


def doing(history: History, work: str) -> str:
    """What a run was at when it was heard last: `work` as `live.work_of` gives it, and how far that was."""
    word, progress = messages.text(f"status.{work}"), history.progress
    if work == "download":
        done = messages.text("status.tile.megabytes", **_megabytes(history))
    elif progress:
        done = messages.text("status.tile.pictures", done=progress.done, total=progress.total)
    elif work == "training":
        done = messages.text("status.tile.step", now=history.step, all=history.steps_total)
    else:
        return word
    return messages.text("status.doing", work=word, done=done)


def _megabytes(history: History) -> dict[str, str]:
    done, total = (history.progress.done, history.progress.total) if history.progress else (0, 0)
    return {"done": f"{done / 1e6:.0f}", "total": f"{total / 1e6:.0f}"}


def frame(
    css: str,
    word: str,
    detail: str,
    share: float | None = None,
    tiles: list[tuple[str, str, str]] | None = None,
    foot: Markup | str = "",
) -> Markup:
    """The card: a word, a sentence, a bar (`share` in [0, 1], below 0 for unknown, None for no bar), figures as (what,
    figure, remark), and what stands below them."""
    parts = [tag("div", tag("i"), word, class_="word"), tag("div", detail, class_="detail")]
    if share is not None:
        known = share >= 0
        done = min(100.0, max(0.0, 100 * share))
        parts.append(
            tag(
                "div",
                tag("i", style=f"width:{done:.1f}%" if known else None),
                class_="bar" if known else "bar unknown",
                role="progressbar",
                aria_label=messages.text("status.bar"),
                aria_valuemin="0",
                aria_valuemax="100",
                aria_valuenow=f"{done:.0f}" if known else None,
            )
        )
    cells = [
        tag(
            "div",
            tag("span", what, class_="what"),
            tag("b", figure),
            tag("span", remark, class_="remark"),
            class_="tile",
        )
        for what, figure, remark in tiles or []
    ]
    if cells:
        parts.append(tag("div", *cells, class_="tiles"))
    return tag("div", *parts, foot, class_=f"ftlab-state {css}")


def _tiles(history: History, now: str) -> list[tuple[str, str, str]]:
    started, best, progress = history.started, history.best, history.progress
    if started is None:
        return []
    untrained = next((row for row in history.epochs if row.epoch == 0), None)
    last: list[Step | Epoch] = [*history.steps[-1:], *history.epochs[-1:]]
    epoch = min(started.epochs, max([row.epoch for row in last], default=0))
    rate = progress.images_per_second if progress else next((row.images_per_second for row in last), None)
    figures = [
        (
            "best",
            percent(best.val_accuracy) or "–" if best else "–",
            messages.text("status.tile.untrained", accuracy=percent(untrained.val_accuracy) or "–")
            if untrained
            else "",
        ),
        (
            "epoch",
            messages.text("status.tile.of", now=epoch, all=started.epochs),
            messages.text("status.tile.step", now=history.step, all=history.steps_total),
        ),
        ("speed", f"{rate:,.0f}" if rate else "–", messages.text("status.tile.device", device=started.device)),
    ]
    images = messages.text("status.tile.images", train=started.train_images, val=started.val_images)
    if history.ended and history.ended.seconds and now != "waiting":
        figures.append(("took", duration(history.ended.seconds), images))
    elif now == "features" and progress:
        # The first few are slow, and would promise too long a wait.
        seconds = (progress.total - progress.done) / rate if rate and progress.done > 0.1 * progress.total else None
        done = messages.text("status.tile.pictures", done=progress.done, total=progress.total)
        figures.append(("left", duration(seconds), done))
    elif now not in _GOING_NOWHERE:
        figures.append(("left", duration(history.seconds_left()), images))
    named = {"best": "best_test"} if started.validation == "test" else {}
    return [(messages.text(f"status.tile.{named.get(key, key)}"), figure, remark) for key, figure, remark in figures]


def log(history: History, last_words: str = "") -> Markup:
    """The notes and the epochs of a run, the newest first, and what the process wrote last when it is silent."""
    rows: list[tuple[float, str, str]] = [
        (row.time, "note warning" if row.level == "warning" else "note", _note(row)) for row in history.log
    ]
    rows += [(row.time, "best" if row.best and row.epoch else "epoch", _epoch(row)) for row in history.epochs]
    lines = [
        tag("li", tag("time", time.strftime("%H:%M:%S", time.localtime(at))), text, class_=css)
        for at, css, text in sorted(rows)[-LOG_LINES:]
    ]
    listed = tag("ol", *reversed(lines)) if lines else tag("p", messages.text("status.log.empty"))
    return tag("div", _last_words(last_words), listed, class_="ftlab-log")


def _last_words(text: str) -> Markup | str:
    title = tag("p", messages.text("status.log.last"))
    return tag("div", title, tag("pre", text), class_="ftlab-last") if text else ""


def _note(note: Note) -> str:
    try:
        return messages.text(f"log.{note.code}", **note.values)
    except (KeyError, IndexError, ValueError):  # written by another version: its code is better than nothing
        return " ".join([str(note.code), *(f"{key}={value}" for key, value in note.values.items())])


def _epoch(row: Epoch) -> str:
    key = "status.log.untrained" if row.epoch == 0 else "status.log.best" if row.best else "status.log.epoch"
    loss = "–" if row.val_loss is None else f"{row.val_loss:.3f}"
    return messages.text(key, epoch=row.epoch, accuracy=percent(row.val_accuracy) or "–", loss=loss)


def duration(seconds: float | None) -> str:
    """A length of time for people: 4 s, 3 min 20 s, 1 h 05 min; a dash when it is not known."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return messages.text("status.lasts.seconds", s=whole)
    if whole < 3600:
        return messages.text("status.lasts.minutes", m=whole // 60, s=whole % 60)
    return messages.text("status.lasts.hours", h=whole // 3600, m=whole % 3600 // 60)


def percent(value: float | None) -> str | None:
    """A fraction as people read it: 93.8 %."""
    return None if value is None else f"{100 * value:.1f} %"


def title(run: Run) -> str:
    """One line that tells a run from the others: title if any, when, what, how it stands, how good it got."""
    stamp, clock, backbone, mode, _ = run.name.split("-", 4)
    ended = run.ended()
    line = messages.text(
        "status.run" if ended is None or ended.best_val_accuracy is None else "status.run_best",
        day=f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}",
        clock=f"{clock[:2]}:{clock[2:4]}",
        backbone=TABLE[backbone].title if backbone in TABLE else backbone.replace("timm.", TIMM, 1),
        mode=mode,
        status=messages.text(f"status.short.{run.status()}"),
        accuracy=percent(ended.best_val_accuracy if ended else None),
    )
    called = messages.one_line(run_notes.read(run).title)
    return messages.text("status.titled", title=called, line=line) if called else line
