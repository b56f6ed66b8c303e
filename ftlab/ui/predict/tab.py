"""Layout and events of the Predict tab: a model, an image, its top classes and their class activation maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import image_field
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.predict import cam_options
from ftlab.ui.predict.actions import UNTRAINED_MODEL, PredictActions, make_message_outputs
from ftlab.ui.predict.answer_threads import AnswerThreads
from ftlab.ui.predict.cam_options import CamControls
from ftlab.ui.predict.gallery_actions import MAX_IMAGES_PER_REQUEST, GalleryActions
from ftlab.ui.presentation.buttons import render_full_screen_button
from ftlab.ui.train.tab import TrainTab

# The names without a prefix are those of the endpoints for programs, see `ftlab.ui.api`.
_ANSWER_EVENT: dict[str, Any] = {
    "api_name": "show_prediction",
    "api_visibility": "private",
    "queue": False,
    "trigger_mode": "always_last",
}
# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_REJECT_JS = "(rejects) => { document.body.classList.toggle('ftlab-rejects', rejects); }"
"""Both headings of an unsure answer are on the page; `static/style.css` shows one of them, without a request."""


@dataclass(frozen=True)
class _InputColumn:
    """Components of the left column: the model and what it predicts."""

    model: gr.Dropdown
    image: gr.Image
    examples: gr.HTML
    files: gr.File


@dataclass(frozen=True)
class _ResultColumn:
    """Components of the right column: scores, and below them the evidence for a class."""

    scores: gr.HTML
    evidence: gr.Column
    overlay: gr.HTML
    class_menu: gr.Dropdown
    shown_menus: gr.Textbox
    cam_controls: CamControls


def build_predict_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab, answer_threads: AnswerThreads) -> None:
    """Build the components of the tab in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        train_tab: its run is selected first.
        tab: this tab; the models are listed anew each time it is selected.
        answer_threads: compute the answers to one image.
    """
    with gr.Row(elem_classes="ftlab-split"):
        source = _build_input_column()
        result = _build_result_column()
    gallery = gr.HTML(elem_id="predict-gallery", js_on_load=image_field.SELECT_BUTTON_JS, apply_default_css=False)
    run_note = gr.JSON({}, visible=False, elem_id="predict-shown")

    actions = PredictActions(profile)
    page_state, model = train_tab.page_state, source.model
    # The order of registration numbers the events, which the page and its tests refer to.
    for open_event in (tab.select, _get_page().load):
        list_event = open_event(
            actions.list_models, [page_state, model, run_note], [model, source.examples, run_note], **_UNQUEUED_EVENT
        )
        # In an event of its own, because the menu must not wait for torch.
        list_event.then(
            actions.preload_model,
            [page_state, model],
            None,
            show_progress="hidden",
            concurrency_limit=1,
            api_visibility="private",
        )
    _wire_prediction(actions, answer_threads, page_state, source, result)
    source.examples.select(actions.select_example, [page_state, model], source.image, **_UNQUEUED_EVENT)
    gallery_actions = GalleryActions(actions.load_predictor)
    source.files.change(
        gallery_actions.predict_several,
        [page_state, model, source.files],
        gallery,
        api_visibility="private",
        show_progress_on=gallery,
        concurrency_limit=1,
        trigger_mode="always_last",
    )
    gallery.select(gallery_actions.select_file, source.files, source.image, **_UNQUEUED_EVENT)


def _build_input_column() -> _InputColumn:
    with gr.Column(scale=5, min_width=320, elem_classes="ftlab-stays"):
        model = gr.Dropdown(
            [(messages.get_text("predict.untrained"), UNTRAINED_MODEL)],
            value=UNTRAINED_MODEL,
            label=messages.get_text("predict.model"),
            info=messages.get_text("predict.model_hint"),
            elem_id="predict-model",
        )
        image_input = image_field.build_image_field("predict-image")
        examples = gr.HTML(elem_id="predict-examples", js_on_load=image_field.SELECT_BUTTON_JS, apply_default_css=False)
        rejects = gr.Checkbox(
            value=False,
            label=messages.get_text("predict.reject"),
            info=messages.get_text("predict.reject_hint"),
            elem_id="predict-reject",
        )
        rejects.change(None, rejects, None, js=_REJECT_JS, api_visibility="private")
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
    return _InputColumn(model, image_input, examples, files)


def _build_result_column() -> _ResultColumn:
    with gr.Column(scale=7, min_width=320, elem_id="predict-result"):
        scores = gr.HTML(
            render_empty_state("predict.nothing", "predict.nothing_step"),
            js_on_load=image_field.SELECT_BUTTON_JS,
            elem_id="predict-scores",
            apply_default_css=False,
        )
        with gr.Column(visible=False, elem_id="predict-evidence", elem_classes="ftlab-tight") as evidence:
            gr.HTML(render_full_screen_button("predict-result"), elem_id="predict-full-screen", apply_default_css=False)
            overlay = gr.HTML(js_on_load=image_field.HEAT_JS, elem_id="predict-overlay", apply_default_css=False)
            with gr.Row(elem_id="predict-overlay-tools"):
                image_field.build_opacity_slider("predict-opacity", "predict-overlay")
                class_menu = gr.Dropdown(
                    [],
                    label=messages.get_text("predict.class"),
                    info=messages.get_text("predict.class_hint"),
                    min_width=260,
                    # A class may be typed by its name; and its number is one that Gradio may have forgotten.
                    allow_custom_value=True,
                    elem_id="predict-classes",
                )
            cam_controls = cam_options.build_cam_controls()
    shown_menus = gr.Textbox("", visible=False, elem_id="predict-menus")
    return _ResultColumn(scores, evidence, overlay, class_menu, shown_menus, cam_controls)


def _wire_prediction(
    actions: PredictActions,
    answer_threads: AnswerThreads,
    page_state: gr.BrowserState,
    source: _InputColumn,
    result: _ResultColumn,
) -> None:
    """Register the prediction of an image, its explanation, and the faithfulness test.

    Args:
        actions: handlers of the tab.
        answer_threads: compute the answers.
        page_state: see `ftlab.ui.train.visible_runs`.
        source: model and image.
        result: where the results are shown.
    """
    cam_controls, menus = result.cam_controls, result.shown_menus
    inputs = [page_state, source.model, source.image, *cam_controls.option_inputs]
    class_inputs = [*inputs, result.class_menu, menus]
    outputs = [
        result.scores,
        result.evidence,
        result.overlay,
        result.class_menu,
        cam_controls.layer,
        cam_controls.verdict,
        menus,
    ]
    predict, explain, explain_pressed_class = (
        answer_threads.run_aside(handler, lambda text: make_message_outputs(render_error(text)))
        for handler in (actions.predict, actions.explain, actions.explain_pressed_class)
    )
    predict_options = {**_ANSWER_EVENT, "show_progress_on": result.scores}
    explain_options: dict[str, Any] = {
        **predict_options,
        "api_name": "show_explanation",
        "show_progress_on": result.overlay,
        "show_progress": "minimal",
    }
    source.image.change(predict, [*inputs, menus], outputs, **predict_options)
    source.model.change(predict, [*inputs, menus], outputs, **predict_options)
    # `input` only: when the program selects a model, `list_models` has sent its examples already.
    source.model.input(actions.render_examples, [page_state, source.model], source.examples, **_UNQUEUED_EVENT)
    result.scores.select(explain_pressed_class, [*inputs, menus], outputs, **explain_options)
    result.class_menu.input(explain, class_inputs, outputs, **explain_options)
    for control in (cam_controls.method, cam_controls.layer, cam_controls.show_baseline):
        control.input(explain, class_inputs, outputs, **explain_options)
    cam_controls.score_button.click(
        actions.score_faithfulness,
        class_inputs,
        cam_controls.verdict,
        api_visibility="private",
        show_progress="full",
        concurrency_limit=1,  # some two hundred forward passes
        concurrency_id="weigh",
        trigger_mode="once",
    )


def _get_page() -> gr.Blocks:
    """Return the page in whose context the tab is built."""
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
