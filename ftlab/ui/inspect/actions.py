"""Event handlers of the Inspect tab, without its components: evaluation, galleries, explanations and downloads.

An evaluation is saved in its run. The last few are kept in memory, so that a press needs no reading. torch is imported
by the first request, not by the page.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.data.dataset import class_names
from ftlab.runs.directory import Run
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.late_answers import LatestQuestions
from ftlab.ui.common.page_events import get_download_folder, get_event_data, get_pressed_index
from ftlab.ui.inspect.choices import EvaluationChoice, EvaluationChoices
from ftlab.ui.predict.view import format_image_error

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.evaluation.evaluate import Evaluation
    from ftlab.reporting.html.parts import ClassFormatter


class InspectActions(EvaluationChoices):
    """Event handlers of the Inspect tab. One instance per server.

    Most handlers take a choice first, which is an `EvaluationChoice`: page state, run, weights, split and folder. Their
    updates are for `outputs` or `gallery_outputs` in `tab.build_inspect_tab`.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        super().__init__(profile)
        self._latest_choice = LatestQuestions()

    # --- what is shown

    def show_results(
        self,
        page_state: object,
        model: object,
        weights: object,
        split: object,
        folder: object,
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Return the saved evaluation of a choice, or what to do; no updates if another was selected meanwhile."""
        choice = (page_state, model, weights, split, folder)
        return self._latest_choice.answer_latest(request, choice[1:], lambda: self._load_results(choice))

    def _load_results(self, choice: EvaluationChoice) -> list[Any]:
        """Return the updates of `show_results`, read from the run."""
        if choice[1] is None:
            return _empty_outputs(render_empty_state("inspect.no_models", "inspect.no_models_step"))
        from ftlab.evaluation import evaluate

        try:
            run, weights, images = self.resolve_choice(choice)
            evaluation = evaluate.load_evaluation(run, images, weights)
            if evaluation is None:
                return _empty_outputs(render_empty_state("inspect.nothing", "inspect.nothing_step"))
            return self._render_results(choice, run, evaluation)
        except FtlabError as error:
            # No folder was typed yet, which is no mistake.
            needs_folder = error.code == "page.no_new_folder"
            return _empty_outputs(
                render_empty_state("inspect.folder", "inspect.folder_hint")
                if needs_folder
                else render_error(str(error))
            )

    def evaluate(
        self,
        store: object,
        model: object,
        which: object,
        split: object,
        folder: object,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio recognizes the parameter by this default)
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Evaluate a model on the images of a split or folder, unless that was done before.

        Its parameters are those of a public endpoint, so their names are part of the API.

        Args:
            store: the page state.
            model: the run.
            which: `best` or `last` weights.
            split: the split, or `folder`.
            folder: path of a folder of labelled images.
            progress: of Gradio.
            request: of the page.

        Returns:
            As `show_results`.
        """
        choice = (store, model, which, split, folder)
        return self._latest_choice.answer_latest(request, choice[1:], lambda: self._run_evaluation(choice, progress))

    def _run_evaluation(self, choice: EvaluationChoice, progress: gr.Progress) -> list[Any]:
        """Return the updates of `show_results` after an evaluation, which reports its progress."""
        from ftlab.evaluation import evaluate

        last_update_time = 0.0

        def report_progress(completed: int, total: int) -> None:
            nonlocal last_update_time
            # Called after each batch; more than ten messages a second would only load the page.
            if time.monotonic() - last_update_time > 0.1:
                last_update_time = time.monotonic()
                progress(
                    completed / total,
                    desc=messages.get_text("inspect.progress", done=f"{completed:,}", total=f"{total:,}"),
                )

        try:
            run, weights, images = self.resolve_choice(choice)
            # It writes into the run, and chooses the threshold of its predictions.
            self.train_actions.check_may(RunAction.EVALUATE, run)
            return self._render_results(
                choice, run, evaluate.evaluate_with_decision(run, images, weights, report_progress)
            )
        except FtlabError as error:
            return _empty_outputs(render_error(str(error)))

    def _render_results(self, choice: Any, run: Run, evaluation: Evaluation) -> list[Any]:
        """Return the updates of `show_results` for an evaluation, which is kept in memory."""
        from ftlab.ui.inspect import view  # imports torch

        self.cache_evaluation(choice, evaluation)
        format_class_name = _make_name_formatter(run)
        # A perfect model has no mistakes to start with.
        kind = "hits" if evaluation.result.is_correct.all() else "mistakes"
        return [
            view.render_scores(evaluation),
            gr.Column(visible=True),
            view.render_matrix(evaluation, format_class_name),
            view.render_classes(evaluation, format_class_name),
            view.render_calibration(evaluation),
            view.render_downloads(),
            gr.Radio(value=kind),
            *self._render_gallery(run, evaluation, {"kind": kind, "page": 0}),
        ]

    # --- images

    def select_kind(self, *inputs: Any) -> list[Any]:
        """Return updates of the gallery for a kind of images: the inputs are a choice and the kind."""
        return self._show_gallery(inputs[:5], {"kind": inputs[5], "page": 0})

    def select_cell(
        self, page_state: object, model: object, weights: object, split: object, folder: object, event: gr.EventData
    ) -> list[Any]:
        """Return updates of the gallery for the confusion that was pressed, and of the kind, which is unset."""
        cell = {name: get_event_data(event).get(name) for name in ("true", "predicted")}
        return [
            *self._show_gallery((page_state, model, weights, split, folder), {**cell, "page": 0}),
            gr.Radio(value=None),  # the gallery shows a cell of the matrix, which is no kind
        ]

    def show_next_page(self, *inputs: Any) -> list[Any]:
        """Return updates of the gallery for its next page: the inputs are a choice and the gallery's state."""
        gallery_state = inputs[5] if isinstance(inputs[5], dict) else {}
        page = gallery_state.get("page")
        return self._show_gallery(inputs[:5], {**gallery_state, "page": page + 1 if isinstance(page, int) else 0})

    def _show_gallery(self, choice: Any, gallery_state: dict[str, Any]) -> list[Any]:
        """Return updates of the gallery, or an error in its place."""
        try:
            return self._render_gallery(*self.get_evaluation(choice), gallery_state)
        except FtlabError as error:
            return [render_error(str(error)), gr.Button(visible=False), gallery_state, ""]

    def _render_gallery(self, run: Run, evaluation: Evaluation, gallery_state: dict[str, Any]) -> list[Any]:
        """Render a page of the gallery.

        Args:
            run: the run.
            evaluation: its evaluation.
            gallery_state: `{"kind": name}` or `{"true": index, "predicted": index}`, and `"page"`, as the page sent it.

        Returns:
            Updates of gallery, next button, gallery state, and the explanation below, which is emptied.
        """
        from ftlab.evaluation import selection
        from ftlab.ui.inspect import view

        format_class_name, page, class_count = (
            _make_name_formatter(run),
            gallery_state.get("page"),
            len(evaluation.result.class_names),
        )
        true, predicted = (
            value if isinstance(value := gallery_state.get(name), int) else -1 for name in ("true", "predicted")
        )
        # The state comes from the page: indices may be of another run, or made up.
        if true in range(class_count) and predicted in range(class_count):
            cell = true, predicted
            image_indices, title = (
                selection.select_confusion_cell(evaluation.result, evaluation.confidences, *cell),
                view.format_cell_title(evaluation, *cell, format_class_name),
            )
        else:
            kind = next(
                (value for value in selection.SELECTION_KINDS if value == gallery_state.get("kind")), "mistakes"
            )
            image_indices, title = (
                selection.select_images(kind, evaluation.result, evaluation.confidences),
                messages.get_text(f"inspect.kind.{kind}"),
            )
        gallery = view.render_gallery(
            evaluation, image_indices, page if isinstance(page, int) and page >= 0 else 0, format_class_name, title
        )
        return [gallery, gr.Button(visible=len(image_indices) > view.IMAGES_PER_PAGE), gallery_state, ""]

    def explain_image(
        self, page_state: object, model: object, weights: object, split: object, folder: object, event: gr.EventData
    ) -> Markup:
        """Return the maps for the true and the predicted class of the image that was pressed, as HTML."""
        from ftlab.inference import load_model
        from ftlab.ui.inspect import view

        try:
            run, evaluation = self.get_evaluation((page_state, model, weights, split, folder))
            image_index = get_pressed_index(event)
            if not isinstance(image_index, int) or not 0 <= image_index < len(evaluation.result.labels):
                return Markup("")
            run_predictor = load_model.load_predictor(run, evaluation.result.weights_choice)
            run_predictor.prepare_graph()  # in the background: a page asks for more than one answer
            first_class, second_class = (
                int(evaluation.result.labels[image_index]),
                int(evaluation.result.predicted_labels[image_index]),
            )
            # For a correct prediction, compare with the class that comes next.
            if first_class == second_class:
                second_class = int(evaluation.probabilities[image_index].argsort()[-2])
            explanations = run_predictor.explain_classes(
                evaluation.result.get_image_path(image_index), (first_class, second_class)
            )
            return view.render_pair(evaluation, image_index, explanations, _make_name_formatter(run))
        except ImageError as error:
            return render_error(
                tag("b", isolate_text(evaluation.result.paths[image_index], is_path=True)),
                ": ",
                format_image_error(error),
            )
        except FtlabError as error:
            return render_error(str(error))

    def export_file(
        self, page_state: object, model: object, weights: object, split: object, folder: object, event: gr.EventData
    ) -> str | None:
        """Return the path of the requested file, written below the uploads folder; None if it cannot be written."""
        from ftlab.inference import load_model
        from ftlab.reporting.html import files
        from ftlab.ui.inspect import view

        try:
            run, evaluation = self.get_evaluation((page_state, model, weights, split, folder))
            file_name = view.DOWNLOAD_FILES.get(str(get_event_data(event).get("file")))
            if file_name is None:
                return None
            run_predictor = load_model.load_predictor(run, evaluation.result.weights_choice)
        except FtlabError as error:
            page_events.show_warning(error)
            return None
        export_folder = get_download_folder(self.profile) / "evaluation" / run.name
        export_folder.mkdir(parents=True, exist_ok=True)
        export_path = export_folder / f"{evaluation.result.dataset_name}-{evaluation.result.weights_choice}-{file_name}"
        export_path.write_bytes(
            files.render_file(file_name, evaluation, run_predictor.title, run.name, run_predictor.display_names)
        )
        return str(export_path)


def _make_name_formatter(run: Run) -> ClassFormatter:
    """Return a function that returns the name for people of a class of the run."""
    from ftlab.inference import load_model

    return partial(class_names.get_display_name, names=load_model.read_display_names(run))


def _empty_outputs(message: Markup) -> list[Any]:
    """Return updates of `outputs` in `tab.build_inspect_tab` that show only a message."""
    return [message, gr.Column(visible=False), "", "", "", "", gr.skip(), "", gr.Button(visible=False), {}, ""]
