"""Event handlers of the Predict tab, without its components: which models a page may use, and their predictions.

torch is imported by the first request, not by the page.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError, WeightsError
from ftlab.core.html import Markup, tag
from ftlab.data.dataset import class_names
from ftlab.runs.directory import Run
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.page_events import get_pressed_index
from ftlab.ui.predict import cam_options, examples, view
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.predictor import ClassExplanation, Predictor

UNTRAINED_MODEL = "untrained"
"""Name of the model that is always offered: the default backbone with its 1000 ImageNet classes."""


class PredictActions:
    """Event handlers of the Predict tab. One instance per server: it holds the profile and no state of any visitor.

    Gradio passes the values of the inputs by position. Programs call the endpoints of `ftlab.ui.api` instead.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        self.train_actions = TrainActions(profile)

    # --- which model

    def list_models(self, page_state: object, model: str, run_note: object) -> list[Any]:
        """List the models that this page may use.

        The newest run is selected at first, as in the Inspect tab, and the page's own when it is new to this tab;
        otherwise the person's choice stays.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            model: the selected model.
            run_note: `{"run": name}`, the page's own run when the models were last listed; empty before there were any.

        Returns:
            Updates of the model menu, its examples, and the note.
        """
        model_choices = [
            (label, name)
            for label, name in self.train_actions.list_run_choices(page_state)
            if self._open_run(name).best_weights_path.is_file()
        ]
        run_names = [name for _, name in model_choices]
        page_run = page_state.get("run") if isinstance(page_state, dict) else None
        last_page_run = run_note.get("run") if isinstance(run_note, dict) else None
        # Only once: otherwise the person's own choice would be undone on each opening of the tab.
        if page_run in run_names and page_run != last_page_run:
            model, last_page_run = page_run, page_run
        elif run_names and not run_note:
            model = run_names[0]
        elif model not in run_names:
            model = UNTRAINED_MODEL
        choices = [*model_choices, (messages.get_text("predict.untrained"), UNTRAINED_MODEL)]
        return [
            gr.Dropdown(choices=choices, value=model),
            self.render_examples(page_state, model),
            {"run": last_page_run} if run_names else {},
        ]

    def preload_model(self, page_state: object, model: str) -> None:  # noqa: ARG002 - the page sends it; it gives no right
        """Load a model before its first request: that takes seconds, also because torch is imported."""
        try:
            # `cam_layers` is cached in the predictor: its forward passes are part of the first request's cost.
            _ = self.load_predictor(model).cam_layers
        except FtlabError:
            return  # the first question will say so

    def _open_run(self, name: str) -> Run:
        return Run(self.train_actions.profile.runs_dir / name)

    def _get_chosen_run(self, model: object) -> Run | None:
        """Return the run of a model's name if this page may see it; None for the model without fine-tuning."""
        if model == UNTRAINED_MODEL:
            return None
        return self.train_actions.get_run(model)

    def load_predictor(self, model: object) -> Predictor:
        """Return the predictor of a model, or fail with `RunError` if this page may not see its run."""
        from ftlab.inference import load_model

        predictor = load_model.load_predictor(self._get_chosen_run(model))
        predictor.prepare_graph()  # in the background: a page asks for more than one answer
        return predictor

    # --- one image

    def predict(
        self,
        store: object,
        model: str,
        picture: str | None,
        method: object = "",
        layer: object = "",
        before: object = False,  # noqa: FBT002 (Gradio passes the inputs by position)
        menus: object = "",
    ) -> list[Any]:
        """Predict an image and explain its most probable class.

        Args:
            store: the page state.
            model: name of the model.
            picture: path of the uploaded image.
            method: CAM method.
            layer: target layer.
            before: whether to show the map before fine-tuning too.
            menus: fingerprint of the model whose menus the page has; they are not sent again.

        Returns:
            Updates of scores, evidence section, overlay, class menu, layer menu, faithfulness verdict, and fingerprint.
        """
        return self.explain(store, model, picture, method, layer, before, None, menus)

    def explain(
        self,
        store: object,  # noqa: ARG002 - the page sends it; it gives no right
        model: str,
        picture: str | None,
        method: object = "",
        layer: object = "",
        before: object = False,  # noqa: FBT002 (Gradio passes the inputs by position)
        index: object = None,
        menus: object = "",
    ) -> list[Any]:
        """Predict an image and explain a class.

        Args:
            store: the page state.
            model: name of the model.
            picture: path of the uploaded image.
            method: CAM method.
            layer: target layer.
            before: whether to show the map before fine-tuning too.
            index: index of the class, or its name; the most probable one where the model has no such class.
            menus: as for `predict`.

        Returns:
            As `predict`.
        """
        if not picture:
            return make_message_outputs(render_empty_state("predict.nothing", "predict.nothing_step"))
        try:
            return self._predict_and_explain(model, picture, (method, layer), menus, index, shows_baseline=bool(before))
        except ImageError as error:
            return make_message_outputs(
                render_error(tag("b", Path(picture).name), ": ", view.format_image_error(error))
            )
        except FtlabError as error:
            return make_message_outputs(render_error(str(error)))

    def explain_pressed_class(
        self,
        page_state: object,
        model: str,
        image_path: str | None,
        method: str,
        layer: str,
        show_baseline: object,
        menus: object,
        event: gr.EventData,
    ) -> list[Any]:
        """Return the updates of `explain` for the class whose bar was pressed."""
        class_index = get_pressed_index(event)
        return self.explain(page_state, model, image_path, method, layer, show_baseline, class_index, menus)

    def _predict_and_explain(
        self,
        model: str,
        image_path: str,
        method_and_layer: tuple[object, object],
        shown_menus: object,
        class_choice: object,
        *,
        shows_baseline: bool,
    ) -> list[Any]:
        predictor = self.load_predictor(model)
        menus = cam_options.get_model_menus(predictor)
        options = cam_options.parse_cam_options(*method_and_layer, menus.layer_choices)
        class_index = cam_options.find_class(menus, class_choice)
        # The explained class may be anywhere among the ranked ones.
        ranked_scores, explanation = predictor.predict_and_explain(
            image_path, class_index, k=len(menus.class_choices), cam_options=options
        )
        baseline = self._explain_baseline(model, predictor, image_path, explanation) if shows_baseline else None
        format_class_name = partial(class_names.get_display_name, names=predictor.display_names)
        class_index = explanation.class_index
        has_menus = shown_menus == menus.fingerprint
        return [
            view.render_scores(ranked_scores, class_index, predictor.title, format_class_name, predictor.decision),
            gr.skip() if has_menus else gr.Column(visible=True),
            view.render_overlay(
                explanation, format_class_name(predictor.class_names[class_index]), Path(image_path).stem, baseline
            ),
            class_index if has_menus else gr.Dropdown(choices=menus.class_choices, value=class_index),
            options.layer_path if has_menus else gr.Dropdown(choices=menus.layer_choices, value=options.layer_path),
            "",
            menus.fingerprint,
        ]

    def _explain_baseline(
        self, model: str, predictor: Predictor, image_path: str, explanation: ClassExplanation
    ) -> view.BaselineView:
        """Return the map before fine-tuning, or why there is none; a failure must not hide the current map."""
        from ftlab.inference import before_finetuning

        try:
            baseline = before_finetuning.pretrained_baseline(
                self._get_chosen_run(model), predictor, explanation.class_index
            )
            baseline_explanation, probability = baseline.explain(image_path, explanation.cam_options)
        except WeightsError as error:
            return view.BaselineView(None, str(error))
        return view.BaselineView(baseline_explanation, before_finetuning.describe_baseline(baseline, probability))

    def score_faithfulness(
        self,
        store: object,  # noqa: ARG002 - the page sends it; it gives no right
        model: str,
        picture: str | None,
        method: object,
        layer: object,
        before: object,  # noqa: ARG002 (the inputs of this endpoint are those of `explain`)
        index: object,
        menus: object,  # noqa: ARG002 (likewise)
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio recognizes the parameter by this default)
    ) -> Markup:
        """Measure whether the shown map marks what the prediction depends on, by deletion and insertion.

        Args:
            store: the page state.
            model: name of the model.
            picture: path of the uploaded image.
            method: CAM method.
            layer: target layer.
            before: not used; the inputs are those of `explain`.
            index: index of the class, or its name; the most probable one where the model has no such class.
            menus: not used; likewise.
            progress: of Gradio.

        Returns:
            The verdict, as HTML.
        """
        if not picture:
            return Markup("")

        def report_progress(completed: int, total: int) -> None:
            progress(completed / total, desc=messages.get_text("explain.progress", done=completed, total=total))

        try:
            predictor = self.load_predictor(model)
            model_menus = cam_options.get_model_menus(predictor)
            class_index = cam_options.find_class(model_menus, index)
            if class_index is None:
                class_index = predictor.predict(picture, 1)[0].class_index
            options = cam_options.parse_cam_options(method, layer, model_menus.layer_choices)
            return cam_options.render_verdict(
                predictor.score_faithfulness(picture, class_index, options, report_progress)
            )
        except ImageError as error:
            return render_error(tag("b", Path(picture).name), ": ", view.format_image_error(error))
        except FtlabError as error:
            return render_error(str(error))

    # --- examples

    def render_examples(self, page_state: object, model: str) -> Markup:  # noqa: ARG002 - the page sends it; it gives no right
        """Return images to try with a model as HTML; nothing if there are none."""
        try:
            return examples.render_examples(self._get_chosen_run(model))
        except FtlabError:
            return Markup("")

    def select_example(self, page_state: object, model: str, event: gr.EventData) -> Any:  # noqa: ARG002 - the page sends it; it gives no right
        """Return a copy of the example that was pressed, as if it had been uploaded."""
        try:
            example_images = examples.list_examples(self._get_chosen_run(model))
            image_path = example_images[event._data["index"]][0]
            # A copy: Gradio serves no file outside its own folders, and the dataset must stay out of its reach.
            return save_file_to_cache(image_path, get_upload_folder())
        # The event's data come from the page, so any of it may be missing or wrong.
        except (FtlabError, IndexError, KeyError, TypeError, OSError):
            return gr.skip()


def make_message_outputs(message: Markup) -> list[Any]:
    """Return updates of the outputs of `predict` that show only a message."""
    # The next answer shows the evidence again, with all menus.
    return [message, gr.Column(visible=False), "", gr.skip(), gr.skip(), "", ""]
