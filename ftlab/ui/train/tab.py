"""The Train tab: the form, what is to be known before Start, and the run as it goes. Layout and wiring only.

Nothing of a run lives here: every second the page asks `TrainActions.look`, which reads the run directory, and is sent the
parts that changed. So a reload, a second page and a restarted server find the run as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.utils import get_upload_folder

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs.directory import Run
from ftlab.ui.common import run_status
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.run_status import RunSnapshot
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.dataset.tab import DatasetTab
from ftlab.ui.train import augment_preview, form, layers, lr_finder, preflight, recipe_picker
from ftlab.ui.train.actions import TrainActions

LIVE_REFRESH_SECONDS, IDLE_REFRESH_SECONDS = 1.0, 4.0
"""Seconds between two looks of a page while its run goes on, and when it does not."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


@dataclass(frozen=True)
class TrainTab:
    """What other tabs need of this one: `page_state`, `{"run": name or None, "mine": [names]}`, kept in the browser; the
    form's components, and the configuration that their values make (`FtlabError` where they make none)."""

    page_state: gr.BrowserState
    inputs: list[Any]
    build_config: Callable[[Sequence[Any]], TrainConfig]


@dataclass(frozen=True)
class _RunPanel:
    """The components that show a run, in the order in which `_build_panel_updates` fills them."""

    page_state: gr.BrowserState
    head: gr.HTML
    curves: gr.HTML
    log: gr.HTML
    start_button: gr.Button
    stop_button: gr.Button
    resume_button: gr.Button
    result_row: gr.Row
    run_menu: gr.Dropdown
    timer: gr.Timer
    status_text: gr.Textbox
    shown_marks: gr.JSON

    def list_outputs(self) -> list[Any]:
        return list(vars(self).values())


def create_page_state() -> gr.BrowserState:
    """What the page keeps in the browser: `{"run": name or None, "mine": [names]}`. To be made outside the tabs: in
    a tab that was not opened yet, it would not be read."""
    return gr.BrowserState({"run": None}, storage_key="ftlab-run", secret="ftlab")


