"""The audit panel (doctor) of the Dataset tab: examine the images, show the findings, exclude an image with a click.

A separate process examines the images (`scan --deep`). Its report is stored, so it is there at once the next time.
What a page excludes is a list that never changes (`data/dataset/exclusions.py`). Its name is the second line of the
location that the page asks about, and the browser remembers it for each choice: no visitor sees or changes what
others exclude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from ftlab.audit import findings
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.dataset import exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.runs.jobs import audit_job
from ftlab.runs.jobs.job_stop import JobStop
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice, page_events, run_status_view
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.late_answers import LateFields, fill_untouched
from ftlab.ui.common.page_events import get_person
from ftlab.ui.common.stop_script import read_stop_script
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.dataset import audit_view

IMAGES_PER_MINUTE = 4000
"""Images examined in a minute, roughly, on two cores of a laptop."""
MAX_REMEMBERED_CHOICES = 50
"""Choices for which a browser remembers the list of excluded images."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def create_exclusions_state() -> gr.BrowserState:
    """Return the browser state `{exclusion key: name of the list of excluded images}`."""
    return gr.BrowserState({}, storage_key="ftlab-left-out", secret="ftlab")


def build_audit_section(
    profile: ServerProfile, choice: list[Any], exclusion_names: gr.BrowserState, summary: gr.HTML
) -> Any:
    """Build the folded section and connect its events.

    Args:
        profile: profile of this server.
        choice: components of sample, location and both fractions.
        exclusion_names: as `create_exclusions_state` returns it.
        summary: component that changes after every scan.

    Returns:
        The event after which the location names another list, so that the tab must show the images again.
    """
    actions = AuditActions(profile)
    with gr.Accordion(messages.get_text("doctor.title"), open=False, elem_id="dataset-doctor"):
        gr.HTML(
            tag("p", messages.get_text("doctor.about"), class_="sub"), elem_id="doctor-about", apply_default_css=False
        )
        with gr.Row(elem_classes="ftlab-buttons"):
            start_button = gr.Button(
                messages.get_text("doctor.examine"), interactive=False, elem_id="doctor-examine", min_width=120
            )
            stop_button = gr.Button(
                messages.get_text("doctor.stop"), visible=False, elem_id="doctor-stop", min_width=90
            )
        status_html = gr.HTML(
            render_empty_state("doctor.nothing", "doctor.nothing_step"),
            elem_id="doctor-status",
            apply_default_css=False,
        )
        script = (STATIC_DIR / "doctor.js").read_text(encoding="utf-8")
        stop_notice = gr.HTML("", elem_id="doctor-stop-notice", apply_default_css=False)
        stop_marks = gr.JSON({}, visible=False, elem_id="doctor-seen")
        findings_html = gr.HTML(elem_id="doctor-found", js_on_load=script, apply_default_css=False)
        map_html = gr.HTML(elem_id="doctor-map", js_on_load=script, apply_default_css=False)
    panel = [start_button, stop_button, status_html, findings_html, map_html, stop_marks]
    summary.change(actions.show_report, choice, panel, trigger_mode="always_last", **_UNQUEUED_EVENT)
    start_button.click(
        actions.run_audit,
        choice,
        panel,
        show_progress="hidden",
        api_visibility="private",
        # One audit at a time on this server: it uses all cores.
        concurrency_id="doctor",
        concurrency_limit=1,
    )
    # By a route of its own: the queue may be full. The audit itself then shows that it was stopped.
    stop_button.click(None, stop_marks, stop_notice, js=read_stop_script(), show_progress="hidden")
    fill_untouched(
        lambda names: [actions.drop_missing_lists(names)],
        [exclusion_names],
        [LateFields([exclusion_names], ["doctor-found"])],
    )
    # Queued, as `gr.Warning` is shown for queued events only.
    click_options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
    return findings_html.select(
        actions.update_exclusions, [*choice, exclusion_names], [choice[1], exclusion_names], **click_options
    )


