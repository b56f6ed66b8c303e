"""One picture through two of the runs that are ticked in the Compare tab: layout, wiring, and the handlers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs import comparison
from ftlab.ui.common import image_field
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.latest_only import LatestQuestions
from ftlab.ui.compare import view as compare_view
from ftlab.ui.predict import cam_options, view
from ftlab.ui.predict.actions import PredictActions

if TYPE_CHECKING:
    from ftlab.inference.compare_models import ModelAnswer

LIKELIEST_CLASS = ""
"""In the place of a class: of each model the likeliest."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_pair_section(
    profile: ServerProfile, page_state: gr.BrowserState, ticked_runs: gr.CheckboxGroup
) -> Callable[[gr.events.Dependency], object]:
    """Lay out the section where the page stands, and wire it.

    Args:
        profile: what this server is for.
        page_state: what the page keeps.
        ticked_runs: the runs to choose two from.

    Returns:
        What lets the section follow an event that changes the ticks, or what is known of the runs: after its answer,
        because events of the components themselves come in any order, and one of them with the ticks as they were.
    """
    with gr.Column(visible=False, elem_id="compare-pair") as section:
        gr.HTML(
            join_html(
                [
                    tag("h4", messages.get_text("pair.title")),
                    tag("p", messages.get_text("pair.hint"), class_="ftlab-about"),
                ]
            ),
            elem_id="compare-pair-hint",
            apply_default_css=False,
        )
        waiting_note = gr.HTML(visible=False, elem_id="compare-pair-waits", apply_default_css=False)
        with gr.Column(visible=False, elem_classes="ftlab-tight") as contents:
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
            with gr.Row(equal_height=True, elem_classes="ftlab-pair"):
                side_panels = [
                    gr.HTML(
                        js_on_load=image_field.SELECT_BUTTON_JS + image_field.SAVE_OVERLAY_JS,
                        elem_id=elem_id,
                        apply_default_css=False,
                    )
                    for elem_id in ("compare-pair-left", "compare-pair-right")
                ]
    offer_note = gr.JSON({}, visible=False, elem_id="compare-pair-noted")
    for dropdown in (
        *model_dropdowns,
        class_dropdown,
    ):  # Gradio would refuse a choice of the runs before; the handlers check it
        dropdown.preprocess = lambda payload: payload  # type: ignore[method-assign]

    actions = PairActions(profile)
    inputs = [page_state, ticked_runs, *model_dropdowns, image_input, method_dropdown]
    outputs = [summary, *side_panels, class_controls, class_dropdown]
    event_options: dict[str, Any] = {
        "show_progress_on": summary,
        "concurrency_limit": 2,
        "concurrency_id": "pair",
        "trigger_mode": "always_last",
        "api_visibility": "private",
    }
    model_changes = [dropdown.change for dropdown in model_dropdowns]
    gr.on(
        model_changes,
        actions.render_examples,
        [page_state, model_dropdowns[0]],
        examples,
        trigger_mode="always_last",
        **_UNQUEUED_EVENT,
    )
    gr.on(
        [image_input.change, *model_changes],
        actions.compare_predictions,
        [*inputs, class_dropdown],
        outputs,
        **event_options,
    )
    gr.on(
        [class_dropdown.input, method_dropdown.input],
        actions.compare_predictions,
        [*inputs, class_dropdown],
        outputs,
        **event_options,
    )
    for index, side_panel in enumerate(side_panels):
        side_panel.select(actions.make_press_handler(index), inputs, outputs, **event_options)
    examples.select(actions.select_example, [page_state, model_dropdowns[0]], image_input, **_UNQUEUED_EVENT)
    offer_outputs = [section, waiting_note, contents, model_row, *model_dropdowns, offer_note]
    return lambda event: event.then(
        actions.offer_models, [page_state, ticked_runs, *model_dropdowns, offer_note], offer_outputs, **_UNQUEUED_EVENT
    )


