"""The Export panel of the Runs tab: a run's model as files for other programs, made and checked by the command."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import ExportError, FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.export import formats
from ftlab.runs.jobs import export_job
from ftlab.runs.jobs.export_job import ExportState
from ftlab.runs.jobs.job_stop import JobStop
from ftlab.server.people.rights import RunAction
from ftlab.server.upload_quota import QuotaExceededError
from ftlab.ui.common import page_events, uploads
from ftlab.ui.common.html import render_error
from ftlab.ui.common.stop_script import read_stop_script
from ftlab.ui.runs.export_progress import follow_export, render_command, render_progress
from ftlab.ui.runs.listing import parse_selection
from ftlab.ui.runs.number_choice import build_number_choice
from ftlab.ui.train.actions import TrainActions

MAX_EXPORTS = 2
"""Exports that a server makes at the same time; one of them for each visitor."""
EXPORT_EVENT: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_id": "export",
    "concurrency_limit": MAX_EXPORTS,
}
"""Options of the events that export."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class ExportPanel:
    """Components of the panel: its section and the choice of weights, and those that follow the selected run."""

    section: gr.Accordion
    which: gr.Radio
    status: gr.HTML
    download: gr.DownloadButton
    force: gr.Button

    def list_outputs(self) -> list[Any]:
        """Return the components in the order of `RunListing.render_panel`."""
        return [self.section, self.status, self.download, self.force]


class ExportSlots:
    """Places for exports, each held by one person. One instance per server."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._owners: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Args:
            owner: who exports.

        Yields:
            Nothing.

        Raises:
            ExportError: they export already, or all places are taken.
        """
        with self._lock:
            if owner in self._owners:
                raise ExportError("export.own_busy")
            if len(self._owners) >= MAX_EXPORTS:
                raise ExportError("export.busy")
            self._owners.add(owner)
        try:
            yield
        finally:
            with self._lock:
                self._owners.discard(owner)


class ExportActions:
    """Event handlers of the panel. One instance per server."""

    def __init__(self, train_actions: TrainActions) -> None:
        """Create the handlers of a server.

        Args:
            train_actions: they know which runs a person may see.
        """
        self.train_actions, self.profile, self.slots = train_actions, train_actions.profile, ExportSlots()

    def show_format(self, format_name: object) -> list[Any]:
        """Return updates of the note of a format, of its option, and of the Export button."""
        export_format = formats.FORMATS.get(str(format_name))
        if export_format is None:
            return [render_error(), gr.skip(), gr.Button(interactive=False)]
        missing_package = export_format.find_missing_package()
        note = render_format_note(export_format.name)
        return [note, build_number_choice(export_format), gr.Button(interactive=not missing_package)]

    def export(self, selection: object, format_name: object, which: object, numbers: object) -> Iterator[list[Any]]:
        """Export the selected run.

        Yields:
            Updates of status, download, force, Export and Stop buttons, and what the Stop button sends.
        """
        yield from self._export(selection, format_name, which, numbers, force=False)

    def force_export(
        self, selection: object, format_name: object, which: object, numbers: object
    ) -> Iterator[list[Any]]:
        """Export the selected run although the check has failed.

        Yields:
            As `export`.
        """
        yield from self._export(selection, format_name, which, numbers, force=True)

    def _export(
        self, selection: object, format_name: object, which: object, numbers: object, *, force: bool
    ) -> Iterator[list[Any]]:
        person = page_events.get_person(self.profile)
        try:
            names = parse_selection(selection)[0]
            run = self.train_actions.get_run(names[0] if len(names) == 1 else None, RunAction.EXPORT)
            export_format = formats.get_format(str(format_name))
            export_format.load()
            file_name = f"{run.name}-{export_format.name}.zip"
            folder = page_events.get_download_folder(self.profile) / "export"
            weights_choice = "last" if which == "last" else "best"
            options = {
                "half": numbers == "float16" and export_format.has_half_weights,
                "int8": numbers == "int8" and export_format.has_int8,
                "force": force,
            }
            listed = [run.name, self.profile.runs_dir.resolve(), export_format.name, folder / file_name, weights_choice]
            arguments = export_job.list_arguments(*listed, **options)  # type: ignore[arg-type]
            shown = export_job.list_arguments(
                run.name, self.profile.runs_dir.name, export_format.name, file_name, weights_choice, **options
            )
            byte_count = 4 * run.best_weights_path.stat().st_size if run.best_weights_path.is_file() else 0
            with (
                self.slots.hold(person.owner),
                uploads.open_upload_quota(self.profile).reserve(byte_count, person.id) as reservation,
                JobStop(person.owner) as stop,
            ):
                # A visitor has one export at a time here.
                shutil.rmtree(folder, ignore_errors=True)
                state = yield from follow_export(
                    export_job.run_export(arguments, stop.event),
                    lambda new_state: _build_updates(render_progress(new_state, shown), stop_name=stop.name),
                )
                reservation.is_used = (folder / file_name).is_file()
            path = str(folder / file_name) if reservation.is_used else None
            failed_check = bool(state.error and state.answer)
            yield _build_updates(render_result(state, shown), path=path, failed_check=failed_check)
        except FtlabError as error:
            yield _build_updates(render_error(str(error)))
        except QuotaExceededError as refusal:
            yield _build_updates(render_error(messages.get_text(f"error.export.{refusal.message_key}")))


