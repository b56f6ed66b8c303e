"""A thousand folders as people make them, and worse: each is a catalogue in which all that is amiss is named, or one
line that says why there is none."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.dataset.split import SPLITS
from ftlab.data.sources.listing import natural_key
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.dataset import view
from tests.support import drawn_images

TREES = 1000
PICTURE = drawn_images.png()
CLASSES = (
    *("ants", "Ants", "bees", "class2", "class10", "10", " lead", "a,b", 'what\'s "it"', "<img src=x>", "${x}"),
    *(unicodedata.normalize("NFC", "Käfer"), unicodedata.normalize("NFD", "Käfer"), "한국", "한국", "KÄFER"),
    *("שלום", "نمل", "\u202eevil", "line\nbreak", "\x1b[31mred", "tab\t", "trailing.", "trailing ", "💙", "x" * 255),
    *("é" * 127, "-rf", "~", "%s", "{name}", "a\\b", "COM1", "train", "val"),
)
"""Folder names; those that this system does not hold as they are written are left out."""
BAD: dict[str, tuple[str, bytes]] = {
    "empty": (".png", b""),
    "not_a_picture": (".jpg", b"dear diary"),
    "web_page": (".jpg", b"<!DOCTYPE html><html>404"),
    "truncated": (".png", drawn_images.png(400, 300)[:-60]),
    "format": (".heic", b"whatever"),
}
STEERING = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


@dataclass
class Tree:
    """What was planted below a folder.

    Attributes:
        good: pictures in class folders, by split ("" where the folder has none) and class.
        amiss: what must be named: path below the folder -> code.
    """

    root: Path
    good: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    amiss: dict[str, str] = field(default_factory=dict)


def held(names: tuple[str, ...], place: Path) -> list[str]:
    """The names that this system holds as they are written."""
    kept = []
    for number, name in enumerate(names):
        folder = place / str(number)
        folder.mkdir(parents=True)
        try:
            (folder / name).mkdir()
        except OSError:
            continue
        if [made.name for made in folder.iterdir()] == [name]:
            kept.append(name)
    shutil.rmtree(place)
    return kept


def grow(chance: random.Random, root: Path, names: list[str], elsewhere: Path) -> Tree:
    """A folder of pictures that depends on the state of `chance` alone."""
    tree = Tree(root)
    root.mkdir()
    parts = chance.choice(([""], [""], ["train", "val"], ["train", "val", "test"], ["train", "test"], ["Train", "dev"]))
    classes = chance.sample(names, chance.choice((0, 1, 2, 2, 3, 3, 4, 6)))
    for part in parts:
        (root / part).mkdir(exist_ok=True)
        tree.good[part] = {}
        for name in classes:
            if chance.random() < 0.9:
                tree.good[part][name] = _class(chance, root, f"{part}/{name}".lstrip("/"), tree, elsewhere)
        _loose(chance, root / part)
    return tree


def _class(chance: random.Random, root: Path, path: str, tree: Tree, elsewhere: Path) -> list[str]:
    folder = root / path
    if folder.exists():  # the same name, on a system that takes two spellings for one
        return []
    folder.mkdir()
    good = []
    for number in range(chance.choice((0, 1, 1, 2, 3, 5))):
        name = chance.choice(("{}.png", "{}.JPG", "deep/er/{}.png", "sp ace {}.png", "ß\u0301{}.png", ".{}/x.png"))
        file = folder / name.format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PICTURE)
        if not name.startswith("."):
            good.append(f"{path}/{file.relative_to(folder).as_posix()}")
    for code, (suffix, content) in BAD.items():
        if chance.random() < 0.15:
            (folder / f"bad {code}{suffix}").write_bytes(content)
            tree.amiss[f"{path}/bad {code}{suffix}"] = code
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "._1.png"):
        if chance.random() < 0.1:
            (folder / name).write_bytes(b"x")
    if os.name != "nt" and chance.random() < 0.25:
        _links(chance, folder, path, tree, elsewhere)
    return good


def _links(chance: random.Random, folder: Path, path: str, tree: Tree, elsewhere: Path) -> None:
    name, target, code = chance.choice(
        [
            ("out.png", elsewhere / "secret.png", "link_out"),
            ("dots.png", Path(os.path.relpath(elsewhere / "secret.png", folder)), "link_out"),
            ("nothing.png", Path("nowhere.png"), "link_broken"),
            ("itself.png", Path("itself.png"), "link_broken"),
            ("up", tree.root, "link_folder"),
            ("here", Path(), "link_folder"),
            ("away", elsewhere, "link_out"),
        ]
    )
    (folder / name).symlink_to(target, target_is_directory="." not in name)
    tree.amiss[f"{path}/{name}"] = code


def _loose(chance: random.Random, folder: Path) -> None:
    if chance.random() < 0.1:
        (folder / "loose.png").write_bytes(PICTURE)
    if chance.random() < 0.1:
        (folder / "__MACOSX").mkdir(exist_ok=True)
        (folder / "__MACOSX" / "1.png").write_bytes(PICTURE)
    if chance.random() < 0.05:
        (folder / "labels.csv").write_text("path,label\nloose.png,a\n", encoding="utf-8")


def look_at(tree: Tree, found: Catalog) -> None:
    """What must hold of every catalogue."""
    items = [(split, item) for split in SPLITS for item in found.splits[split]]
    files = [item.path for _, item in items]
    assert len(set(files)) == len(files), "a picture in two splits"
    assert all(found.image_path(item).read_bytes() == PICTURE for _, item in items)
    assert all(found.image_path(item).resolve().is_relative_to(tree.root.resolve()) for _, item in items)
    assert {item.label for item in found.splits["train"]} == set(range(len(found.classes))), "a class without training"
    assert len(set(found.classes)) == len(found.classes) >= 2
    assert list(found.classes) == sorted(found.classes, key=natural_key)
    assert found.total_bytes == len(PICTURE) * len(items)
    stored = json.loads(json.dumps(found.to_json()).encode())
    assert catalog.catalog_from_json(stored) == found

    shift = found.root.relative_to(tree.root.resolve()).as_posix()
    named = {f"{shift}/{one.file}".removeprefix("./"): one.code for one in found.problems}
    assert tree.amiss.items() <= named.items(), "something amiss is not named"
    unused = {path for by_class in tree.good.values() for paths in by_class.values() for path in paths}
    unused -= {f"{shift}/{path}".removeprefix("./") for path in files}
    folders = [path for path, code in named.items() if code in ("not_in_train", "beside", "empty_class")]
    assert not [path for path in unused if not path.startswith(tuple(f"{folder}/" for folder in folders))]

    lines = [*(one.location for one in found.problems), *(one.problem + one.remedy for one in found.problems)]
    assert not [line for line in lines if STEERING.search(line)]
    page = view.render_summary(found, DataSource("folder", tree.root, 0.15, 0.15)) + view.render_problems(found)
    assert not STEERING.search(page)
    assert "<img" not in page


@pytest.mark.parametrize("tenth", range(10))
def test_a_thousand_trees_are_catalogues_or_one_line(
    tenth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_REFUSE_LINKS", "1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.png").write_bytes(PICTURE)
    names = held(CLASSES, tmp_path / "names")
    assert {"ants", "bees", "שלום"} <= set(names)
    read, lines = 0, []
    for seed in range(tenth * TREES // 10, (tenth + 1) * TREES // 10):
        root = tmp_path / f"tree{seed}"
        tree = grow(random.Random(seed), root, names, elsewhere)
        before = state(root)
        try:
            found = scan(root, workers=2)
        except DataError as refusal:
            lines.append(str(refusal))
            assert not STEERING.search(lines[-1]), f"seed {seed}"
        else:
            with note(f"seed {seed}"):
                look_at(tree, found)
            read += 1
        assert state(root) == before, f"seed {seed}: the folder was written to"
        shutil.rmtree(root)
    assert read > 20
    assert len(lines) > 10
    assert (elsewhere / "secret.png").read_bytes() == PICTURE


class note:
    """Adds a line to whatever is raised inside: which tree it was."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            error.add_note(self.line)


def state(root: Path) -> dict[str, tuple[int, int, int]]:
    """Of everything below a folder: mode, size, time of the last change."""
    facts = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            seen = path.lstat()
            facts[str(path)] = (seen.st_mode, seen.st_size, seen.st_mtime_ns)
    return facts
