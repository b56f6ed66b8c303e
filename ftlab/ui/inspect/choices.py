"""Choices of the Inspect tab: the runs and images that a page may see, and the evaluations kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError, RunError
from ftlab.data.dataset.split import SPLITS
from ftlab.runs.directory import Run
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice
from ftlab.ui.common.late_answers import LatestQuestions
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.evaluation.evaluate import Evaluation
    from ftlab.evaluation.results import EvaluationDataset

FOLDER_CHOICE = "folder"
"""Value of the split menu for a folder of labelled images that the training never used."""
WEIGHT_CHOICES = ("best", "last")
"""The weights of the best epoch, and those of the last step."""
EvaluationChoice = tuple[object, object, object, object, object]
"""Page state, run, weights, split and folder, as the components send them: not checked."""

_MAX_CACHED_EVALUATIONS = 4
"""Evaluations kept in memory; each holds the probabilities of all its images, float32 [N, K]."""


class EvaluationChoices:
    """Menus of runs and splits, checks of what was selected in them, and its evaluations. One instance per server."""

    def __init__(self, profile: ServerProfile) -> None:
        """Create the menus of a server."""
        self.profile, self.train_actions = profile, TrainActions(profile)
        self._latest_run = LatestQuestions()
        self._evaluations: OrderedDict[tuple[str, ...], Evaluation] = OrderedDict()
        self._lock = threading.Lock()

    def list_models(self, page_state: object, model: object, split: object, run_note: object) -> list[Any]:
        """List the runs that have weights.

        The page's own run is selected when it is new to this tab; otherwise the person's choice stays.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            model: the selected run.
            split: the selected split.
            run_note: `{"run": name}`, the page's own run when the runs were last listed.

        Returns:
            Updates of the run menu, the splits of the selected run, the note, and the button.
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
        # Only once: otherwise the person's own choice would be undone on each opening of the tab.
        if page_run in run_names and page_run != last_page_run:
            model = last_page_run = page_run
        chosen_model = model if model in run_names else run_names[0] if run_names else None
        model_dropdown = gr.Dropdown(choices=model_choices, value=str(chosen_model) if chosen_model else None)
        # Another run has other splits: its default one is selected.
        kept_split = split if chosen_model == previous_model else None
        return [
            model_dropdown,
            self._build_split_radio(chosen_model, kept_split),
            {"run": last_page_run},
            gr.Button(interactive=bool(run_names)),
        ]

    def list_splits(
        self,
        page_state: object,  # noqa: ARG002 - the page sends it; it gives no right
        model: object,
        split: object = None,
        request: gr.Request | None = None,
    ) -> Any:
        """List the splits of a run, its test images first if it has any.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            model: the selected run.
            split: the selected split; it stays if the run has it.
            request: of the page.

        Returns:
            Update of the split menu; none if the page has selected another run meanwhile.
        """
        return self._latest_run.answer_latest(request, model, lambda: [self._build_split_radio(model, split)])[0]

    def _build_split_radio(self, model: object, split: object) -> Any:
        """Return the menu of a run's splits that contain images, and of a folder if this server may read folders."""
        try:
            split_images = self.train_actions.get_run(model).read_json("split.json")["splits"]
            split_names = [name for name in SPLITS if any(split_images.get(name, {}).values())]
        except (FtlabError, AttributeError, KeyError):
            split_names = []
        if self.profile.data_root is not None:
            split_names.append(FOLDER_CHOICE)
        # Test images first: only they have no influence on the training or on the choice of its best epoch.
        default_split = next((name for name in ("test", "val", *split_names) if name in split_names), None)
        choices = [(messages.get_text(f"inspect.of.{name}"), name) for name in split_names]
        return gr.Radio(choices=choices, value=split if split in split_names else default_split)

    def show_folder_field(self, split: object) -> Any:
        """Return the update that shows the field for a folder if the split is one."""
        return gr.Textbox(visible=split == FOLDER_CHOICE)

    def resolve_choice(self, choice: EvaluationChoice) -> tuple[Run, str, EvaluationDataset]:
        """Resolve what was selected, if this page may see it.

        Args:
            choice: see `EvaluationChoice`.

        Returns:
            The run, `best` or `last`, and the images.

        Raises:
            DataError: no folder is given, it may not be read, or it has no labelled images.
        """
        from ftlab.evaluation import datasets

        _, model, weights_choice, split, folder = choice
        run = self.train_actions.get_run(model)
        weights = weights_choice if weights_choice in WEIGHT_CHOICES else "best"
        if split == FOLDER_CHOICE:
            if str(folder or "").strip().rstrip("/\\") in ("", str(self.profile.start_folder)):
                raise DataError("page.no_new_folder")  # the field's initial value; nobody wants the home folder scanned
            # The shares do not matter: the images of a new folder are all evaluated.
            source = data_choice.parse_source(self.profile, data_choice.FOLDER_SOURCE, str(folder or ""), 0.15, 0.15)
            if source.folder is None:
                raise DataError("page.no_folder")
            return run, str(weights), datasets.load_folder_dataset(source.folder, datasets.read_class_names(run))
        return run, str(weights), datasets.load_split_dataset(run, str(split) if split in SPLITS else "test")

    def cache_evaluation(self, choice: EvaluationChoice, evaluation: Evaluation) -> None:
        """Keep the evaluation that a page shows in memory, and drop the oldest one if there are too many."""
        with self._lock:
            self._evaluations[_cache_key(choice)] = evaluation
            self._evaluations.move_to_end(_cache_key(choice))
            while len(self._evaluations) > _MAX_CACHED_EVALUATIONS:
                self._evaluations.popitem(last=False)

    def get_evaluation(self, choice: Any) -> tuple[Run, Evaluation]:
        """Load the evaluation that the page shows.

        Args:
            choice: see `EvaluationChoice`.

        Returns:
            The run and its evaluation.

        Raises:
            RunError: there is none; or this page may not see the run.
        """
        from ftlab.evaluation import evaluate

        # First of all, and for cached evaluations too: the cache is shared by all pages.
        run = self.train_actions.get_run(choice[1])
        with self._lock:
            evaluation = self._evaluations.get(_cache_key(choice))
        if evaluation is None:
            # After a restart of the server, or when it was evicted: read what the run keeps.
            run, weights, images = self.resolve_choice(choice)
            evaluation = evaluate.load_evaluation(run, images, weights)
        if evaluation is None:
            raise RunError("run.not_evaluated", run=run.name)
        return run, evaluation


def _cache_key(choice: Any) -> tuple[str, ...]:
    # Without the page state: pages that may see the run share its evaluations.
    return tuple(map(str, choice[1:5]))
