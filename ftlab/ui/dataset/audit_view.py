"""An audit report as HTML: findings with their images, and the embedding map. All text is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from ftlab.audit.findings import FINDING_KINDS, AuditReport, EmbeddingMap, Finding, ImageRef, MapPoint
from ftlab.config import backbones
from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.data.images.decode_options import ranges_from_json
from ftlab.data.isolation.thumbnails import make_thumbnails

MAX_FINDINGS_PER_KIND, MAX_DUPLICATES_PER_KIND = 12, 6
"""Findings shown of a kind, and of duplicates; only the number of the others is shown."""
MAX_IMAGES_PER_FINDING = 6
"""Duplicates of one image that are shown."""
MAX_MAP_COLORS = 10
"""Classes with a colour of their own on the map: the largest."""


def render_findings(report: AuditReport, excluded: Collection[str]) -> Markup:
    """Render the findings by kind.

    Args:
        report: report of the audit.
        excluded: paths of excluded images.

    Returns:
        The findings, or that there are none.
    """
    note_texts = [messages.get_text(f"doctor.note.{code}", **values) for code, values in report.notes]
    if report.left:
        note_texts.append(messages.get_text("doctor.left", count=f"{report.left:,}"))
    if report.unread:
        note_texts.append(messages.get_text("doctor.unread", count=f"{len(report.unread):,}"))
    notes = [tag("p", text, class_="note") for text in note_texts]
    kinds = [kind for kind in FINDING_KINDS if report.findings_of_kind(kind)]
    if not kinds:
        return tag(
            "div", *notes, tag("p", messages.get_text("doctor.healthy"), class_="ftlab-good"), class_="ftlab-doctor"
        )
    return tag("div", *notes, *(_render_kind(report, kind, excluded) for kind in kinds), class_="ftlab-doctor")


def _render_kind(report: AuditReport, kind: str, excluded: Collection[str]) -> Markup:
    """Return the section of a kind of finding, with a button for all of its images."""
    kind_findings = report.findings_of_kind(kind)
    removable_paths = {path for finding in kind_findings for path in finding.leave}
    excluded_paths = removable_paths & set(excluded)
    button: Markup | str = ""
    # Of a group of duplicates the original stays, so `leave` does not name every image.
    if len(removable_paths) > 1:
        key = "back_all" if excluded_paths == removable_paths else "leave_all"
        text = messages.get_text(f"doctor.{key}", count=f"{len(removable_paths):,}")
        button = tag("button", text, type="button", data_do=key.partition("_")[0], data_kind=kind)
    count = tag("small", f"{len(kind_findings):,}")
    excluded_note = (
        tag("small", messages.get_text("doctor.out", count=f"{len(excluded_paths):,}"), class_="out")
        if excluded_paths
        else ""
    )
    head = tag("header", tag("h3", messages.get_text(f"doctor.kind.{kind}"), " ", count, " ", excluded_note), button)
    shown_findings = kind_findings[: MAX_DUPLICATES_PER_KIND if kind in ("exact", "near") else MAX_FINDINGS_PER_KIND]
    more_note = tag(
        "p", messages.get_text("doctor.more", count=f"{len(kind_findings) - len(shown_findings):,}"), class_="sub more"
    )
    body = (
        _render_class_findings(shown_findings)
        if kind == "imbalance"
        else tag("div", *_render_cards(shown_findings, report, excluded), class_="cards")
    )
    return tag(
        "section",
        head,
        tag("p", messages.get_text(f"doctor.why.{kind}"), class_="sub"),
        body,
        more_note if len(kind_findings) > len(shown_findings) else "",
        class_=f"kind {kind}",
    )


def _render_class_findings(class_findings: Iterable[Finding]) -> Markup:
    """Return findings about whole classes as a list of sentences."""
    return tag("ul", *(tag("li", _format_finding(finding)) for finding in class_findings))


def _format_finding(finding: Finding) -> str:
    """Return the sentence of a finding."""
    values = {
        name: messages.escape_control_chars(value) if isinstance(value, str) else value
        for name, value in finding.values.items()
    }
    return messages.get_text(f"doctor.said.{finding.kind}", **values)


def _render_cards(shown_findings: list[Finding], report: AuditReport, excluded: Collection[str]) -> Iterable[Markup]:
    """Render each finding as a card with its images.

    Args:
        shown_findings: findings of a kind.
        report: report of the audit.
        excluded: paths of excluded images.

    Yields:
        The cards.
    """
    images = [image for finding in shown_findings for image in finding.pictures[:MAX_IMAGES_PER_FINDING]]
    # All images of the kind in one call, which decodes in several threads.
    files = [Path(report.root) / image.path for image in images]
    file_uris = make_thumbnails(files, ranges_from_json(report.value_ranges))
    thumbnail_uris = dict(zip((image.path for image in images), file_uris, strict=True))
    for finding in shown_findings:
        figures = [
            _render_image(image, thumbnail_uris[image.path], is_excluded=image.path in excluded)
            for image in finding.pictures[:MAX_IMAGES_PER_FINDING]
        ]
        marks = [
            tag("b", messages.get_text(f"doctor.{mark}"), class_="leak")
            for mark, is_set in (("leak", finding.crosses_splits), ("torn", finding.values.get("classes", 1) > 1))
            if is_set
        ]
        yield tag(
            "article",
            tag("div", *figures, class_="pictures"),
            tag("p", *marks, _format_finding(finding)),
            class_="leaking" if finding.crosses_splits else None,
        )


def _render_image(image: ImageRef, uri: str | None, *, is_excluded: bool) -> Markup:
    """Return an image with split, class, file name, and a button to exclude it or include it again."""
    file = messages.escape_control_chars(image.path)
    name = PurePosixPath(image.path).name
    thumbnail = tag(
        "img", src=uri, alt=f"{messages.escape_control_chars(image.name)}, {file}", width="160", height="160"
    )
    placeholder = tag("span", messages.get_text("dataset.gallery.unreadable"), class_="gone")
    split_label = tag("span", tag("i", class_=f"dot {image.split}"), messages.get_text(f"dataset.split.{image.split}"))
    verb = "back" if is_excluded else "leave"
    button = tag(
        "button",
        messages.get_text(f"doctor.{verb}"),
        type="button",
        data_do=verb,
        data_picture=image.path,
        aria_label=messages.get_text(f"doctor.{verb}_one", file=messages.escape_control_chars(name)),
    )
    caption = tag("figcaption", split_label, " · ", isolate_text(image.name), tag("code", isolate_text(name)), button)
    return tag("figure", thumbnail if uri else placeholder, caption, class_="out" if is_excluded else None, title=file)


def render_map(report: AuditReport, excluded: Collection[str]) -> Markup:
    """Render the embedding map: a dot for each image, coloured by class, with space for a preview.

    Args:
        report: report of the audit.
        excluded: paths of excluded images.

    Returns:
        The map; empty where the report has none.
    """
    if report.map is None:
        return Markup("")
    map_data = report.map
    marked_paths = {item.path for finding in report.findings for item in finding.pictures}
    counts = Counter(point.shown.name for point in map_data.points)
    color_indices = {name: index for index, (name, _) in enumerate(counts.most_common(MAX_MAP_COLORS))}
    # SVG draws in order: images with findings come last, on top.
    points = sorted(map_data.points, key=lambda item: item.shown.path in marked_paths)
    dots = [
        _render_dot(
            point,
            color_indices,
            is_marked=point.shown.path in marked_paths,
            is_excluded=point.shown.path in excluded,
        )
        for point in points
    ]
    legend = [
        tag(
            "span",
            tag("i", class_=f"k{index}"),
            isolate_text(messages.get_text("doctor.map_class", name=name, count=counts[name])),
        )
        for name, index in color_indices.items()
    ]
    # More hues cannot be told apart; the other classes share one grey.
    if len(counts) > MAX_MAP_COLORS:
        legend.append(tag("span", tag("i", class_="rest"), messages.get_text("doctor.map_others")))
    legend.append(tag("span", tag("i", class_="marked"), messages.get_text("doctor.map_found")))
    spec = backbones.find_known_spec(report.backbone)
    about_text = messages.get_text("doctor.map_about", backbone=spec.title if spec else report.backbone)
    spoken_text = messages.get_text("doctor.map_spoken", count=len(map_data.points), classes=len(counts))
    return tag(
        "section",
        tag("h3", messages.get_text("doctor.map")),
        tag("p", about_text, class_="sub"),
        tag("div", *legend, class_="legend"),
        tag(
            "div",
            tag("svg", join_html(dots), role="img", aria_label=spoken_text),
            _render_map_preview(map_data),
            class_="field",
        ),
        class_="ftlab-map",
    )


def _render_dot(point: MapPoint, color_indices: dict[str, int], *, is_marked: bool, is_excluded: bool) -> Markup:
    """Return the dot of an image, with the data that the script shows for it."""
    image = point.shown
    color_index = color_indices.get(image.name)
    css_classes = [
        "rest" if color_index is None else f"k{color_index}",
        *(["marked"] if is_marked else []),
        *(["out"] if is_excluded else []),
    ]
    return tag(
        "circle",
        # Coordinates are in [0, 1]; a margin keeps dots at the edge whole, and y points down in SVG.
        cx=f"{2 + 96 * point.x:.2f}%",
        cy=f"{3 + 94 * (1 - point.y):.2f}%",
        r="5",
        class_=" ".join(css_classes),
        data_at=str(point.at),
        data_name=messages.escape_control_chars(image.name),
        data_split=messages.get_text(f"dataset.split.{image.split}"),
        data_file=messages.escape_control_chars(image.path),
    )


def _render_map_preview(map_data: EmbeddingMap) -> Markup:
    """Return the element in which the script shows the image below the pointer."""
    return tag(
        "div",
        tag("i", class_="picture", data_side=str(map_data.side), data_columns=str(map_data.columns)),
        tag("p", messages.get_text("doctor.map_pick")),
        tag("img", src=f"data:image/jpeg;base64,{map_data.sheet}", alt="", hidden=True),
        class_="look",
        aria_live="polite",
    )
