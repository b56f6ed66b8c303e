"""A catalogue as the Dataset tab shows it: figures, bars, pictures, problems. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftlab.core import messages
from ftlab.core.html import Markup, escape, isolate_text, join_html, tag
from ftlab.data.dataset import class_names
from ftlab.data.dataset.catalog import Catalog, ImageItem
from ftlab.data.dataset.split import SPLITS
from ftlab.data.images.thumbnails import make_thumbnails
from ftlab.data.sources import tutorial_datasets
from ftlab.ui.common import data_choice
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.dataset.folder_browser import BrowserListing

IMAGES_PER_CLASS = 8
"""Pictures a class where all classes are shown."""
CLASSES_PER_PAGE = 12
"""Classes shown at a time where all are."""
IMAGES_PER_PAGE = 48
"""Pictures of a single class at a time."""
MAX_LISTED_PROBLEMS = 200
"""Problems listed; the rest is counted."""

ALL_CHOICE = ""
"""The choice of all classes, and of all splits."""


def render_summary(catalog: Catalog, source: DataSource) -> Markup:
    """The figures of a catalogue, and a row a class with its pictures by split."""
    counts = catalog.count_images()
    totals = {split: len(catalog.splits[split]) for split in SPLITS}
    shown_splits = [split for split in SPLITS if totals[split]]
    max_count = max(sum(row.values()) for row in counts.values())
    class_titles = class_names.find_display_names(catalog.root, catalog.classes)
    rows = [
        tag(
            "tr",
            tag(
                "th",
                isolate_text(class_names.get_display_name(name, class_titles)),
                scope="row",
                title=messages.escape_control_chars(name),
            ),
            tag("td", _render_bar(row, shown_splits, max_count), class_="bar"),
            *(tag("td", _format_number(row[split])) for split in shown_splits),
        )
        for name, row in counts.items()
    ]
    head = tag(
        "tr",
        tag("th", messages.get_text("dataset.class"), scope="col"),
        tag("th", class_="bar", aria_hidden="true"),
        *(
            tag("th", tag("i", class_=f"dot {split}"), messages.get_text(f"dataset.split.{split}"), scope="col")
            for split in shown_splits
        ),
    )
    foot = tag(
        "tr",
        tag("th", messages.get_text("dataset.total"), scope="row"),
        tag("td", class_="bar"),
        *(tag("td", _format_number(totals[split])) for split in shown_splits),
    )
    row = (
        tutorial_datasets.DATASETS.get(source.folder.name)
        if source.sample == data_choice.TUTORIAL_SOURCE and source.folder
        else None
    )
    title = (
        messages.get_text(f"dataset.sample.{source.sample}")
        if source.folder is None
        else _format_title(catalog, source.folder)
    )
    return tag(
        "section",
        tag("h3", row.title if row else title),
        tag("p", tag("code", isolate_text(catalog.root, is_path=True)), class_="sub path")
        if source.sample in (data_choice.FOLDER_SOURCE, data_choice.TUTORIAL_SOURCE)
        else "",
        tag("p", _describe_split(catalog, source, totals), class_="sub"),
        tag("p", messages.get_text("doctor.excluded", count=_format_number(len(catalog.excluded_paths))), class_="sub")
        if catalog.excluded_paths
        else "",
        _render_statistics(catalog, sum(totals.values())),
        tag(
            "div",
            tag("table", tag("thead", head), tag("tbody", *rows), tag("tfoot", foot), class_="ftlab-classes"),
            class_="ftlab-scroll",
            tabindex="0",
            role="region",
            aria_label=messages.get_text("dataset.table"),
        ),
        class_="ftlab-card",
    )


def _format_title(catalog: Catalog, chosen_path: Path) -> Markup:
    """What the person calls it: the list, where one was chosen, else the folder."""
    return isolate_text(chosen_path.name if catalog.root == chosen_path.parent else catalog.root.name)


def _render_statistics(catalog: Catalog, total: int) -> Markup:
    facts = [
        (_format_number(total), "pictures"),
        (_format_number(len(catalog.classes)), "classes"),
        (messages.format_bytes(catalog.total_bytes), "bytes"),
    ]
    if catalog.image_sizes:
        low, middle, high = catalog.image_sizes.smallest, catalog.image_sizes.median, catalog.image_sizes.largest
        if low == high:
            facts.append((_format_size(middle), "size"))
        else:
            facts.append((f"{_format_size(low)} – {_format_size(high)}", "sizes"))
    problem_count = len(catalog.problems)
    facts.append((_format_number(problem_count), "problems" if problem_count else "no_problems"))
    cells = (
        tag("div", tag("dd", value), tag("dt", messages.get_text(f"dataset.figure.{key}"))) for value, key in facts
    )
    return tag("dl", *cells, class_="ftlab-figures")


def _describe_split(catalog: Catalog, source: DataSource, totals: dict[str, int]) -> str:
    """How the splits came about."""
    shares = {"val": source.val_share, "test": source.test_share, "train": 1 - source.val_share - source.test_share}
    values = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
    has_no_test = (
        not totals["test"] if not catalog.random_splits else "test" in catalog.random_splits and not source.test_share
    )
    layout_key = f"{catalog.layout}_no_test" if has_no_test else catalog.layout
    return messages.get_text(f"dataset.layout.{layout_key}", **values)


def _render_bar(split_counts: dict[str, int], shown_splits: Sequence[str], max_count: int) -> Markup:
    parts = (
        tag("i", class_=split, style=f"width:{100 * split_counts[split] / max(max_count, 1):.3f}%")
        for split in shown_splits
        if split_counts[split]
    )
    return tag("span", *parts, class_="ftlab-bar", aria_hidden="true")


def list_splits(catalog: Catalog) -> list[str]:
    """The splits that have pictures."""
    return [split for split in SPLITS if catalog.splits[split]]


def render_gallery(catalog: Catalog, class_name: str, split: str, page: int) -> Markup:
    """Pictures, evenly taken from what there is.

    Args:
        catalog: of the pictures.
        class_name: class to show, `ALL_CHOICE` for a row each.
        split: split to show, `ALL_CHOICE` for each.
        page: 0, 1 …; it begins again behind the last one.
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
    label_items = {
        label: _pick_evenly([entry for entry in candidates if entry[1].label == label], per_class, page)
        for label in labels
    }
    image_paths = [catalog.image_path(item) for label in labels for _, item in label_items[label]]
    thumbnail_uris = dict(zip(image_paths, make_thumbnails(image_paths), strict=True))
    class_titles = class_names.find_display_names(catalog.root, catalog.classes)
    rows = []
    for label in labels:
        total = sum(item.label == label for _, item in candidates)
        figures = [
            _render_image(catalog, split, item, thumbnail_uris[catalog.image_path(item)])
            for split, item in label_items[label]
        ]
        shown_text = messages.get_text("dataset.gallery.shown", shown=len(figures), total=_format_number(total))
        body = (
            tag("div", *figures, class_="ftlab-thumbs")
            if figures
            else tag("p", messages.get_text("dataset.gallery.none"), class_="sub")
        )
        rows.append(
            tag(
                "section",
                tag(
                    "h4",
                    isolate_text(class_names.get_display_name(catalog.classes[label], class_titles)),
                    " ",
                    tag("small", shown_text),
                ),
                body,
            )
        )
    return tag("div", *rows, class_="ftlab-gallery wide" if is_wide else "ftlab-gallery")


