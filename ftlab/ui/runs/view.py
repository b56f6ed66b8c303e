"""The Runs tab: the table, its totals, what is told of the runs that were picked. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePath

from ftlab.runs import run_notes
from ftlab.core import messages
from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.runs.run_table import RunRow
from ftlab.ui.common.run_status_view import format_percent
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.ui.common.html import render_empty_state, render_error

COLUMNS = ("run", "day", "data", "model", "best", "status", "size")


def render_table(rows: Sequence[RunRow], selected_names: Collection[str], row_limit: int, page_size: int) -> Markup:
    """Runs to press and to tick.

    Args:
        rows: those that were found, in order.
        selected_names: names of those that are ticked.
        row_limit: rows that are shown.
        page_size: rows that a press on the button below shows more.
    """
    header = tag("tr", tag("th", "", class_="tick"), *(_render_header_cell(name) for name in COLUMNS))
    body = [_render_row(row, row.name in selected_names) for row in rows[:row_limit]]
    hidden_count = len(rows) - row_limit
    more_button = tag("button", messages.get_text("shelf.more", count=min(page_size, hidden_count)), type="button", data_more=True)
    return tag(
        "div",
        tag("table", tag("thead", header), tag("tbody", join_html(body))),
        more_button if hidden_count > 0 else "",
        class_="ftlab-runs",
    )


def _render_header_cell(name: str) -> Markup:
    return tag("th", messages.get_text(f"shelf.column.{name}"), scope="col", class_=name)


def _render_row(row: RunRow, is_selected: bool) -> Markup:
    short_id = row.name.rpartition("-")[2]  # the rest of the name stands in other columns; commands take its end
    note = run_notes.RunNotes(row.title, row.notes).first_line
    test_note = "" if row.test_accuracy is None else tag("small", messages.get_text("shelf.test", accuracy=format_percent(row.test_accuracy)))
    checkbox = tag(
        "input",
        type="checkbox",
        checked=is_selected,
        aria_label=messages.get_text("shelf.pick", run=messages.escape_control_chars(row.title or row.name)),
    )
    cells = [
        tag("td", checkbox, class_="tick"),
        tag(
            "th",
            tag("button", isolate_text(row.title or short_id), type="button", class_=None if row.title else "bare"),
            tag("small", short_id, class_="id") if row.title else "",
            tag("small", isolate_text(note), class_="note") if note else "",
            scope="row",
            class_="run",
            title=row.name,
        ),
        tag("td", row.day, tag("small", row.time_of_day), class_="day"),
        tag("td", isolate_text(format_data_name(row)), class_="data", title=messages.escape_control_chars(row.data)),
        tag("td", row.backbone_title, tag("small", row.mode), class_="model"),
        tag("td", format_percent(row.best_accuracy) or "–", test_note, class_="best"),
        tag("td", messages.get_text(f"status.short.{row.status}"), class_=f"status {row.status}"),
        tag("td", messages.format_bytes(row.size_bytes), class_="size"),
    ]
    return tag("tr", *cells, data_run=row.name, class_="picked" if is_selected else None)


def format_data_name(row: RunRow) -> str:
    """What a run's pictures are called: the sample set, or the last part of the path."""
    if row.data in SAMPLE_SET_NAMES:
        return messages.get_text(f"sample.{row.data}.title")
    return PurePath(row.data).name or row.data or "–"


def render_totals(run_rows: Sequence[RunRow], trash_rows: Sequence[RunRow], match_note: str | None, own_only: bool) -> Markup:
    """How many there are and what they take.

    Args:
        match_note: how many of those that are listed fit the search, in words; None without one.
        own_only: tell nothing of the disk, which others use too.
    """
    if own_only:
        sentences = [messages.get_text("shelf.total_own", count=len(run_rows))]
    else:
        message_key = "shelf.total_one" if len(run_rows) == 1 else "shelf.total"
        sentences = [messages.get_text(message_key, count=f"{len(run_rows):,}", size=messages.format_bytes(sum(entry.size_bytes for entry in run_rows)))]
        trash_size = messages.format_bytes(sum(entry.size_bytes for entry in trash_rows))
        message_key = "shelf.total_bin" if trash_rows else "shelf.total_bin_none"
        sentences.append(messages.get_text(message_key, count=f"{len(trash_rows):,}", size=trash_size))
    parts = [tag("span", entry) for entry in sentences]
    if match_note is not None:
        parts.append(tag("b", match_note))
    return tag("p", *parts, class_="ftlab-totals", role="status")


def render_run(row: RunRow, origin_key: str, dependent_runs: Sequence[RunRow]) -> Markup:
    """The run that was picked.

    Args:
        origin_key: key of the sentence about the run that it began from; empty for none.
        dependent_runs: runs that began from it.
    """
    best_text = "" if row.best_accuracy is None else f" · {format_percent(row.best_accuracy)}"
    facts = f"{row.day} {row.time_of_day} · {row.backbone_title}, {row.mode}{best_text} · {messages.format_bytes(row.size_bytes)}"
    parts = [tag("h3", isolate_text(row.title or format_data_name(row))), tag("code", row.name), tag("p", facts, class_="sub")]
    if row.read_error:
        parts.append(render_error(row.read_error))
    if origin_key:
        parts.append(tag("p", messages.get_text(origin_key, run=row.source_run), class_="sub"))
    if dependent_runs:
        names = ", ".join(messages.escape_control_chars(dependent.title or dependent.name) for dependent in dependent_runs[:3])
        names += " …" if len(dependent_runs) > 3 else ""
        parts.append(tag("p", messages.get_text("shelf.needed", count=len(dependent_runs), runs=names), class_="sub"))
    return tag("div", *parts, class_="ftlab-picked")


def render_runs(rows: Sequence[RunRow]) -> Markup:
    """The runs that were ticked."""
    size_text = messages.get_text("shelf.picked_size", size=messages.format_bytes(sum(row.size_bytes for row in rows)))
    title = messages.get_text("shelf.picked", count=len(rows))
    items = [tag("li", isolate_text(row.title or row.name)) for row in rows[:6]]
    ellipsis = tag("li", "…") if len(rows) > 6 else ""
    return tag("div", tag("h3", title), tag("p", size_text, class_="sub"), tag("ul", *items, ellipsis), class_="ftlab-picked")


def render_no_selection(in_trash: bool = False) -> Markup:
    """What stands there while no run is picked, of all or of those `in_trash`."""
    if in_trash:
        return render_empty_state("shelf.pick_binned", "shelf.pick_binned_step")
    return render_empty_state("shelf.pick_one", "shelf.pick_one_step")