class PairActions(PredictActions):
    """The handlers. One a server: it holds the profile, and of each page only what it asked last."""

    def __init__(self, profile: ServerProfile) -> None:
        super().__init__(profile)
        self._latest = LatestQuestions()

    # --- which two

    def offer_models(
        self, page_state: object, ticked_runs: object, first_model: object, second_model: object, offer_note: object
    ) -> list[Any]:
        """The ticked runs that can be asked, where there are more than two as a choice: for the section, what is said
        of it, its contents, the row of the choosers, both, and a note of what was offered. Never raises."""
        run_names = self.train_actions.filter_ticked_runs(page_state, ticked_runs)
        model_choices = (
            self._list_loadable_models(run_names) if 2 <= len(run_names) <= comparison.MAX_COMPARED_RUNS else []
        )
        new_note = {"ticked": run_names, "there": [list(choice) for choice in model_choices]}
        if new_note == offer_note:
            return [gr.skip()] * 7
        if len(model_choices) < 2:
            reason = messages.get_text("pair.waits_one" if model_choices else "pair.waits_none")
            visible = 2 <= len(run_names) <= comparison.MAX_COMPARED_RUNS
            waiting_note = gr.HTML(tag("p", reason, class_="ftlab-about"), visible=visible)
            return [gr.Column(visible=visible), waiting_note, gr.Column(visible=False), *[gr.skip()] * 3, new_note]
        names = [name for _, name in model_choices]
        choice = first_model if first_model in names else next(name for name in names if name != second_model)
        other_choice = (
            second_model
            if second_model in names and second_model != choice
            else next(name for name in names if name != choice)
        )
        return [
            gr.Column(visible=True),
            gr.HTML("", visible=False),
            gr.Column(visible=True),
            gr.Row(visible=len(names) > 2),
            gr.Dropdown(choices=model_choices, value=str(choice)),
            gr.Dropdown(choices=model_choices, value=str(other_choice)),
            new_note,
        ]

    def _list_loadable_models(self, run_names: list[str]) -> list[tuple[str, str]]:
        """(as the legend has it, name) of those that have weights; what else is wrong with them is told when asked."""
        loadable_runs = [
            (position, name)
            for position, name in enumerate(run_names)
            if self._open_run(name).best_weights_path.exists()
        ]
        return [(self._format_run_label(position, name), name) for position, name in loadable_runs]

    def _format_run_label(self, position: int, name: str) -> str:
        try:
            config = self._open_run(name).load_config()
        except FtlabError:
            return name
        return compare_view.format_run_label(position, comparison.get_backbone_title(config.backbone), config.mode)

    # --- a picture

    def compare_predictions(
        self,
        page_state: object,
        ticked_runs: object,
        first_model: object,
        second_model: object,
        image_path: str | None,
        method: object,
        class_name: object,
        request: gr.Request | None = None,
    ) -> list[Any]:
        """What both models say: whether they agree, each one's classes and heat, and the classes to choose from; unless
        the page asked for something else meanwhile."""
        question = (first_model, second_model, image_path, method, class_name)
        return self._latest.answer_latest(
            request, question, lambda: self._render_both_models(page_state, ticked_runs, *question)
        )

    def make_press_handler(self, side: int) -> Callable[..., list[Any]]:
        """The same of the class whose bar was pressed in the first (0) or second (1) of the two."""

        def handle_press(
            page_state: object,
            ticked_runs: object,
            first_model: object,
            second_model: object,
            image_path: str | None,
            method: object,
            event: gr.EventData,
            request: gr.Request | None = None,
        ) -> list[Any]:
            class_name = self._get_pressed_class(page_state, (first_model, second_model)[side], event)
            return self.compare_predictions(
                page_state, ticked_runs, first_model, second_model, image_path, method, class_name, request
            )

        return handle_press

    def _get_pressed_class(self, page_state: object, model: object, event: gr.EventData) -> str:
        index = event._data.get("index")
        try:
            classes = self.load_predictor(page_state, model).class_names
        except FtlabError:
            return LIKELIEST_CLASS
        return classes[index] if isinstance(index, int) and 0 <= index < len(classes) else LIKELIEST_CLASS

    def _render_both_models(
        self,
        page_state: object,
        ticked_runs: object,
        first_model: object,
        second_model: object,
        image_path: str | None,
        method: object,
        class_name: object,
    ) -> list[Any]:
        if not image_path:
            return _empty_outputs(render_empty_state("pair.nothing", "pair.nothing_step"))
        if first_model == second_model:
            return _empty_outputs(render_error(messages.get_text("pair.same")))
        from ftlab.inference import compare_models

        results: list[ModelAnswer | Markup] = []
        for model in (first_model, second_model):
            try:
                options = cam_options.parse_cam_options(method, "", [])
                results.append(
                    compare_models.explain_image(
                        image_path, self.load_predictor(page_state, model), str(class_name or LIKELIEST_CLASS), options
                    )
                )
            except ImageError as error:
                return _empty_outputs(
                    render_error(tag("b", Path(image_path).name), ": ", view.format_image_error(error))
                )
            except FtlabError as error:  # the other one's answer is worth seeing
                results.append(render_error(str(error)))
        run_names = self.train_actions.filter_ticked_runs(page_state, ticked_runs)
        positions = [
            run_names.index(str(model)) if model in run_names else position
            for position, model in enumerate((first_model, second_model))
        ]
        sides = [
            _render_side(position, self._format_run_label(position, str(model)), result, Path(image_path).stem)
            for position, model, result in zip(positions, (first_model, second_model), results, strict=True)
        ]
        result, other_result = results
        if isinstance(result, Markup) or isinstance(other_result, Markup):
            return ["", *sides, gr.skip(), gr.skip()]
        labels = [messages.get_text("compare.number", number=position + 1) for position in positions]
        label_pair = labels[0], labels[1]
        class_choices = [
            (messages.get_text("pair.own"), LIKELIEST_CLASS),
            *compare_models.list_class_choices(result.model, other_result.model, label_pair),
        ]
        class_choice = class_name if any(class_name == choice for _, choice in class_choices) else LIKELIEST_CLASS
        models_agree = result.accepted_class is not None and result.accepted_class == other_result.accepted_class
        return [
            tag(
                "p",
                compare_models.describe_agreement(result, other_result, label_pair),
                class_="ftlab-agree" if models_agree else "ftlab-agree not",
            ),
            *sides,
            gr.Column(visible=True),
            gr.Dropdown(choices=class_choices, value=str(class_choice)),
        ]


def _render_side(position: int, title: str, result: ModelAnswer | Markup, file_stem: str) -> Markup:
    """What one says, under the number and the colour that its run has above."""
    heading = tag("h4", tag("i"), title)
    if isinstance(result, Markup):
        return tag("div", heading, result, class_=f"side run{position}")
    scores = view.render_scores(
        result.scores,
        result.explanation.class_index,
        result.model.title,
        result.format_class_name,
        result.model.decision,
    )
    overlay = view.render_overlay(
        result.explanation, result.format_class_name(result.explained_class), f"{file_stem}-{position + 1}"
    )
    return tag("div", heading, scores, overlay, class_=f"side run{position}")


def _empty_outputs(message: Markup) -> list[Any]:
    return [message, "", "", gr.Column(visible=False), gr.skip()]
