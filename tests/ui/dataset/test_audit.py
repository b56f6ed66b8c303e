"""The doctor in the Dataset tab: what it shows, and what a click leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from ftlab.audit import findings
from ftlab.audit.findings import AuditReport, EmbeddingMap, Finding, ImageRef, MapPoint
from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog, exclusions, scan
from ftlab.runs.jobs import audit_job, job_stop
from ftlab.server import stop_route
from ftlab.server.profile import ServerProfile
from ftlab.server.routes import STOP_PATH
from ftlab.ui.common import data_choice
from ftlab.ui.common.stop_script import read_stop_script
from ftlab.ui.dataset import audit_view
from ftlab.ui.dataset.actions import DatasetActions
from ftlab.ui.dataset.audit import AuditActions
from tests.support.people import HOST

EVIL = "<img src=x onerror=alert(1)>"
START, STOP, STATUS, FOUND, MAP, MARKS = range(6)


pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def profile(tmp_path: Path) -> ServerProfile:
    return ServerProfile(tmp_path, tmp_path / "runs")


@pytest.fixture
def doctor(profile: ServerProfile) -> AuditActions:
    return AuditActions(profile)


def scanned(profile: ServerProfile, folder: Path) -> catalog.Catalog:
    return data_choice.scan_source(data_choice.parse_source(profile, "folder", str(folder), 0.25, 0.25))


def report(found: catalog.Catalog, kind: str = "exact") -> AuditReport:
    """A copy across splits, a wrong label and a map, as if they had been found."""
    items = [(split, item) for split in ("train", "val") for item in found.splits[split]]
    shown = [ImageRef(item.path, found.classes[item.label], split) for split, item in items]
    pair = (shown[0], shown[-1])
    copy = Finding(kind, pair, (pair[1].path,), {"count": 2, "classes": 2, "splits": 2})
    values = {"name": shown[1].name, "probable": "x", "percent": 99, "given": 1}
    wrong = Finding("label", (shown[1],), (shown[1].path,), values)
    drawn = EmbeddingMap(tuple(MapPoint(0.5, 0.5, at, one) for at, one in enumerate(shown)), "abcd", 64, 5)
    return AuditReport(
        str(found.root),
        found.compute_fingerprint(),
        "tf_efficientnet_lite0",
        len(shown),
        0,
        (),
        (copy, wrong),
        (),
        drawn,
        3.0,
    )


def click(**asked: str) -> Any:
    return SimpleNamespace(_data=asked)


def test_it_waits_for_pictures_then_can_examine_them_then_shows_what_was_found(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path
) -> None:
    choice = ("folder", str(tiny_folder), 0.25, 0.25)
    before = doctor.show_report(*choice)
    assert before[START].interactive is False
    assert "Choose pictures first" in before[STATUS]
    found = scanned(profile, tiny_folder)
    ready = doctor.show_report(*choice)
    assert ready[START].interactive is True
    assert "Not examined yet" in ready[STATUS]
    assert "there are 24" in ready[STATUS]
    findings.save_report(report(found), found)
    shown = doctor.show_report(*choice)
    assert shown[START].value == "Examine again"
    assert "Exact duplicates" in shown[FOUND]
    assert shown[FOUND].count("<img") == 3
    assert shown[FOUND].count(">leak</b>") == 1
    assert shown[FOUND].count(">two classes</b>") == 1
    assert shown[MAP].count("<circle") == 18


def test_while_it_works_it_says_how_far_it_is_and_can_be_stopped(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, closed = scanned(profile, tiny_folder), []

    def work(folder: Path, _options: list[str], _stop: object) -> Iterator[dict[str, Any]]:
        try:
            yield {}
            yield {"stage": "pictures", "done": 6, "total": 24}
            yield {"stage": "map", "done": 0, "total": 1}
            findings.save_report(report(found), found)
        finally:
            closed.append(folder)

    monkeypatch.setattr(audit_job, "run_audit", work)
    steps = list(doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25))
    assert [step[STOP].visible for step in steps] == [True, True, True, False]
    assert "6 of 24" in steps[1][STATUS]
    assert 'aria-valuenow="25"' in steps[1][STATUS]
    assert "Exact duplicates" in steps[-1][FOUND]
    stopped = doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25)
    next(stopped)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert closed == [tiny_folder] * 2


def test_stop_is_heard_outside_the_queue_by_a_name_that_only_the_page_knows(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path
) -> None:
    scanned(profile, tiny_folder)
    steps = doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25)
    marks = next(steps)[MARKS]
    assert f'fetch(folder + "{STOP_PATH}"' in read_stop_script(), "the page asks this route"
    for name in ("", "x", 3, [marks["job"]]):
        assert stop_route.answer_stop(profile, HOST, json.dumps({"job": name}).encode()) == (200, "")
    assert not job_stop._stops[marks["job"]].event.is_set()
    assert stop_route.answer_stop(profile, HOST, json.dumps(marks).encode()) == (200, "")
    *_, last = steps
    assert "Stopped" in last[STATUS]
    assert (last[STOP].visible, last[MARKS]) == (False, {})


def test_a_failure_is_one_sentence(doctor: AuditActions, profile: ServerProfile, tiny_folder: Path) -> None:
    scanned(profile, tiny_folder)
    for file in tiny_folder.rglob("*.*"):
        file.unlink()
    *_, last = doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25)
    assert "The examination stopped early: There are no pictures in" in last[STATUS]
    assert last[START].interactive is True


def test_a_folder_that_vanishes_while_it_is_at_work_is_one_sentence(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned(profile, tiny_folder)

    def work(folder: Path, _options: list[str], _stop: object) -> Iterator[dict[str, Any]]:
        yield {}
        folder.rename(folder.with_name("elsewhere"))

    monkeypatch.setattr(audit_job, "run_audit", work)
    *_, last = doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25)
    assert "There is no folder" in last[STATUS]
    assert last[STOP].visible is False


def test_pictures_that_came_since_the_page_looked_are_examined_too(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned(profile, tiny_folder)

    def work(folder: Path, _options: list[str], _stop: object) -> Iterator[dict[str, Any]]:
        Image.new("RGB", (40, 30)).save(folder / "amber" / "new.jpg")
        found = scan.scan(folder, val_share=0.25, test_share=0.25)
        findings.save_report(report(found), found)
        yield {}

    monkeypatch.setattr(audit_job, "run_audit", work)
    *_, last = doctor.run_audit("folder", str(tiny_folder), 0.25, 0.25)
    assert "Exact duplicates" in last[FOUND]


def test_a_click_leaves_a_picture_out_and_another_takes_it_back(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path
) -> None:
    found = scanned(profile, tiny_folder)
    told = report(found)
    findings.save_report(told, found)
    path = told.findings[1].pictures[0].path
    place, left = doctor.update_exclusions("folder", str(tiny_folder), 0.25, 0.25, {}, click(do="leave", picture=path))
    source = data_choice.parse_source(profile, "folder", place, 0.25, 0.25)
    assert data_choice.scan_source(source).excluded_paths == (path,)
    assert left == {f"folder {tiny_folder}": place.partition("\n")[2]}
    assert exclusions.read_exclusions(str(source.to_config_fields()["exclude"])) == (path,)
    shown = doctor.show_report("folder", place, 0.25, 0.25)
    assert "Excluded pictures: 1" in shown[STATUS]
    assert shown[FOUND].count('data-do="back"') == 1
    assert doctor.update_exclusions("folder", place, 0.25, 0.25, left, click(do="back", picture=path)) == [
        str(tiny_folder),
        {},
    ]


def test_a_click_leaves_out_all_of_a_kind_but_the_originals(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path
) -> None:
    found = scanned(profile, tiny_folder)
    told = report(found)
    findings.save_report(told, found)
    place, _ = doctor.update_exclusions("folder", str(tiny_folder), 0.25, 0.25, {}, click(do="leave", kind="exact"))
    source = data_choice.parse_source(profile, "folder", place, 0.25, 0.25)
    assert data_choice.scan_source(source).excluded_paths == (told.findings[0].pictures[1].path,)


@pytest.mark.parametrize("asked", [{"do": "leave", "picture": "../../secret"}, {"do": "leave", "kind": "none"}, {}])
def test_only_pictures_of_a_finding_can_be_left_out(
    doctor: AuditActions, profile: ServerProfile, tiny_folder: Path, asked: dict[str, str]
) -> None:
    found = scanned(profile, tiny_folder)
    findings.save_report(report(found), found)
    assert doctor.update_exclusions("folder", str(tiny_folder), 0.25, 0.25, {}, click(**asked)) == [
        str(tiny_folder),
        {},
    ]


def test_two_visitors_leave_out_each_their_own(doctor: AuditActions, profile: ServerProfile, tiny_folder: Path) -> None:
    found = scanned(profile, tiny_folder)
    told = report(found)
    findings.save_report(told, found)
    paths = [told.findings[1].pictures[0].path, told.findings[0].pictures[1].path]
    places = [
        doctor.update_exclusions("folder", str(tiny_folder), 0.25, 0.25, {}, click(do="leave", picture=path))[0]
        for path in paths
    ]
    seen = [
        data_choice.scan_source(data_choice.parse_source(profile, "folder", place, 0.25, 0.25)).excluded_paths
        for place in places
    ]
    assert seen == [(paths[0],), (paths[1],)]
    assert (
        data_choice.scan_source(
            data_choice.parse_source(profile, "folder", str(tiny_folder), 0.25, 0.25)
        ).excluded_paths
        == ()
    )


def test_a_list_that_is_gone_is_said_and_a_new_load_forgets_it(doctor: AuditActions, tiny_folder: Path) -> None:
    gone, kept = "0" * 32, exclusions.save_exclusions(["a.jpg"])
    with pytest.raises(DataError, match="no longer on this server"):
        data_choice.parse_source(
            doctor.profile, "folder", data_choice.join_location(str(tiny_folder), gone), 0.25, 0.25
        )
    assert doctor.drop_missing_lists({"shapes": gone, "shortcut": kept}) == {"shortcut": kept}
    shop = DatasetActions(doctor.profile)
    for name, place in ((gone, str(tiny_folder)), (kept, data_choice.join_location(str(tiny_folder), kept))):
        stored = {
            "sample": "folder",
            "folder": data_choice.join_location(str(tiny_folder), name),
            "val": 0.2,
            "test": 0.2,
        }
        _, typed, chosen, *_ = shop.restore_choice(stored)
        assert (typed, chosen) == (str(tiny_folder), place)


@pytest.mark.parametrize("left", [None, [], "x", {"a": 3}, {3: "a"}, {"a": "../x"}])
def test_what_a_browser_sends_is_not_trusted(doctor: AuditActions, left: object) -> None:
    assert doctor.drop_missing_lists(left) == {}


def test_names_and_paths_are_text(profile: ServerProfile, tiny_folder: Path) -> None:
    found = scanned(profile, tiny_folder)
    told = report(found)
    evil = tuple(
        replace(one, pictures=tuple(replace(each, path=f"{EVIL}.jpg", name=EVIL) for each in one.pictures))
        for one in told.findings
    )
    assert told.map is not None
    points = tuple(replace(one, shown=replace(one.shown, name=EVIL, path=EVIL)) for one in told.map.points)
    page = audit_view.render_findings(replace(told, findings=evil), ()) + audit_view.render_map(
        replace(told, findings=evil, map=replace(told.map, points=points)), ()
    )
    assert EVIL not in page
    assert "&lt;img src=x" in page


def test_a_healthy_set_and_what_is_true_of_the_whole_are_said(profile: ServerProfile, tiny_folder: Path) -> None:
    told = replace(report(scanned(profile, tiny_folder)), findings=(), left=7, unread=("a.jpg",))
    page = audit_view.render_findings(replace(told, notes=(("tiny", {"side": 224}),)), ())
    assert "No problems found" in page
    assert "far smaller than the 224 × 224" in page
    assert "7 were not" in page
    assert "could not be read: 1" in page
    assert audit_view.render_map(replace(told, map=None), ()) == ""


def test_the_last_two_classes_stay(
    doctor: AuditActions, profile: ServerProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, warned = tmp_path / "two", list[str]()
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / name / "1.jpg")
    found = scanned(profile, folder)
    alone = ImageRef("a/1.jpg", "a", "train")
    findings.save_report(replace(report(found), findings=(Finding("blank", (alone,), ("a/1.jpg",)),), map=None), found)
    monkeypatch.setattr(gr, "Warning", warned.append)
    given = doctor.update_exclusions("folder", str(folder), 0.25, 0.25, {}, click(do="leave", picture="a/1.jpg"))
    assert given == [gr.skip(), gr.skip()]
    assert "fewer than two classes" in warned[0]
