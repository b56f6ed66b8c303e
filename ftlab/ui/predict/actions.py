"""What the Predict tab does, without its components: which models a page may ask, and what they answer.

torch is imported by the first question, not by the page.
"""

from __future__ import annotations

import random
from functools import lru_cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.media import get_image
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError, WeightsError
from ftlab.core.html import Markup, tag
from ftlab.data.dataset import catalog, class_names
from ftlab.runs.directory import Run
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.predict import cam_options, view
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:
    from ftlab.inference.predictor import Explanation, Predictor

UNTRAINED_MODEL = "untrained"
"""The model that is always there: the default backbone with its 1000 classes."""
MAX_EXAMPLE_IMAGES = 8
MAX_IMAGES_PER_REQUEST = 200
"""Pictures that are answered at a time."""


class PredictActions:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: ServerProfile) -> None:
        self.train_actions = TrainActions(profile)

    # --- which model

    def list_models(self, page_state: object, model: str, run_note: object) -> list[Any]:
        """The models to choose from, for the chooser, its examples, and a note of the run that was chosen last.

        The page's own run is chosen when it is new to this tab; else the person's choice stays.
        """
        model_choices = [
            (label, name)
            for label, name in self.train_actions.list_run_choices(page_state)
            if self._open_run(name).best_weights_path.exists()
        ]
        run_names = [name for _, name in model_choices]
        page_run = page_state.get("run") if isinstance(page_state, dict) else None
        last_page_run = run_note.get("run") if isinstance(run_note, dict) else None
        if page_run in run_names and page_run != last_page_run:
            model, last_page_run = page_run, page_run
        elif model not in run_names:
            model = UNTRAINED_MODEL
        choices = [*model_choices, (messages.get_text("predict.untrained"), UNTRAINED_MODEL)]
        return [
            gr.Dropdown(choices=choices, value=model),
            self.render_examples(page_state, model),
            {"run": last_page_run},
        ]

    def preload_model(self, page_state: object, model: str) -> None:
        """Load a model before it is asked: the first one takes seconds, for torch is imported too."""
        try:
            _ = self.load_predictor(page_state, model).cam_layers
        except FtlabError:
            return  # the first question will say so

    def _open_run(self, name: str) -> Run:
        return Run(self.train_actions.profile.runs_dir / name)

    def _get_chosen_run(self, page_state: object, model: object) -> Run | None:
        """The run of a model's name, if this page may see it; None for the untrained one."""
        if model == UNTRAINED_MODEL:
            return None
        return self.train_actions.get_run(page_state, model)

    def load_predictor(self, page_state: object, model: object) -> Predictor:
        from ftlab.inference import predictor

        return predictor.load_predictor(self._get_chosen_run(page_state, model))

    # --- a picture

    def predict(self, store: object, model: str, picture: str | None, *cam_settings: object) -> list[Any]:
        """Top classes and heat of the first: for scores, evidence, overlay, class chooser, layer chooser, verdict.

        Args:
            cam_settings: method, layer and whether before is shown too, of the folded section.
        """
        return self._predict_and_explain(store, model, picture, None, *cam_settings)

    def explain(self, store: object, model: str, picture: str | None, *cam_settings_and_class: object) -> list[Any]:
        """The same with the heat of a chosen class, which comes last."""
        *cam_settings, class_index = cam_settings_and_class
        return self._predict_and_explain(
            store, model, picture, class_index if isinstance(class_index, int) else None, *cam_settings
        )

    def explain_pressed_class(
        self,
        page_state: object,
        model: str,
        image_path: str | None,
        method: str,
        layer: str,
        show_baseline: bool,
        event: gr.EventData,
    ) -> list[Any]:
        """The same with the heat of the class whose bar was pressed."""
        return self.explain(page_state, model, image_path, method, layer, show_baseline, event._data.get("index"))

    def _predict_and_explain(
        self,
        page_state: object,
        model: str,
        image_path: str | None,
        class_index: int | None,
        method: object = "",
        layer: object = "",
        show_baseline: object = False,
    ) -> list[Any]:
        if not image_path:
            return _empty_outputs(render_empty_state("predict.nothing", "predict.nothing_step"))
        try:
            predictor = self.load_predictor(page_state, model)
            classes = predictor.class_names
            if class_index is not None and not 0 <= class_index < len(classes):
                class_index = None  # of a model that was chosen before
            layer_choices = cam_options.list_layer_choices(predictor)
            options = cam_options.parse_cam_options(method, layer, layer_choices)
            ranked_scores, explanation = predictor.predict_and_explain(
                image_path, class_index, k=len(classes), cam_options=options
            )
            baseline = (
                self._explain_baseline(page_state, model, predictor, image_path, explanation) if show_baseline else None
            )
        except ImageError as error:
            return _empty_outputs(render_error(tag("b", Path(image_path).name), ": ", view.format_image_error(error)))
        except FtlabError as error:
            return _empty_outputs(render_error(str(error)))
        format_class_name = partial(class_names.get_display_name, names=predictor.display_names)
        return [
            view.render_scores(
                ranked_scores, explanation.class_index, predictor.title, format_class_name, predictor.decision
            ),
            gr.Column(visible=True),
            view.render_overlay(
                explanation, format_class_name(classes[explanation.class_index]), Path(image_path).stem, baseline
            ),
            gr.Dropdown(
                choices=[(format_class_name(name), number) for number, name in enumerate(classes)],
                value=explanation.class_index,
            ),
            gr.Dropdown(choices=layer_choices, value=options.layer_path),
            "",
        ]

    def _explain_baseline(
        self, page_state: object, model: str, predictor: Predictor, image_path: str, explanation: Explanation
    ) -> view.BaselineView:
        """The same before fine-tuning, or why there is none. What stands in its way leaves what is now untouched."""
        from ftlab.inference import before_finetuning

        try:
            baseline = before_finetuning.pretrained_baseline(
                self._get_chosen_run(page_state, model), predictor, explanation.class_index
            )
            baseline_explanation, probability = baseline.explain(image_path, explanation.cam_options)
        except WeightsError as error:
            return view.BaselineView(None, str(error))
        return view.BaselineView(baseline_explanation, before_finetuning.describe_baseline(baseline, probability))

    def score_faithfulness(
        self,
        store: object,
        model: str,
        picture: str | None,
        method: object,
        layer: object,
        before: object,
        index: object,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Markup:
        """Whether the map that is shown means anything."""
        if not picture:
            return Markup("")

        def report_progress(completed: int, total: int) -> None:
            progress(completed / total, desc=messages.get_text("explain.progress", done=completed, total=total))

        try:
            predictor = self.load_predictor(store, model)
            if not isinstance(index, int) or not 0 <= index < len(predictor.class_names):
                index = predictor.predict(picture, 1)[0].class_index
            options = cam_options.parse_cam_options(method, layer, cam_options.list_layer_choices(predictor))
            return cam_options.render_verdict(predictor.score_faithfulness(picture, index, options, report_progress))
        except ImageError as error:
            return render_error(tag("b", Path(picture).name), ": ", view.format_image_error(error))
        except FtlabError as error:
            return render_error(str(error))

    # --- examples

    def render_examples(self, page_state: object, model: str) -> Markup:
        """Pictures to try with a model."""
        try:
            return view.render_examples(list_examples(self._get_chosen_run(page_state, model)))
        except FtlabError:
            return Markup("")

    def select_example(self, page_state: object, model: str, event: gr.EventData) -> Any:
        """The example that was pressed, as if it had been uploaded."""
        try:
            examples = list_examples(self._get_chosen_run(page_state, model))
            image_path = examples[event._data["index"]][0]
            return save_file_to_cache(image_path, get_upload_folder())
        except (FtlabError, IndexError, KeyError, TypeError, OSError):
            return gr.skip()

    # --- several pictures

    def predict_several(
        self,
        store: object,
        model: str,
        files: list[str] | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Markup:
        """A gallery of answers."""
        if not files:
            return Markup("")
        if len(files) > MAX_IMAGES_PER_REQUEST:
            return render_error(messages.get_text("predict.too_many", count=len(files), limit=MAX_IMAGES_PER_REQUEST))
        try:
            predictor = self.load_predictor(store, model)
        except FtlabError as error:
            return render_error(str(error))
        predictions = []
        for index, image_path in enumerate(files):
            progress(index / len(files), desc=messages.get_text("predict.progress", done=index, total=len(files)))
            try:
                top_scores = predictor.predict(image_path, view.TOP_K)
                predictions.append(
                    view.ImagePrediction(
                        Path(image_path), tuple(top_scores), is_rejected=predictor.is_rejected(top_scores)
                    )
                )
            except ImageError as error:
                predictions.append(view.ImagePrediction(Path(image_path), (), view.format_image_error(error)))
        return view.render_gallery(predictions, partial(class_names.get_display_name, names=predictor.display_names))

    def select_file(self, files: list[str] | None, event: gr.EventData) -> Any:
        """The picture of the gallery that was pressed, to look at alone."""
        index = event._data.get("index")
        return files[index] if files and isinstance(index, int) and 0 <= index < len(files) else gr.skip()


def list_examples(run: Run | None) -> list[tuple[Path, str]]:
    """Pictures that the training has not seen, with their classes; for the untrained default some that gradio ships.

    Raises:
        RunError: the run has no readable split.
    """
    if run is None:
        return [(Path(get_image(name)), "") for name in ("cheetah1.jpg", "lion.jpg", "tower.jpg")]
    split_path = run.path / "split.json"
    return _list_unseen_images(run.path, split_path.stat().st_mtime_ns if split_path.exists() else 0)


@lru_cache(maxsize=16)
def _list_unseen_images(path: Path, _mtime_ns: int) -> list[tuple[Path, str]]:
    image_catalog = catalog.catalog_from_json(Run(path).read_json("split.json"))
    items = list(image_catalog.splits["test"] or image_catalog.splits["val"])
    random.Random(0).shuffle(items)
    interleaved_rows = zip_longest(
        *([item for item in items if item.label == label] for label in range(len(image_catalog.classes)))
    )
    interleaved_items = [item for row in interleaved_rows for item in row if item is not None]
    display_names = class_names.find_display_names(image_catalog.root, image_catalog.classes)
    return [
        (image_catalog.image_path(item), class_names.get_display_name(image_catalog.classes[item.label], display_names))
        for item in interleaved_items[:MAX_EXAMPLE_IMAGES]
    ]


def _empty_outputs(message: Markup) -> list[Any]:
    return [message, gr.Column(visible=False), "", gr.skip(), gr.skip(), ""]