class AuditActions:
    """Event handlers of the panel. One instance per server: it holds nothing of any visitor.

    Handlers share these parameters: `sample` as in `DataSource`, `location` (see `DatasetTab`), and `val` and `test`
    for the fractions of both splits.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Store the profile of the server."""
        self.profile = profile

    def show_report(self, sample: str, location: str, val: float, test: float) -> list[Any]:
        """Show the stored report of the chosen images, if there is one.

        Returns:
            Examine button, Stop button, status, findings, map, and what the script of the Stop button sends.
        """
        source, catalog = self._resolve_choice(sample, location, val, test)
        if source is None or catalog is None:
            return _build_panel_updates(render_empty_state("doctor.nothing", "doctor.nothing_step"), is_ready=False)
        report = findings.load_report(catalog)
        excluded_paths = exclusions.read_exclusions(source.exclusion_file or "")
        excluded_note = (
            tag("p", messages.get_text("doctor.excluded", count=f"{len(excluded_paths):,}"), class_="ftlab-about")
            if excluded_paths
            else ""
        )
        if report is None:
            ready_text = messages.get_text(
                "doctor.ready_step",
                minute=IMAGES_PER_MINUTE,
                count=sum(len(items) for items in catalog.splits.values()),
            )
            ready_html = tag(
                "div",
                tag("p", messages.get_text("doctor.ready"), class_="ftlab-empty-title"),
                tag("p", ready_text),
                class_="ftlab-empty",
            )
            return _build_panel_updates(join_html([ready_html, excluded_note]))
        examined_html = tag(
            "p", messages.get_text("doctor.looked", count=f"{report.looked:,}", seconds=f"{report.seconds:.0f}")
        )
        return _build_panel_updates(
            join_html([examined_html, excluded_note]),
            audit_view.render_findings(report, set(excluded_paths)),
            audit_view.render_map(report, set(excluded_paths)),
            has_report=True,
        )

    def run_audit(self, sample: str, location: str, val: float, test: float) -> Iterator[list[Any]]:
        """Examine the chosen images in a separate process.

        Yields:
            The outputs of `show_report`: progress, finally the report or the error.
        """
        source, catalog = self._resolve_choice(sample, location, val, test)
        if source is None or catalog is None:
            yield _build_panel_updates(render_empty_state("doctor.nothing", "doctor.nothing_step"), is_ready=False)
            return
        folder = source.folder or catalog.root
        # `repr`: the process must get the same float, as the report is stored by its splits.
        flags = ["--val-share", repr(source.val_share), "--test-share", repr(source.test_share)]
        flags += ["--seed", str(data_choice.DEFAULT_SPLIT_SEED), "--layout", source.layout]
        flags += ["--zip-names", source.zip_names] if source.zip_names else []
        last_progress: dict[str, Any] = {}
        with JobStop(get_person(self.profile).owner) as stop:
            yield _build_busy_updates({}, stop.name)
            audit_progress = audit_job.run_audit(folder, flags, stop.event)
            try:
                for progress in audit_progress:
                    if progress != last_progress:
                        yield _build_busy_updates(progress, stop.name)
                    last_progress = progress
                # The process scanned the files itself; without a report for the page's catalog they have changed since.
                if not stop.event.is_set() and findings.load_report(catalog) is None:
                    data_choice.scan_source(replace(source, exclusion_file=None), fresh=True)
            except FtlabError as error:
                yield _build_panel_updates(render_error(str(error)))
                return
            finally:
                # Ends the process, also when the page is closed.
                audit_progress.close()  # type: ignore[attr-defined]
        updates = self.show_report(sample, location, val, test)
        if stop.event.is_set() and findings.load_report(catalog) is None:
            updates[2] = render_empty_state("doctor.stopped", "doctor.stopped_step")
        yield updates

    def update_exclusions(
        self, sample: str, location: str, val: float, test: float, exclusion_names: object, event: gr.EventData
    ) -> list[Any]:
        """Exclude an image or all of a kind of finding, or include them again.

        What is clicked is in the data of `event`: `do` (`leave` or `back`), and `kind` or `picture`.

        Returns:
            Location and `exclusion_names`.
        """
        click, remembered_names = (
            event._data if isinstance(event._data, dict) else {},
            _validate_exclusions(exclusion_names),
        )
        source, catalog = self._resolve_choice(sample, location, val, test)
        report = findings.load_report(catalog) if catalog is not None else None
        if source is None or report is None:
            return [gr.skip(), gr.skip()]
        affected_paths = {path for item in report.findings_of_kind(str(click.get("kind"))) for path in item.leave}
        # Only images of a finding: the path comes from the page.
        finding_paths = {item.path for finding in report.findings for item in finding.pictures}
        affected_paths |= finding_paths & {str(click.get("picture"))}
        excluded_paths = set(exclusions.read_exclusions(source.exclusion_file or ""))
        try:
            new_exclusions = (
                excluded_paths - affected_paths if click.get("do") == "back" else excluded_paths | affected_paths
            )
            # Raises where too little would be left to train on, before the list is stored.
            exclusions.exclude_images(catalog, new_exclusions)  # type: ignore[arg-type]
            list_name = exclusions.save_exclusions(new_exclusions)
        except FtlabError as error:
            page_events.show_warning(error)
            return [gr.skip(), gr.skip()]
        source_id, _, layout, zip_names = data_choice.split_location(location)
        # Removed and added again: the latest choice is last, and the oldest are dropped.
        remembered_names.pop(choice_key := data_choice.make_exclusion_key(sample, source_id), None)
        remembered_names |= {choice_key: list_name} if list_name else {}
        return [
            data_choice.join_location(source_id, list_name, layout, zip_names),
            dict(list(remembered_names.items())[-MAX_REMEMBERED_CHOICES:]),
        ]

    def drop_missing_lists(self, exclusion_names: object) -> dict[str, str]:
        """Return what the browser remembers, without lists that no longer exist."""
        return {
            choice_key: list_name
            for choice_key, list_name in _validate_exclusions(exclusion_names).items()
            if exclusions.find_exclusion_list(list_name)
        }

    def _resolve_choice(
        self, sample: str, location: str, val: float, test: float
    ) -> tuple[DataSource | None, Catalog | None]:
        """Return the source and, if it was scanned, the catalog of all its images, excluded ones included."""
        try:
            source = data_choice.parse_source(self.profile, sample, location, val, test)
            return source, data_choice.find_scanned_catalog(replace(source, exclusion_file=None))
        except FtlabError:
            return None, None  # the summary says what is wrong


