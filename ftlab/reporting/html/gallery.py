"""The overlays of many images as a static page, in the folder where they lie: its script sorts and filters them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ftlab import __version__
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.core.html import Markup, tag
from ftlab.reporting.html import DOCUMENT_CSS_PATH

GALLERY_FILE_NAME = "index.html"
"""Name of the page in the folder of the overlays."""
_CSS_PATH, _SCRIPT_PATH = (Path(__file__).with_name(f"gallery.{suffix}") for suffix in ("css", "js"))


@dataclass(frozen=True)
class GalleryImage:
    """One image of a gallery. All names are those for people.

    Attributes:
        overlay_path: file of the overlay, in the folder of the page.
        overlay_size: width and height of the overlay in pixels.
        source_path: file that was explained.
        explained_class: class whose evidence the overlay shows.
        scores: (class, probability in [0, 1]) of the most probable classes, the most probable first.
        true_class: class of the image; empty if it is unknown.
        is_mistake: whether another class than the true one is the most probable.
        notes: sentences below the image.
    """

    overlay_path: Path
    overlay_size: tuple[int, int]
    source_path: Path
    explained_class: str
    scores: tuple[tuple[str, float], ...]
    true_class: str = ""
    is_mistake: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the script needs; links are relative to the page, texts without control characters."""
        folder = self.overlay_path.parent
        width, height = self.overlay_size
        return {
            "overlay": _make_link(self.overlay_path, folder),
            "width": width,
            "height": height,
            "source": _make_link(self.source_path, folder),
            "file": messages.escape_control_chars(self.source_path.name),
            "explained": messages.escape_control_chars(self.explained_class),
            # Five digits: the page shows a tenth of a percent.
            "scores": [(messages.escape_control_chars(name), round(value, 5)) for name, value in self.scores],
            "truth": messages.escape_control_chars(self.true_class),
            "mistake": self.is_mistake,
            "notes": self.notes,
        }


def write_gallery(folder: Path, images: Sequence[GalleryImage], model_title: str, run_name: str) -> Path:
    """Write the page of a folder with overlays; it replaces an earlier one.

    Args:
        folder: of the overlays.
        images: in the order in which they were given.
        model_title: title of the model.
        run_name: name of its run; empty for a network without one.

    Returns:
        Path of the page.

    Raises:
        ConfigError: the file cannot be written.
    """
    page_path = folder / GALLERY_FILE_NAME
    try:
        page_path.write_text(_render_page(images, model_title, run_name), encoding="utf-8")
    except OSError as cause:
        raise ConfigError("config.out", file=page_path, cause=cause.strerror or cause) from cause
    return page_path


def _make_link(path: Path, folder: Path) -> str:
    """Return the address of a file, relative to the folder of the page unless it is on another drive."""
    try:
        relative_path = os.path.relpath(path, folder)
    except ValueError:
        return path.absolute().as_uri()
    # As bytes: names need not be UTF-8. Colons are quoted, so that no name is read as a scheme.
    return quote(os.fsencode(Path(relative_path).as_posix()))


def _render_page(images: Sequence[GalleryImage], model_title: str, run_name: str) -> str:
    """Return the page as HTML; the arguments are those of `write_gallery`."""
    is_labelled = any(image.true_class for image in images)
    title_key = "gallery.title_one" if len(images) == 1 else "gallery.title"
    title = messages.get_text(title_key, count=f"{len(images):,}")
    subtitle = [messages.escape_control_chars(model_title)]
    if run_name:
        subtitle.append(messages.get_text("report.run", run=run_name))
    if is_labelled:
        mistake_count = sum(image.is_mistake for image in images)
        labelled_count = sum(bool(image.true_class) for image in images)
        subtitle.append(
            messages.get_text("gallery.mistakes", mistakes=f"{mistake_count:,}", labelled=f"{labelled_count:,}")
        )
    css = "".join(path.read_text(encoding="utf-8") for path in (DOCUMENT_CSS_PATH, _CSS_PATH))
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        Markup(f"<style>{css}</style>"),
    )
    records = json.dumps([image.to_json() for image in images], separators=(",", ":"))
    body = tag(
        "body",
        tag("h1", title),
        tag("p", " · ".join(subtitle), class_="sub"),
        _render_controls(is_labelled=is_labelled),
        tag("noscript", tag("p", messages.get_text("gallery.no_script"))),
        tag("main", id="gallery"),
        tag("button", messages.get_text("gallery.more"), id="more", type="button", hidden=True),
        _render_card_template(),
        tag("footer", messages.get_text("gallery.by", version=__version__)),
        # Without "<", no name can end the script.
        tag("script", Markup(records.replace("<", "\\u003c")), type="application/json", id="pictures"),
        Markup(f"<script>{_SCRIPT_PATH.read_text(encoding='utf-8')}</script>"),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang=messages.current_language())}\n"


def _render_controls(*, is_labelled: bool) -> Markup:
    """Return the choice of order and class, and the legend of the colours; the script adds the classes."""
    orders = (*(("mistakes",) if is_labelled else ()), "unsure", "sure", "file")
    options = [tag("option", messages.get_text(f"gallery.order.{order}"), value=order) for order in orders]
    all_classes = tag("option", messages.get_text("gallery.all_classes"), value="")
    return tag(
        "div",
        tag("label", tag("span", messages.get_text("gallery.order_label")), tag("select", *options, id="order")),
        tag("label", tag("span", messages.get_text("gallery.class_label")), tag("select", all_classes, id="class")),
        tag("p", messages.get_text("predict.little"), tag("i"), messages.get_text("predict.much"), class_="legend"),
        class_="controls",
    )


def _render_card_template() -> Markup:
    """Return the card of an image, which the script copies and fills."""
    bar = tag("li", tag("bdi"), tag("span"), tag("i", aria_hidden="true"))
    card = tag(
        "article",
        tag("a", tag("img", loading="lazy", decoding="async", alt=""), class_="overlay"),
        tag("p", tag("b", messages.get_text("gallery.truth")), " ", tag("bdi"), class_="truth", hidden=True),
        tag("p", tag("b", messages.get_text("predict.evidence")), " ", tag("bdi"), class_="explained", hidden=True),
        tag("ol", class_="bars"),
        tag("p", tag("a", tag("bdi", dir="ltr"), title=messages.get_text("gallery.source")), class_="file"),
        tag("p", class_="notes", hidden=True),
    )
    return Markup(tag("template", card, id="card") + tag("template", bar, id="bar"))
