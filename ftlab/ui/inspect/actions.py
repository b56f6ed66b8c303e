"""What the Inspect tab does, without its components: which models and pictures a page may ask for, and what it is told.

What an evaluation gave lies in its run; the last few are kept in memory, so that a press needs no reading. torch is
imported by the first question, not by the page.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError, ImageError, RunError
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.data.dataset import class_names
from ftlab.data.dataset.split import SPLITS
from ftlab.runs.directory import Run
from ftlab.ui.common import data_choice
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.latest_only import LatestQuestions
from ftlab.ui.predict.view import format_image_error
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:
    from ftlab.evaluation.evaluate import Evaluation
    from ftlab.evaluation.results import EvaluationDataset
    from ftlab.reporting.html.parts import ClassFormatter

FOLDER_CHOICE = "folder"
"""A choice beside the splits: labelled pictures that the training never saw."""
WEIGHT_CHOICES = ("best", "last")
_MAX_CACHED_EVALUATIONS = 4
EvaluationChoice = tuple[object, object, object, object, object]
"""What the page keeps, then run, weights, split and folder as its widgets have them: checked by whoever uses them."""


class InspectActions:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: ServerProfile) -> None:
        self.profile, self.train_actions = profile, TrainActions(profile)
        self._evaluations: OrderedDict[tuple[str, ...], Evaluation] = OrderedDict()
        self._lock = threading.Lock()
        self._latest_run, self._latest_choice = LatestQuestions(), LatestQuestions()

    # --- what can be chosen

    def list_models(self, page_state: object, model: object, split: object, run_note: object) -> list[Any]:
        """The runs with a model, for the chooser; the splits of the chosen one; and a note of the page's own run.

        That one is chosen when it is new to this tab; else the person's choice stays.
        """
        runs_folder = self.profile.runs_dir
        model_choices = [
            (label, name)
            for label, name in self.train_actions.list_run_choices(page_state)
            if Run(runs_folder / name).best_weights_path.exists()
        ]
        run_names = [name for _, name in model_choices]
        page_run = page_state.get("run") if isinstance(page_state, dict) else None
        last_page_run = run_note.get("run") if isinstance(run_note, dict) else None
        previous_model = model
        if page_run in run_names and page_run != last_page_run:
            model = last_page_run = page_run
        chosen_model = model if model in run_names else run_names[0] if run_names else None
        model_dropdown = gr.Dropdown(choices=model_choices, value=str(chosen_model) if chosen_model else None)
        kept_split = split if chosen_model == previous_model else None
        return [
            model_dropdown,
            self._build_split_radio(page_state, chosen_model, kept_split),
            {"run": last_page_run},
            gr.Button(interactive=bool(run_names)),
        ]

    def list_splits(
        self, page_state: object, model: object, split: object = None, request: gr.Request | None = None
    ) -> Any:
        """The pictures that a run can be asked about, the test pictures first if it has any; unless the page has chosen
        another run meanwhile."""
        return self._latest_run.answer_latest(
            request, model, lambda: [self._build_split_radio(page_state, model, split)]
        )[0]

    def _build_split_radio(self, page_state: object, model: object, split: object) -> Any:
        try:
            split_images = self.train_actions.get_run(page_state, model).read_json("split.json")["splits"]
            split_names = [name for name in SPLITS if any(split_images.get(name, {}).values())]
        except (FtlabError, AttributeError):
            split_names = []
        if self.profile.data_root is not None:
            split_names.append(FOLDER_CHOICE)
        default_split = next((name for name in ("test", "val", *split_names) if name in split_names), None)
        choices = [(messages.get_text(f"inspect.of.{name}"), name) for name in split_names]
        return gr.Radio(choices=choices, value=split if split in split_names else default_split)

    def show_folder_field(self, split: object) -> Any:
        """The field for a folder, where one is wanted."""
        return gr.Textbox(visible=split == FOLDER_CHOICE)

    def _resolve_choice(self, choice: EvaluationChoice) -> tuple[Run, str, EvaluationDataset]:
        """The run, the weights and the pictures of a choice, if this page may have them."""
        from ftlab.evaluation import datasets

        page_state, model, weights_choice, split, folder = choice
        run = self.train_actions.get_run(page_state, model)
        weights = weights_choice if weights_choice in WEIGHT_CHOICES else "best"
        if split == FOLDER_CHOICE:
            if str(folder or "").strip().rstrip("/\\") in ("", str(self.profile.data_root)):
                raise DataError("page.no_new_folder")  # nobody wants the home folder looked through
            source = data_choice.parse_source(self.profile, data_choice.FOLDER_SOURCE, str(folder or ""), 0.15, 0.15)
            if source.folder is None:
                raise DataError("page.no_folder")
            return run, str(weights), datasets.load_folder_dataset(source.folder, datasets.read_class_names(run))
        return run, str(weights), datasets.load_split_dataset(run, str(split) if split in SPLITS else "test")

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
        """What was found before, if it was; else what to do. Values for `seen` in `inspect.build`."""
        choice = (page_state, model, weights, split, folder)
        return self._latest_choice.answer_latest(request, choice[1:], lambda: self._load_results(choice))

    def _load_results(self, choice: EvaluationChoice) -> list[Any]:
        if choice[1] is None:
            return _empty_outputs(render_empty_state("inspect.no_models", "inspect.no_models_step"))
        from ftlab.evaluation import evaluate

        try:
            run, weights, images = self._resolve_choice(choice)
            evaluation = evaluate.load_evaluation(run, images, weights)
            if evaluation is None:
                return _empty_outputs(render_empty_state("inspect.nothing", "inspect.nothing_step"))
            return self._render_results(choice, run, evaluation)
        except FtlabError as error:
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
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Look at the pictures, unless that was done, and show what came out, if the page still asks for it."""
        choice = (store, model, which, split, folder)
        return self._latest_choice.answer_latest(request, choice[1:], lambda: self._run_evaluation(choice, progress))

    def _run_evaluation(self, choice: EvaluationChoice, progress: gr.Progress) -> list[Any]:
        from ftlab.evaluation import evaluate

        last_update_time = 0.0

        def report_progress(completed: int, total: int) -> None:
            nonlocal last_update_time
            if time.monotonic() - last_update_time > 0.1:
                last_update_time = time.monotonic()
                progress(
                    completed / total,
                    desc=messages.get_text("inspect.progress", done=f"{completed:,}", total=f"{total:,}"),
                )

        try:
            run, weights, images = self._resolve_choice(choice)
            return self._render_results(
                choice, run, evaluate.evaluate_with_decision(run, images, weights, report_progress)
            )
        except FtlabError as error:
            return _empty_outputs(render_error(str(error)))

    def _render_results(self, choice: Any, run: Run, evaluation: Evaluation) -> list[Any]:
        from ftlab.ui.inspect import view

        with self._lock:
            self._evaluations[_cache_key(choice)] = evaluation
            self._evaluations.move_to_end(_cache_key(choice))
            while len(self._evaluations) > _MAX_CACHED_EVALUATIONS:
                self._evaluations.popitem(last=False)
        format_class_name = _make_name_formatter(run)
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

    def _get_evaluation(self, choice: Any) -> tuple[Run, Evaluation]:
        """What the page shows: from memory, else, where the server was restarted, as it was kept."""
        from ftlab.evaluation import evaluate

        run = self.train_actions.get_run(choice[0], choice[1])
        with self._lock:
            evaluation = self._evaluations.get(_cache_key(choice))
        if evaluation is None:
            run, weights, images = self._resolve_choice(choice)
            evaluation = evaluate.load_evaluation(run, images, weights)
        if evaluation is None:
            raise RunError("run.not_evaluated", run=run.name)
        return run, evaluation

    # --- pictures

    def select_kind(self, *inputs: Any) -> list[Any]:
        """Pictures of a kind: for `gallery` in `inspect.build`. Given is the choice, then the kind."""
        return self._show_gallery(inputs[:5], {"kind": inputs[5], "page": 0})

    def select_cell(
        self, page_state: object, model: object, weights: object, split: object, folder: object, event: gr.EventData
    ) -> list[Any]:
        """Pictures of the confusion that was pressed, and no kind any more: for `gallery`, and the kind."""
        cell = {name: event._data.get(name) for name in ("true", "predicted")}
        return [
            *self._show_gallery((page_state, model, weights, split, folder), {**cell, "page": 0}),
            gr.Radio(value=None),
        ]

    def show_next_page(self, *inputs: Any) -> list[Any]:
        """The next ones. Given is the choice, then what was picked."""
        gallery_state = inputs[5] if isinstance(inputs[5], dict) else {}
        page = gallery_state.get("page")
        return self._show_gallery(inputs[:5], {**gallery_state, "page": page + 1 if isinstance(page, int) else 0})

    def _show_gallery(self, choice: Any, gallery_state: dict[str, Any]) -> list[Any]:
        try:
            return self._render_gallery(*self._get_evaluation(choice), gallery_state)
        except FtlabError as error:
            return [render_error(str(error)), gr.Button(visible=False), gallery_state, ""]

    def _render_gallery(self, run: Run, evaluation: Evaluation, gallery_state: dict[str, Any]) -> list[Any]:
        """Values for gallery, button, what was picked, and the pair below."""
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
        """The evidence in the picture that was pressed."""
        from ftlab.inference import predictor
        from ftlab.ui.inspect import view

        try:
            run, evaluation = self._get_evaluation((page_state, model, weights, split, folder))
            image_index = event._data.get("index")
            if not isinstance(image_index, int) or not 0 <= image_index < len(evaluation.result.labels):
                return Markup("")
            run_predictor = predictor.load_predictor(run, evaluation.result.weights_choice)
            first_class, second_class = (
                int(evaluation.result.labels[image_index]),
                int(evaluation.result.predicted_labels[image_index]),
            )
            if first_class == second_class:
                second_class = int(evaluation.probabilities[image_index].argsort()[-2])
            explanations = [
                run_predictor.explain(evaluation.result.get_image_path(image_index), class_index)
                for class_index in (first_class, second_class)
            ]
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
        """The file that was asked for, to be downloaded."""
        from ftlab.inference import predictor
        from ftlab.reporting.html import files
        from ftlab.ui.inspect import view

        try:
            run, evaluation = self._get_evaluation((page_state, model, weights, split, folder))
            file_name = view.DOWNLOAD_FILES.get(str(event._data.get("file")))
            if file_name is None:
                return None
            run_predictor = predictor.load_predictor(run, evaluation.result.weights_choice)
        except FtlabError as error:
            gr.Warning(str(error))
            return None
        export_folder = Path(get_upload_folder()) / "evaluation" / run.name
        export_folder.mkdir(parents=True, exist_ok=True)
        export_path = export_folder / f"{evaluation.result.dataset_name}-{evaluation.result.weights_choice}-{file_name}"
        export_path.write_bytes(
            files.render_file(file_name, evaluation, run_predictor.title, run.name, run_predictor.display_names)
        )
        return str(export_path)


def _cache_key(choice: Any) -> tuple[str, ...]:
    return tuple(map(str, choice[1:5]))


def _make_name_formatter(run: Run) -> ClassFormatter:
    from ftlab.inference import predictor

    return partial(class_names.get_display_name, names=predictor.read_display_names(run))


def _empty_outputs(message: Markup) -> list[Any]:
    """Nothing to show but a sentence. Values for `seen` in `inspect.build`."""
    return [message, gr.Column(visible=False), "", "", "", "", gr.skip(), "", gr.Button(visible=False), {}, ""]
