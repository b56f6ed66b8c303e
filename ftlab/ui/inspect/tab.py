"""The Inspect tab: how good a model is, what it takes for what, and where it looked. Layout and wiring."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty
from ftlab.ui.common.theme import STATIC
from ftlab.ui.inspect.actions import WEIGHTS, Inspector
from ftlab.ui.train.tab import TrainTab

_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_PRESS = (STATIC / "inspect.js").read_text(encoding="utf-8")
_KINDS = ("mistakes", "hits", "random")
_TO_PAIR = "() => document.getElementById('inspect-pair').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
_DOWNLOAD = "() => document.querySelector('#inspect-file a, a#inspect-file, #inspect-file')?.click()"


def build(profile: Profile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose run is chosen first.
        tab: this one; the models are listed anew when it is opened.
    """
    root = profile.data_root
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=4, min_width=320):
            model = gr.Dropdown(
                [],
                label=messages.text("inspect.model"),
                info=messages.text("inspect.model_hint"),
                elem_id="inspect-model",
            )
            split = gr.Radio(
                [],
                label=messages.text("inspect.split"),
                info=messages.text("inspect.split_hint"),
                elem_id="inspect-split",
            )
            # Gradio would refuse a choice that the run before had while it tells of this one's; the handlers check it.
            split.preprocess = lambda payload: payload  # type: ignore[method-assign]
            folder = gr.Textbox(
                value=f"{root}{os.sep}" if root else "",
                label=messages.text("inspect.folder"),
                info=messages.text("inspect.folder_hint"),
                max_lines=1,
                visible=False,
                elem_id="inspect-folder",
            )
            which = gr.Radio(
                [(messages.text(f"inspect.weights.{one}"), one) for one in WEIGHTS],
                value="best",
                label=messages.text("inspect.which"),
                info=messages.text("inspect.which_hint"),
                elem_id="inspect-which",
            )
            go = gr.Button(messages.text("inspect.button"), variant="primary", interactive=False, elem_id="inspect-go")
        with gr.Column(scale=8, min_width=320):
            scores = gr.HTML(
                empty("inspect.no_models", "inspect.no_models_step"), elem_id="inspect-scores", apply_default_css=False
            )
    with gr.Column(visible=False, elem_id="inspect-results") as results:
        with gr.Row(elem_classes="ftlab-split"):
            with gr.Column(scale=6, min_width=320):
                matrix = gr.HTML(js_on_load=_PRESS, elem_id="inspect-matrix", apply_default_css=False)
                classes = gr.HTML(js_on_load=_PRESS, elem_id="inspect-classes", apply_default_css=False)
            with gr.Column(scale=6, min_width=320):
                kind = gr.Radio(
                    [(messages.text(f"inspect.kind.{one}"), one) for one in _KINDS],
                    value="mistakes",
                    label=messages.text("inspect.pictures"),
                    info=messages.text("inspect.pictures_hint"),
                    elem_id="inspect-kind",
                )
                gallery = gr.HTML(js_on_load=_PRESS, elem_id="inspect-gallery", apply_default_css=False)
                others = gr.Button(messages.text("inspect.others"), visible=False, elem_id="inspect-others")
        pair = gr.HTML(elem_id="inspect-pair", apply_default_css=False)
        calibrated = gr.HTML(elem_id="inspect-calibration", apply_default_css=False)
        downloads = gr.HTML(js_on_load=_PRESS, elem_id="inspect-downloads", apply_default_css=False)
    picked = gr.JSON({}, visible=False, elem_id="inspect-picked")
    noted = gr.JSON({}, visible=False, elem_id="inspect-noted")
    file = gr.DownloadButton(visible="hidden", elem_id="inspect-file")

    desk = Inspector(profile)
    store = train_tab.run
    choice = [store, model, which, split, folder]
    pictures = [gallery, others, picked, pair]
    seen = [scores, results, matrix, classes, calibrated, downloads, kind, *pictures]
    showing: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
    looking: dict[str, Any] = {**showing, "trigger_mode": "always_last"}

    # Only here: a second answer, late, would take back what was chosen since the first.
    listed = tab.select(desk.models, [store, model, split, noted], [model, split, noted, go], **_QUICK)
    listed.then(desk.show, choice, seen, **looking)
    chosen = model.input(desk.splits, [store, model, split], split, **_QUICK)
    chosen.then(desk.show, choice, seen, **looking)
    split.change(desk.open_folder, split, folder, **_QUICK)
    gr.on([split.input, which.input], desk.show, choice, seen, **looking)
    gr.on(
        [go.click, folder.submit],
        desk.evaluate,
        choice,
        seen,
        api_name="evaluate",
        show_progress_on=scores,
        concurrency_limit=1,
    )
    kind.input(desk.pick_kind, [*choice, kind], pictures, **looking)
    matrix.select(desk.pick_cell, choice, [*pictures, kind], **looking)
    others.click(desk.turn, [*choice, picked], pictures, **looking)
    looked = gallery.select(
        desk.look, choice, pair, **{**looking, "show_progress": "minimal", "show_progress_on": pair}
    )
    looked.then(None, None, None, js=_TO_PAIR)
    made = downloads.select(desk.file, choice, file, **{**showing, "show_progress": "minimal"})
    made.success(None, None, None, js=_DOWNLOAD)
