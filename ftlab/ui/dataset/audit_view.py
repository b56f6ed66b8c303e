"""A report of the doctor as the Dataset tab shows it: findings with pictures, and the map. All text is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from ftlab.audit.findings import KINDS, Finding, Map, Point, Report, Shown
from ftlab.config import backbones
from ftlab.core import messages
from ftlab.core.html import Markup, isolated, join, tag
from ftlab.data.images.thumbnails import thumbnails

EACH, PAIRS = 12, 6
"""Findings of a kind that are shown, of pictures and of copies; the rest is counted."""
SIDE_BY_SIDE = 6
"""Copies of one picture that are shown."""
COLOURS = 10
"""Classes that have a colour of their own on the map: the largest."""


def findings(report: Report, out: Collection[str]) -> Markup:
    """What was found, by kind.

    Args:
        report: of the pictures.
        out: paths that are left out.
    """
    said = [messages.text(f"doctor.note.{code}", **values) for code, values in report.notes]
    if report.left:
        said.append(messages.text("doctor.left", count=f"{report.left:,}"))
    if report.unread:
        said.append(messages.text("doctor.unread", count=f"{len(report.unread):,}"))
    notes = [tag("p", one, class_="note") for one in said]
    kinds = [kind for kind in KINDS if report.of(kind)]
    if not kinds:
        return tag("div", *notes, tag("p", messages.text("doctor.healthy"), class_="ftlab-good"), class_="ftlab-doctor")
    return tag("div", *notes, *(_kind(report, kind, out) for kind in kinds), class_="ftlab-doctor")


def _kind(report: Report, kind: str, out: Collection[str]) -> Markup:
    found = report.of(kind)
    leave = {path for one in found for path in one.leave}
    gone = leave & set(out)
    button: Markup | str = ""
    if len(leave) > 1:
        key = "back_all" if gone == leave else "leave_all"
        text = messages.text(f"doctor.{key}", count=f"{len(leave):,}")
        button = tag("button", text, type="button", data_do=key.partition("_")[0], data_kind=kind)
    count = tag("small", f"{len(found):,}")
    left = tag("small", messages.text("doctor.out", count=f"{len(gone):,}"), class_="out") if gone else ""
    head = tag("header", tag("h4", messages.text(f"doctor.kind.{kind}"), " ", count, " ", left), button)
    shown = found[: PAIRS if kind in ("exact", "near") else EACH]
    more = tag("p", messages.text("doctor.more", count=f"{len(found) - len(shown):,}"), class_="sub more")
    body = _classes(shown) if kind == "imbalance" else tag("div", *_cards(shown, report, out), class_="cards")
    return tag(
        "section",
        head,
        tag("p", messages.text(f"doctor.why.{kind}"), class_="sub"),
        body,
        more if len(found) > len(shown) else "",
        class_=f"kind {kind}",
    )


def _classes(found: Iterable[Finding]) -> Markup:
    return tag("ul", *(tag("li", _said(one)) for one in found))


def _said(one: Finding) -> str:
    values = {name: messages.one_line(value) if isinstance(value, str) else value for name, value in one.values.items()}
    return messages.text(f"doctor.said.{one.kind}", **values)


def _cards(found: list[Finding], report: Report, out: Collection[str]) -> Iterable[Markup]:
    pictures = [one for each in found for one in each.pictures[:SIDE_BY_SIDE]]
    files = [Path(report.root) / one.path for one in pictures]
    made = dict(zip((one.path for one in pictures), thumbnails(files), strict=True))
    for each in found:
        figures = [_figure(one, made[one.path], one.path in out) for one in each.pictures[:SIDE_BY_SIDE]]
        marks = [
            tag("b", messages.text(f"doctor.{mark}"), class_="leak")
            for mark, holds in (("leak", each.leak), ("torn", each.values.get("classes", 1) > 1))
            if holds
        ]
        yield tag(
            "article",
            tag("div", *figures, class_="pictures"),
            tag("p", *marks, _said(each)),
            class_="leaking" if each.leak else None,
        )


def _figure(one: Shown, uri: str | None, out: bool) -> Markup:
    file = messages.one_line(one.path)
    name = PurePosixPath(one.path).name
    picture = tag("img", src=uri, alt=f"{messages.one_line(one.name)}, {file}", width="160", height="160")
    gone = tag("span", messages.text("dataset.gallery.unreadable"), class_="gone")
    split = tag("span", tag("i", class_=f"dot {one.split}"), messages.text(f"dataset.split.{one.split}"))
    verb = "back" if out else "leave"
    button = tag(
        "button",
        messages.text(f"doctor.{verb}"),
        type="button",
        data_do=verb,
        data_picture=one.path,
        aria_label=messages.text(f"doctor.{verb}_one", file=messages.one_line(name)),
    )
    caption = tag("figcaption", split, " · ", isolated(one.name), tag("code", isolated(name)), button)
    return tag("figure", picture if uri else gone, caption, class_="out" if out else None, title=file)


def landscape(report: Report, out: Collection[str]) -> Markup:
    """The map, with room for the picture that is pointed at; nothing where there is none."""
    if report.map is None:
        return Markup("")
    drawn = report.map
    marked = {one.path for each in report.findings for one in each.pictures}
    counts = Counter(point.shown.name for point in drawn.points)
    coloured = {name: place for place, (name, _) in enumerate(counts.most_common(COLOURS))}
    # What was found lies on top.
    points = sorted(drawn.points, key=lambda one: one.shown.path in marked)
    dots = [_dot(point, coloured, point.shown.path in marked, point.shown.path in out) for point in points]
    legend = [
        tag(
            "span",
            tag("i", class_=f"k{place}"),
            isolated(messages.text("doctor.map_class", name=name, count=counts[name])),
        )
        for name, place in coloured.items()
    ]
    if len(counts) > COLOURS:
        legend.append(tag("span", tag("i", class_="rest"), messages.text("doctor.map_others")))
    legend.append(tag("span", tag("i", class_="marked"), messages.text("doctor.map_found")))
    row = backbones.known(report.backbone)
    about = messages.text("doctor.map_about", backbone=row.title if row else report.backbone)
    spoken = messages.text("doctor.map_spoken", count=len(drawn.points), classes=len(counts))
    return tag(
        "section",
        tag("h4", messages.text("doctor.map")),
        tag("p", about, class_="sub"),
        tag("div", *legend, class_="legend"),
        tag(
            "div",
            tag("svg", join(dots), role="img", aria_label=spoken),
            _look(drawn),
            class_="field",
        ),
        class_="ftlab-map",
    )


def _dot(point: Point, coloured: dict[str, int], marked: bool, out: bool) -> Markup:
    one = point.shown
    place = coloured.get(one.name)
    css = ["rest" if place is None else f"k{place}", *(["marked"] if marked else []), *(["out"] if out else [])]
    return tag(
        "circle",
        cx=f"{2 + 96 * point.x:.2f}%",
        cy=f"{3 + 94 * (1 - point.y):.2f}%",
        r="5",
        class_=" ".join(css),
        data_at=str(point.at),
        data_name=messages.one_line(one.name),
        data_split=messages.text(f"dataset.split.{one.split}"),
        data_file=messages.one_line(one.path),
    )


def _look(drawn: Map) -> Markup:
    """Where the script shows the picture that is pointed at."""
    return tag(
        "div",
        tag("i", class_="picture", data_side=str(drawn.side), data_columns=str(drawn.columns)),
        tag("p", messages.text("doctor.map_pick")),
        tag("img", src=f"data:image/jpeg;base64,{drawn.sheet}", alt="", hidden=True),
        class_="look",
        aria_live="polite",
    )
