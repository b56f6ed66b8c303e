"""The form of the Train tab follows the run that the page shows: it is filled with that run's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ftlab.core.errors import FtlabError
from ftlab.ui.common.late_answers import LateFields, fill_untouched
from ftlab.ui.train import form, recipe_picker
from ftlab.ui.train.actions import TrainActions

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class RunSettings:
    """Fills the form with the settings of the page's run.

    Attributes:
        filled_run: name of the run whose settings were put into the form last, hidden; other sections follow it.
    """

    def __init__(self, actions: TrainActions, config_form: form.ConfigForm, page_state: gr.BrowserState) -> None:
        """Add the hidden component to the current Gradio context.

        Args:
            actions: handlers of the tab.
            config_form: the form.
            page_state: see `ftlab.ui.train.visible_runs`.
        """
        self._actions, self._form, self._page_state = actions, config_form, page_state
        self.filled_run = gr.Textbox(visible="hidden", elem_id="train-filled")

    def list_updates(self, page_state: object) -> list[Any]:
        """Return updates of `filled_run`, the form's inputs and its pair of defaults, as JSON.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.

        Returns:
            None for each where the page has no run, or one whose configuration cannot be read.
        """
        run = self._actions.get_selected_run(page_state)
        try:
            config = run.load_config() if run is not None else None
        except FtlabError:
            config = None  # the run's panel says what is wrong with it
        if run is None or config is None:
            return [None] * len(self._list_outputs())
        # Not the last two: the shares belong to the images, which are chosen in the Dataset tab.
        values = recipe_picker.list_form_values(self._form, config)[:-2]
        return [{"__type__": "update", "value": value} for value in (run.name, *values)]

    def wire_load(self) -> None:
        """Fill the form when the page is loaded, unless somebody has touched it by then."""
        element_ids = ["train-recipe", "train-load", *(str(field.elem_id) for field in self._form.list_inputs())]
        fill_untouched(self.list_updates, [self._page_state], [LateFields(self._list_outputs(), element_ids)])

    def make_follower(self) -> Callable[[Any], object]:
        """Return a function that lets the form follow an event by which a person chooses a run."""

        def fill_form(page_state: object) -> list[Any]:
            return [gr.skip() if update is None else update for update in self.list_updates(page_state)]

        return lambda event: event.then(fill_form, self._page_state, self._list_outputs(), **_UNQUEUED_EVENT)

    def _list_outputs(self) -> list[Any]:
        return [self.filled_run, *self._form.list_inputs(), self._form.defaults_pair]
