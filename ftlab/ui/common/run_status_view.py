"""State, figures and log of a run as HTML: pure functions of its history. All text is escaped."""

from __future__ import annotations

import time

from ftlab.config.backbones import BACKBONES, TIMM_PREFIX
from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Step
from ftlab.runs.history import History

MAX_LOG_LINES = 80
"""Lines of the log that are shown, the last ones."""
_STATES_WITHOUT_ETA = ("queued", "died", "ended", "failed", "hanging", "overdue", "ending")
"""States in which no remaining time is shown."""


def render_state(
    history: History, state_key: str, heading: str = "", detail: str = "", last_output: str = "", about: str = ""
) -> Markup:
    """Render the state of a run: heading, sentence, progress bar and figures.

    Args:
        history: events of the run.
        state_key: as `run_state.derive_state` returns it.
        heading: replaces the heading of `state_key`.
        detail: replaces the sentence of `state_key`.
        last_output: last lines of the process's output, where it broke off.
        about: which run it is, as `run_table.describe_run` returns it; empty for none.

    Returns:
        The card.
    """
    fraction: float | None = None
    # -1: something happens, but nobody knows how long it takes.
    if state_key == "queued":
        fraction = None
    elif state_key in ("waiting", "preparing"):
        fraction = -1.0
    elif state_key in ("download", "statistics", "features", "validation") and history.progress:
        fraction = history.progress.done / max(1, history.progress.total)
    elif history.total_steps:
        fraction = history.steps_done / history.total_steps
    heading, detail = heading or messages.get_text(f"status.{state_key}"), detail or _describe_state(history, state_key)
    return render_card(
        state_key, heading, detail, fraction, _build_tiles(history, state_key), _render_last_output(last_output), about
    )


def _describe_state(history: History, state_key: str) -> str:
    """Return the sentence of a state."""
    best, end_event = history.best_epoch, history.end_event
    accuracy = format_percent(best.val_accuracy) if best else None
    message_key = f"status.detail.{state_key}"
    if state_key in ("finished", "time", "early"):
        message_key = "status.detail.finished" if accuracy else "status.detail.finished_bare"
    elif state_key == "stopped" and history.start_event is None:
        message_key = "status.detail.stopped_queued"
    elif state_key == "stopped" and accuracy:
        message_key = "status.detail.stopped_best" if best and best.epoch else "status.detail.stopped_untrained"
    # Only a failure has a message; the other sentences ignore it.
    message = (end_event.message if end_event and end_event.message else "") or messages.get_text("status.failed")
    values = {
        "accuracy": accuracy,
        "epoch": best.epoch if best else 0,
        "message": message,
        **_format_megabytes(history),
    }
    return messages.get_text(message_key, **values)


def describe_activity(history: History, activity: str) -> str:
    """Return what a run was doing at its last event, and how far it was.

    Args:
        history: events of the run.
        activity: as `run_state.derive_activity` returns it.

    Returns:
        The text.
    """
    heading, progress = messages.get_text(f"status.{activity}"), history.progress
    if activity == "download":
        progress_text = messages.get_text("status.tile.megabytes", **_format_megabytes(history))
    elif progress:
        progress_text = messages.get_text("status.tile.pictures", done=progress.done, total=progress.total)
    elif activity == "training":
        progress_text = messages.get_text("status.tile.step", now=history.steps_done, all=history.total_steps)
    else:
        return heading
    return messages.get_text("status.doing", work=heading, done=progress_text)


def _format_megabytes(history: History) -> dict[str, str]:
    done_bytes, total_bytes = (history.progress.done, history.progress.total) if history.progress else (0, 0)
    return {"done": f"{done_bytes / 1e6:.0f}", "total": f"{total_bytes / 1e6:.0f}"}


