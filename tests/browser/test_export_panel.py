"""The Export panel in a real browser: a checked zip, a refusal and how to get it all the same, and Stop."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftlab.export.parity import ParityReport
from ftlab.runs.jobs import export_job
from ftlab.runs.jobs.export_job import ExportState
from tests.support import drawn_images
from tests.support.exported_models import make_run
from tests.support.served_page import look, open_tab, serve_page

REPORT = ParityReport(153, 0.005, 0.0016, 0.0002, 153, 0, 0.012, 19.0, 21.0, 27.0)
FAILED_REPORT = ParityReport(153, 0.0001, 0.4, 0.02, 140, 9, None, 43.0, 12.0, 15.6)


def work(arguments: list[str], stop_event: threading.Event) -> Iterator[ExportState]:
    """An export of seconds: `pt2` fails its check, `safetensors` goes on until it is stopped."""
    export_format, out = (arguments[arguments.index(flag) + 1] for flag in ("--format", "--out"))
    yield ExportState(40, 153)
    if export_format == "safetensors":
        stop_event.wait(30)
        yield ExportState()
    elif export_format == "pt2" and "--force" not in arguments:
        yield ExportState(answer={"check": FAILED_REPORT.to_json()}, error="It differs. Add --force.")
    else:
        Path(out).parent.mkdir(parents=True)
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("check.json", json.dumps(REPORT.to_json()))
        yield ExportState(answer={"check": REPORT.to_json()})


def test_a_person_exports_stops_is_refused_and_insists(
    page: Page, tmp_path: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drawn_images.tiny(tmp_path / "tiny")
    run = make_run(folder, tmp_path / "runs")
    monkeypatch.setattr(export_job, "run_export", work)
    status, download = page.locator("#export-status"), page.locator("#export-download")

    def export(format_name: str) -> None:
        page.locator("#export-format label").filter(has_text=format_name).first.click()
        page.locator("#export-start").click()

    with serve_page(tmp_path, folder) as url:
        page.goto(f"{url}?__theme=dark")
        open_tab(page, "Runs")
        page.locator("#shelf-table tr[data-run] button").click()
        page.locator("#shelf-export > button").click()
        export("onnx")
        expect(status).to_contain_text("153 / 153")
        expect(status.locator("code")).to_contain_text(f"--out {run.name}-onnx.zip")
        with page.expect_download() as download_info:
            download.click()
        look(page, screenshots, "export-done-{}-dark")
        with zipfile.ZipFile(download_info.value.path()) as archive:
            assert json.loads(archive.read("check.json")) == REPORT.to_json()
        export("safetensors")
        expect(status).to_contain_text("Comparing 40 of 153")
        look(page, screenshots, "export-working-{}-dark")
        page.locator("#export-stop").click()
        expect(status).to_contain_text("nothing was written")
        export("pt2")
        expect(status).to_contain_text("“Write it all the same”")
        expect(download).to_be_hidden()
        look(page, screenshots, "export-refused-{}-dark")
        page.locator("#export-force").click()
        expect(download).to_be_visible()
        assert list((tmp_path / "uploads").rglob("*.zip"))
    assert not list((tmp_path / "uploads").rglob("*.zip")), "what was made to be downloaded goes with the server"
