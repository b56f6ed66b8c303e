"""Facts and command that the Train tab shows before a start: layout and events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.ui.common.late_answers import LatestQuestions
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

MEASURE_DELAY_SECONDS = 0.8
"""Seconds without a change of the form before its speed is measured."""
# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class PreflightPanel:
    """Components that show what a start would do.

    Attributes:
        facts: images, parameters, weights and time; or the error that prevents a start.
        command: the command that Start runs.
    """

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
        """Update facts and command whenever something changes that they depend on.

        Args:
            actions: handlers of the tab.
            config_form: the form.
            data: components of the Dataset tab whose values `TrainActions.parse_inputs` takes.
            extra_components: further components whose changes count.
            fill_events: events after which the program has put values into the form.
        """
        inputs, outputs = [*data, *config_form.list_inputs()], [self.facts, self.command]
        update_facts, count_images, measure_throughput = _make_handlers(actions, config_form)
        page = Context.root_block
        assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
        # The button of the learning rate finder fills this field, which is no edit of a person.
        rate_component = config_form.components["learning_rate"]
        change_events = [
            *config_form.list_edit_events(),
            *(component.change for component in (*data, *extra_components, rate_component)),
        ]
        edit_event = gr.on(change_events, update_facts, inputs, outputs, trigger_mode="always_last", **_UNQUEUED_EVENT)
        after_fill = [event.then(update_facts, inputs, outputs, **_UNQUEUED_EVENT) for event in fill_events]
        load_event = page.load(update_facts, inputs, outputs, **_UNQUEUED_EVENT)
        # Counting and measuring take seconds, and the form may have changed by then: they have no outputs, and
        # `update_facts` is called again with the current values.
        # Keys come faster than answers: of the events that wait, only the last one is kept.
        event_options: dict[str, Any] = {
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        for event in (edit_event, *after_fill, load_event):
            # One measurement at a time on the server, or they would falsify each other.
            for task, queue in ((count_images, "count"), (measure_throughput, "measure")):
                task_event = event.then(task, inputs, None, concurrency_id=queue, concurrency_limit=1, **event_options)
                event = task_event.then(update_facts, inputs, outputs, **_UNQUEUED_EVENT)


def _make_handlers(
    actions: TrainActions, config_form: form.ConfigForm
) -> tuple[Callable[..., list[Any]], Callable[..., None], Callable[..., None]]:
    """Return the handlers that update the facts, count images, and measure the speed; each takes the inputs' values."""
    # A page that has asked about other values meanwhile no longer needs an answer, nor a measurement.
    questions = LatestQuestions()

    def update_facts(request: gr.Request, *input_values: Any) -> list[Any]:
        return questions.answer_latest(
            request, input_values, lambda: list(actions.render_preflight(config_form, input_values))
        )

    def count_images(*input_values: Any) -> None:
        try:
            actions.count_images(*actions.parse_inputs(config_form, input_values))
        except FtlabError:
            return  # the facts show the same error already

    def measure_throughput(request: gr.Request, *input_values: Any) -> None:
        def is_current() -> bool:
            return questions.get_question(request) == input_values

        time.sleep(MEASURE_DELAY_SECONDS)
        try:
            if is_current():
                actions.measure_throughput(*actions.parse_inputs(config_form, input_values), is_current)
        except FtlabError:
            return  # as above

    return update_facts, count_images, measure_throughput


def build_facts() -> gr.HTML:
    """Return the component for the facts, built in the current Gradio context."""
    return gr.HTML(elem_id="train-facts", apply_default_css=False)


def build_command() -> gr.Textbox:
    """Return the component for the command, built in the current Gradio context."""
    return gr.Textbox(
        label=messages.get_text("train.command"),
        info=messages.get_text("train.command_hint"),
        lines=2,
        interactive=False,
        buttons=["copy"],
        elem_id="train-command",
    )
