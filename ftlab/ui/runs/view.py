"""HTML of the Runs tab: the table, its totals and the details of the selected runs. All text in it is escaped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.runs import run_notes
from ftlab.runs.run_table import RunRow, format_data_name
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.run_status_view import format_percent

COLUMNS = ("run", "day", "data", "model", "best", "status", "size")
"""Columns of the table: keys of their headings in the messages, and CSS classes of their cells."""


def render_table(
    rows: Sequence[RunRow],
    selected_names: Collection[str],
    row_limit: int,
    page_size: int,
    owner_marks: Mapping[str, str] | None = None,
) -> Markup:
    """Render the table of runs; `static/shelf.js` makes its rows and checkboxes selectable.

    Args:
        rows: all rows that match the search, in their order.
        selected_names: names of the selected runs.
        row_limit: number of rows to show.
        page_size: number of rows that the button below the table adds.
        owner_marks: whose a run is, and whether it is shared, by its name; None: all are one's own.

    Returns:
        The table with the button, as HTML.
    """
    # No heading: an empty one would be announced as such.
    header = tag("tr", tag("td", "", class_="tick"), *(_render_header_cell(name) for name in COLUMNS))
    marks = owner_marks or {}
    body = [
        _render_row(row, is_selected=row.name in selected_names, owner_mark=marks.get(row.name, ""))
        for row in rows[:row_limit]
    ]
    hidden_count = len(rows) - row_limit
    # Shown below a full table only; the last press adds fewer rows than a page has.
    more_button = tag(
        "button", messages.get_text("shelf.more", count=min(page_size, hidden_count)), type="button", data_more=True
    )
    return tag(
        "div",
        tag("table", tag("thead", header), tag("tbody", join_html(body))),
        more_button if hidden_count > 0 else "",
        class_="ftlab-runs",
    )


def _render_header_cell(name: str) -> Markup:
    return tag("th", messages.get_text(f"shelf.column.{name}"), scope="col", class_=name)


def _render_row(row: RunRow, *, is_selected: bool, owner_mark: str = "") -> Markup:
    """Return a row of the table: a run with its checkbox."""
    short_id = row.name.rpartition("-")[2]  # date and mode stand in other columns; commands take the end of a name
    name = row.title or messages.get_text("shelf.untitled", data=format_data_name(row.data), mode=row.mode)
    note = run_notes.RunNotes(row.title, row.notes).first_line
    test_note = (
        ""
        if row.test_accuracy is None
        else tag("small", messages.get_text("shelf.test", accuracy=format_percent(row.test_accuracy)))
    )
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
            tag("button", isolate_text(name), type="button", class_=None if row.title else "bare"),
            tag("small", short_id, class_="id"),
            tag("small", isolate_text(note), class_="note") if note else "",
            tag("small", isolate_text(owner_mark), class_="owner") if owner_mark else "",
            scope="row",
            class_="run",
            title=row.name,
        ),
        tag("td", row.day, tag("small", row.time_of_day), class_="day"),
        tag(
            "td", isolate_text(format_data_name(row.data)), class_="data", title=messages.escape_control_chars(row.data)
        ),
        tag("td", row.backbone_title, tag("small", row.mode), class_="model"),
        tag("td", format_percent(row.best_accuracy) or "–", test_note, class_="best"),
        tag("td", messages.get_text(f"status.short.{row.status}"), class_=f"status {row.status}"),
        tag("td", messages.format_bytes(row.size_bytes), class_="size"),
    ]
    return tag("tr", *cells, data_run=row.name, class_="picked" if is_selected else None)


def render_totals(
    run_rows: Sequence[RunRow],
    trash_rows: Sequence[RunRow],
    match_note: str | None,
    *,
    own_only: bool,
    useless_count: int = 0,
) -> Markup:
    """Render the number of runs and their size on the disk.

    Args:
        run_rows: all runs that the page may see.
        trash_rows: those in the trash folder.
        match_note: how many of the listed runs match the search, as a sentence; None without a search.
        own_only: count only, without sizes: on a Space the disk is shared with others.
        useless_count: number of runs that left nothing, which a button selects.

    Returns:
        A paragraph, as HTML.
    """
    # Visitors of a Space learn nothing about the disk, which others use too.
    if own_only:
        sentences = [messages.get_text("shelf.total_own", count=len(run_rows))]
    else:
        message_key = "shelf.total_one" if len(run_rows) == 1 else "shelf.total"
        sentences = [
            messages.get_text(
                message_key,
                count=f"{len(run_rows):,}",
                size=messages.format_bytes(sum(entry.size_bytes for entry in run_rows)),
            )
        ]
        trash_size = messages.format_bytes(sum(entry.size_bytes for entry in trash_rows))
        message_key = "shelf.total_bin" if trash_rows else "shelf.total_bin_none"
        sentences.append(messages.get_text(message_key, count=f"{len(trash_rows):,}", size=trash_size))
    parts = [tag("span", entry) for entry in sentences]
    if match_note is not None:
        parts.append(tag("b", match_note))
    if useless_count:
        message_key = "shelf.useless_one" if useless_count == 1 else "shelf.useless"
        parts.append(
            tag("button", messages.get_text(message_key, count=useless_count), type="button", data_useless=True)
        )
    return tag("p", *parts, class_="ftlab-totals", role="status")


def render_run(row: RunRow, origin_key: str, dependent_runs: Sequence[RunRow]) -> Markup:
    """Render the details of a single selected run.

    Args:
        row: the run.
        origin_key: key of the message about the run whose weights it started from; empty for none.
        dependent_runs: runs that started from its weights.

    Returns:
        The details panel, as HTML.
    """
    best_text = "" if row.best_accuracy is None else f" · {format_percent(row.best_accuracy)}"
    facts = (
        f"{row.day} {row.time_of_day} · {row.backbone_title}, {row.mode}{best_text}"
        f" · {messages.format_bytes(row.size_bytes)}"
    )
    parts = [
        tag("h2", isolate_text(row.title or format_data_name(row.data))),
        tag("code", row.name),
        tag("p", facts, class_="sub"),
    ]
    if row.read_error or row.file_error:
        parts.append(render_error(row.read_error or row.file_error))
    if origin_key:
        parts.append(tag("p", messages.get_text(origin_key, run=row.source_run), class_="sub"))
    if dependent_runs:
        names = ", ".join(
            messages.escape_control_chars(dependent.title or dependent.name) for dependent in dependent_runs[:3]
        )
        names += " …" if len(dependent_runs) > 3 else ""
        parts.append(tag("p", messages.get_text("shelf.needed", count=len(dependent_runs), runs=names), class_="sub"))
    return tag("div", *parts, class_="ftlab-picked")


def render_runs(rows: Sequence[RunRow]) -> Markup:
    """Return the details panel for several selected runs: their number, size and names."""
    size_text = messages.get_text("shelf.picked_size", size=messages.format_bytes(sum(row.size_bytes for row in rows)))
    title = messages.get_text("shelf.picked", count=len(rows))
    items = [tag("li", isolate_text(row.title or row.name)) for row in rows[:6]]
    ellipsis = tag("li", "…") if len(rows) > 6 else ""
    return tag(
        "div", tag("h2", title), tag("p", size_text, class_="sub"), tag("ul", *items, ellipsis), class_="ftlab-picked"
    )


def render_no_selection(*, in_trash: bool = False) -> Markup:
    """Return what the details panel shows while no run is selected, or none of those in the trash folder."""
    if in_trash:
        return render_empty_state("shelf.pick_binned", "shelf.pick_binned_step")
    return render_empty_state("shelf.pick_one", "shelf.pick_one_step")
