"""What is said before Start: facts or the sentence that stands in the way, and the command. Layout and wiring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.ui.common.latest_only import Latest
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk

PATIENCE = 0.8
"""Seconds in which nothing in the form changes before its speed is measured."""
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Before:
    """The two components."""

    facts: gr.HTML
    command: gr.Textbox

    def wire(self, desk: Desk, widgets: form.Form, data: list[Any], told: list[Any], filled: list[Any]) -> None:
        """Say it anew whenever something changes that it depends on.

        Args:
            data: the components of the Dataset tab that `Desk.settings` takes.
            told: components beside those of the form whose change counts too.
            filled: events after which the program has put values into the form.
        """
        inputs, said_in = [*data, *widgets.inputs()], [self.facts, self.command]

        # Work for what a page no longer asks about is left.
        latest = Latest()

        def say(request: gr.Request, *given: Any) -> list[Any]:
            return latest.answer(request, given, lambda: list(desk.said_before(widgets, given)))

        def count(*given: Any) -> None:
            try:
                desk.count(*desk.settings(widgets, given))
            except FtlabError:
                return  # the same sentence already stands where the facts are shown

        def measure(request: gr.Request, *given: Any) -> None:
            def wanted() -> bool:
                return latest.of(request) == given

            time.sleep(PATIENCE)
            try:
                if wanted():
                    desk.measure(*desk.settings(widgets, given), wanted)
            except FtlabError:
                return  # as above

        page = Context.root_block
        assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
        # A scan in the Dataset tab and the end of a training change what can be said, too.
        found = widgets.fields["learning_rate"]  # a rate that was found is taken over without an edit
        changes = [*widgets.edits(), *(one.change for one in (*data, *told, found))]
        said = gr.on(changes, say, inputs, said_in, trigger_mode="always_last", **_LIGHT)
        after = [event.then(say, inputs, said_in, **_LIGHT) for event in filled]
        first = page.load(say, inputs, said_in, **_LIGHT)
        # Counting and measuring take seconds, and the form may have moved on by then: they fill no field, `say` asks
        # again.
        slow: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", "api_visibility": "private"}
        for event in (said, *after, first):
            for work, queue in ((count, "count"), (measure, "measure")):
                done = event.then(work, inputs, None, concurrency_id=queue, concurrency_limit=1, **slow)
                event = done.then(say, inputs, said_in, **_LIGHT)


def build() -> Before:
    """Lay out the components where the page stands."""
    facts = gr.HTML(elem_id="train-facts", apply_default_css=False)
    command = gr.Textbox(
        label=messages.text("train.command"),
        info=messages.text("train.command_hint"),
        lines=2,
        interactive=False,
        buttons=["copy"],
        elem_id="train-command",
    )
    return Before(facts, command)