def _pick_evenly(items: list[tuple[str, ImageItem]], count: int, page: int) -> list[tuple[str, ImageItem]]:
    """`count` of the items, evenly taken; each page takes the next ones, and behind the last it begins again."""
    if len(items) <= count:
        return items
    page_count = -(-len(items) // count)
    page_order = [index for start in range(page_count) for index in range(start, len(items), page_count)]
    picked_indices = {page_order[(page * count + index) % len(items)] for index in range(count)}
    return [items[index] for index in sorted(picked_indices)]


def _render_image(catalog: Catalog, split: str, item: ImageItem, uri: str | None) -> Markup:
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


def render_problems(catalog: Catalog) -> Markup:
    """The list of problems; equal ones stand together under one sentence and its remedy."""
    if not catalog.problems:
        return tag("p", messages.get_text("dataset.problems.none"), class_="ftlab-good")
    files_by_problem: dict[tuple[str, str], list[str]] = {}
    for entry in catalog.problems[:MAX_LISTED_PROBLEMS]:
        files_by_problem.setdefault((entry.problem, entry.remedy), []).append(entry.location)
    hidden_count = len(catalog.problems) - MAX_LISTED_PROBLEMS
    parts = [
        tag(
            "li",
            tag("p", tag("b", problem), " ", remedy),
            _render_files(files),
        )
        for (problem, remedy), files in files_by_problem.items()
    ]
    more_note = (
        tag("p", messages.get_text("dataset.problems.more", count=_format_number(hidden_count)), class_="sub")
        if hidden_count > 0
        else ""
    )
    title = messages.get_text("dataset.problems.title", count=_format_number(len(catalog.problems)))
    return tag("section", tag("h3", title), tag("ul", *parts), more_note, class_="ftlab-card ftlab-problems")


def _render_files(files: Sequence[str]) -> Markup:
    first_files, other_files = files[:3], files[3:]
    shown_html = tag(
        "p", join_html(tag("code", isolate_text(file, is_path=True)) for file in first_files), class_="files"
    )
    if not other_files:
        return shown_html
    details = tag(
        "details",
        tag("summary", messages.get_text("dataset.problems.others", count=_format_number(len(other_files)))),
        tag("p", join_html(tag("code", isolate_text(file, is_path=True)) for file in other_files), class_="files"),
    )
    return join_html([shown_html, details])


def render_listing(listing: BrowserListing, root: Path) -> Markup:
    """Sub-folders to go into, with the way back up."""
    trail_tags = [
        _render_path_step(
            ancestor,
            ancestor.name if ancestor != root else messages.get_text("dataset.folder.top"),
            is_current=ancestor == listing.folder,
        )
        for ancestor in listing.ancestors
    ]
    entry_tags = [
        tag(
            "li",
            tag(
                "button",
                tag("span", isolate_text(entry.path.name), class_="name"),
                tag("small", messages.get_text(f"dataset.folder.{entry.content}")) if entry.content else "",
                type="button",
                data_path=str(entry.path),
            ),
        )
        for entry in listing.entries
    ]
    more_note = (
        tag("p", messages.get_text("dataset.folder.more", count=_format_number(listing.hidden_count)), class_="sub")
        if listing.hidden_count
        else ""
    )
    body = tag("ul", *entry_tags) if entry_tags else tag("p", messages.get_text("dataset.folder.none"), class_="sub")
    return tag(
        "nav",
        tag("p", *trail_tags, class_="trail"),
        body,
        more_note,
        class_="ftlab-shelf",
        aria_label=messages.get_text("dataset.folder.shelf"),
    )


def _render_path_step(folder: Path, name: str, *, is_current: bool) -> Markup:
    return tag(
        "button", isolate_text(name), type="button", data_path=str(folder), aria_current="true" if is_current else None
    )


def _format_number(value: int) -> Markup:
    return escape(f"{value:,}")


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
