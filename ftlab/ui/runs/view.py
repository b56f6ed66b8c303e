"""The Runs tab: the table, its totals, what is told of the runs that were picked. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePath

from ftlab.runs import run_notes
from ftlab.core import messages
from ftlab.config.train_config import SAMPLES
from ftlab.runs.run_table import Row
from ftlab.ui.common.run_status_view import percent
from ftlab.core.html import Markup, isolated, join, tag
from ftlab.ui.common.html import empty, trouble

COLUMNS = ("run", "day", "data", "model", "best", "status", "size")


def table(rows: Sequence[Row], picked: Collection[str], most: int, step: int) -> Markup:
    """Runs to press and to tick.

    Args:
        rows: those that were found, in order.
        picked: names of those that are ticked.
        most: rows that are shown.
        step: rows that a press on the button below shows more.
    """
    head = tag("tr", tag("th", "", class_="tick"), *(_head(name) for name in COLUMNS))
    body = [_line(row, row.name in picked) for row in rows[:most]]
    left = len(rows) - most
    more = tag("button", messages.text("shelf.more", count=min(step, left)), type="button", data_more=True)
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", join(body))),
        more if left > 0 else "",
        class_="ftlab-runs",
    )


def _head(name: str) -> Markup:
    return tag("th", messages.text(f"shelf.column.{name}"), scope="col", class_=name)


def _line(row: Row, picked: bool) -> Markup:
    key = row.name.rpartition("-")[2]  # the rest of the name stands in other columns; commands take its end
    note = run_notes.About(row.title, row.notes).first_line
    test = "" if row.test is None else tag("small", messages.text("shelf.test", accuracy=percent(row.test)))
    tick = tag(
        "input",
        type="checkbox",
        checked=picked,
        aria_label=messages.text("shelf.pick", run=messages.one_line(row.title or row.name)),
    )
    cells = [
        tag("td", tick, class_="tick"),
        tag(
            "th",
            tag("button", isolated(row.title or key), type="button", class_=None if row.title else "bare"),
            tag("small", key, class_="id") if row.title else "",
            tag("small", isolated(note), class_="note") if note else "",
            scope="row",
            class_="run",
            title=row.name,
        ),
        tag("td", row.day, tag("small", row.clock), class_="day"),
        tag("td", isolated(pictures(row)), class_="data", title=messages.one_line(row.data)),
        tag("td", row.model, tag("small", row.mode), class_="model"),
        tag("td", percent(row.best) or "–", test, class_="best"),
        tag("td", messages.text(f"status.short.{row.status}"), class_=f"status {row.status}"),
        tag("td", messages.size(row.size), class_="size"),
    ]
    return tag("tr", *cells, data_run=row.name, class_="picked" if picked else None)


def pictures(row: Row) -> str:
    """What a run's pictures are called: the sample set, or the last part of the path."""
    if row.data in SAMPLES:
        return messages.text(f"sample.{row.data}.title")
    return PurePath(row.data).name or row.data or "–"


def totals(runs: Sequence[Row], binned: Sequence[Row], found: str | None, own_only: bool) -> Markup:
    """How many there are and what they take.

    Args:
        found: how many of those that are listed fit the search, in words; None without one.
        own_only: tell nothing of the disk, which others use too.
    """
    if own_only:
        said = [messages.text("shelf.total_own", count=len(runs))]
    else:
        key = "shelf.total_one" if len(runs) == 1 else "shelf.total"
        said = [messages.text(key, count=f"{len(runs):,}", size=messages.size(sum(one.size for one in runs)))]
        took = messages.size(sum(one.size for one in binned))
        key = "shelf.total_bin" if binned else "shelf.total_bin_none"
        said.append(messages.text(key, count=f"{len(binned):,}", size=took))
    parts = [tag("span", one) for one in said]
    if found is not None:
        parts.append(tag("b", found))
    return tag("p", *parts, class_="ftlab-totals", role="status")


def one(row: Row, origin: str, needed: Sequence[Row]) -> Markup:
    """The run that was picked.

    Args:
        origin: key of the sentence about the run that it began from; empty for none.
        needed: runs that began from it.
    """
    best = "" if row.best is None else f" · {percent(row.best)}"
    facts = f"{row.day} {row.clock} · {row.model}, {row.mode}{best} · {messages.size(row.size)}"
    told = [tag("h3", isolated(row.title or pictures(row))), tag("code", row.name), tag("p", facts, class_="sub")]
    if row.trouble:
        told.append(trouble(row.trouble))
    if origin:
        told.append(tag("p", messages.text(origin, run=row.begun_from), class_="sub"))
    if needed:
        names = ", ".join(messages.one_line(each.title or each.name) for each in needed[:3])
        names += " …" if len(needed) > 3 else ""
        told.append(tag("p", messages.text("shelf.needed", count=len(needed), runs=names), class_="sub"))
    return tag("div", *told, class_="ftlab-picked")


def several(rows: Sequence[Row]) -> Markup:
    """The runs that were ticked."""
    size = messages.text("shelf.picked_size", size=messages.size(sum(one.size for one in rows)))
    title = messages.text("shelf.picked", count=len(rows))
    names = [tag("li", isolated(one.title or one.name)) for one in rows[:6]]
    more = tag("li", "…") if len(rows) > 6 else ""
    return tag("div", tag("h3", title), tag("p", size, class_="sub"), tag("ul", *names, more), class_="ftlab-picked")


def nobody(binned: bool = False) -> Markup:
    """What stands there while no run is picked, of all or of those `binned`."""
    if binned:
        return empty("shelf.pick_binned", "shelf.pick_binned_step")
    return empty("shelf.pick_one", "shelf.pick_one_step")
