"""Layout and events of the Train tab: the form, the facts before a start, and the selected run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import tag
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events
from ftlab.ui.dataset.tab import DatasetTab
from ftlab.ui.train import augment_preview, form, form_fields, layers, lr_finder, preflight, recipe_picker, run_panel
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.train.panel_updates import refresh_panel
from ftlab.ui.train.run_panel import RunPanel
from ftlab.ui.train.run_settings import RunSettings

# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
_SCROLL_TO_PROGRESS_JS = (
    "() => document.getElementById('train-progress')?.scrollIntoView({behavior: 'smooth', block: 'nearest'})"
)


@dataclass(frozen=True)
class TrainTab:
    """Components of the Train tab that other tabs use.

    Attributes:
        page_state: state kept in the browser, see `ftlab.ui.train.visible_runs`.
        inputs: components whose values make a configuration: four of the Dataset tab, then the form's.
        form_fields: components of the form, and its hidden pair of defaults.
        build_config: returns the configuration for these values; raises an `FtlabError` if one is not allowed.
        follow_run: lets the form follow an event by which a person chooses a run.
    """

    page_state: gr.BrowserState
    inputs: list[Any]
    form_fields: list[Any]
    build_config: Callable[[Sequence[Any]], TrainConfig]
    follow_run: Callable[[Any], object]


def create_page_state() -> gr.BrowserState:
    """Return the state that the page keeps in the browser, see `ftlab.ui.train.visible_runs`.

    Call it outside the tabs: Gradio would not read the state in a tab that was not opened yet.
    """
    # A fixed secret: with Gradio's default, a new one at each start, a restarted server could not read the state.
    return gr.BrowserState({"run": None}, storage_key="ftlab-run", secret="ftlab")


def build_train_tab(
    profile: ServerProfile, dataset_tab: DatasetTab, tabs: gr.Tabs, page_state: gr.BrowserState
) -> TrainTab:
    """Build the components of the tab in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        dataset_tab: its data source is trained on.
        tabs: tabs of the page; the ids are `dataset`, `train`, `predict`.
        page_state: as `create_page_state` returns it.

    Returns:
        What other tabs use of this one.
    """
    actions = TrainActions(profile)
    # By the keyboard, Start would be behind the whole form.
    skip_link = tag("a", messages.get_text("train.skip"), href="#train-start", class_="ftlab-skip")
    gr.HTML(skip_link, elem_id="train-skip", apply_default_css=False)
    with gr.Row(elem_classes="ftlab-train"):
        with gr.Column(scale=6, min_width=340, elem_classes="ftlab-form"):
            recipe_menu = recipe_picker.build_recipe_menu()
            data_components: list[Any] = [
                dataset_tab.sample,
                dataset_tab.location,
                dataset_tab.val_share,
                dataset_tab.test_share,
            ]
            config_form = form.build_form(
                is_space=profile.is_space,
                limit_minutes=profile.max_minutes,
                build_tools=partial(_build_tools, actions, data_components, tabs),
                build_top=recipe_menu.render_file_buttons,
            )
            command = preflight.build_command()
        run_view = run_panel.build_run_view(profile)
    preflight_panel = preflight.PreflightPanel(run_view.facts, command)
    panel = run_panel.build_run_panel(run_view, page_state)
    run_settings = RunSettings(actions, config_form, page_state)
    # The order of registration numbers the events, which the page and its tests refer to.
    fill_events = [config_form.wire_defaults(), *recipe_menu.wire_events(actions, config_form, data_components)]
    preflight_panel.wire_events(
        actions, config_form, data_components, [panel.status_text, tabs, run_settings.filled_run], fill_events
    )
    _wire_start(actions, config_form, data_components, panel)
    follow = run_settings.make_follower()
    follow(panel.wire_events(actions, tabs))
    run_settings.wire_load()
    return TrainTab(
        page_state,
        [*data_components, *config_form.list_inputs()],
        [*config_form.list_inputs(), config_form.defaults_pair],
        lambda input_values: actions.parse_inputs(config_form, input_values)[1],
        follow,
    )


def _build_tools(
    actions: TrainActions, data_components: list[Any], tabs: gr.Tabs, config_form: form.ConfigForm, group: str
) -> None:
    """Build what stands below the settings of a group: the finder, the preview, the table of layers."""
    inputs = [*data_components, *config_form.list_inputs()]
    if group == "rates":
        lr_finder.build_finder_section(actions, config_form, inputs)
    elif group == "augment":
        augment_preview.build_preview_section(actions, config_form, inputs, tabs)
    elif group == "phases":
        layers.build_layers_section(actions, config_form, inputs)


def _wire_start(
    actions: TrainActions, config_form: form.ConfigForm, data_components: list[Any], panel: RunPanel
) -> None:
    """Register Start, and a fresh list of backbones for each page that is loaded."""

    def start_training(page_state: object, *input_values: Any) -> list[Any]:
        try:
            source, config = actions.parse_inputs(config_form, input_values)
            run = actions.start_training(config, source)
            run_panel.announce_queued_start(actions, run)
        except FtlabError as error:
            page_events.show_warning(form.format_error(error))
            return [gr.skip()] * len(panel.list_outputs())
        return refresh_panel(actions, actions.select_run(page_state, run), {}, save_state=True)

    # Whether weights were downloaded may have changed since the server started.
    run_panel.get_page().load(
        lambda: gr.Radio(choices=form_fields.list_backbone_cards()),
        None,
        config_form.components["backbone"],
        **_UNQUEUED_EVENT,
    )
    start_event = panel.view.start_button.click(
        start_training,
        [panel.page_state, *data_components, *config_form.list_inputs()],
        panel.list_outputs(),
        **_QUEUED_EVENT,
    )
    start_event.then(None, None, None, js=_SCROLL_TO_PROGRESS_JS)
