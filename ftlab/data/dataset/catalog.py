"""A folder of pictures → classes, which picture is whose, what trains and what measures, and what is in the way.

Three layouts: `train/` and `val/` (and `test/`) with a folder a class in each; `train/` and `test/` only, where
validation is carved from `train/`; plain class folders, dealt by the seed. A list (CSV, JSON lines) says the same in
its three ways; a zip is unpacked elsewhere first. The folder is never written to. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftlab.core.errors import ConfigError
from ftlab.data.dataset import class_names, layout, verified_cache
from ftlab.data.dataset.split import SPLITS, stratified
from ftlab.data.dataset.verify import Progress, sieve
from ftlab.data.sources import archive
from ftlab.data.sources.listing import Pictures, Problem, natural
from ftlab.data.sources.locate import find

_DEALT = {"flat": ("val", "test"), "list": ("val", "test"), "train_test": ("val",), "list_train_test": ("val",)}


@dataclass(frozen=True)
class Item:
    """One picture.

    Attributes:
        path: posix, relative to the catalog's root.
        label: index of its class.
        size: of the file, in bytes.
    """

    path: str
    label: int
    size: int = 0


@dataclass(frozen=True)
class Sizes:
    """Width and height in pixels of three pictures: those of the smallest, the median and the largest area."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Catalog:
    """What a training knows of its data.

    Attributes:
        root: absolute path of the folder where the layout begins; that of a list, where one says what is what.
        layout: `split`, `train_test` or `flat`; of a list `list_split`, `list_train_test` or `list`. Where the
            splits are not the folder's or the list's own, `test_as_val` or `test_from_val`, see `hold_out`.
        classes: names in natural order (class2 before class10); a label is an index into them.
        splits: items by `train`, `val`, `test`, each sorted by label and name.
        problems: what is skipped or amiss, sorted by name; that of a list by line.
        bytes: of all items' files together.
        sizes: None where the pictures were not checked.
        excluded: paths that a person left out, in natural order.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[Item, ...]]
    problems: tuple[Problem, ...]
    bytes: int
    sizes: Sizes | None = None
    excluded: tuple[str, ...] = ()

    @property
    def dealt(self) -> tuple[str, ...]:
        """The splits that the shares and the seed decide: `val`, `test`, both or none."""
        return _DEALT.get(self.layout, ())

    def path(self, item: Item) -> Path:
        """Where the picture is."""
        return self.root / item.path

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures by class and split: `{"ants": {"train": 124, "val": 70, "test": 0}, …}`."""
        table = {name: dict.fromkeys(SPLITS, 0) for name in self.classes}
        for split, items in self.splits.items():
            for item in items:
                table[self.classes[item.label]][split] += 1
        return table

    def manifest(self) -> str:
        """SHA-256 in hex over split, path, label and size of every item: two equal ones mean the same pictures used
        the same way, as far as a listing can tell."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for item in self.splits[split]:
                digest.update(f"{split}\0{item.path}\0{item.label}\0{item.size}\0".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A plain dict for `split.json`; paths and their sizes in bytes stand below split and class."""
        return {
            "root": str(self.root),
            "layout": self.layout,
            "manifest": self.manifest(),
            "classes": list(self.classes),
            "bytes": self.bytes,
            "sizes": self.sizes and {name: list(wh) for name, wh in vars(self.sizes).items()},
            "excluded": list(self.excluded),
            "problems": [{**one.to_json(), "code": one.code, "values": one.values} for one in self.problems],
            "splits": {
                split: {
                    name: {item.path: item.size for item in items if item.label == label}
                    for label, name in enumerate(self.classes)
                }
                for split, items in self.splits.items()
            },
        }


def from_json(values: dict[str, Any]) -> Catalog:
    """The catalog that `to_json` was asked of; the folder need not be there any more."""
    classes = tuple(values["classes"])
    sizes = values["sizes"]
    return Catalog(
        root=Path(values["root"]),
        layout=values["layout"],
        classes=classes,
        splits={
            split: tuple(
                Item(path, label, size)
                for label, name in enumerate(classes)
                for path, size in values["splits"][split].get(name, {}).items()
            )
            for split in SPLITS
        },
        problems=tuple(Problem(one["file"], one["code"], one["values"]) for one in values["problems"]),
        bytes=values["bytes"],
        sizes=sizes and Sizes(**{name: (wh[0], wh[1]) for name, wh in sizes.items()}),
        excluded=tuple(values.get("excluded", ())),
    )


