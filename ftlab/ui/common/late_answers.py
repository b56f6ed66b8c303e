"""Answers that come late do not undo what a person has done meanwhile.

Handlers run at the same time, so an answer may overtake a later one: an answer to an outdated question is dropped. And
what a page restores when it is loaded goes to a hidden component first, from which a script of the page puts it into
the fields, except where a person has touched them.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from ftlab.ui.language.switch import KEEP_TOUCHED_JS

_COMPARE_JS = """(answered, repetitions, ...values) => {
  const counts = window.ftlabRepetitions ??= {}, name = '%s';
  const current = JSON.stringify(values.map((value) => value ?? ''));
  const isCurrent = !answered || JSON.stringify(JSON.parse(answered)) === current;
  counts[name] = isCurrent ? 0 : (counts[name] ?? 0) + 1;
  return isCurrent || counts[name] > %d ? repetitions : String(Number(repetitions) + 1);
}"""
"""Counts one more repetition where another question was answered than the values now ask."""
_MAX_REPETITIONS = 5
"""Times in a row that a question is repeated; an end, whatever a component does to its values on their way."""
MAX_TRACKED_PAGES = 500
"""Pages whose last question is remembered."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_WATCH_JS = f"""(...values) => {{
  if (!window.ftlabTouched) {{
    const touched = window.ftlabTouched = new Set();
    const remember = (event) => {{
      if (!event.isTrusted || event.key === 'Tab') return;
      for (let node = event.target; node; node = node.parentElement) if (node.id) touched.add(node.id);
    }};
    for (const name of ['pointerdown', 'keydown', 'input', 'change', 'drop']) {{
      document.addEventListener(name, remember, true);
    }}
    {KEEP_TOUCHED_JS}
  }}
  return values.length === 1 ? values[0] : values;
}}"""
"""Remembers, from the first load event on, the ids of all elements that a person touches; passes the inputs on."""
_FILL_JS = """(answer) => {
  const watched = %s, skip = {__type__: 'update'};
  const isTouched = (ids) => ids.some((id) => window.ftlabTouched.has(id));
  const values = watched.map((ids, index) => isTouched(ids) ? skip : answer?.[index] ?? skip);
  return values.length === 1 ? values[0] : values;
}"""
"""Returns the values of an answer; of a field that was touched, or has no value in it, an update that changes nothing.
"""


@dataclass(frozen=True)
class LateFields:
    """Fields that are filled together or not at all.

    Attributes:
        fields: the fields.
        element_ids: ids of the elements of the page by which a person changes one of them.
    """

    fields: Sequence[Any]
    element_ids: Sequence[str]


def fill_untouched(
    handler: Callable[..., Sequence[Any]], inputs: Sequence[Component], groups: Sequence[LateFields]
) -> Any:
    """Call a handler when the page is loaded, and put its answer into the fields that nobody has touched by then.

    Args:
        handler: returns a value for each field of the groups, in their order, as JSON: None leaves a field as it is.
            A field that has no value takes its changed properties, `{"__type__": "update", ...}`.
        inputs: components whose values the handler takes.
        groups: the fields.

    Returns:
        The event after which the fields are filled; events that follow it get what the page then shows.
    """
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "built inside a page"
    answer = gr.JSON(visible=False, elem_id=f"{groups[0].element_ids[0]}-restored")
    watched = [list(group.element_ids) for group in groups for _ in group.fields]
    answer_event = page.load(
        lambda *values: list(handler(*values)), list(inputs), answer, js=_WATCH_JS, **_UNQUEUED_EVENT
    )
    fields = [field for group in groups for field in group.fields]
    return answer_event.then(None, answer, fields, js=_FILL_JS % json.dumps(watched))


def build_answered_field(element_id: str) -> gr.Textbox:
    """Return a hidden component for the question that the page shows the answer to, see `format_question`."""
    return gr.Textbox(visible="hidden", elem_id=element_id)


def format_question(values: Sequence[Any]) -> str:
    """Return the values that a handler was called with, as JSON."""
    return json.dumps(["" if value is None else value for value in values])


def repeat_overtaken(
    answered: gr.Textbox,
    handler: Callable[..., Any],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    options: dict[str, Any],
) -> None:
    """Ask again where the page shows the answer to another question than its fields now ask.

    The server starts the events of a page in any order, so the question that it takes for the last one may be an
    earlier one: as when a person chooses while the page is still asking about what it restored.

    Args:
        answered: one of the outputs, from `build_answered_field`.
        handler: answers the question.
        inputs: components whose values are the question.
        outputs: of the handler.
        options: of the event that asks again.
    """
    repetitions = gr.Textbox("0", visible="hidden", elem_id=f"{answered.elem_id}-repetitions")
    answered.change(
        None,
        [answered, repetitions, *inputs],
        repetitions,
        js=_COMPARE_JS % (answered.elem_id, _MAX_REPETITIONS),
        **_UNQUEUED_EVENT,
    )
    repetitions.change(handler, list(inputs), list(outputs), **options)


class LatestQuestions:
    """The last question of each page (Gradio session) about one part of the page."""

    def __init__(self) -> None:
        """Start without any question."""
        self._questions: OrderedDict[str, object] = OrderedDict()

    def get_question(self, request: gr.Request | None) -> object:
        """Return the last question of a page; None where it is no longer known."""
        return self._questions.get(_get_session_id(request))

    def answer_latest(
        self, request: gr.Request | None, question: object, compute_outputs: Callable[[], list[Any]]
    ) -> list[Any]:
        """Compute outputs, and drop them where the page has asked something else meanwhile.

        Args:
            request: request of the page; None in tests and direct calls.
            question: what the page asks, compared by equality.
            compute_outputs: computes the outputs of the handler.

        Returns:
            The outputs, or as many `gr.skip()`, which leave the page as it is.
        """
        session_id = _get_session_id(request)
        self._questions[session_id] = question
        self._questions.move_to_end(session_id)
        while len(self._questions) > MAX_TRACKED_PAGES:
            self._questions.popitem(last=False)
        outputs = compute_outputs()
        # A page that was dropped from memory meanwhile gets its answer: better late than never.
        return outputs if self._questions.get(session_id, question) == question else [gr.skip()] * len(outputs)


def _get_session_id(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""