def build_train_tab(
    profile: ServerProfile, dataset_tab: DatasetTab, tabs: gr.Tabs, page_state: gr.BrowserState
) -> TrainTab:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        dataset_tab: whose choice of pictures is trained on.
        tabs: of the page; the ids are `dataset`, `train`, `predict`.
        page_state: as `create_page_state` makes it.
    """
    actions = TrainActions(profile)
    with gr.Row(elem_classes="ftlab-train"):
        with gr.Column(scale=6, min_width=340, elem_classes="ftlab-form"):
            recipe_menu = recipe_picker.build_recipe_menu()
            config_form = form.build_form(is_space=profile.is_space, limit_minutes=profile.max_minutes)
            data_components: list[Any] = [
                dataset_tab.sample,
                dataset_tab.location,
                dataset_tab.val_share,
                dataset_tab.test_share,
            ]
            lr_finder.build_finder_section(actions, config_form, [*data_components, *config_form.list_inputs()])
            augment_preview.build_preview_section(
                actions, config_form, [*data_components, *config_form.list_inputs()], tabs
            )
            preflight_panel = preflight.build_preflight()
            layers.build_layers_section(actions, config_form, [*data_components, *config_form.list_inputs()])
        with gr.Column(scale=7, min_width=340, elem_classes="ftlab-live"):
            with gr.Row(elem_classes="ftlab-buttons"):
                start_button = gr.Button(
                    messages.get_text("train.start"), variant="primary", elem_id="train-start", min_width=90
                )
                stop_button = gr.Button(
                    messages.get_text("train.stop"), elem_id="train-stop", interactive=False, min_width=90
                )
                resume_button = gr.Button(
                    messages.get_text("train.resume"), elem_id="train-resume", interactive=False, min_width=90
                )
            empty_snapshot = run_status.build_empty_snapshot()
            head = gr.HTML(empty_snapshot.head_html, elem_id="train-progress", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="ftlab-buttons") as result_row:
                predict_button = gr.Button(
                    messages.get_text("train.go"), variant="primary", elem_id="train-go", scale=2, min_width=160
                )
                save_button = gr.Button(messages.get_text("train.save"), elem_id="train-save", scale=1, min_width=120)
            curves = gr.HTML(
                empty_snapshot.curves_html,
                elem_id="train-curves",
                apply_default_css=False,
                js_on_load=(STATIC_DIR / "live.js").read_text(encoding="utf-8"),
            )
            run_menu = gr.Dropdown(
                [],
                value=None,
                label=messages.get_text("train.runs"),
                info=messages.get_text("train.runs_space" if profile.is_space else "train.runs_hint"),
                elem_id="train-runs",
                visible=False,
            )
            with gr.Accordion(messages.get_text("train.log"), open=True, elem_id="train-log-fold"):
                log = gr.HTML(empty_snapshot.log_html, elem_id="train-log", apply_default_css=False)
    timer = gr.Timer(IDLE_REFRESH_SECONDS)
    shown_marks = gr.JSON({}, visible=False, elem_id="train-seen")
    status_text = gr.Textbox(visible="hidden", elem_id="train-phase")
    panel = _RunPanel(
        page_state,
        head,
        curves,
        log,
        start_button,
        stop_button,
        resume_button,
        result_row,
        run_menu,
        timer,
        status_text,
        shown_marks,
    )
    fill_events = [config_form.wire_defaults(), *recipe_menu.wire_events(actions, config_form, data_components)]
    preflight_panel.wire_events(actions, config_form, data_components, [panel.status_text, tabs], fill_events)
    _wire_start(actions, config_form, data_components, panel)
    _wire_run_panel(actions, panel, tabs)
    predict_button.click(lambda: gr.Tabs(selected="predict"), None, tabs, **_UNQUEUED_EVENT)
    _wire_curves_download(actions, page_state, save_button)
    return TrainTab(
        page_state,
        [*data_components, *config_form.list_inputs()],
        lambda input_values: actions.parse_inputs(config_form, input_values)[1],
    )


def _wire_start(
    actions: TrainActions, config_form: form.ConfigForm, data_components: list[Any], panel: _RunPanel
) -> None:
    def start_training(page_state: object, *input_values: Any) -> list[Any]:
        try:
            _, config = actions.parse_inputs(config_form, input_values)
            run = actions.start_training(config)
        except FtlabError as error:
            gr.Warning(form.format_error(error))
            return [gr.skip()] * len(panel.list_outputs())
        return _refresh_panel(actions, actions.select_run(page_state, run), {}, save_state=True)

    _get_page().load(
        lambda: gr.Radio(choices=form.list_backbone_cards()),
        None,
        config_form.components["backbone"],
        **_UNQUEUED_EVENT,
    )
    start_event = panel.start_button.click(
        start_training,
        [panel.page_state, *data_components, *config_form.list_inputs()],
        panel.list_outputs(),
        **_QUEUED_EVENT,
    )
    start_event.then(None, None, None, js=_SCROLL_TO_PROGRESS_JS)


def _wire_run_panel(actions: TrainActions, panel: _RunPanel, tabs: gr.Tabs) -> None:
    outputs = panel.list_outputs()

    def stop_training(page_state: object, shown_marks: object) -> list[Any]:
        run = actions.get_selected_run(page_state)
        try:
            if run is not None and run.is_active():
                # What the button said when it was pressed counts, not what it would say by now.
                actions.stop_training(run, by_force=isinstance(shown_marks, dict) and shown_marks.get("stop") == "end")
        except FtlabError as error:
            gr.Warning(form.format_error(error))
        return _refresh_panel(actions, page_state, shown_marks)

    def resume_training(page_state: object) -> list[Any]:
        run = actions.get_selected_run(page_state)
        try:
            if run is not None:
                actions.resume_training(run)
        except FtlabError as error:
            gr.Warning(form.format_error(error))
        return _refresh_panel(actions, page_state, {})

    def choose_run(run_name: object, page_state: object) -> list[Any]:
        if not isinstance(run_name, str) or run_name not in actions.list_offered_runs(page_state):
            return [gr.skip()] * len(outputs)
        return _refresh_panel(
            actions, actions.select_run(page_state, Run(actions.profile.runs_dir / run_name)), {}, save_state=True
        )

    def reopen_train_tab(page_state: object) -> Any:
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        return gr.Tabs(selected="train") if run_name and actions.take_snapshot(page_state).is_live else gr.skip()

    _get_page().load(reopen_train_tab, panel.page_state, tabs, **_UNQUEUED_EVENT)
    panel.timer.tick(
        lambda page_state, shown_marks: _refresh_panel(actions, page_state, shown_marks),
        [panel.page_state, panel.shown_marks],
        outputs,
        **_UNQUEUED_EVENT,
    )
    _get_page().load(
        lambda page_state: _refresh_panel(actions, page_state, {}), panel.page_state, outputs, **_UNQUEUED_EVENT
    )
    panel.stop_button.click(stop_training, [panel.page_state, panel.shown_marks], outputs, **_QUEUED_EVENT)
    panel.resume_button.click(resume_training, panel.page_state, outputs, **_QUEUED_EVENT)
    panel.run_menu.input(choose_run, [panel.run_menu, panel.page_state], outputs, **_UNQUEUED_EVENT)


def _wire_curves_download(actions: TrainActions, page_state: gr.BrowserState, save_button: gr.Button) -> None:
    download_button = gr.DownloadButton(visible="hidden", elem_id="train-file")

    def save_curves(page_state: object) -> Any:
        try:
            return str(actions.save_curves_image(page_state, Path(get_upload_folder())))
        except FtlabError as error:
            gr.Warning(str(error))
            return None

    # A download button gives the file it had before the click; so another one makes the file, and clicks it.
    save_event = save_button.click(save_curves, page_state, download_button, **_QUEUED_EVENT)
    save_event.success(None, None, None, js=_DOWNLOAD_JS)


def _refresh_panel(
    actions: TrainActions, page_state: object, shown_marks: object, save_state: bool = False
) -> list[Any]:
    """Values for the panel's components: what is new since `shown_marks`. Never raises.

    Args:
        page_state: what the page keeps.
        shown_marks: marks of what it shows.
        save_state: the store changed and is to be written to the browser.
    """
    try:
        snapshot = actions.take_snapshot(page_state)
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        if snapshot.run_name and snapshot.run_name != run_name:  # found at work, by a page that had no run of its own
            page_state, save_state = (
                {**(page_state if isinstance(page_state, dict) else {}), "run": snapshot.run_name},
                True,
            )
        choices = actions.list_run_choices(page_state, snapshot)
    except Exception as cause:  # a tick that raises is invisible on the page
        logging.getLogger(__name__).exception("the runs cannot be shown")
        snapshot, choices = run_status.build_error_snapshot("", cause), []
    return _build_panel_updates(
        snapshot, choices, page_state if save_state else None, shown_marks if isinstance(shown_marks, dict) else {}
    )


def _build_panel_updates(
    snapshot: RunSnapshot, choices: list[tuple[str, str]], page_state: object, shown_marks: dict[str, Any]
) -> list[Any]:
    marks = {
        "run": snapshot.run_name,
        **snapshot.digest_parts(),
        "runs": run_status.digest_text(repr(choices)),
        "live": snapshot.is_live,
        "stop": snapshot.stop_action,
    }
    changed = {key: marks[key] != shown_marks.get(key) for key in marks}
    skip = gr.skip()
    buttons_changed = changed["buttons"] or changed["run"]
    return [
        skip if page_state is None else page_state,
        snapshot.head_html if changed["head"] else skip,
        snapshot.curves_html if changed["curves"] else skip,
        snapshot.log_html if changed["log"] else skip,
        gr.Button(interactive=not snapshot.is_live) if buttons_changed else skip,
        _build_stop_button(snapshot) if buttons_changed else skip,
        gr.Button(interactive=snapshot.is_resumable) if buttons_changed else skip,
        gr.Row(visible=snapshot.has_model and not snapshot.is_live) if buttons_changed else skip,
        gr.Dropdown(choices=choices, value=snapshot.run_name or None, visible=bool(choices))
        if changed["runs"] or changed["run"]
        else skip,
        gr.Timer(value=LIVE_REFRESH_SECONDS if snapshot.is_live else IDLE_REFRESH_SECONDS) if changed["live"] else skip,
        snapshot.status if buttons_changed else skip,
        marks if any(changed.values()) else skip,
    ]


def _build_stop_button(snapshot: RunSnapshot) -> gr.Button:
    by_force = snapshot.stop_action == "end"
    label = messages.get_text("train.end" if by_force else "train.stop")
    return gr.Button(label, variant="stop" if by_force else "secondary", interactive=bool(snapshot.stop_action))


def _get_page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page


_DOWNLOAD_JS = "() => document.querySelector('#train-file a, a#train-file, #train-file')?.click()"
_SCROLL_TO_PROGRESS_JS = (
    "() => document.getElementById('train-progress')?.scrollIntoView({behavior: 'smooth', block: 'nearest'})"
)