def render_format_note(format_name: str) -> Markup:
    """Return what a format is, and how its package is installed where that is missing."""
    export_format = formats.FORMATS[format_name]
    key = f"export.about.{format_name}"
    parts: list[Markup] = []
    if key in messages.load_messages("en"):
        parts.append(tag("p", messages.get_text(key), class_="sub"))
    if export_format.find_missing_package():
        parts.append(
            tag("p", messages.get_text("export.missing", package=export_format.find_missing_package()), class_="sub")
        )
        parts.append(tag("p", tag("code", export_format.get_install_command()), class_="sub"))
    return join_html(parts)


def render_result(state: ExportState, arguments: list[str]) -> Markup:
    """Return the table of the check, and the error if there is one."""
    if state.answer is None and not state.error:
        return tag("p", messages.get_text("export.stopped"), class_="sub", role="status")
    check = (state.answer or {}).get("check")
    # The sentence of the command names its flag; here there is a button, and the table has the figures.
    error = messages.get_text("export.refused", button=messages.get_text("export.force")) if check else state.error
    parts = [render_error(error)] if state.error else []
    if (state.answer or {}).get("structure_only"):
        parts.append(tag("p", messages.get_text("export.not_run"), role="status"))
    parts += [render_check(check), render_command(arguments)]
    return join_html(parts)


def render_check(check: dict[str, Any] | None) -> Markup:
    """Return the table of a check.

    Args:
        check: as the command has printed it; None for none.

    Returns:
        The table; empty without a check.
    """
    if not check:
        return Markup("")
    from ftlab.export import model_card
    from ftlab.export.parity import ParityReport

    report = ParityReport(**{name: value for name, value in check.items() if name != "passed"})
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in model_card.list_check_rows(report)
    )
    return tag("table", join_html(rows), class_="ftlab-check")


def _build_updates(
    status: Markup, *, stop_name: str = "", path: str | None = None, failed_check: bool = False
) -> list[Any]:
    """Return the updates of `ExportActions.export`."""
    return [
        status,
        # No component: its constructor would copy the file.
        gr.update(value=path, visible=path is not None),
        gr.Button(visible=failed_check),
        gr.Button(interactive=not stop_name),
        gr.Button(visible=bool(stop_name)),
        {"job": stop_name} if stop_name else {},
    ]


def build_export_panel(actions: ExportActions, selection: gr.JSON) -> ExportPanel:
    """Build the folded panel and connect its events.

    Args:
        actions: its handlers.
        selection: selected runs.

    Returns:
        The components that follow the selected run.
    """
    first_name = next(iter(formats.FORMATS))
    with gr.Accordion(messages.get_text("export.title"), open=False, visible=False, elem_id="shelf-export") as section:
        format_choice = gr.Radio(
            list(formats.FORMATS),
            value=first_name,
            label=messages.get_text("export.format"),
            info=messages.get_text("export.format_hint"),
            elem_id="export-format",
        )
        note = gr.HTML(render_format_note(first_name), elem_id="export-note", apply_default_css=False)
        which_choices = [(messages.get_text(f"export.{name}"), name) for name in ("best", "last")]
        which = gr.Radio(
            which_choices,
            value="best",
            label=messages.get_text("export.which"),
            info=messages.get_text("export.which_hint"),
            elem_id="export-which",
        )
        numbers = build_number_choice(formats.FORMATS[first_name])
        with gr.Row(elem_classes="ftlab-buttons"):
            start = gr.Button(
                messages.get_text("export.start"),
                variant="primary",
                interactive=not formats.FORMATS[first_name].find_missing_package(),
                elem_id="export-start",
                min_width=90,
            )
            stop = gr.Button(messages.get_text("doctor.stop"), visible=False, elem_id="export-stop", min_width=80)
        status = gr.HTML(elem_id="export-status", apply_default_css=False)
        stop_notice = gr.HTML(elem_id="export-stop-notice", apply_default_css=False)
        download = gr.DownloadButton(messages.get_text("export.download"), visible=False, elem_id="export-download")
        force = gr.Button(messages.get_text("export.force"), visible=False, elem_id="export-force")
        marks = gr.JSON({}, visible=False, elem_id="export-seen")
    format_choice.change(actions.show_format, format_choice, [note, numbers, start], **_UNQUEUED_EVENT)
    inputs, outputs = [selection, format_choice, which, numbers], [status, download, force, start, stop, marks]
    start.click(actions.export, inputs, outputs, **EXPORT_EVENT)
    force.click(actions.force_export, inputs, outputs, **EXPORT_EVENT)
    stop.click(None, marks, stop_notice, js=read_stop_script(), show_progress="hidden")
    return ExportPanel(section, which, status, download, force)
