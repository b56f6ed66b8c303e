"""Several runs as the Compare tab shows them: curves over each other, a table, what differs. HTML in which all text is
escaped."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolated, join, tag
from ftlab.core.messages import percent
from ftlab.runs.comparison import Contender, Difference
from ftlab.runs.curves import Curves, Series, ticks
from ftlab.ui.common.curves_view import HEIGHT, draw, number
from ftlab.ui.common.run_status_view import duration

_MARGIN = 0.035


def overlaid(rows: Sequence[Contender], curves: Sequence[Curves]) -> Markup:
    """Validation accuracy and loss of all runs over their epochs, each in its colour."""
    keys = [tag("span", tag("i", class_=f"run{n}"), line(n, row), class_="key") for n, row in enumerate(rows)]
    return tag(
        "div",
        tag("div", *keys, class_="legend"),
        _panel("loss", [_by_epoch(one, one.val_loss) for one in curves]),
        _panel("accuracy", [_by_epoch(one, one.val_accuracy) for one in curves]),
        class_="ftlab-curves ftlab-overlaid",
    )


def line(place: int, row: Contender) -> str:
    """A run in a legend."""
    return named(place, row.backbone, row.mode)


def named(place: int, backbone: str, mode: str) -> str:
    """The same of a run of which no more is known."""
    return messages.text("compare.line", number=place + 1, backbone=backbone, mode=mode)


def _by_epoch(data: Curves, series: Series) -> Series:
    return Series(series.x / data.per_epoch, series.y)


def _panel(name: str, series: Sequence[Series]) -> Markup:
    known = [one.known() for one in series]
    values = [float(value) for one in known for value in one.y]
    right = max([1.0, *(float(one.x.max()) for one in known if len(one.x))])
    high = 1.0 if name == "accuracy" else max(values, default=1.0) * 1.08 or 1.0
    low = max(0.0, min(values, default=0.0) - 0.1) if name == "accuracy" else 0.0
    bottom, top = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    marks = []
    for value in ticks(low, high, 5):
        y = number(HEIGHT * (top - value) / (top - bottom))
        shown = f"{100 * value:.4g} %" if name == "accuracy" else f"{value:.4g}"
        marks.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        marks.append(tag("text", shown, class_="y", x="-7", y=y, dy=".32em"))
    for epoch in ticks(0, right, 6):
        if epoch == int(epoch):
            x = f"{number(100 * (epoch / right + _MARGIN) / (1 + 2 * _MARGIN))}%"
            marks.append(tag("line", class_="tick", x1=x, x2=x, y1=str(HEIGHT), y2=str(HEIGHT + 4)))
            marks.append(tag("text", number(epoch), class_="x", x=x, y=str(HEIGHT + 16)))
    box = " ".join(map(number, (-right * _MARGIN, -top, right * (1 + 2 * _MARGIN), top - bottom)))
    inner = tag(
        "svg",
        tag("g", *(draw("dots", f"run{n}", one) for n, one in enumerate(series)), transform="scale(1,-1)"),
        class_="data",
        width="100%",
        height=str(HEIGHT),
        preserveAspectRatio="none",
        viewBox=box,
    )
    said = messages.text(f"compare.spoken_{name}", count=len(series))
    frame = tag("svg", *marks, inner, class_="frame", width="100%", height=str(HEIGHT), role="img", aria_label=said)
    return tag("figure", tag("figcaption", messages.text(f"compare.{name}")), frame, class_=f"panel {name}")


def table(rows: Sequence[Contender]) -> Markup:
    """What each run came to and cost."""
    columns = ("run", "status", "best", "test", "epochs", "seconds", "rate", "learns", "size")
    head = tag("tr", *(tag("th", messages.text(f"compare.column.{name}"), scope="col") for name in columns))
    most = max((row.best for row in rows if row.best is not None), default=None)
    body = [tag("tr", *_cells(place, row, row.best is not None and row.best == most)) for place, row in enumerate(rows)]
    return tag("div", tag("table", tag("thead", head), tag("tbody", join(body))), class_="ftlab-compare scroll")


def _cells(place: int, row: Contender, first: bool) -> list[Markup]:
    called = tag("small", isolated(row.title), class_="called") if row.title else ""
    named = tag("i", class_=f"run{place}"), tag("b", line(place, row)), called, tag("small", row.name)
    epoch = "" if row.best_epoch is None else messages.text("compare.at_epoch", epoch=row.best_epoch)
    share = messages.text("compare.of", total=_many(row.total))
    return [
        tag("th", *named, scope="row"),
        tag("td", messages.text(f"status.short.{row.status}")),
        tag(
            "td", "–" if row.best is None else percent(row.best), tag("small", epoch), class_="first" if first else None
        ),
        tag("td", "–" if row.test is None else percent(row.test)),
        tag("td", row.epochs),
        tag("td", duration(row.seconds)),
        tag("td", "–" if row.images_per_second is None else f"{row.images_per_second:,.0f}"),
        tag("td", _many(row.trainable), tag("small", share)),
        tag("td", f"{row.folder / 1e6:,.0f} MB", tag("small", f"{row.weights / 1e6:,.1f} MB")),
    ]


def differing(rows: Sequence[Contender], found: Sequence[Difference]) -> Markup:
    """In which knobs the runs differ."""
    if not found:
        return tag("p", messages.text("compare.alike"), class_="ftlab-about")
    names = (tag("th", tag("i", class_=f"run{n}"), line(n, row), scope="col") for n, row in enumerate(rows))
    head = tag("tr", tag("th", messages.text("compare.column.knob"), scope="col"), *names)
    body = [tag("tr", tag("th", one.label, scope="row"), *(tag("td", value) for value in one.values)) for one in found]
    inner = tag("table", tag("thead", head), tag("tbody", join(body)))
    title = tag("h4", messages.text("compare.differences"))
    return tag("div", title, tag("div", inner, class_="ftlab-compare scroll"), class_="ftlab-differs")


def _many(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
