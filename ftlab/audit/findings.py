"""What the doctor found in a data set, as plain data, and where it is kept for a second look. No torch.

Reports lie in `FTLAB_HOME/doctor`, a folder for each folder of pictures. A report is that of a manifest: which file, of
which class, in which split. Those of pictures that are gone, and those that nobody looked at for long, are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftlab.core import file_io, user_dirs
from ftlab.data.dataset.catalog import Catalog

VERSION = 1
KINDS = ("exact", "near", "label", "outsider", "blank", "tiny", "blurry", "odd", "imbalance")
"""What can be found, in the order in which it is told."""
_FOLDERS, _REPORTS = 16, 8
"""Folders of pictures of which something is kept, and reports of each."""


@dataclass(frozen=True)
class Shown:
    """A picture of a finding: its path relative to the catalogue's root, its class and its split."""

    path: str
    name: str
    split: str


@dataclass(frozen=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        kind: one of `KINDS`.
        pictures: of a copy, all that are alike; else one; none where a class is meant.
        leave: paths that may be left out to mend it; empty where that is no remedy.
        values: what its sentence, `doctor.said.<kind>`, names.
    """

    kind: str
    pictures: tuple[Shown, ...]
    leave: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def leak(self) -> bool:
        """Whether copies of one picture lie on both sides of a split."""
        return self.kind in ("exact", "near") and len({one.split for one in self.pictures}) > 1


@dataclass(frozen=True)
class Point:
    """A picture on the map, x and y in [0, 1]; its thumbnail is number `at` of the sheet."""

    x: float
    y: float
    at: int
    shown: Shown


@dataclass(frozen=True)
class Map:
    """The data set in two dimensions.

    Attributes:
        points: see `Point`.
        sheet: JPEG of all thumbnails, base64; `side` pixels each, `columns` in a row.
    """

    points: tuple[Point, ...]
    sheet: str
    side: int
    columns: int


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        root, manifest: of the catalogue.
        backbone: whose features were taken.
        looked: pictures that were looked at.
        left: pictures that were not, for there are more than are looked at.
        unread: paths that could not be read.
        findings: by kind, the most telling first.
        notes: codes below `doctor.note` of what is true of the set as a whole, and the values of their sentences.
        map: None where there are too few pictures.
        seconds: that it took.
    """

    root: str
    manifest: str
    backbone: str
    looked: int
    left: int
    unread: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[tuple[str, dict[str, Any]], ...]
    map: Map | None
    seconds: float

    def of(self, kind: str) -> list[Finding]:
        """The findings of a kind."""
        return [one for one in self.findings if one.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same report back."""
        return {"version": VERSION, **asdict(self)}


def from_json(values: dict[str, Any]) -> Report:
    """The inverse of `Report.to_json`.

    Raises:
        ValueError, KeyError, TypeError: it is of another version, or no report.
    """
    told = dict(values)
    if told.pop("version") != VERSION:
        raise ValueError("a report of another version")
    drawn = told["map"]
    told["map"] = drawn and Map(
        tuple(Point(one["x"], one["y"], one["at"], Shown(**one["shown"])) for one in drawn["points"]),
        drawn["sheet"],
        drawn["side"],
        drawn["columns"],
    )
    told["findings"] = tuple(
        Finding(one["kind"], tuple(Shown(**p) for p in one["pictures"]), tuple(one["leave"]), one["values"])
        for one in told["findings"]
    )
    told["notes"] = tuple((code, dict(named)) for code, named in told["notes"])
    return Report(**(told | {"unread": tuple(told["unread"])}))


def known(catalog: Catalog) -> Report | None:
    """The report of these pictures, used this way, if there is one."""
    try:
        file = _file(catalog)
        found = from_json(json.loads(file.read_text(encoding="utf-8")))
        os.utime(file.parent)
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(report: Report, catalog: Catalog) -> None:
    """Keep a report for a second look, and clear away what nobody needs.

    Raises:
        OSError: it cannot be written.
    """
    folder = place(catalog)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root").write_text(str(catalog.root), encoding="utf-8")
    with file_io.fresh(_file(catalog)) as part:
        part.write_text(json.dumps(report.to_json()), encoding="utf-8")
    for old in _newest(folder.glob("*.json"))[_REPORTS:]:
        old.unlink(missing_ok=True)
    for other in _newest(folder.parent.iterdir())[_FOLDERS:]:
        shutil.rmtree(other, ignore_errors=True)
    sweep()


def sweep() -> None:
    """Remove what was found in pictures that are not there any more."""
    for folder in user_dirs.home().glob("doctor/*"):
        with suppress(OSError):  # another process was faster
            if not Path((folder / "root").read_text(encoding="utf-8")).exists():
                shutil.rmtree(folder, ignore_errors=True)


def place(catalog: Catalog) -> Path:
    """The folder of what is kept of a folder of pictures."""
    return user_dirs.home() / "doctor" / hashlib.sha256(str(catalog.root).encode()).hexdigest()[:32]


def _file(catalog: Catalog) -> Path:
    return place(catalog) / f"{catalog.manifest()[:32]}.json"


def _newest(files: Any) -> list[Path]:
    return sorted(files, key=lambda one: one.stat().st_mtime, reverse=True)
