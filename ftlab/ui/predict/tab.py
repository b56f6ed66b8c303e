"""The Predict tab: a model, a picture, its top classes and where the evidence lies. Layout and wiring."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.ui.common import image_field
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.predict import cam_options
from ftlab.ui.predict.actions import MAX_IMAGES_PER_REQUEST, UNTRAINED_MODEL, PredictActions
from ftlab.ui.train.tab import TrainTab

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_predict_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose run is chosen first.
        tab: this one; the models are listed anew when it is opened.
    """
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=5, min_width=320, elem_classes="ftlab-stays"):
            model = gr.Dropdown(
                [(messages.get_text("predict.untrained"), UNTRAINED_MODEL)],
                value=UNTRAINED_MODEL,
                label=messages.get_text("predict.model"),
                info=messages.get_text("predict.model_hint"),
                elem_id="predict-model",
            )
            image_input = image_field.build_image_field("predict-image")
            examples = gr.HTML(
                elem_id="predict-examples", js_on_load=image_field.SELECT_BUTTON_JS, apply_default_css=False
            )
            with gr.Accordion(messages.get_text("predict.several"), open=False, elem_id="predict-several"):
                gr.HTML(
                    tag(
                        "p",
                        messages.get_text("predict.several_hint", count=MAX_IMAGES_PER_REQUEST),
                        class_="ftlab-about",
                    ),
                    elem_id="predict-several-hint",
                    apply_default_css=False,
                )
                files = gr.File(
                    file_count="multiple",
                    file_types=["image"],
                    label=messages.get_text("predict.files"),
                    height=140,
                    elem_id="predict-files",
                )
        with gr.Column(scale=7, min_width=320):
            scores = gr.HTML(
                render_empty_state("predict.nothing", "predict.nothing_step"),
                js_on_load=image_field.SELECT_BUTTON_JS,
                elem_id="predict-scores",
                apply_default_css=False,
            )
            with gr.Column(visible=False, elem_id="predict-evidence", elem_classes="ftlab-tight") as evidence:
                overlay = gr.HTML(
                    js_on_load=image_field.SAVE_OVERLAY_JS, elem_id="predict-overlay", apply_default_css=False
                )
                with gr.Row():
                    image_field.build_opacity_slider("predict-opacity", "predict-overlay")
                    class_dropdown = gr.Dropdown(
                        [],
                        label=messages.get_text("predict.class"),
                        info=messages.get_text("predict.class_hint"),
                        min_width=260,
                        elem_id="predict-classes",
                    )
                cam_controls = cam_options.build_cam_controls()
    gallery = gr.HTML(elem_id="predict-gallery", js_on_load=image_field.SELECT_BUTTON_JS, apply_default_css=False)
    run_note = gr.JSON({}, visible=False, elem_id="predict-shown")

    actions = PredictActions(profile)
    page_state = train_tab.page_state
    inputs = [page_state, model, image_input, *cam_controls.option_inputs]
    outputs = [scores, evidence, overlay, class_dropdown, cam_controls.layer, cam_controls.verdict]
    predict_options: dict[str, Any] = {
        "show_progress_on": scores,
        "concurrency_limit": 4,
        "trigger_mode": "always_last",
    }
    explain_options: dict[str, Any] = {**predict_options, "show_progress_on": overlay, "show_progress": "minimal"}

    for open_event in (tab.select, _get_page().load):
        list_event = open_event(
            actions.list_models, [page_state, model, run_note], [model, examples, run_note], **_UNQUEUED_EVENT
        )
        list_event.then(
            actions.preload_model,
            [page_state, model],
            None,
            show_progress="hidden",
            concurrency_limit=1,
            api_visibility="private",
        )
    image_input.change(actions.predict, inputs, outputs, api_name="predict", **predict_options)
    model.change(actions.predict, inputs, outputs, api_visibility="private", **predict_options)
    model.input(actions.render_examples, [page_state, model], examples, **_UNQUEUED_EVENT)
    scores.select(actions.explain_pressed_class, inputs, outputs, api_visibility="private", **explain_options)
    class_dropdown.input(actions.explain, [*inputs, class_dropdown], outputs, api_name="explain", **explain_options)
    for control in (cam_controls.method, cam_controls.layer, cam_controls.show_baseline):
        control.input(actions.explain, [*inputs, class_dropdown], outputs, api_visibility="private", **explain_options)
    cam_controls.score_button.click(
        actions.score_faithfulness,
        [*inputs, class_dropdown],
        cam_controls.verdict,
        api_name="weigh",
        show_progress="full",
        concurrency_limit=1,
        concurrency_id="weigh",
        trigger_mode="once",
    )
    examples.select(actions.select_example, [page_state, model], image_input, **_UNQUEUED_EVENT)
    batch_options: dict[str, Any] = {"show_progress_on": gallery, "concurrency_limit": 1, "trigger_mode": "always_last"}
    files.change(
        actions.predict_several, [page_state, model, files], gallery, api_name="predict_several", **batch_options
    )
    gallery.select(actions.select_file, files, image_input, **_UNQUEUED_EVENT)


def _get_page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