def render_card(
    css_class: str,
    heading: str,
    detail: str,
    fraction: float | None = None,
    tiles: list[tuple[str, str, str]] | None = None,
    footer: Markup | str = "",
    about: str = "",
) -> Markup:
    """Render a card with heading, sentence, progress bar and figures.

    Args:
        css_class: class for the colour.
        heading: a word or two.
        detail: a sentence.
        fraction: length of the bar in [0, 1]; below 0: an indeterminate bar; None: no bar.
        tiles: (label, value, remark) of each figure.
        footer: shown below the figures.
        about: what the card is about, above the heading; empty for nothing.

    Returns:
        The card.
    """
    about_tags = [tag("div", isolate_text(about), class_="about")] if about else []
    parts = [*about_tags, tag("div", tag("i"), heading, class_="word"), tag("div", detail, class_="detail")]
    if fraction is not None:
        is_known = fraction >= 0
        bar_percent = min(100.0, max(0.0, 100 * fraction))
        parts.append(
            tag(
                "div",
                tag("i", style=f"width:{bar_percent:.1f}%" if is_known else None),
                class_="bar" if is_known else "bar unknown",
                role="progressbar",
                aria_label=messages.get_text("status.bar"),
                aria_valuemin="0",
                aria_valuemax="100",
                aria_valuenow=f"{bar_percent:.0f}" if is_known else None,
            )
        )
    cells = [
        tag(
            "div",
            tag("span", label, class_="what"),
            tag("b", value),
            tag("span", remark, class_="remark"),
            class_="tile",
        )
        for label, value, remark in tiles or []
    ]
    if cells:
        parts.append(tag("div", *cells, class_="tiles"))
    return tag("div", *parts, footer, class_=f"ftlab-state {css_class}")


def _build_tiles(history: History, state_key: str) -> list[tuple[str, str, str]]:
    """Return (label, value, remark) of each figure; none before the start event."""
    start_event, best, progress = history.start_event, history.best_epoch, history.progress
    if start_event is None:
        return []
    untrained_epoch = next((event for event in history.epochs if event.epoch == 0), None)
    last_events: list[Step | Epoch] = [*history.steps[-1:], *history.epochs[-1:]]
    epoch = min(start_event.epochs, max([event.epoch for event in last_events], default=0))
    # During a stage with its own progress (features, validation) its speed, else that of the last step or epoch.
    images_per_second = (
        progress.images_per_second if progress else next((event.images_per_second for event in last_events), None)
    )
    tiles = [
        (
            "best",
            format_percent(best.val_accuracy) or "–" if best else "–",
            messages.get_text("status.tile.untrained", accuracy=format_percent(untrained_epoch.val_accuracy) or "–")
            if untrained_epoch
            else "",
        ),
        (
            "epoch",
            messages.get_text("status.tile.of", now=epoch, all=start_event.epochs),
            messages.get_text("status.tile.step", now=history.steps_done, all=history.total_steps),
        ),
        _build_speed_tile(history, start_event.device, images_per_second),
    ]
    image_counts = messages.get_text("status.tile.images", train=start_event.train_images, val=start_event.val_images)
    tiles += _build_time_tile(history, state_key, images_per_second, image_counts)
    # A run that validates on its test images says so.
    tile_aliases = {"best": "best_test"} if start_event.validation == "test" else {}
    return [
        (messages.get_text(f"status.tile.{tile_aliases.get(key, key)}"), value, remark) for key, value, remark in tiles
    ]


def _build_speed_tile(history: History, device: str, images_per_second: float | None) -> tuple[str, str, str]:
    """Return the figure of the images that pass through the network per second; of the device where none do."""
    if history.has_cached_features and not history.progress:
        return ("place", device, "")
    speed_text = f"{images_per_second:,.0f}" if images_per_second else "–"
    return ("speed", speed_text, messages.get_text("status.tile.device", device=device))


def _build_time_tile(
    history: History, state_key: str, images_per_second: float | None, image_counts: str
) -> list[tuple[str, str, str]]:
    """Return the figure of the time taken or left; none in a state in which it is unknown.

    Args:
        history: events of the run.
        state_key: key of the run's state.
        images_per_second: current speed; None if it is unknown.
        image_counts: text about the number of images.
    """
    progress = history.progress
    if history.end_event and history.end_event.seconds and state_key not in ("queued", "waiting"):
        return [("took", format_duration(history.end_event.seconds), image_counts)]
    if state_key == "features" and progress:
        # The first 10 % are slow, and would announce too long a wait.
        seconds_left = (
            (progress.total - progress.done) / images_per_second
            if images_per_second and progress.done > 0.1 * progress.total
            else None
        )
        progress_text = messages.get_text("status.tile.pictures", done=progress.done, total=progress.total)
        return [("left", format_duration(seconds_left), progress_text)]
    if state_key not in _STATES_WITHOUT_ETA:
        return [("left", format_duration(history.estimate_seconds_left()), image_counts)]
    return []


