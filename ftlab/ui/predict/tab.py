"""The Predict tab: a model, a picture, its top classes and where the evidence lies. Layout and wiring."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.ui.common import image_field
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty
from ftlab.ui.predict import cam_options
from ftlab.ui.predict.actions import SEVERAL, UNTRAINED, Lab
from ftlab.ui.train.tab import TrainTab

_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(profile: Profile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose run is chosen first.
        tab: this one; the models are listed anew when it is opened.
    """
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=5, min_width=320, elem_classes="ftlab-stays"):
            model = gr.Dropdown(
                [(messages.text("predict.untrained"), UNTRAINED)],
                value=UNTRAINED,
                label=messages.text("predict.model"),
                info=messages.text("predict.model_hint"),
                elem_id="predict-model",
            )
            picture = image_field.field("predict-image")
            examples = gr.HTML(elem_id="predict-examples", js_on_load=image_field.CHOICE, apply_default_css=False)
            with gr.Accordion(messages.text("predict.several"), open=False, elem_id="predict-several"):
                gr.HTML(
                    tag("p", messages.text("predict.several_hint", count=SEVERAL), class_="ftlab-about"),
                    elem_id="predict-several-hint",
                    apply_default_css=False,
                )
                files = gr.File(
                    file_count="multiple",
                    file_types=["image"],
                    label=messages.text("predict.files"),
                    height=140,
                    elem_id="predict-files",
                )
        with gr.Column(scale=7, min_width=320):
            scores = gr.HTML(
                empty("predict.nothing", "predict.nothing_step"),
                js_on_load=image_field.CHOICE,
                elem_id="predict-scores",
                apply_default_css=False,
            )
            with gr.Column(visible=False, elem_id="predict-evidence", elem_classes="ftlab-tight") as evidence:
                overlay = gr.HTML(js_on_load=image_field.SAVE, elem_id="predict-overlay", apply_default_css=False)
                with gr.Row():
                    image_field.opacity("predict-opacity", "predict-overlay")
                    of_class = gr.Dropdown(
                        [],
                        label=messages.text("predict.class"),
                        info=messages.text("predict.class_hint"),
                        min_width=260,
                        elem_id="predict-classes",
                    )
                look = cam_options.build()
    gallery = gr.HTML(elem_id="predict-gallery", js_on_load=image_field.CHOICE, apply_default_css=False)
    shown = gr.JSON({}, visible=False, elem_id="predict-shown")

    lab = Lab(profile)
    store = train_tab.run
    given = [store, model, picture, *look.asked]
    seen = [scores, evidence, overlay, of_class, look.layer, look.verdict]
    asking: dict[str, Any] = {"show_progress_on": scores, "concurrency_limit": 4, "trigger_mode": "always_last"}
    looking: dict[str, Any] = {**asking, "show_progress_on": overlay, "show_progress": "minimal"}

    for opened in (tab.select, _page().load):
        listed = opened(lab.models, [store, model, shown], [model, examples, shown], **_QUICK)
        listed.then(
            lab.warm, [store, model], None, show_progress="hidden", concurrency_limit=1, api_visibility="private"
        )
    picture.change(lab.predict, given, seen, api_name="predict", **asking)
    model.change(lab.predict, given, seen, api_visibility="private", **asking)
    model.input(lab.examples, [store, model], examples, **_QUICK)
    scores.select(lab.explain_row, given, seen, api_visibility="private", **looking)
    of_class.input(lab.explain, [*given, of_class], seen, api_name="explain", **looking)
    for asked in (look.method, look.layer, look.before):
        asked.input(lab.explain, [*given, of_class], seen, api_visibility="private", **looking)
    look.weigh.click(
        lab.weigh,
        [*given, of_class],
        look.verdict,
        api_name="weigh",
        show_progress="full",
        concurrency_limit=1,
        concurrency_id="weigh",
        trigger_mode="once",
    )
    examples.select(lab.take_example, [store, model], picture, **_QUICK)
    several: dict[str, Any] = {"show_progress_on": gallery, "concurrency_limit": 1, "trigger_mode": "always_last"}
    files.change(lab.predict_several, [store, model, files], gallery, api_name="predict_several", **several)
    gallery.select(lab.take_file, files, picture, **_QUICK)


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
