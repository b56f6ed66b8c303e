"""Which pictures a model is asked: a split of its run, or a labelled folder that the training never saw."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ftlab.core.errors import DataError, RunError
from ftlab.data.dataset import layout
from ftlab.data.dataset.catalog import Item, from_json
from ftlab.data.sources import locate
from ftlab.data.sources.listing import natural
from ftlab.evaluation.results import Pictures
from ftlab.runs.directory import Run


def of_split(run: Run, split: str) -> Pictures:
    """The pictures of `train`, `val` or `test` as `split.json` has them. Where the test pictures validate, `test` are
    those of `val`.

    Raises:
        DataError: there are none.
        RunError: the run has no readable `split.json`.
    """
    listed = from_json(run.read("split.json"))
    if split == "test" and listed.layout == "test_as_val":
        split = "val"
    if not listed.splits[split]:
        raise DataError("data.empty_split", split=split, run=run.name)
    return Pictures(split, listed.root, listed.splits[split])


def classes(run: Run) -> list[str]:
    """The classes that a run's model knows.

    Raises:
        RunError: it has no model yet.
    """
    if not run.best.is_file():
        raise RunError("run.no_weights", run=run.name)
    known: list[str] = run.read("model.json")["classes"]
    return known


def of_folder(folder: Path | str, known: Sequence[str]) -> Pictures:
    """All pictures of a folder, zip or list that belong to classes of a model; one class is enough. Splits in it are
    taken together.

    Args:
        folder: laid out in any of the ways that a training takes.
        known: classes of the model. A folder's class goes by its name, accents composed.

    Raises:
        DataError: it cannot be read, or has no picture of any of them.
    """
    found = locate.find(folder)
    root, laid = layout.find(found)
    index = {unicodedata.normalize("NFC", name): number for number, name in enumerate(known)}
    items: list[Item] = []
    unknown: Counter[str] = Counter()
    for pictures in (by_class for split in laid.found.values() for by_class in split.items()):
        label = index.get(unicodedata.normalize("NFC", pictures[0]))
        if label is None:
            unknown[pictures[0]] += len(pictures[1])
        else:
            items += (Item(path, label, size) for path, size in pictures[1].items())
    if not items:
        seen = ", ".join(sorted(unknown, key=natural)[:5]) or "–"
        raise DataError("data.no_known_class", folder=folder, found=seen, names=", ".join(known[:8]))
    items.sort(key=lambda one: (one.label, natural(one.path)))
    place = hashlib.sha256(str(root).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    left_out = ((name, count) for name, count in unknown.items() if count)
    return Pictures(f"folder-{place}", root, tuple(items), tuple(sorted(left_out, key=lambda one: natural(one[0]))))
