"""The Inspect tab: how good a model is, what it takes for what, and where it looked. Layout and wiring."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.inspect.actions import WEIGHT_CHOICES, InspectActions
from ftlab.ui.train.tab import TrainTab

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_PRESS_JS = (STATIC_DIR / "inspect.js").read_text(encoding="utf-8")
_IMAGE_KINDS = ("mistakes", "hits", "random")
_SCROLL_TO_PAIR_JS = (
    "() => document.getElementById('inspect-pair').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
)
_CLICK_DOWNLOAD_JS = "() => document.querySelector('#inspect-file a, a#inspect-file, #inspect-file')?.click()"


def build_inspect_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose run is chosen first.
        tab: this one; the models are listed anew when it is opened.
    """
    data_root = profile.data_root
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=4, min_width=320):
            model = gr.Dropdown(
                [],
                label=messages.get_text("inspect.model"),
                info=messages.get_text("inspect.model_hint"),
                elem_id="inspect-model",
            )
            split = gr.Radio(
                [],
                label=messages.get_text("inspect.split"),
                info=messages.get_text("inspect.split_hint"),
                elem_id="inspect-split",
            )
            # Gradio would refuse a choice that the run before had while it tells of this one's; the handlers check it.
            split.preprocess = lambda payload: payload  # type: ignore[method-assign]
            folder = gr.Textbox(
                value=f"{data_root}{os.sep}" if data_root else "",
                label=messages.get_text("inspect.folder"),
                info=messages.get_text("inspect.folder_hint"),
                max_lines=1,
                visible=False,
                elem_id="inspect-folder",
            )
            weights = gr.Radio(
                [(messages.get_text(f"inspect.weights.{name}"), name) for name in WEIGHT_CHOICES],
                value="best",
                label=messages.get_text("inspect.which"),
                info=messages.get_text("inspect.which_hint"),
                elem_id="inspect-which",
            )
            evaluate_button = gr.Button(
                messages.get_text("inspect.button"), variant="primary", interactive=False, elem_id="inspect-go"
            )
        with gr.Column(scale=8, min_width=320):
            scores = gr.HTML(
                render_empty_state("inspect.no_models", "inspect.no_models_step"),
                elem_id="inspect-scores",
                apply_default_css=False,
            )
    with gr.Column(visible=False, elem_id="inspect-results") as results:
        with gr.Row(elem_classes="ftlab-split"):
            with gr.Column(scale=6, min_width=320):
                matrix = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-matrix", apply_default_css=False)
                classes = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-classes", apply_default_css=False)
            with gr.Column(scale=6, min_width=320):
                kind = gr.Radio(
                    [(messages.get_text(f"inspect.kind.{name}"), name) for name in _IMAGE_KINDS],
                    value="mistakes",
                    label=messages.get_text("inspect.pictures"),
                    info=messages.get_text("inspect.pictures_hint"),
                    elem_id="inspect-kind",
                )
                gallery = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-gallery", apply_default_css=False)
                next_button = gr.Button(messages.get_text("inspect.others"), visible=False, elem_id="inspect-others")
        pair = gr.HTML(elem_id="inspect-pair", apply_default_css=False)
        calibration = gr.HTML(elem_id="inspect-calibration", apply_default_css=False)
        downloads = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-downloads", apply_default_css=False)
    gallery_state = gr.JSON({}, visible=False, elem_id="inspect-picked")
    run_note = gr.JSON({}, visible=False, elem_id="inspect-noted")
    download_button = gr.DownloadButton(visible="hidden", elem_id="inspect-file")

    actions = InspectActions(profile)
    page_state = train_tab.page_state
    choice_inputs = [page_state, model, weights, split, folder]
    gallery_outputs = [gallery, next_button, gallery_state, pair]
    outputs = [scores, results, matrix, classes, calibration, downloads, kind, *gallery_outputs]
    event_options: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
    latest_options: dict[str, Any] = {**event_options, "trigger_mode": "always_last"}

    # Only here: a second answer, late, would take back what was chosen since the first.
    list_event = tab.select(
        actions.list_models,
        [page_state, model, split, run_note],
        [model, split, run_note, evaluate_button],
        **_UNQUEUED_EVENT,
    )
    list_event.then(actions.show_results, choice_inputs, outputs, **latest_options)
    choose_event = model.input(actions.list_splits, [page_state, model, split], split, **_UNQUEUED_EVENT)
    choose_event.then(actions.show_results, choice_inputs, outputs, **latest_options)
    split.change(actions.show_folder_field, split, folder, **_UNQUEUED_EVENT)
    gr.on([split.input, weights.input], actions.show_results, choice_inputs, outputs, **latest_options)
    gr.on(
        [evaluate_button.click, folder.submit],
        actions.evaluate,
        choice_inputs,
        outputs,
        api_name="evaluate",
        show_progress_on=scores,
        concurrency_limit=1,
    )
    kind.input(actions.select_kind, [*choice_inputs, kind], gallery_outputs, **latest_options)
    matrix.select(actions.select_cell, choice_inputs, [*gallery_outputs, kind], **latest_options)
    next_button.click(actions.show_next_page, [*choice_inputs, gallery_state], gallery_outputs, **latest_options)
    explain_event = gallery.select(
        actions.explain_image,
        choice_inputs,
        pair,
        **{**latest_options, "show_progress": "minimal", "show_progress_on": pair},
    )
    explain_event.then(None, None, None, js=_SCROLL_TO_PAIR_JS)
    export_event = downloads.select(
        actions.export_file, choice_inputs, download_button, **{**event_options, "show_progress": "minimal"}
    )
    export_event.success(None, None, None, js=_CLICK_DOWNLOAD_JS)
