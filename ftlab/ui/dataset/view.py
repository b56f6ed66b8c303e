"""A catalog as HTML: summary, class table, problems, and the folder listing. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftlab.core import messages
from ftlab.core.html import Markup, escape, isolate_text, join_html, tag
from ftlab.data.dataset import class_names, deep_images
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources import archive, tutorial_datasets
from ftlab.ui.common import data_choice
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.dataset.folder_browser import BrowserListing

MAX_LISTED_PROBLEMS = 200
"""Problems that are listed; only the number of the others is shown."""


def render_summary(catalog: Catalog, source: DataSource) -> Markup:
    """Render the figures of a catalog and a table of its classes.

    Args:
        catalog: result of the scan.
        source: the chosen source.

    Returns:
        The card.
    """
    totals = {split: len(catalog.splits[split]) for split in SPLITS}
    tutorial = (
        tutorial_datasets.DATASETS.get(source.folder.name)
        if source.sample == data_choice.TUTORIAL_SOURCE and source.folder
        else None
    )
    title = (
        messages.get_text(f"sample.{source.sample}.title")
        if source.folder is None
        else _format_title(catalog, source.folder)
    )
    return tag(
        "section",
        tag("h2", tutorial.title if tutorial else title),
        # Paths of sample sets and uploads are ftlab's own and help nobody.
        tag("p", tag("code", isolate_text(archive.describe_path(catalog.root), is_path=True)), class_="sub path")
        if source.sample in (data_choice.FOLDER_SOURCE, data_choice.TUTORIAL_SOURCE)
        else "",
        tag("p", isolate_text(catalog.describe_reading()), class_="sub"),
        tag("p", _describe_split(catalog, source, totals), class_="sub"),
        *(tag("p", sentence, class_="sub") for sentence in deep_images.format_ranges(catalog.value_ranges)),
        tag("p", messages.get_text("doctor.excluded", count=_format_number(len(catalog.excluded_paths))), class_="sub")
        if catalog.excluded_paths
        else "",
        _render_statistics(catalog, sum(totals.values())),
        _render_class_table(catalog, totals),
        class_="ftlab-card",
    )


def _render_class_table(catalog: Catalog, totals: dict[str, int]) -> Markup:
    """Return a row for each class: a bar and the number of images of each split that has any."""
    counts = catalog.count_images()
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
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", *rows), tag("tfoot", foot), class_="ftlab-classes"),
        class_="ftlab-scroll",
        tabindex="0",
        role="region",
        aria_label=messages.get_text("dataset.table"),
    )


def _format_title(catalog: Catalog, chosen_path: Path) -> Markup:
    """Return the name of the list, where one was chosen, else that of the folder."""
    return isolate_text(chosen_path.name if catalog.root == chosen_path.parent else catalog.root.name)


def _render_statistics(catalog: Catalog, total: int) -> Markup:
    """Return number of images and classes, bytes, image sizes and number of problems."""
    facts = [
        (_format_number(total), "pictures"),
        (_format_number(len(catalog.classes)), "classes"),
        (messages.format_bytes(catalog.total_bytes), "bytes"),
    ]
    if catalog.image_sizes:
        low, middle, high = catalog.image_sizes.smallest, catalog.image_sizes.median, catalog.image_sizes.largest
        # All images have the same size.
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
    """Return a sentence on how the splits were made."""
    shares = {"val": source.val_share, "test": source.test_share, "train": 1 - source.val_share - source.test_share}
    values = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
    # Nothing is random: does the layout have a test split? Else: was a fraction of 0 chosen for it?
    has_no_test = (
        not totals["test"] if not catalog.random_splits else "test" in catalog.random_splits and not source.test_share
    )
    layout_key = f"{catalog.layout}_no_test" if has_no_test else catalog.layout
    return messages.get_text(f"dataset.layout.{layout_key}", **values)


def _render_bar(split_counts: dict[str, int], shown_splits: Sequence[str], max_count: int) -> Markup:
    """Return a bar of stacked splits, as long as the class is large compared with the largest."""
    parts = (
        tag("i", class_=split, style=f"width:{100 * split_counts[split] / max(max_count, 1):.3f}%")
        for split in shown_splits
        if split_counts[split]
    )
    return tag("span", *parts, class_="ftlab-bar", aria_hidden="true")


def render_problems(catalog: Catalog) -> Markup:
    """Return the list of problems; those with the same sentence and remedy are grouped."""
    if not catalog.problems:
        return tag("p", messages.get_text("dataset.problems.none"), class_="ftlab-good")
    # Grouped: a thousand files with one fault are one entry.
    files_by_problem: dict[tuple[str, str], list[str]] = {}
    for entry in catalog.problems[:MAX_LISTED_PROBLEMS]:
        files = files_by_problem.setdefault((entry.problem, entry.remedy), [])
        if entry.file != ".":  # the data set as a whole
            files.append(entry.location)
    hidden_count = len(catalog.problems) - MAX_LISTED_PROBLEMS
    parts = [
        tag(
            "li",
            tag("p", tag("b", problem), " ", remedy),
            _render_files(files) if files else "",
        )
        for (problem, remedy), files in files_by_problem.items()
    ]
    more_note = (
        tag("p", messages.get_text("dataset.problems.more", count=_format_number(hidden_count)), class_="sub")
        if hidden_count > 0
        else ""
    )
    title = messages.get_text("dataset.problems.title", count=_format_number(len(catalog.problems)))
    return tag("section", tag("h2", title), tag("ul", *parts), more_note, class_="ftlab-card ftlab-problems")


def _render_files(files: Sequence[str]) -> Markup:
    """Return the first three files, and the others folded away."""
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
    """Render sub-folders to open, with the path back up.

    Args:
        listing: entries of a folder.
        root: topmost folder, which is shown without its path.

    Returns:
        The navigation.
    """
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
