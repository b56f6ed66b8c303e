"""The doctor: one look through a data set for what spoils a training or makes its score a lie.

Copies of a picture in training and test, labels that are wrong, pictures that show nothing or something else. What is
found is a suspicion with its reason, never a verdict: a person decides, and `split.json` has what is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ftlab.audit import duplicates, embedding_map, embeddings, findings, image_quality, label_errors
from ftlab.audit.embeddings import Measured
from ftlab.audit.findings import Finding, Report, Shown
from ftlab.config import backbones
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.split import SPLITS
from ftlab.data.transforms import preprocess

MOST = 20_000
"""Pictures that are looked at; of more, so many evenly taken."""
RARE = 3.0
"""A class with less than a third of the pictures of the largest one is rare: from there on what the training sees of
the classes differs enough to cost the rare one accuracy (Buda et al., 2018, Neural Networks 106, section 4)."""
FEW = 10
"""Training pictures below which a class is named whatever the others have."""


@dataclass(frozen=True)
class Progress:
    """How far it is: `stage` is `pictures`, `labels` or `map`, `done` and `total` count in it."""

    stage: str
    done: int
    total: int


def examine(catalog: Catalog, backbone: str = backbones.DEFAULT) -> Iterator[Progress | Report]:
    """Look at all pictures: how far it is, at last the report, which is kept too.

    Raises:
        WeightsError: the backbone's weights are neither here nor to be had.
        OSError: the report cannot be kept.
    """
    begun = time.monotonic()
    every = [(split, item) for split in SPLITS for item in catalog.splits[split]]
    total = min(len(every), MOST)
    chosen = [every[place * len(every) // total] for place in range(total)]
    kept = findings.place(catalog) / f"{backbone.replace('/', '_')}.safetensors"
    for part in embeddings.measure(catalog, chosen, backbone, kept):
        if isinstance(part, int):
            yield Progress("pictures", part, total)
        else:
            measured = part
    case = _Case(catalog, measured, backbone)
    found = case.copies() + case.quality()
    for step in case.labels():
        if isinstance(step, int):
            yield Progress("labels", step, label_errors.HEADS)
        else:
            found += step
    found += case.outsiders()
    yield Progress("map", 0, 1)
    drawn = case.map(found)
    report = Report(
        root=str(catalog.root),
        manifest=catalog.manifest(),
        backbone=backbone,
        looked=len(measured.items),
        left=len(every) - total,
        unread=tuple(measured.unread),
        findings=tuple(sorted(found + imbalance(catalog), key=lambda one: findings.KINDS.index(one.kind))),
        notes=tuple(case.notes),
        map=drawn,
        seconds=round(time.monotonic() - begun, 1),
    )
    findings.keep(report, catalog)
    yield report


def imbalance(catalog: Catalog) -> list[Finding]:
    """The classes that have far fewer training pictures than the largest, the rarest first."""
    counts = sorted((row["train"], name) for name, row in catalog.counts().items())
    most = counts[-1][0]
    return [
        Finding("imbalance", (), values={"name": name, "count": count, "most": most})
        for count, name in counts
        if (count * RARE < most) or count < FEW
    ]


class _Case:
    """One data set: what was measured of it, and what follows."""

    def __init__(self, catalog: Catalog, measured: Measured, backbone: str) -> None:
        self.catalog, self.measured = catalog, measured
        self.prep = preprocess.of(backbones.get(backbone))
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.labelled = torch.tensor([item.label for _, item in measured.items], dtype=torch.int64)
        self.blank = image_quality.blank(measured)
        self.seen = np.nonzero(~self.blank)[0]
        self.group = np.arange(len(measured.items))

    def shown(self, index: int) -> Shown:
        split, item = self.measured.items[index]
        return Shown(item.path, self.catalog.classes[item.label], split)

    def copies(self) -> list[Finding]:
        """Exact and near copies, those across splits first."""
        exact = duplicates.exact(self.measured, self.seen)
        again = {index for group in exact for index in group[1:]}
        once = np.array([index for index in self.seen.tolist() if index not in again], np.intp)
        near = duplicates.near(self.measured, once)
        for group in (*near, *exact):
            self.group[group[1:]] = self.group[group[0]]
        found = []
        for kind, groups in (("exact", exact), ("near", near)):
            made = []
            for group in groups:
                # The first is kept, and training comes first: so what is measured on was never trained on.
                pictures = tuple(map(self.shown, group))
                names = {one.name for one in pictures}
                values = {"count": len(group), "classes": len(names), "splits": len({one.split for one in pictures})}
                made.append(Finding(kind, pictures, tuple(one.path for one in pictures[1:]), values))
            found += sorted(made, key=lambda one: (not one.leak, one.values["classes"] == 1))
        return found

    def quality(self) -> list[Finding]:
        """Blank, tiny, blurred and odd-shaped pictures."""
        tiny, all_tiny = image_quality.tiny(self.measured, self.prep)
        odd, all_odd = image_quality.odd(self.measured)
        wide = image_quality.sizes(self.measured)
        if all_tiny:
            self.notes.append(("tiny", {"side": self.prep.side}))
        if all_odd:
            self.notes.append(("odd", {}))
        marks = {
            "blank": self.blank,
            "tiny": tiny,
            "odd": odd,
            "blurry": image_quality.blurred(self.measured, ~self.blank),
        }
        found = []
        for kind, marked in marks.items():
            for index in np.nonzero(marked)[0].tolist():
                width, height = wide[index].tolist()
                share = round(100 * min(width, height) / max(width, height))
                values = {"width": width, "height": height, "share": share, "side": self.prep.side}
                one = self.shown(index)
                found.append(Finding(kind, (one,), (one.path,), values))
        return found

    def labels(self) -> Iterator[int | list[Finding]]:
        """Heads trained so far, at last the labels that are probably wrong."""
        rare = [name for name, row in self.catalog.counts().items() if sum(row.values()) < label_errors.FOLDS]
        if rare:
            self.notes.append(("few", {"count": len(rare), "least": label_errors.FOLDS}))
        made, found = [], list[label_errors.Suspect]()
        group = self.group[self.seen]
        for step in label_errors.suspects(self.measured.vectors[self.seen], self.labelled[self.seen], group):
            if isinstance(step, int):
                yield step
            else:
                found = step
        for one in found:
            picture = self.shown(int(self.seen[one.index]))
            values = {
                "name": picture.name,
                "probable": self.catalog.classes[one.label],
                "percent": round(100 * one.probable),
                "given": round(100 * one.given),
            }
            made.append(Finding("label", (picture,), (picture.path,), values))
        yield made

    def outsiders(self) -> list[Finding]:
        """Pictures far from all others. Copies count once: a stray picture and its copy would vouch for each other."""
        once: npt.NDArray[np.intp] = np.unique(self.group[self.seen])
        found = []
        for place, distance in label_errors.outsiders(self.measured.vectors[once]):
            picture = self.shown(int(once[place]))
            found.append(Finding("outsider", (picture,), (picture.path,), {"distance": round(distance, 2)}))
        return found

    def map(self, found: list[Finding]) -> findings.Map | None:
        """The map of evenly taken pictures, and of those that something was found in."""
        total, named = len(self.measured.items), {one.path for each in found for one in each.pictures}
        room = min(total, embedding_map.MOST)
        even = {place * total // room for place in range(room)} if room else set()
        flagged = [at for at, (_, item) in enumerate(self.measured.items) if item.path in named and at not in even]
        taken = sorted(even | set(flagged[: embedding_map.MOST // 4]))
        files = [self.catalog.path(self.measured.items[at][1]) for at in taken]
        return embedding_map.drawn(files, list(map(self.shown, taken)), self.measured.vectors[taken])