def render_log(history: History, last_output: str = "") -> Markup:
    """Render the log of a run: notes and epochs, the newest first.

    Args:
        history: events of the run.
        last_output: last lines of the process's output, where it is silent.

    Returns:
        The log.
    """
    # (time, CSS class, text), so that sorting puts notes and epochs in order of time.
    entries: list[tuple[float, str, str]] = [
        (event.time, "note warning" if event.level == "warning" else "note", _format_note(event))
        for event in history.log_messages
    ]
    entries += [
        (event.time, "best" if event.best and event.epoch else "epoch", _format_epoch(event))
        for event in history.epochs
    ]
    lines = [
        tag("li", tag("time", time.strftime("%H:%M:%S", time.localtime(timestamp))), text, class_=css_class)
        for timestamp, css_class, text in sorted(entries)[-MAX_LOG_LINES:]
    ]
    list_html = tag("ol", *reversed(lines)) if lines else tag("p", messages.get_text("status.log.empty"))
    return tag("div", _render_last_output(last_output), list_html, class_="ftlab-log")


def _render_last_output(text: str) -> Markup | str:
    title_html = tag("p", messages.get_text("status.log.last"))
    return tag("div", title_html, tag("pre", text), class_="ftlab-last") if text else ""


def _format_note(note: LogMessage) -> str:
    """Return the text of a log message."""
    try:
        return messages.get_text(f"log.{note.code}", **note.values)
    # Of another version of ftlab: its code is better than nothing.
    except (KeyError, IndexError, ValueError, TypeError):
        return " ".join([str(note.code), *(f"{key}={value}" for key, value in note.values.items())])


def _format_epoch(event: Epoch) -> str:
    """Return the log line of an epoch."""
    message_key = (
        "status.log.untrained" if event.epoch == 0 else "status.log.best" if event.best else "status.log.epoch"
    )
    loss = "–" if event.val_loss is None else f"{event.val_loss:.3f}"
    return messages.get_text(
        message_key, epoch=event.epoch, accuracy=format_percent(event.val_accuracy) or "–", loss=loss
    )


def format_duration(seconds: float | None) -> str:
    """Return a duration for people: 4 s, 3 min 20 s, 1 h 05 min; a dash where it is unknown."""
    if seconds is None:
        return "–"
    whole_seconds = max(0, round(seconds))
    if whole_seconds < 60:
        return messages.get_text("status.lasts.seconds", s=whole_seconds)
    if whole_seconds < 3600:
        return messages.get_text("status.lasts.minutes", m=whole_seconds // 60, s=whole_seconds % 60)
    return messages.get_text("status.lasts.hours", h=whole_seconds // 3600, m=whole_seconds % 3600 // 60)


def format_percent(value: float | None) -> str | None:
    """Return a fraction as a percentage for people: 93.8 %; None for None."""
    return None if value is None else f"{100 * value:.1f} %"


def format_run_title(run: Run) -> str:
    """Return one line that identifies a run: title if any, date, backbone, mode, status, best accuracy."""
    # Names are built from these parts, see `run_store`.
    date, clock_time, backbone, mode, _ = run.name.split("-", 4)
    end_event = run.liveness.read_end_event()
    line = messages.get_text(
        "status.run" if end_event is None or end_event.best_val_accuracy is None else "status.run_best",
        day=f"{date[:4]}-{date[4:6]}-{date[6:]}",
        clock=f"{clock_time[:2]}:{clock_time[2:4]}",
        backbone=BACKBONES[backbone].title if backbone in BACKBONES else backbone.replace("timm.", TIMM_PREFIX, 1),
        mode=mode,
        status=messages.get_text(f"status.short.{run.liveness.get_status()}"),
        accuracy=format_percent(end_event.best_val_accuracy if end_event else None),
    )
    custom_title = messages.escape_control_chars(run_notes.read_notes(run).title)
    return messages.get_text("status.titled", title=custom_title, line=line) if custom_title else line
