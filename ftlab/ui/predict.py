"""The Predict tab: a model, a picture, its top classes and where the evidence lies. Layout and wiring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.data_classes import ImageData

from ftlab import words
from ftlab.ui import looks
from ftlab.ui.guard import Profile
from ftlab.ui.lab import SEVERAL, UNTRAINED, Lab
from ftlab.ui.markup import empty, tag
from ftlab.ui.train import TrainTab

OPACITY = 0.6
"""Of the heat at first; the style sheet has the same."""
_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_CHOICE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""
_BLEND = "(share) => document.getElementById('predict-overlay').style.setProperty('--heat', share)"
_SAVE = (Path(__file__).parent / "static" / "overlay.js").read_text(encoding="utf-8")


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
                [(words.text("predict.untrained"), UNTRAINED)],
                value=UNTRAINED,
                label=words.text("predict.model"),
                info=words.text("predict.model_hint"),
                elem_id="predict-model",
            )
            picture = gr.Image(
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard", "webcam"],
                height=300,
                label=words.text("predict.image"),
                placeholder=words.text("predict.image_hint"),
                buttons=["fullscreen"],
                elem_id="predict-image",
            )
            # Gradio would open the file to convert it, and answer a broken one with a box over everything.
            picture.preprocess = _as_sent  # type: ignore[method-assign]
            examples = gr.HTML(elem_id="predict-examples", js_on_load=_CHOICE, apply_default_css=False)
            with gr.Accordion(words.text("predict.several"), open=False, elem_id="predict-several"):
                gr.HTML(
                    tag("p", words.text("predict.several_hint", count=SEVERAL), class_="ftlab-about"),
                    elem_id="predict-several-hint",
                    apply_default_css=False,
                )
                files = gr.File(
                    file_count="multiple",
                    file_types=["image"],
                    label=words.text("predict.files"),
                    height=140,
                    elem_id="predict-files",
                )
        with gr.Column(scale=7, min_width=320):
            scores = gr.HTML(
                empty("predict.nothing", "predict.nothing_step"),
                js_on_load=_CHOICE,
                elem_id="predict-scores",
                apply_default_css=False,
            )
            with gr.Column(visible=False, elem_id="predict-evidence", elem_classes="ftlab-tight") as evidence:
                overlay = gr.HTML(js_on_load=_SAVE, elem_id="predict-overlay", apply_default_css=False)
                with gr.Row():
                    opacity = gr.Slider(
                        0.0,
                        1.0,
                        value=OPACITY,
                        step=0.05,
                        label=words.text("predict.opacity"),
                        info=words.text("predict.opacity_hint"),
                        min_width=260,
                        buttons=[],
                        elem_id="predict-opacity",
                    )
                    of_class = gr.Dropdown(
                        [],
                        label=words.text("predict.class"),
                        info=words.text("predict.class_hint"),
                        min_width=260,
                        elem_id="predict-classes",
                    )
                look = looks.build()
    gallery = gr.HTML(elem_id="predict-gallery", js_on_load=_CHOICE, apply_default_css=False)
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
    opacity.change(None, opacity, None, js=_BLEND)
    examples.select(lab.take_example, [store, model], picture, **_QUICK)
    several: dict[str, Any] = {"show_progress_on": gallery, "concurrency_limit": 1, "trigger_mode": "always_last"}
    files.change(lab.predict_several, [store, model, files], gallery, api_name="predict_several", **several)
    gallery.select(lab.take_file, files, picture, **_QUICK)


def _as_sent(payload: ImageData | None) -> str | None:
    """The uploaded file itself. Gradio has checked that it lies among the uploads."""
    return payload.path if payload else None


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
