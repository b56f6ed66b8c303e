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

REPORT_VERSION = 1
FINDING_KINDS = ("exact", "near", "label", "outsider", "blank", "tiny", "blurry", "odd", "imbalance")
"""What can be found, in the order in which it is told."""
_MAX_REPORT_FOLDERS, _MAX_REPORTS_PER_FOLDER = 16, 8
"""Folders of pictures of which something is kept, and reports of each."""


@dataclass(frozen=True)
class ImageRef:
    """A picture of a finding: its path relative to the catalogue's root, its class and its split."""

    path: str
    name: str
    split: str


@dataclass(frozen=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        kind: one of `FINDING_KINDS`.
        pictures: of a copy, all that are alike; else one; none where a class is meant.
        leave: paths that may be left out to mend it; empty where that is no remedy.
        values: what its sentence, `doctor.said.<kind>`, names.
    """

    kind: str
    pictures: tuple[ImageRef, ...]
    leave: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def crosses_splits(self) -> bool:
        """Whether copies of one picture lie on both sides of a split."""
        return self.kind in ("exact", "near") and len({image_ref.split for image_ref in self.pictures}) > 1


@dataclass(frozen=True)
class MapPoint:
    """A picture on the map, x and y in [0, 1]; its thumbnail is number `at` of the sheet."""

    x: float
    y: float
    at: int
    shown: ImageRef


@dataclass(frozen=True)
class EmbeddingMap:
    """The data set in two dimensions.

    Attributes:
        points: see `MapPoint`.
        sheet: JPEG of all thumbnails, base64; `side` pixels each, `columns` in a row.
    """

    points: tuple[MapPoint, ...]
    sheet: str
    side: int
    columns: int


@dataclass(frozen=True)
class AuditReport:
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
    map: EmbeddingMap | None
    seconds: float

    def findings_of_kind(self, kind: str) -> list[Finding]:
        """The findings of a kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `parse_report` gives the same report back."""
        return {"version": REPORT_VERSION, **asdict(self)}


def parse_report(values: dict[str, Any]) -> AuditReport:
    """The inverse of `AuditReport.to_json`.

    Raises:
        ValueError, KeyError, TypeError: it is of another version, or no report.
    """
    contents = dict(values)
    if contents.pop("version") != REPORT_VERSION:
        raise ValueError("a report of another version")
    map_values = contents["map"]
    contents["map"] = map_values and EmbeddingMap(
        tuple(
            MapPoint(entry["x"], entry["y"], entry["at"], ImageRef(**entry["shown"])) for entry in map_values["points"]
        ),
        map_values["sheet"],
        map_values["side"],
        map_values["columns"],
    )
    contents["findings"] = tuple(
        Finding(
            entry["kind"],
            tuple(ImageRef(**ref_values) for ref_values in entry["pictures"]),
            tuple(entry["leave"]),
            entry["values"],
        )
        for entry in contents["findings"]
    )
    contents["notes"] = tuple((code, dict(note_values)) for code, note_values in contents["notes"])
    return AuditReport(**(contents | {"unread": tuple(contents["unread"])}))


def load_report(catalog: Catalog) -> AuditReport | None:
    """The report of these pictures, used this way, if there is one."""
    try:
        report_path = _get_report_path(catalog)
        report = parse_report(json.loads(report_path.read_text(encoding="utf-8")))
        os.utime(report_path.parent)
        return report
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_report(report: AuditReport, catalog: Catalog) -> None:
    """Keep a report for a second look, and clear away what nobody needs.

    Raises:
        OSError: it cannot be written.
    """
    folder = get_report_folder(catalog)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root").write_text(str(catalog.root), encoding="utf-8")
    with file_io.atomic_write(_get_report_path(catalog)) as temp_path:
        temp_path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    for old_report in _sort_newest_first(folder.glob("*.json"))[_MAX_REPORTS_PER_FOLDER:]:
        old_report.unlink(missing_ok=True)
    for old_folder in _sort_newest_first(folder.parent.iterdir())[_MAX_REPORT_FOLDERS:]:
        shutil.rmtree(old_folder, ignore_errors=True)
    remove_orphaned_reports()


def remove_orphaned_reports() -> None:
    """Remove what was found in pictures that are not there any more."""
    for folder in user_dirs.get_ftlab_home().glob("doctor/*"):
        with suppress(OSError):  # another process was faster
            if not Path((folder / "root").read_text(encoding="utf-8")).exists():
                shutil.rmtree(folder, ignore_errors=True)


def get_report_folder(catalog: Catalog) -> Path:
    """The folder of what is kept of a folder of pictures."""
    return user_dirs.get_ftlab_home() / "doctor" / hashlib.sha256(str(catalog.root).encode()).hexdigest()[:32]


def _get_report_path(catalog: Catalog) -> Path:
    return get_report_folder(catalog) / f"{catalog.compute_fingerprint()[:32]}.json"


def _sort_newest_first(paths: Any) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