def _build_panel_updates(
    message: Markup,
    findings_html: Markup | str = "",
    map_html: Markup | str = "",
    *,
    is_ready: bool = True,
    has_report: bool = False,
) -> list[Any]:
    """Return the outputs of `AuditActions.show_report` while no audit runs."""
    start_button = gr.Button(
        messages.get_text("doctor.again" if has_report else "doctor.examine"), interactive=is_ready
    )
    return [start_button, gr.Button(visible=False), message, findings_html, map_html, {}]


def _build_busy_updates(progress: dict[str, Any], stop_name: str) -> list[Any]:
    """Return the outputs of `AuditActions.show_report` while an audit runs.

    Args:
        progress: of the audit, empty while it starts.
        stop_name: name by which it is stopped.
    """
    message, fraction = messages.get_text("doctor.starting"), -1.0
    if progress:
        done_count, total = int(progress["done"]), max(1, int(progress["total"]))
        message = messages.get_text(f"doctor.stage_{progress['stage']}", done=done_count, total=total)
        # Only this stage has steps of equal length; the others get an indeterminate bar.
        fraction = done_count / total if progress["stage"] == "pictures" else -1.0
    frame = run_status_view.render_card("waiting", messages.get_text("doctor.title"), message, fraction)
    return [gr.Button(interactive=False), gr.Button(visible=True), frame, gr.skip(), gr.skip(), {"job": stop_name}]


def _validate_exclusions(exclusion_names: object) -> dict[str, str]:
    """Return the entries of the browser state that are valid; a page may send anything."""
    entries = exclusion_names.items() if isinstance(exclusion_names, dict) else ()
    return {
        choice_key: list_name
        for choice_key, list_name in list(entries)[:MAX_REMEMBERED_CHOICES]
        if isinstance(choice_key, str) and isinstance(list_name, str)
    }
