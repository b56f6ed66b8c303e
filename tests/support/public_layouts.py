"""Folders of public data sets in miniature: their names and nesting with three tiny files for each folder of images."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan


@dataclass(frozen=True)
class PublicLayout:
    """The folders of a public data set.

    Attributes:
        name: as people know it.
        folders: paths with alternatives in braces, as a shell expands them; one that ends with `/` gets three images.
        outcome: what a scan gives, in the words of `describe_outcome`.
        copies: folder -> the folder of whose files it holds copies.
        content: text of files that are no images.
    """

    name: str
    folders: list[str]
    outcome: str
    copies: dict[str, str] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)


def expand_braces(pattern: str) -> list[str]:
    """`{a,b}/c` -> `a/c`, `b/c`."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    literal = [part if index % 2 else [",".join(part)] for index, part in enumerate(parts)]
    return ["".join(combination) for combination in itertools.product(*literal)]


def make_folders(layout: PublicLayout, root: Path) -> Path:
    """Write the files of a layout below a folder."""
    for path in (path for pattern in layout.folders for path in expand_braces(pattern)):
        files = [f"{path}{number}.jpg" for number in range(3)] if path.endswith("/") else [path]
        for file in files:
            source = file
            for copy, original in layout.copies.items():
                if file.startswith(copy):
                    source = original + file.removeprefix(copy)
            target = root / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(layout.content.get(path, source), encoding="utf-8")
    return root


def describe_outcome(root: Path) -> str:
    """What a scan of a folder gives: splits with the number of classes and images, what is not used; or a refusal."""
    try:
        catalog = scan(root, check=False)
    except DataError as refusal:
        return f"refused: {refusal.code.removeprefix('data.')}"
    return describe_catalog(catalog)


def describe_catalog(catalog: Catalog) -> str:
    """Classes, where each split comes from, and what is left out."""
    counts = ", ".join(
        f"{split} {len(items)}{' (random)' if split in catalog.random_splits else ''}"
        for split, items in catalog.splits.items()
        if items
    )
    unused = sorted({problem.code for problem in catalog.problems} - {"few", "other_files"})
    return f"{len(catalog.classes)} classes; {counts}" + (f"; {', '.join(unused)}" if unused else "")


def format_table() -> str:
    """The table of docs/robustness.md."""
    rows = [f"| {layout.name} | {_format_folders(layout.folders)} | {layout.outcome} |" for layout in LAYOUTS]
    return "\n".join(["| data set | folders | what is read |", "|---|---|---|", *rows])


def _format_folders(folders: list[str]) -> str:
    return "<br>".join(f"`{folder}`" for folder in folders)


def _read_layouts() -> tuple[PublicLayout, ...]:
    entries = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["layout"]
    return tuple(PublicLayout(**entry) for entry in entries)


LAYOUTS = _read_layouts()
"""Named public data sets first, then shapes of the same kinds."""
