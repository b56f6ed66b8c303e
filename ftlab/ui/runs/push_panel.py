"""The part of the Export panel that pushes a run's model to the Hugging Face Hub, by the command `push`.

The token of whoever has signed in goes from the server's memory into the standard input of the command, and nowhere
else: the page never has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import ExportError, FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.export import formats
from ftlab.models.pretrained import hub_access
from ftlab.models.pretrained.hub_access import HubError
from ftlab.runs.jobs import export_job
from ftlab.runs.jobs.export_job import DEFAULT_PUSH_FORMAT, ExportState
from ftlab.runs.jobs.job_stop import JobStop
from ftlab.server.people.rights import RunAction
from ftlab.ui.common import page_events
from ftlab.ui.common.html import render_error
from ftlab.ui.common.stop_script import read_stop_script
from ftlab.ui.runs.export_panel import (
    EXPORT_EVENT,
    ExportActions,
    ExportPanel,
    build_export_panel,
    render_check,
)
from ftlab.ui.runs.export_progress import follow_export, render_command, render_progress
from ftlab.ui.runs.listing import parse_selection
from ftlab.ui.runs.push_access import find_push_access
from ftlab.ui.train.actions import TrainActions

PUSH_FORMATS = tuple(name for name in (DEFAULT_PUSH_FORMAT, "onnx", "space", "web") if name in formats.FORMATS)
"""Formats that the page pushes."""


@dataclass(frozen=True)
class PushPanel:
    """Components of the part that follow the selected run."""

    section: gr.Column
    access: gr.HTML
    repository: gr.Textbox
    start: gr.Button
    status: gr.HTML

    def list_outputs(self) -> list[Any]:
        """Return the components in the order of `RunListing.render_panel`."""
        return [self.section, self.access, self.repository, self.start, self.status]


@dataclass(frozen=True)
class _PushWork:
    """Input of the command of one push.

    Attributes:
        arguments: of the command.
        shown_arguments: without this machine's folders.
        token: of the account; None for that of this machine's user.
    """

    arguments: list[str]
    shown_arguments: list[str]
    token: str | None = field(repr=False)


class PushActions:
    """Event handlers of the part. One instance per server."""

    def __init__(self, export_actions: ExportActions) -> None:
        """Create the handlers of a server.

        Args:
            export_actions: a push takes one of the places of its exports.
        """
        self.export_actions, self.profile = export_actions, export_actions.profile

    def push(
        self, selection: object, repo_id: object, format_name: object, which: object, private: object
    ) -> Iterator[list[Any]]:
        """Push the selected run.

        Yields:
            Updates of status, Push and Stop buttons, and what the Stop button sends.
        """
        try:
            work = self._prepare(selection, repo_id, format_name, which, private=private is True)
            owner = page_events.get_person(self.profile).owner
            with self.export_actions.slots.hold(owner), JobStop(owner) as stop:
                state = yield from follow_export(
                    export_job.run_export(work.arguments, stop.event, token=work.token),
                    lambda new_state: _build_updates(
                        render_progress(new_state, work.shown_arguments, "push.title"), stop.name
                    ),
                )
            yield _build_updates(render_result(state, work.shown_arguments))
        except FtlabError as error:
            yield _build_updates(render_error(str(error)))

    def _prepare(
        self, selection: object, repo_id: object, format_name: object, which: object, *, private: bool
    ) -> _PushWork:
        """Return what the command is given, once all that the page has sent is found to be in order.

        Args:
            selection: of runs.
            repo_id: `USER/NAME`.
            format_name: one of `PUSH_FORMATS`.
            which: `best` or `last`.
            private: create a private repository.

        Raises:
            HubError: there is no token to push with, or the name is none.
            ExportError: the page pushes no such format.
        """
        names = parse_selection(selection)[0]
        run = self.export_actions.train_actions.get_run(names[0] if len(names) == 1 else None, RunAction.PUSH)
        access = find_push_access(self.profile)
        if access.problem:
            raise HubError(f"hub.{access.problem}")
        target, weights_choice = str(repo_id).strip(), "last" if which == "last" else "best"
        hub_access.check_repo_id(target)
        hub_access.find_token(access.token)
        if format_name not in PUSH_FORMATS:
            raise ExportError("export.format", name=format_name, names=", ".join(PUSH_FORMATS))
        formats.get_format(str(format_name)).load()
        arguments, shown_arguments = (
            export_job.list_push_arguments(run.name, folder, str(format_name), target, weights_choice, private=private)
            for folder in (self.profile.runs_dir.resolve(), self.profile.runs_dir.name)
        )
        return _PushWork(arguments, shown_arguments, access.token)


def render_result(state: ExportState, arguments: list[str]) -> Markup:
    """Return where the model is now with the table of the check, or the error."""
    if state.answer is None and not state.error:
        return tag("p", messages.get_text("push.stopped"), class_="sub", role="status")
    if state.answer is None or state.error:
        return join_html([render_error(state.error), render_command(arguments)])
    url, commit = str(state.answer["url"]), str(state.answer["commit"])
    # The address is the Hub's answer: only one that a browser opens as a page becomes a link.
    is_page = urlsplit(url).scheme in ("http", "https")
    place = tag("a", url, href=url, target="_blank", rel="noopener noreferrer") if is_page else url
    parts = [
        tag("p", messages.get_text("push.done", commit=commit[:12]), " ", place, role="status"),
        render_check(state.answer.get("check")),
        render_command(arguments),
    ]
    return join_html(parts)


def _build_updates(status: Markup, stop_name: str = "") -> list[Any]:
    """Return the updates of `PushActions.push`."""
    marks = {"job": stop_name} if stop_name else {}
    return [status, gr.Button(interactive=not stop_name), gr.Button(visible=bool(stop_name)), marks]


def build_push_panel(actions: PushActions, selection: gr.JSON, export_panel: ExportPanel) -> PushPanel:
    """Build the part below the Export panel's own, and connect its events.

    Args:
        actions: its handlers.
        selection: selected runs.
        export_panel: the panel, whose choice of weights counts here too.

    Returns:
        The components that follow the selected run.
    """
    with export_panel.section, gr.Column(visible=False, elem_id="export-push") as section:
        gr.HTML(
            join_html([tag("h3", messages.get_text("push.title")), tag("p", messages.get_text("push.about"))]),
            elem_id="push-about",
            apply_default_css=False,
        )
        access = gr.HTML(elem_id="push-access", apply_default_css=False)
        repository = gr.Textbox(
            label=messages.get_text("push.repository"),
            info=messages.get_text("push.repository_hint"),
            placeholder="USER/NAME",
            max_lines=1,
            max_length=96,
            elem_id="push-repository",
        )
        format_choice = gr.Radio(
            [(messages.get_text(f"push.format_{name}"), name) for name in PUSH_FORMATS],
            value=PUSH_FORMATS[0],
            label=messages.get_text("export.format"),
            info=messages.get_text("push.format_hint"),
            elem_id="push-format",
        )
        private = gr.Checkbox(
            label=messages.get_text("push.private"), info=messages.get_text("push.private_hint"), elem_id="push-private"
        )
        with gr.Row(elem_classes="ftlab-buttons"):
            start = gr.Button(messages.get_text("push.start"), variant="primary", elem_id="push-start", min_width=90)
            stop = gr.Button(messages.get_text("doctor.stop"), visible=False, elem_id="push-stop", min_width=80)
        status = gr.HTML(elem_id="push-status", apply_default_css=False)
        stop_notice = gr.HTML(elem_id="push-stop-notice", apply_default_css=False)
        marks = gr.JSON({}, visible=False, elem_id="push-seen")
    inputs = [selection, repository, format_choice, export_panel.which, private]
    start.click(actions.push, inputs, [status, start, stop, marks], **EXPORT_EVENT)
    stop.click(None, marks, stop_notice, js=read_stop_script(), show_progress="hidden")
    return PushPanel(section, access, repository, start, status)


def build_export_panels(train_actions: TrainActions, selection: gr.JSON) -> list[Any]:
    """Build the Export panel with the part that pushes.

    Args:
        train_actions: they know which runs a person may see.
        selection: selected runs.

    Returns:
        The components that follow the selected run, in the order of `RunListing.render_panel`.
    """
    export_actions = ExportActions(train_actions)
    export_panel = build_export_panel(export_actions, selection)
    push_panel = build_push_panel(PushActions(export_actions), selection, export_panel)
    return [*export_panel.list_outputs(), *push_panel.list_outputs()]
