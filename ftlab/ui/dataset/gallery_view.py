"""Images of a catalog as HTML: rows of thumbnails by class, page by page. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.data.dataset import class_names
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.dataset.split import SPLITS
from ftlab.data.isolation.thumbnails import make_thumbnails

IMAGES_PER_CLASS = 8
"""Images of each class where all classes are shown."""
CLASSES_PER_PAGE = 12
"""Classes on a page where all classes are shown."""
IMAGES_PER_PAGE = 48
"""Images on a page of a single class."""

ALL_CHOICE = ""
"""Value of the filters for all classes, and for all splits."""


def list_splits(catalog: Catalog) -> list[str]:
    """Return the splits that have images."""
    return [split for split in SPLITS if catalog.splits[split]]


def render_gallery(catalog: Catalog, class_name: str, split: str, page: int) -> Markup:
    """Render a page of images, sampled evenly from the catalog.

    Args:
        catalog: result of the scan.
        class_name: class to show; `ALL_CHOICE` for a row of each.
        split: split to show; `ALL_CHOICE` for all.
        page: 0, 1 …; after the last page it starts again.

    Returns:
        The gallery.
    """
    candidates = [
        (split_name, item)
        for split_name in list_splits(catalog)
        if split in (ALL_CHOICE, split_name)
        for item in catalog.splits[split_name]
    ]
    if class_name in catalog.classes:
        label = catalog.classes.index(class_name)
        return _render_rows(
            catalog,
            [label],
            [entry for entry in candidates if entry[1].label == label],
            IMAGES_PER_PAGE,
            page,
            is_wide=True,
        )
    page_count = -(-len(catalog.classes) // CLASSES_PER_PAGE)
    # With many classes a page first goes through the classes, then through the images of each.
    first_class = page % page_count * CLASSES_PER_PAGE
    shown_labels = list(range(first_class, min(first_class + CLASSES_PER_PAGE, len(catalog.classes))))
    rows = _render_rows(catalog, shown_labels, candidates, IMAGES_PER_CLASS, page // page_count, is_wide=False)
    if page_count == 1:
        return rows
    note = messages.get_text(
        "dataset.gallery.some", first=first_class + 1, last=shown_labels[-1] + 1, count=len(catalog.classes)
    )
    return join_html([rows, tag("p", note, class_="sub")])


def _render_rows(
    catalog: Catalog,
    labels: Sequence[int],
    candidates: Sequence[tuple[str, ImageItem]],
    per_class: int,
    page: int,
    *,
    is_wide: bool,
) -> Markup:
    """Render a row of thumbnails for each class.

    Args:
        catalog: result of the scan.
        labels: classes to show.
        candidates: (split, image) to sample from.
        per_class: images of each class.
        page: page of the images of a class.
        is_wide: one class over several lines.

    Returns:
        The rows.
    """
    label_items = {
        label: _pick_evenly([entry for entry in candidates if entry[1].label == label], per_class, page)
        for label in labels
    }
    image_paths = [catalog.image_path(item) for label in labels for _, item in label_items[label]]
    # All rows in one call, which decodes in several threads.
    thumbnail_uris = dict(zip(image_paths, make_thumbnails(image_paths, catalog.value_ranges), strict=True))
    class_titles = class_names.find_display_names(catalog.root, catalog.classes)
    rows = []
    for label in labels:
        total = sum(item.label == label for _, item in candidates)
        figures = [
            _render_image(catalog, split, item, thumbnail_uris[catalog.image_path(item)])
            for split, item in label_items[label]
        ]
        shown_text = messages.get_text("dataset.gallery.shown", shown=len(figures), total=f"{total:,}")
        body = (
            tag("div", *figures, class_="ftlab-thumbs")
            if figures
            else tag("p", messages.get_text("dataset.gallery.none"), class_="sub")
        )
        rows.append(
            tag(
                "section",
                tag(
                    "h3",
                    isolate_text(class_names.get_display_name(catalog.classes[label], class_titles)),
                    " ",
                    tag("small", shown_text),
                ),
                body,
            )
        )
    return tag("div", *rows, class_="ftlab-gallery wide" if is_wide else "ftlab-gallery")


def _pick_evenly(items: list[tuple[str, ImageItem]], count: int, page: int) -> list[tuple[str, ImageItem]]:
    """Sample items evenly; each page has the next ones, and after the last page it starts again.

    Args:
        items: (split, image) of a class.
        count: items on a page.
        page: 0, 1 …

    Returns:
        At most `count` items, in their order.
    """
    if len(items) <= count:
        return items
    page_count = -(-len(items) // count)
    # Strided: page p has the items p, p + page_count, p + 2 page_count …, so every page spans all of them.
    page_order = [index for start in range(page_count) for index in range(start, len(items), page_count)]
    # Modulo: the last page is filled up with items of the first.
    picked_indices = {page_order[(page * count + index) % len(items)] for index in range(count)}
    return [items[index] for index in sorted(picked_indices)]


def _render_image(catalog: Catalog, split: str, item: ImageItem, uri: str | None) -> Markup:
    """Return a thumbnail with a dot for its split; a note where the image cannot be read."""
    file = messages.escape_control_chars(item.path)
    tooltip = f"{messages.get_text(f'dataset.split.{split}')}: {file}"
    if uri is None:
        return tag("figure", tag("span", messages.get_text("dataset.gallery.unreadable"), class_="gone"), title=tooltip)
    image_tag = tag(
        "img",
        src=uri,
        alt=f"{messages.escape_control_chars(catalog.classes[item.label])}, {file}",
        width="160",
        height="160",
    )
    return tag("figure", image_tag, tag("i", class_=f"dot {split}"), title=tooltip)
