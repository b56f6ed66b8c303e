"""Layout and events of one image through two of the ticked runs, below the tables of the Compare tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.html import join_html, tag
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import image_field
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.compare.pair_actions import LIKELIEST_CLASS, PairActions
from ftlab.ui.predict import cam_options

# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class _PairSection:
    """Components of the section.

    Attributes:
        section: all of it; hidden while fewer than two runs are ticked.
        waiting_note: which weights are not there yet.
        contents: all but heading and note.
        model_row: hidden for exactly two models.
        model_dropdowns: the first and the second model.
        image: the uploaded image.
        examples: images to try.
        summary: whether the models agree.
        class_controls: how to explain.
        class_dropdown: which class to explain.
        method_dropdown: CAM method.
        side_panels: scores and map of either model.
    """

    section: gr.Column
    waiting_note: gr.HTML
    contents: gr.Column
    model_row: gr.Row
    model_dropdowns: list[gr.Dropdown]
    image: gr.Image
    examples: gr.HTML
    summary: gr.HTML
    class_controls: gr.Column
    class_dropdown: gr.Dropdown
    method_dropdown: gr.Dropdown
    side_panels: list[gr.HTML]


def build_pair_section(
    profile: ServerProfile, page_state: gr.BrowserState, ticked_runs: gr.CheckboxGroup
) -> Callable[[gr.events.Dependency], object]:
    """Build the section in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        page_state: see `ftlab.ui.train.visible_runs`.
        ticked_runs: the runs to choose two from.

    Returns:
        A function that lets the section follow an event which changes the ticks, or what is known of the runs: after
        that event's answer. The components' own events come in any order, one of them with the ticks as they were.
    """
    pair = _build_components()
    offer_note = gr.JSON({}, visible=False, elem_id="compare-pair-noted")
    # Gradio would refuse a choice of the runs before; the handlers check it themselves.
    for dropdown in (*pair.model_dropdowns, pair.class_dropdown):
        dropdown.preprocess = lambda payload: payload  # type: ignore[method-assign]

    actions = PairActions(profile)
    _wire_events(actions, page_state, ticked_runs, pair)
    offer_inputs = [page_state, ticked_runs, *pair.model_dropdowns, offer_note]
    offer_outputs = [
        pair.section,
        pair.waiting_note,
        pair.contents,
        pair.model_row,
        *pair.model_dropdowns,
        offer_note,
    ]
    return lambda event: event.then(actions.offer_models, offer_inputs, offer_outputs, **_UNQUEUED_EVENT)


def _build_components() -> _PairSection:
    with gr.Column(visible=False, elem_id="compare-pair") as section:
        gr.HTML(
            join_html(
                [
                    tag("h2", messages.get_text("pair.title")),
                    tag("p", messages.get_text("pair.hint"), class_="ftlab-about"),
                ]
            ),
            elem_id="compare-pair-hint",
            apply_default_css=False,
        )
        waiting_note = gr.HTML(visible=False, elem_id="compare-pair-waits", apply_default_css=False)
        with gr.Column(visible=False, elem_classes="ftlab-tight") as contents:
            model_row, model_dropdowns = _build_model_row()
            with gr.Row(elem_classes="ftlab-split"):
                with gr.Column(scale=5, min_width=320):
                    image_input = image_field.build_image_field("compare-pair-image")
                    examples = gr.HTML(
                        elem_id="compare-pair-examples",
                        js_on_load=image_field.SELECT_BUTTON_JS,
                        apply_default_css=False,
                    )
                with gr.Column(scale=7, min_width=320):
                    summary = gr.HTML(
                        render_empty_state("pair.nothing", "pair.nothing_step"),
                        elem_id="compare-pair-said",
                        apply_default_css=False,
                    )
                    class_controls, class_dropdown, method_dropdown = _build_class_controls()
            with gr.Row(equal_height=True, elem_classes="ftlab-pair"):
                side_panels = [
                    gr.HTML(
                        js_on_load=image_field.SELECT_BUTTON_JS + image_field.HEAT_JS,
                        elem_id=elem_id,
                        apply_default_css=False,
                    )
                    for elem_id in ("compare-pair-left", "compare-pair-right")
                ]
    return _PairSection(
        section,
        waiting_note,
        contents,
        model_row,
        model_dropdowns,
        image_input,
        examples,
        summary,
        class_controls,
        class_dropdown,
        method_dropdown,
        side_panels,
    )


def _build_model_row() -> tuple[gr.Row, list[gr.Dropdown]]:
    """Return the row of the two model menus, and the menus."""
    with gr.Row(visible=False) as model_row:
        model_dropdowns = [
            gr.Dropdown(
                [],
                label=messages.get_text(f"pair.{dropdown}"),
                info=messages.get_text(f"pair.{dropdown}_hint"),
                min_width=260,
                elem_id=f"compare-pair-{dropdown}",
            )
            for dropdown in ("first", "second")
        ]
    return model_row, model_dropdowns


def _build_class_controls() -> tuple[gr.Column, gr.Dropdown, gr.Dropdown]:
    """Return the column of the controls of both maps, and in it the menus of class and method."""
    with gr.Column(visible=False, elem_classes="ftlab-tight") as class_controls:
        class_dropdown = gr.Dropdown(
            [(messages.get_text("pair.own"), LIKELIEST_CLASS)],
            value=LIKELIEST_CLASS,
            label=messages.get_text("pair.class"),
            info=messages.get_text("pair.class_hint"),
            min_width=260,
            elem_id="compare-pair-class",
        )
        method_dropdown = cam_options.create_method_dropdown("compare-pair-method")
        image_field.build_opacity_slider("compare-pair-opacity", "compare-pair")
    return class_controls, class_dropdown, method_dropdown


def _wire_events(
    actions: PairActions, page_state: gr.BrowserState, ticked_runs: gr.CheckboxGroup, pair: _PairSection
) -> None:
    """Register what predicts an image with both models.

    Args:
        actions: handlers of the section.
        page_state: see `ftlab.ui.train.visible_runs`.
        ticked_runs: the runs of the Compare tab.
        pair: components of the section.
    """
    inputs = [page_state, ticked_runs, *pair.model_dropdowns, pair.image, pair.method_dropdown]
    outputs = [pair.summary, *pair.side_panels, pair.class_controls, pair.class_dropdown]
    # One queue for all: more than two predictions at a time would only slow each other down.
    event_options: dict[str, Any] = {
        "show_progress_on": pair.summary,
        "concurrency_limit": 2,
        "concurrency_id": "pair",
        "trigger_mode": "always_last",
        "api_visibility": "private",
    }
    # `change`, not `input`: the program fills the menus too.
    model_changes = [dropdown.change for dropdown in pair.model_dropdowns]
    gr.on(
        model_changes,
        actions.render_examples,
        [page_state, pair.model_dropdowns[0]],
        pair.examples,
        trigger_mode="always_last",
        **_UNQUEUED_EVENT,
    )
    for triggers in (
        [pair.image.change, *model_changes],
        [pair.class_dropdown.input, pair.method_dropdown.input],
    ):
        gr.on(triggers, actions.compare_predictions, [*inputs, pair.class_dropdown], outputs, **event_options)
    for index, side_panel in enumerate(pair.side_panels):
        side_panel.select(actions.make_press_handler(index), inputs, outputs, **event_options)
    pair.examples.select(actions.select_example, [page_state, pair.model_dropdowns[0]], pair.image, **_UNQUEUED_EVENT)
