"""Event handlers for one image through two runs, below the tables of the Compare tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError
from ftlab.core.html import Markup, tag
from ftlab.runs import comparison
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.late_answers import LatestQuestions
from ftlab.ui.common.page_events import get_pressed_index
from ftlab.ui.compare import view as compare_view
from ftlab.ui.predict import cam_options, view
from ftlab.ui.predict.actions import PredictActions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.compare_models import ModelAnswer

LIKELIEST_CLASS = ""
"""Value of the class menu that explains the most probable class of each model."""


class PairActions(PredictActions):
    """Event handlers of the section. One instance per server: it holds the profile and each page's latest request."""

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        super().__init__(profile)
        self._latest = LatestQuestions()

    # --- which two models

    def offer_models(
        self, page_state: object, ticked_runs: object, first_model: object, second_model: object, offer_note: object
    ) -> list[Any]:
        """Offer the ticked runs that have weights; menus are shown if there are more than two. Never raises.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            ticked_runs: the runs ticked in the Compare tab.
            first_model: the first selected model; it stays if it is still offered.
            second_model: the second one.
            offer_note: what was offered last.

        Returns:
            Updates of section, waiting note, contents, row of the menus, both menus, and the note.
        """
        run_names = self.train_actions.filter_ticked_runs(page_state, ticked_runs)
        model_choices = (
            self._list_loadable_models(run_names) if 2 <= len(run_names) <= comparison.MAX_COMPARED_RUNS else []
        )
        # Includes the labels, which change when a run's configuration becomes readable.
        new_note = {"ticked": run_names, "there": [list(choice) for choice in model_choices]}
        # Nothing changed: an update would close a menu that a person has open.
        if new_note == offer_note:
            return [gr.skip()] * 7
        if len(model_choices) < 2:
            reason = messages.get_text("pair.waits_one" if model_choices else "pair.waits_none")
            visible = 2 <= len(run_names) <= comparison.MAX_COMPARED_RUNS
            waiting_note = gr.HTML(tag("p", reason, class_="ftlab-about"), visible=visible)
            return [gr.Column(visible=visible), waiting_note, gr.Column(visible=False), *[gr.skip()] * 3, new_note]
        names = [name for _, name in model_choices]
        # What a person selected stays if it is still offered; never the same model on both sides.
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
        """Return the (label, name) pairs of the runs that have weights; other faults show when the model is loaded."""
        loadable_runs = [
            (position, name)
            for position, name in enumerate(run_names)
            if self._open_run(name).best_weights_path.is_file()
        ]
        return [(self._format_run_label(position, name), name) for position, name in loadable_runs]

    def _format_run_label(self, position: int, name: str) -> str:
        """Return the label of a run in the legend of the curves; its name if the configuration cannot be read."""
        try:
            config = self._open_run(name).load_config()
        except FtlabError:
            return name
        return compare_view.format_run_label(position, comparison.get_backbone_title(config.backbone), config.mode)

    # --- one image

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
        """Predict and explain an image with both models.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            ticked_runs: the runs ticked in the Compare tab.
            first_model: name of the first run.
            second_model: name of the second run.
            image_path: the uploaded image.
            method: CAM method.
            class_name: class to explain; `LIKELIEST_CLASS` explains the most probable one of each model.
            request: of the page.

        Returns:
            Updates of summary, both sides, their controls and the class menu; none if the page has asked for something
            else meanwhile.
        """
        question = (first_model, second_model, image_path, method, class_name)
        return self._latest.answer_latest(
            request, question, lambda: self._render_both_models(page_state, ticked_runs, *question)
        )

    def make_press_handler(self, side: int) -> Callable[..., list[Any]]:
        """Return a handler that explains the class whose bar was pressed on one side (0 or 1), on both sides."""

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
            class_name = self._get_pressed_class((first_model, second_model)[side], event)
            return self.compare_predictions(
                page_state, ticked_runs, first_model, second_model, image_path, method, class_name, request
            )

        return handle_press

    def _get_pressed_class(self, model: object, event: gr.EventData) -> str:
        """Return the name of the class whose bar was pressed, `LIKELIEST_CLASS` if there is no such class."""
        index = get_pressed_index(event)
        try:
            classes = self.load_predictor(model).class_names
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
        """Return the updates of `compare_predictions`."""
        if not image_path:
            return _empty_outputs(render_empty_state("pair.nothing", "pair.nothing_step"))
        if first_model == second_model:
            return _empty_outputs(render_error(messages.get_text("pair.same")))
        from ftlab.inference import compare_models

        try:
            results = [
                self._explain_with_model(page_state, model, image_path, class_name, method)
                for model in (first_model, second_model)
            ]
        except ImageError as error:
            return _empty_outputs(render_error(tag("b", Path(image_path).name), ": ", view.format_image_error(error)))
        run_names = self.train_actions.filter_ticked_runs(page_state, ticked_runs)
        # A run keeps the number and the colour that it has among all ticked runs.
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

    def _explain_with_model(
        self,
        page_state: object,  # noqa: ARG002 - the page sends it; it gives no right
        model: object,
        image_path: str,
        class_name: object,
        method: object,
    ) -> ModelAnswer | Markup:
        """Return the answer of a model, or its error as HTML: the answer of the other model is still worth seeing.

        Raises:
            ImageError: the image is unreadable, for both models.
        """
        from ftlab.inference import compare_models

        try:
            # No layer is offered: the two models need not have the same ones.
            options = cam_options.parse_cam_options(method, "", [])
            return compare_models.explain_image(
                image_path, self.load_predictor(model), str(class_name or LIKELIEST_CLASS), options
            )
        except ImageError:
            raise
        except FtlabError as error:
            return render_error(str(error))


def _render_side(position: int, title: str, result: ModelAnswer | Markup, file_stem: str) -> Markup:
    """Return one model's scores and map as HTML, with the number and the colour that its run has in the curves."""
    heading = tag("h3", tag("i"), title)
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
    """Return updates of the outputs of `compare_predictions` that show only a message."""
    return [message, "", "", gr.Column(visible=False), gr.skip()]
