"""Findings of an audit as plain data, and their storage. No torch.

Reports are stored in `FTLAB_HOME/doctor`, one folder per image folder. A report belongs to a manifest: which file, of
which class, in which split. Reports of image folders that are gone, and those not opened for long, are removed.
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
"""The kinds of findings, in the order in which they are reported."""
_MAX_REPORT_FOLDERS, _MAX_REPORTS_PER_FOLDER = 16, 8
"""Image folders whose reports are kept, and reports per folder."""


@dataclass(frozen=True)
class ImageRef:
    """Reference to an image: its path relative to the catalog's root, its class name and its split."""

    path: str
    name: str
    split: str


@dataclass(frozen=True)
class Finding:
    """One thing that a user should check.

    Attributes:
        kind: one of `FINDING_KINDS`.
        pictures: the images concerned: all copies of a duplicate, otherwise one; none if a class is concerned.
        leave: paths that can be excluded to fix it; empty if that is no remedy.
        values: what its sentence, `doctor.said.<kind>`, names.
    """

    kind: str
    pictures: tuple[ImageRef, ...]
    leave: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def crosses_splits(self) -> bool:
        """Return whether copies of one image are in different splits."""
        return self.kind in ("exact", "near") and len({image_ref.split for image_ref in self.pictures}) > 1


@dataclass(frozen=True)
class MapPoint:
    """An image on the map.

    Attributes:
        x, y: position in [0, 1].
        at: index of its thumbnail in the sheet.
        shown: the image.
    """

    x: float
    y: float
    at: int
    shown: ImageRef


@dataclass(frozen=True)
class EmbeddingMap:
    """The data set in two dimensions.

    Attributes:
        points: see `MapPoint`.
        sheet: base64-encoded JPEG of all thumbnails.
        side: of a thumbnail, in pixels.
        columns: thumbnails per row.
    """

    points: tuple[MapPoint, ...]
    sheet: str
    side: int
    columns: int


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit.

    Attributes:
        root, manifest: of the catalog: its folder, and the hash of its files, classes and splits.
        backbone: whose features were used.
        looked: number of audited images.
        left: number of images that were not audited because of `MAX_AUDITED_IMAGES`.
        unread: paths that could not be read.
        findings: by kind, the most relevant first.
        notes: codes below `doctor.note` of what is true of the data set as a whole, and the values of their sentences.
        map: None if there are too few images.
        seconds: duration of the audit.
        value_ranges: that deep images were looked at, as `ValueRanges.to_json` writes them.
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
    value_ranges: dict[str, list[float]] = field(default_factory=dict)

    def findings_of_kind(self, kind: str) -> list[Finding]:
        """Return the findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict; `parse_report` is its inverse."""
        return {"version": REPORT_VERSION, **asdict(self)}


def parse_report(values: dict[str, Any]) -> AuditReport:
    """Return the report of a dict made by `AuditReport.to_json`.

    A dict that is no report raises `KeyError` or `TypeError`.

    Raises:
        ValueError: it is of another version.
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
    # JSON has lists only; the dataclasses hold tuples.
    contents["notes"] = tuple((code, dict(note_values)) for code, note_values in contents["notes"])
    return AuditReport(**(contents | {"unread": tuple(contents["unread"])}))


def load_report(catalog: Catalog) -> AuditReport | None:
    """Return the stored report on the same images in the same splits; None if there is none that can be read."""
    try:
        report_path = _get_report_path(catalog)
        report = parse_report(json.loads(file_io.read_regular_file(report_path)))
        os.utime(report_path.parent)  # mark as used: `save_report` removes the folders that were unused longest
        return report
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_report(report: AuditReport, catalog: Catalog) -> None:
    """Store a report, and remove old reports and those of folders that are gone.

    An `OSError` propagates if it cannot be written.

    Args:
        report: to store.
        catalog: the data set that it is about.
    """
    folder = get_report_folder(catalog)
    folder.mkdir(parents=True, exist_ok=True)
    # The folder's name is a hash: `remove_orphaned_reports` reads the path from here.
    (folder / "root").write_text(str(catalog.root), encoding="utf-8")
    with file_io.atomic_write(_get_report_path(catalog)) as temp_path:
        temp_path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    for old_report in _sort_newest_first(folder.glob("*.json"))[_MAX_REPORTS_PER_FOLDER:]:
        old_report.unlink(missing_ok=True)
    for old_folder in _sort_newest_first(folder.parent.iterdir())[_MAX_REPORT_FOLDERS:]:
        shutil.rmtree(old_folder, ignore_errors=True)
    remove_orphaned_reports()


def remove_orphaned_reports() -> None:
    """Remove the reports on image folders that do not exist any more."""
    for folder in user_dirs.get_ftlab_home().glob("doctor/*"):
        with suppress(OSError):  # removed by another process in the meantime
            if not Path(file_io.read_regular_file(folder / "root").decode()).exists():
                shutil.rmtree(folder, ignore_errors=True)


def get_report_folder(catalog: Catalog) -> Path:
    """Return the folder of the reports and measurements of an image folder."""
    return user_dirs.get_ftlab_home() / "doctor" / hashlib.sha256(str(catalog.root).encode()).hexdigest()[:32]


def _get_report_path(catalog: Catalog) -> Path:
    """Return the file of the report on the catalog's present files, classes and splits."""
    return get_report_folder(catalog) / f"{catalog.compute_fingerprint()[:32]}.json"


def _sort_newest_first(paths: Any) -> list[Path]:
    """Return paths by their time of modification, the newest first."""
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