def scan(
    folder: Path | str,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    held_out: str = "apart",
    check: bool = True,
    exclude: Iterable[str] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Catalog:
    """Look through a folder of pictures.

    Args:
        folder: laid out in one of the three ways, one lone wrapping folder inside is entered; or a zip of such a
            folder; or a list.
        val_share: fraction for validation, of all pictures (plain class folders) or of `train/` (`train/` + `test/`).
        test_share: fraction for test, of all pictures (plain class folders).
        seed: of the dealing.
        held_out: what validates where the folder has `test/` and no `val/` or the other way round, see `hold_out`.
        check: decode each file cheaply, so that damaged ones are named and left out before they are dealt; not again
            those that were sound, and that nobody has touched since.
        exclude: paths relative to the root that are left out before the others are dealt.
        workers: threads of the check; None: one a core, at most 8.
        progress: called in this thread with files checked and files in all.

    Returns:
        The catalog. Files and folders that cannot be used are among its problems and stop nothing.

    Raises:
        DataError: the folder is missing, unreadable, or has no two classes with usable pictures; the zip or the list
            cannot be used.
        ConfigError: the shares leave nothing to train on.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ConfigError("config.shares", val=val_share, test=test_share)
    origin = find(folder, progress)
    root, found = layout.find(origin)
    found.problems += archive.left_out(root) + class_names.amiss(root)
    if not any(pictures for classes in found.found.values() for pictures in classes.values()):
        raise layout.nothing(root, found)

    sizes = None
    if check:
        measured, bad = sieve(root, found.found, workers, progress, verified_cache.of_home())
        lines = found.lines
        found.problems += [
            Problem(one.file, one.code, one.values | ({"line": lines[one.file]} if one.file in lines else {}))
            for one in bad
        ]
        if not measured:
            raise layout.nothing(root, found)
        by_area = sorted(measured, key=lambda wh: (wh[0] * wh[1], wh))
        sizes = Sizes(by_area[0], by_area[len(by_area) // 2], by_area[-1])

    excluded = _take_out(found, exclude)
    classes = layout.learnt(root, found)
    dealt = found.found
    left_open = _DEALT.get(found.name, ())
    if left_open:
        dealt = _deal(found.found["train"], val_share, test_share if "test" in left_open else 0.0, seed)
        dealt["test"].update(found.found.get("test", {}))
    splits = _splits(classes, dealt)
    made = Catalog(
        root=root,
        layout=found.name,
        classes=classes,
        splits=splits,
        problems=tuple(sorted(found.problems, key=lambda one: (one.values.get("line", 0), natural(one.file)))),
        bytes=sum(item.size for items in splits.values() for item in items),
        sizes=sizes,
        excluded=excluded,
    )
    return hold_out(made, held_out, test_share=test_share, seed=seed)


def hold_out(catalog: Catalog, how: str, *, test_share: float, seed: int) -> Catalog:
    """The catalogue with another part held out than its folder or list says by itself.

    Args:
        catalog: of a scan that held out what is usual.
        how: `apart` leaves it. `test_as_val`: of `train/` and `test/` all of `train/` is trained on, and `test/`
            validates, so that nothing is left to test on; published figures are often of that kind. `test_from_val`:
            of `train/` and `val/` a share of `val/` is set aside as test. What a folder has no use for, leaves it too.
        test_share: fraction of `val/` for `test_from_val`.
        seed: of the dealing.
    """
    splits = catalog.splits
    if how == "test_as_val" and catalog.layout.endswith("train_test"):
        learnt = _gathered(catalog, ("train", "val"))
        parts = {"train": learnt, "val": _gathered(catalog, ("test",)), "test": {}}
        return replace(catalog, layout=how, splits=_splits(catalog.classes, parts))
    if how == "test_from_val" and catalog.layout.endswith("split") and not splits["test"]:
        parts = _deal(_gathered(catalog, ("val",)), 0.0, test_share, seed)
        kept = _splits(catalog.classes, {"val": parts["train"], "test": parts["test"]})
        return replace(catalog, layout=how, splits={**kept, "train": splits["train"]})
    return catalog


def _gathered(catalog: Catalog, splits: tuple[str, ...]) -> Pictures:
    """The pictures of some splits by class, with the sizes of their files."""
    found: Pictures = {name: {} for name in catalog.classes}
    for split in splits:
        for item in catalog.splits[split]:
            found[catalog.classes[item.label]][item.path] = item.size
    return found


def _take_out(found: layout.Layout, exclude: Iterable[str]) -> tuple[str, ...]:
    """Take pictures out of the layout; those that are not there are among its problems."""
    taken = []
    for path in sorted(set(exclude), key=natural):
        there = [one for classes in found.found.values() for one in classes.values() if path in one]
        for pictures in there:
            del pictures[path]
        if there:
            taken.append(path)
        else:
            found.problems.append(Problem(path, "exclude_gone"))
    return tuple(taken)


def deal_again(catalog: Catalog, *, val_share: float, test_share: float, seed: int) -> Catalog:
    """The catalogue that a new scan with these shares and this seed would give, without looking at the files again.

    Args:
        catalog: of a scan with other shares.
        val_share, test_share, seed: as for `scan`.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ConfigError("config.shares", val=val_share, test=test_share)
    if not catalog.dealt:
        return catalog
    flat = "test" in catalog.dealt
    found = _gathered(catalog, SPLITS if flat else ("train", "val"))
    dealt = _deal(found, val_share, test_share if flat else 0.0, seed)
    return replace(catalog, splits=_splits(catalog.classes, dealt) | ({} if flat else {"test": catalog.splits["test"]}))


def _splits(classes: tuple[str, ...], dealt: dict[str, Pictures]) -> dict[str, tuple[Item, ...]]:
    return {
        split: tuple(
            Item(path, label, pictures[path])
            for label, name in enumerate(classes)
            if (pictures := dealt.get(split, {}).get(name, {}))
            for path in sorted(pictures, key=natural)
        )
        for split in SPLITS
    }


def _deal(found: Pictures, val_share: float, test_share: float, seed: int) -> dict[str, Pictures]:
    dealt: dict[str, Pictures] = {split: {} for split in SPLITS}
    for name, pictures in found.items():
        hands = stratified(pictures, val_share=val_share, test_share=test_share, seed=seed)
        for split, paths in hands.items():
            dealt[split][name] = {path: pictures[path] for path in paths}
    return dealt
