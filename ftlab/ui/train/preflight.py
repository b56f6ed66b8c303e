"""What is said before Start: facts or the sentence that stands in the way, and the command. Layout and wiring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.ui.common.latest_only import LatestQuestions
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

MEASURE_DELAY_SECONDS = 0.8
"""Seconds in which nothing in the form changes before its speed is measured."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class PreflightPanel:
    """The two components."""

    facts: gr.HTML
    command: gr.Textbox

    def wire_events(
        self,
        actions: TrainActions,
        config_form: form.ConfigForm,
        data: list[Any],
        extra_components: list[Any],
        fill_events: list[Any],
    ) -> None:
        """Say it anew whenever something changes that it depends on.

        Args:
            data: the components of the Dataset tab that `TrainActions.settings` takes.
            extra_components: components beside those of the form whose change counts too.
            fill_events: events after which the program has put values into the form.
        """
        inputs, outputs = [*data, *config_form.list_inputs()], [self.facts, self.command]

        # Work for what a page no longer asks about is left.
        questions = LatestQuestions()

        def update_facts(request: gr.Request, *input_values: Any) -> list[Any]:
            return questions.answer_latest(
                request, input_values, lambda: list(actions.render_preflight(config_form, input_values))
            )

        def count_images(*input_values: Any) -> None:
            try:
                actions.count_images(*actions.parse_inputs(config_form, input_values))
            except FtlabError:
                return  # the same sentence already stands where the facts are shown

        def measure_throughput(request: gr.Request, *input_values: Any) -> None:
            def is_current() -> bool:
                return questions.get_question(request) == input_values

            time.sleep(MEASURE_DELAY_SECONDS)
            try:
                if is_current():
                    actions.measure_throughput(*actions.parse_inputs(config_form, input_values), is_current)
            except FtlabError:
                return  # as above

        page = Context.root_block
        assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
        # A scan in the Dataset tab and the end of a training change what can be said, too.
        rate_component = config_form.components["learning_rate"]  # a rate that was found is taken over without an edit
        change_events = [
            *config_form.list_edit_events(),
            *(component.change for component in (*data, *extra_components, rate_component)),
        ]
        edit_event = gr.on(change_events, update_facts, inputs, outputs, trigger_mode="always_last", **_UNQUEUED_EVENT)
        after_fill = [event.then(update_facts, inputs, outputs, **_UNQUEUED_EVENT) for event in fill_events]
        load_event = page.load(update_facts, inputs, outputs, **_UNQUEUED_EVENT)
        # Counting and measuring take seconds, and the form may have moved on by then: they fill no field, `say` asks
        # again.
        event_options: dict[str, Any] = {
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        for event in (edit_event, *after_fill, load_event):
            for task, queue in ((count_images, "count"), (measure_throughput, "measure")):
                task_event = event.then(task, inputs, None, concurrency_id=queue, concurrency_limit=1, **event_options)
                event = task_event.then(update_facts, inputs, outputs, **_UNQUEUED_EVENT)


def build_preflight() -> PreflightPanel:
    """Lay out the components where the page stands."""
    facts = gr.HTML(elem_id="train-facts", apply_default_css=False)
    command = gr.Textbox(
        label=messages.get_text("train.command"),
        info=messages.get_text("train.command_hint"),
        lines=2,
        interactive=False,
        buttons=["copy"],
        elem_id="train-command",
    )
    return PreflightPanel(facts, command)
