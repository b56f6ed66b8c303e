"""Layout and events of the Inspect tab: metrics of a model, its confusions, its mistakes and their explanations."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import image_field
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.inspect.actions import InspectActions
from ftlab.ui.inspect.choices import WEIGHT_CHOICES
from ftlab.ui.train.tab import TrainTab

# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_EVENT: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
_LATEST_EVENT: dict[str, Any] = {**_EVENT, "trigger_mode": "always_last"}
_PRESS_JS = (STATIC_DIR / "inspect.js").read_text(encoding="utf-8")
_IMAGE_KINDS = ("mistakes", "hits", "random")
_SCROLL_TO_PAIR_JS = (
    "() => document.getElementById('inspect-pair').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
)
_CLICK_DOWNLOAD_JS = "() => document.querySelector('#inspect-file a, a#inspect-file, #inspect-file')?.click()"


@dataclass(frozen=True)
class _ChoiceColumn:
    """Components that say what to evaluate."""

    model: gr.Dropdown
    split: gr.Radio
    folder: gr.Textbox
    weights: gr.Radio
    evaluate_button: gr.Button


@dataclass(frozen=True)
class _Results:
    """Components below the metrics, hidden until there is an evaluation."""

    section: gr.Column
    matrix: gr.HTML
    classes: gr.HTML
    kind: gr.Radio
    gallery: gr.HTML
    next_button: gr.Button
    pair: gr.HTML
    calibration: gr.HTML
    downloads: gr.HTML


def build_inspect_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Build the components of the tab in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        train_tab: its run is selected first.
        tab: this tab; the runs are listed anew each time it is selected.
    """
    with gr.Row(elem_classes="ftlab-split"):
        choice = _build_choice_column(profile)
        with gr.Column(scale=8, min_width=320):
            scores = gr.HTML(
                render_empty_state("inspect.no_models", "inspect.no_models_step"),
                elem_id="inspect-scores",
                apply_default_css=False,
            )
    results = _build_results()
    gallery_state = gr.JSON({}, visible=False, elem_id="inspect-picked")
    run_note = gr.JSON({}, visible=False, elem_id="inspect-noted")
    # Rendered though not displayed: the script must find it.
    download_button = gr.DownloadButton(visible="hidden", elem_id="inspect-file")

    actions = InspectActions(profile)
    choice_inputs = [train_tab.page_state, choice.model, choice.weights, choice.split, choice.folder]
    gallery_outputs = [results.gallery, results.next_button, gallery_state, results.pair]
    # The order of these outputs is known to the handlers, and that of the events to the page and its tests.
    outputs = [
        scores,
        results.section,
        results.matrix,
        results.classes,
        results.calibration,
        results.downloads,
        results.kind,
        *gallery_outputs,
    ]
    _wire_choice(actions, tab, choice, run_note, choice_inputs, outputs)
    _wire_gallery(actions, results, gallery_state, choice_inputs, gallery_outputs)
    # A download button gives the file that it had before the click. So another button makes the file and, on success,
    # clicks the hidden one.
    export_event = results.downloads.select(
        actions.export_file, choice_inputs, download_button, **{**_EVENT, "show_progress": "minimal"}
    )
    export_event.success(None, None, None, js=_CLICK_DOWNLOAD_JS)


def _build_choice_column(profile: ServerProfile) -> _ChoiceColumn:
    start_folder = profile.start_folder
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
        # Gradio would refuse a split of the run before while the page still sends it; the handlers check it themselves.
        split.preprocess = lambda payload: payload  # type: ignore[method-assign]
        folder = gr.Textbox(
            # With a separator at the end, so that a path can be typed on.
            value=f"{start_folder}{os.sep}" if start_folder else "",
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
    return _ChoiceColumn(model, split, folder, weights, evaluate_button)


def _build_results() -> _Results:
    with gr.Column(visible=False, elem_id="inspect-results") as section:
        with gr.Row(elem_classes="ftlab-split"):
            with gr.Column(scale=6, min_width=320):
                matrix = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-matrix", apply_default_css=False)
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
        # Directly below what is pressed; tables and figures that nothing is pressed in come after it.
        pair = gr.HTML(js_on_load=image_field.HEAT_JS, elem_id="inspect-pair", apply_default_css=False)
        classes = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-classes", apply_default_css=False)
        calibration = gr.HTML(elem_id="inspect-calibration", apply_default_css=False)
        downloads = gr.HTML(js_on_load=_PRESS_JS, elem_id="inspect-downloads", apply_default_css=False)
    return _Results(section, matrix, classes, kind, gallery, next_button, pair, calibration, downloads)


def _wire_choice(
    actions: InspectActions,
    tab: gr.Tab,
    choice: _ChoiceColumn,
    run_note: gr.JSON,
    choice_inputs: list[Any],
    outputs: list[Any],
) -> None:
    """Register what selects runs and splits, and the evaluation itself.

    Args:
        actions: handlers of the tab.
        tab: this tab.
        choice: the components of the choice.
        run_note: the page's own run when the runs were last listed, hidden.
        choice_inputs: components of an `EvaluationChoice`.
        outputs: components that show an evaluation; the first one shows progress.
    """
    page_state = choice_inputs[0]
    # On opening the tab only, not on loading the page: a second answer, late, would undo what was selected since the
    # first.
    list_event = tab.select(
        actions.list_models,
        [page_state, choice.model, choice.split, run_note],
        [choice.model, choice.split, run_note, choice.evaluate_button],
        **_UNQUEUED_EVENT,
    )
    list_event.then(actions.show_results, choice_inputs, outputs, **_LATEST_EVENT)
    choose_event = choice.model.input(
        actions.list_splits, [page_state, choice.model, choice.split], choice.split, **_UNQUEUED_EVENT
    )
    choose_event.then(actions.show_results, choice_inputs, outputs, **_LATEST_EVENT)
    choice.split.change(actions.show_folder_field, choice.split, choice.folder, **_UNQUEUED_EVENT)
    gr.on([choice.split.input, choice.weights.input], actions.show_results, choice_inputs, outputs, **_LATEST_EVENT)
    gr.on(
        [choice.evaluate_button.click, choice.folder.submit],
        actions.evaluate,
        choice_inputs,
        outputs,
        api_visibility="private",
        show_progress_on=outputs[0],
        concurrency_limit=1,  # an evaluation uses all cores, or the GPU
    )


def _wire_gallery(
    actions: InspectActions,
    results: _Results,
    gallery_state: gr.JSON,
    choice_inputs: list[Any],
    gallery_outputs: list[Any],
) -> None:
    """Register what selects images, and their explanation.

    Args:
        actions: handlers of the tab.
        results: the components of an evaluation.
        gallery_state: which images the gallery shows, hidden.
        choice_inputs: components of an `EvaluationChoice`.
        gallery_outputs: components that show images.
    """
    results.kind.input(actions.select_kind, [*choice_inputs, results.kind], gallery_outputs, **_LATEST_EVENT)
    results.matrix.select(actions.select_cell, choice_inputs, [*gallery_outputs, results.kind], **_LATEST_EVENT)
    results.next_button.click(actions.show_next_page, [*choice_inputs, gallery_state], gallery_outputs, **_LATEST_EVENT)
    explain_event = results.gallery.select(
        actions.explain_image,
        choice_inputs,
        results.pair,
        **{**_LATEST_EVENT, "show_progress": "minimal", "show_progress_on": results.pair},
    )
    explain_event.then(None, None, None, js=_SCROLL_TO_PAIR_JS)
