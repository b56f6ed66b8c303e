"""How the pictures of a folder are sorted into classes and splits: by folders, or by a list. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core.errors import DataError
from ftlab.data.dataset import manifest
from ftlab.data.dataset.split import NAMES
from ftlab.data.sources.listing import Folder, Pictures, Problem, below, join, look, natural
from ftlab.data.sources.locate import Origin


@dataclass
class Layout:
    """What was found, before any picture is looked into.

    Attributes:
        name: `split`, `train_test` or `flat` for folders; `list_split`, `list_train_test` or `list` for a list.
        tops: the folder that holds the class folders of each split; for a list its name.
        found: pictures by split and class, empty classes too.
        places: by split and class, the folder that holds the class, as a problem names it.
        lines: line of each picture of a list.
        problems: what is in the way.
    """

    name: str
    tops: dict[str, str]
    found: dict[str, Pictures] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def listed(self) -> bool:
        """Whether a list says what is what."""
        return self.name.startswith("list")


def find(origin: Origin) -> tuple[Path, Layout]:
    """The folder that paths are relative to, and how the pictures below it are sorted.

    Class folders win over a list that lies beside them; where there are none, a lone list says what is what.

    Raises:
        DataError: a list was asked for and cannot be used.
    """
    if origin.named:
        return origin.named.parent, _listed(origin.named)
    layout = _folders(origin.folder)
    fitting = [file for file in origin.lists if manifest.fits(file)]
    sorted_already = sum(map(bool, layout.found["train"].values())) > 1
    if len(fitting) == 1 and not sorted_already:
        return fitting[0].parent, _listed(fitting[0])
    for file in fitting:
        if file.parent == origin.folder:
            layout.problems.append(Problem(file.name, "list_beside" if sorted_already else "list_several"))
    return origin.folder, layout


def _listed(file: Path) -> Layout:
    read = manifest.read(file)
    splits = set(read.found) - {""}
    if splits <= {"train"}:
        layout = Layout("list", {"train": file.name})
        parts = [read.found.get(split, {}) for split in ("", "train")]
        layout.found = {"train": {name: {**parts[0].get(name, {}), **parts[1].get(name, {})} for name in _keys(parts)}}
    else:
        layout = Layout("list_split" if "val" in splits else "list_train_test", dict.fromkeys(splits, file.name))
        layout.found = {split: read.found.get(split, {}) for split in {"train"} | splits}
        layout.tops.setdefault("train", file.name)
        for pictures in read.found.get("", {}).values():
            read.problems += [Problem(path, "list_no_split", {"line": read.lines[path]}) for path in pictures]
    layout.lines, layout.problems = read.lines, read.problems
    for split, classes in layout.found.items():
        layout.places |= {(split, name): f"{file.name}: {name}" for name in classes}
    layout.problems += _alike(layout)
    return layout


def _keys(parts: list[Pictures]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _folders(root: Path) -> Layout:
    inside = look(root, "")
    tops = {
        split: min(named, key=_rank(words))
        for split, words in NAMES.items()
        if (named := [one for one in inside.folders if one.casefold() in words])
    }
    if "train" not in tops or len(tops) == 1:
        layout = Layout("flat", {"train": ""})
    else:
        layout = Layout("split" if "val" in tops else "train_test", tops)
        layout.problems += inside.problems
        layout.problems += _loose(inside)
        for name in inside.folders:
            if name not in tops.values() and below(root, name).pictures:
                layout.problems.append(Problem(name, "beside", {"train": tops["train"]}))
    for split, path in layout.tops.items():
        _classes(root, split, path, layout)
    layout.problems += _alike(layout)
    return layout


def _rank(names: tuple[str, ...]) -> Callable[[str], int]:
    return lambda one: names.index(one.casefold())


def _classes(root: Path, split: str, path: str, layout: Layout) -> None:
    """The pictures below the class folders of one folder, empty ones too.

    A class goes by its name with accents composed, so that `train/` from Linux and `val/` from a Mac's zip agree.
    """
    inside = look(root, path)
    layout.problems += inside.problems
    layout.problems += _loose(inside)
    composed = [unicodedata.normalize("NFC", name) for name in inside.folders]
    found = layout.found[split] = {}
    for folder_name, name in zip(inside.folders, composed, strict=True):
        if composed.count(name) > 1 or folder_name in layout.found["train"]:
            name = folder_name
        folder = below(root, join(path, folder_name))
        layout.problems += folder.problems
        layout.places[split, name] = folder.path
        found[name] = {join(folder.path, one): size for one, size in folder.pictures.items()}


def _loose(inside: Folder) -> list[Problem]:
    count = len(inside.pictures)
    return [Problem(inside.path or ".", "loose", {"count": count})] if count else []


def _alike(layout: Layout) -> list[Problem]:
    """Classes whose names some systems take for one, and people too."""
    first: dict[str, str] = {}
    problems: dict[str, Problem] = {}
    for (_, name), place in sorted(layout.places.items(), key=lambda one: natural(one[1])):
        other = first.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            problems.setdefault(name, Problem(place, "alike", {"other": other}))
    return [*problems.values()]


def learnt(root: Path, layout: Layout) -> tuple[str, ...]:
    """The classes that can be learnt: those with a picture to train on. What is amiss with the others is added to
    the layout's problems.

    Raises:
        DataError: there are no two such classes, or none of them has a picture in a validation part that is there.
    """
    tops, found, problems = layout.tops, layout.found, layout.problems
    classes = tuple(sorted((name for name, pictures in found["train"].items() if pictures), key=natural))
    kind = "list_" if layout.listed else ""
    if not classes:
        raise DataError(f"data.{kind}no_train", folder=root / tops["train"])
    if len(classes) == 1:
        raise DataError(f"data.{kind}one_class", folder=root / tops["train"], name=classes[0], skipped=len(problems))
    if "val" in tops and not any(found["val"].get(name) for name in classes):
        raise DataError(f"data.{kind}no_val", folder=root / tops["val"])
    for split, by_class in found.items():
        for name, pictures in by_class.items():
            place = layout.places[split, name]
            if pictures and name not in classes:
                problems.append(Problem(place, "not_in_train", {"train": tops["train"]}))
            elif not pictures and not (split == "val" and name in classes):
                problems.append(Problem(place, "empty_class"))
            elif split == "train" and len(pictures) == 1:
                problems.append(Problem(place, "few"))
    if "val" in tops:
        unwatched = (name for name in classes if not found["val"].get(name))
        places = (layout.places.get(("val", name)) or _would_be(layout, name) for name in unwatched)
        problems += [Problem(place, "not_in_val") for place in places]
    return classes


def _would_be(layout: Layout, name: str) -> str:
    """Where a class that has no place in validation would have it."""
    return layout.places["train", name] if layout.listed else join(layout.tops["val"], name)


def nothing(root: Path, layout: Layout) -> DataError:
    """Why there is no picture to use, by what is most likely in the way."""
    problems = layout.problems
    asked = root / layout.tops["train"] if layout.listed else root
    loose = next((one for one in problems if one.code == "loose"), None)
    if loose:
        return DataError("data.loose", folder=root / loose.file, count=loose.values["count"])
    if problems:
        first = min(problems, key=lambda one: natural(one.file))
        told = {"file": first.where, "problem": first.problem, "remedy": first.remedy}
        return DataError("data.all_bad", folder=asked, count=len(problems), **told)
    return DataError("data.list_no_pictures" if layout.listed else "data.no_pictures", folder=asked)
