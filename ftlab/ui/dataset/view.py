"""A catalogue as the Dataset tab shows it: figures, bars, pictures, problems. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftlab.core import messages
from ftlab.core.html import Markup, escape, isolated, join, tag
from ftlab.data.dataset import class_names
from ftlab.data.dataset.catalog import Catalog, Item
from ftlab.data.dataset.split import SPLITS
from ftlab.data.images.thumbnails import thumbnails
from ftlab.data.sources import tutorial_datasets
from ftlab.ui.common import data_choice
from ftlab.ui.common.data_choice import Source
from ftlab.ui.dataset.folder_browser import Shelf

EACH = 8
"""Pictures a class where all classes are shown."""
CLASSES = 12
"""Classes shown at a time where all are."""
PAGE = 48
"""Pictures of a single class at a time."""
PROBLEMS = 200
"""Problems listed; the rest is counted."""

ALL = ""
"""The choice of all classes, and of all splits."""


def summary(catalog: Catalog, source: Source) -> Markup:
    """The figures of a catalogue, and a row a class with its pictures by split."""
    counts = catalog.counts()
    totals = {split: len(catalog.splits[split]) for split in SPLITS}
    shown = [split for split in SPLITS if totals[split]]
    widest = max(sum(row.values()) for row in counts.values())
    known = class_names.of(catalog.root, catalog.classes)
    rows = [
        tag(
            "tr",
            tag("th", isolated(class_names.say(name, known)), scope="row", title=messages.one_line(name)),
            tag("td", _bar(row, shown, widest), class_="bar"),
            *(tag("td", _number(row[split])) for split in shown),
        )
        for name, row in counts.items()
    ]
    head = tag(
        "tr",
        tag("th", messages.text("dataset.class"), scope="col"),
        tag("th", class_="bar", aria_hidden="true"),
        *(
            tag("th", tag("i", class_=f"dot {split}"), messages.text(f"dataset.split.{split}"), scope="col")
            for split in shown
        ),
    )
    foot = tag(
        "tr",
        tag("th", messages.text("dataset.total"), scope="row"),
        tag("td", class_="bar"),
        *(tag("td", _number(totals[split])) for split in shown),
    )
    row = (
        tutorial_datasets.TABLE.get(source.folder.name)
        if source.sample == data_choice.TUTORIAL and source.folder
        else None
    )
    title = (
        messages.text(f"dataset.sample.{source.sample}") if source.folder is None else _title(catalog, source.folder)
    )
    return tag(
        "section",
        tag("h3", row.title if row else title),
        tag("p", tag("code", isolated(catalog.root, path=True)), class_="sub path")
        if source.sample in (data_choice.FOLDER, data_choice.TUTORIAL)
        else "",
        tag("p", _how(catalog, source, totals), class_="sub"),
        tag("p", messages.text("doctor.excluded", count=_number(len(catalog.excluded))), class_="sub")
        if catalog.excluded
        else "",
        _figures(catalog, sum(totals.values())),
        tag(
            "div",
            tag("table", tag("thead", head), tag("tbody", *rows), tag("tfoot", foot), class_="ftlab-classes"),
            class_="ftlab-scroll",
            tabindex="0",
            role="region",
            aria_label=messages.text("dataset.table"),
        ),
        class_="ftlab-card",
    )


def _title(catalog: Catalog, asked: Path) -> Markup:
    """What the person calls it: the list, where one was chosen, else the folder."""
    return isolated(asked.name if catalog.root == asked.parent else catalog.root.name)


def _figures(catalog: Catalog, total: int) -> Markup:
    facts = [
        (_number(total), "pictures"),
        (_number(len(catalog.classes)), "classes"),
        (messages.size(catalog.bytes), "bytes"),
    ]
    if catalog.sizes:
        low, middle, high = catalog.sizes.smallest, catalog.sizes.median, catalog.sizes.largest
        if low == high:
            facts.append((_size(middle), "size"))
        else:
            facts.append((f"{_size(low)} – {_size(high)}", "sizes"))
    bad = len(catalog.problems)
    facts.append((_number(bad), "problems" if bad else "no_problems"))
    cells = (tag("div", tag("dd", value), tag("dt", messages.text(f"dataset.figure.{key}"))) for value, key in facts)
    return tag("dl", *cells, class_="ftlab-figures")


def _how(catalog: Catalog, source: Source, totals: dict[str, int]) -> str:
    """How the splits came about."""
    shares = {"val": source.val_share, "test": source.test_share, "train": 1 - source.val_share - source.test_share}
    values = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
    without = not totals["test"] if not catalog.dealt else "test" in catalog.dealt and not source.test_share
    key = f"{catalog.layout}_no_test" if without else catalog.layout
    return messages.text(f"dataset.layout.{key}", **values)


def _bar(row: dict[str, int], shown: Sequence[str], widest: int) -> Markup:
    parts = (
        tag("i", class_=split, style=f"width:{100 * row[split] / max(widest, 1):.3f}%") for split in shown if row[split]
    )
    return tag("span", *parts, class_="ftlab-bar", aria_hidden="true")


def splits_of(catalog: Catalog) -> list[str]:
    """The splits that have pictures."""
    return [split for split in SPLITS if catalog.splits[split]]


def gallery(catalog: Catalog, name: str, split: str, page: int) -> Markup:
    """Pictures, evenly taken from what there is.

    Args:
        catalog: of the pictures.
        name: class to show, `ALL` for a row each.
        split: split to show, `ALL` for each.
        page: 0, 1 …; it begins again behind the last one.
    """
    chosen = [(part, item) for part in splits_of(catalog) if split in (ALL, part) for item in catalog.splits[part]]
    if name in catalog.classes:
        label = catalog.classes.index(name)
        return _rows(catalog, [label], [one for one in chosen if one[1].label == label], PAGE, page, wide=True)
    pages = -(-len(catalog.classes) // CLASSES)
    first = page % pages * CLASSES
    labels = list(range(first, min(first + CLASSES, len(catalog.classes))))
    rows = _rows(catalog, labels, chosen, EACH, page // pages, wide=False)
    if pages == 1:
        return rows
    note = messages.text("dataset.gallery.some", first=first + 1, last=labels[-1] + 1, count=len(catalog.classes))
    return join([rows, tag("p", note, class_="sub")])


def _rows(
    catalog: Catalog, labels: Sequence[int], chosen: Sequence[tuple[str, Item]], each: int, page: int, *, wide: bool
) -> Markup:
    picked = {label: _spread([one for one in chosen if one[1].label == label], each, page) for label in labels}
    flat = [catalog.path(item) for label in labels for _, item in picked[label]]
    made = dict(zip(flat, thumbnails(flat), strict=True))
    known = class_names.of(catalog.root, catalog.classes)
    rows = []
    for label in labels:
        total = sum(item.label == label for _, item in chosen)
        figures = [_figure(catalog, split, item, made[catalog.path(item)]) for split, item in picked[label]]
        shown = messages.text("dataset.gallery.shown", shown=len(figures), total=_number(total))
        body = (
            tag("div", *figures, class_="ftlab-thumbs")
            if figures
            else tag("p", messages.text("dataset.gallery.none"), class_="sub")
        )
        rows.append(
            tag(
                "section",
                tag("h4", isolated(class_names.say(catalog.classes[label], known)), " ", tag("small", shown)),
                body,
            )
        )
    return tag("div", *rows, class_="ftlab-gallery wide" if wide else "ftlab-gallery")


def _spread(items: list[tuple[str, Item]], count: int, page: int) -> list[tuple[str, Item]]:
    """`count` of the items, evenly taken; each page takes the next ones, and behind the last it begins again."""
    if len(items) <= count:
        return items
    pages = -(-len(items) // count)
    mixed = [place for first in range(pages) for place in range(first, len(items), pages)]
    taken = {mixed[(page * count + place) % len(items)] for place in range(count)}
    return [items[place] for place in sorted(taken)]


def _figure(catalog: Catalog, split: str, item: Item, uri: str | None) -> Markup:
    file = messages.one_line(item.path)
    said = f"{messages.text(f'dataset.split.{split}')}: {file}"
    if uri is None:
        return tag("figure", tag("span", messages.text("dataset.gallery.unreadable"), class_="gone"), title=said)
    picture = tag(
        "img", src=uri, alt=f"{messages.one_line(catalog.classes[item.label])}, {file}", width="160", height="160"
    )
    return tag("figure", picture, tag("i", class_=f"dot {split}"), title=said)


def problems(catalog: Catalog) -> Markup:
    """The list of problems; equal ones stand together under one sentence and its remedy."""
    if not catalog.problems:
        return tag("p", messages.text("dataset.problems.none"), class_="ftlab-good")
    together: dict[tuple[str, str], list[str]] = {}
    for one in catalog.problems[:PROBLEMS]:
        together.setdefault((one.problem, one.remedy), []).append(one.where)
    left = len(catalog.problems) - PROBLEMS
    parts = [
        tag(
            "li",
            tag("p", tag("b", problem), " ", remedy),
            _files(files),
        )
        for (problem, remedy), files in together.items()
    ]
    more = tag("p", messages.text("dataset.problems.more", count=_number(left)), class_="sub") if left > 0 else ""
    title = messages.text("dataset.problems.title", count=_number(len(catalog.problems)))
    return tag("section", tag("h3", title), tag("ul", *parts), more, class_="ftlab-card ftlab-problems")


def _files(files: Sequence[str]) -> Markup:
    few, rest = files[:3], files[3:]
    shown = tag("p", join(tag("code", isolated(file, path=True)) for file in few), class_="files")
    if not rest:
        return shown
    folded = tag(
        "details",
        tag("summary", messages.text("dataset.problems.others", count=_number(len(rest)))),
        tag("p", join(tag("code", isolated(file, path=True)) for file in rest), class_="files"),
    )
    return join([shown, folded])


def shelf(found: Shelf, root: Path) -> Markup:
    """Sub-folders to go into, with the way back up."""
    trail = [
        _step(place, place.name if place != root else messages.text("dataset.folder.top"), current=place == found.here)
        for place in found.trail
    ]
    folders = [
        tag(
            "li",
            tag(
                "button",
                tag("span", isolated(one.path.name), class_="name"),
                tag("small", messages.text(f"dataset.folder.{one.pictures}")) if one.pictures else "",
                type="button",
                data_path=str(one.path),
            ),
        )
        for one in found.folders
    ]
    more = tag("p", messages.text("dataset.folder.more", count=_number(found.more)), class_="sub") if found.more else ""
    body = tag("ul", *folders) if folders else tag("p", messages.text("dataset.folder.none"), class_="sub")
    return tag(
        "nav",
        tag("p", *trail, class_="trail"),
        body,
        more,
        class_="ftlab-shelf",
        aria_label=messages.text("dataset.folder.shelf"),
    )


def _step(place: Path, name: str, *, current: bool) -> Markup:
    return tag("button", isolated(name), type="button", data_path=str(place), aria_current="true" if current else None)


def _number(value: int) -> Markup:
    return escape(f"{value:,}")


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
