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
from ftlab.core.errors import FtlabError, PictureError, WeightsError
from ftlab.core.html import Markup, tag
from ftlab.data.dataset import catalog, class_names
from ftlab.runs.directory import Run
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.predict import cam_options, view
from ftlab.ui.train.actions import Desk

if TYPE_CHECKING:
    from ftlab.inference.predictor import Explanation, Predictor

UNTRAINED = "untrained"
"""The model that is always there: the default backbone with its 1000 classes."""
EXAMPLES = 8
SEVERAL = 200
"""Pictures that are answered at a time."""


class Lab:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.desk = Desk(profile)

    # --- which model

    def models(self, store: object, model: str, shown: object) -> list[Any]:
        """The models to choose from, for the chooser, its examples, and a note of the run that was chosen last.

        The page's own run is chosen when it is new to this tab; else the person's choice stays.
        """
        offered = [(line, name) for line, name in self.desk.choices(store) if self._run(name).best.exists()]
        there = [name for _, name in offered]
        own = store.get("run") if isinstance(store, dict) else None
        seen = shown.get("run") if isinstance(shown, dict) else None
        if own in there and own != seen:
            model, seen = own, own
        elif model not in there:
            model = UNTRAINED
        choices = [*offered, (messages.text("predict.untrained"), UNTRAINED)]
        return [gr.Dropdown(choices=choices, value=model), self.examples(store, model), {"run": seen}]

    def warm(self, store: object, model: str) -> None:
        """Load a model before it is asked: the first one takes seconds, for torch is imported too."""
        try:
            _ = self._predictor(store, model).layers
        except FtlabError:
            return  # the first question will say so

    def _run(self, name: str) -> Run:
        return Run(self.desk.profile.runs / name)

    def _chosen(self, store: object, model: object) -> Run | None:
        """The run of a model's name, if this page may see it; None for the untrained one."""
        if model == UNTRAINED:
            return None
        return self.desk.run(store, model)

    def _predictor(self, store: object, model: object) -> Predictor:
        from ftlab.inference import predictor

        return predictor.load(self._chosen(store, model))

    # --- a picture

    def predict(self, store: object, model: str, picture: str | None, *looked: object) -> list[Any]:
        """Top classes and heat of the first: for scores, evidence, overlay, class chooser, layer chooser, verdict.

        Args:
            looked: method, layer and whether before is shown too, of the folded section.
        """
        return self._look(store, model, picture, None, *looked)

    def explain(self, store: object, model: str, picture: str | None, *asked: object) -> list[Any]:
        """The same with the heat of a chosen class, which comes last."""
        *looked, index = asked
        return self._look(store, model, picture, index if isinstance(index, int) else None, *looked)

    def explain_row(
        self, store: object, model: str, picture: str | None, method: str, layer: str, before: bool, event: gr.EventData
    ) -> list[Any]:
        """The same with the heat of the class whose bar was pressed."""
        return self.explain(store, model, picture, method, layer, before, event._data.get("index"))

    def _look(
        self,
        store: object,
        model: str,
        picture: str | None,
        index: int | None,
        method: object = "",
        layer: object = "",
        before: object = False,
    ) -> list[Any]:
        if not picture:
            return _nothing(empty("predict.nothing", "predict.nothing_step"))
        try:
            predictor = self._predictor(store, model)
            classes = predictor.classes
            if index is not None and not 0 <= index < len(classes):
                index = None  # of a model that was chosen before
            layers = cam_options.layers(predictor)
            how = cam_options.how(method, layer, layers)
            ranked, found = predictor.look(picture, index, k=len(classes), how=how)
            earlier = self._before(store, model, predictor, picture, found) if before else None
        except PictureError as error:
            return _nothing(trouble(tag("b", Path(picture).name), ": ", view.wrong(error)))
        except FtlabError as error:
            return _nothing(trouble(str(error)))
        say = partial(class_names.say, names=predictor.names)
        return [
            view.scores(ranked, found.index, predictor.title, say, predictor.decision),
            gr.Column(visible=True),
            view.overlay(found, say(classes[found.index]), Path(picture).stem, earlier),
            gr.Dropdown(choices=[(say(name), number) for number, name in enumerate(classes)], value=found.index),
            gr.Dropdown(choices=layers, value=how.layer),
            "",
        ]

    def _before(
        self, store: object, model: str, predictor: Predictor, picture: str, found: Explanation
    ) -> view.Earlier:
        """The same before fine-tuning, or why there is none. What stands in its way leaves what is now untouched."""
        from ftlab.inference import before_finetuning

        try:
            then = before_finetuning.find(self._chosen(store, model), predictor, found.index)
            earlier, probability = then.look(picture, found.how)
        except WeightsError as error:
            return view.Earlier(None, str(error))
        return view.Earlier(earlier, before_finetuning.sentence(then, probability))

    def weigh(
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

        def told(done: int, total: int) -> None:
            progress(done / total, desc=messages.text("explain.progress", done=done, total=total))

        try:
            predictor = self._predictor(store, model)
            if not isinstance(index, int) or not 0 <= index < len(predictor.classes):
                index = predictor.top(picture, 1)[0].index
            how = cam_options.how(method, layer, cam_options.layers(predictor))
            return cam_options.verdict(predictor.weigh(picture, index, how, told))
        except PictureError as error:
            return trouble(tag("b", Path(picture).name), ": ", view.wrong(error))
        except FtlabError as error:
            return trouble(str(error))

    # --- examples

    def examples(self, store: object, model: str) -> Markup:
        """Pictures to try with a model."""
        try:
            return view.examples(examples_of(self._chosen(store, model)))
        except FtlabError:
            return Markup("")

    def take_example(self, store: object, model: str, event: gr.EventData) -> Any:
        """The example that was pressed, as if it had been uploaded."""
        try:
            offered = examples_of(self._chosen(store, model))
            file = offered[event._data["index"]][0]
            return save_file_to_cache(file, get_upload_folder())
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
        if len(files) > SEVERAL:
            return trouble(messages.text("predict.too_many", count=len(files), limit=SEVERAL))
        try:
            predictor = self._predictor(store, model)
        except FtlabError as error:
            return trouble(str(error))
        answers = []
        for number, file in enumerate(files):
            progress(number / len(files), desc=messages.text("predict.progress", done=number, total=len(files)))
            try:
                top = predictor.top(file, view.TOP)
                answers.append(view.Answer(Path(file), tuple(top), none=predictor.none_of_these(top)))
            except PictureError as error:
                answers.append(view.Answer(Path(file), (), view.wrong(error)))
        return view.gallery(answers, partial(class_names.say, names=predictor.names))

    def take_file(self, files: list[str] | None, event: gr.EventData) -> Any:
        """The picture of the gallery that was pressed, to look at alone."""
        number = event._data.get("index")
        return files[number] if files and isinstance(number, int) and 0 <= number < len(files) else gr.skip()


def examples_of(run: Run | None) -> list[tuple[Path, str]]:
    """Pictures that the training has not seen, with their classes; for the untrained default some that gradio ships.

    Raises:
        RunError: the run has no readable split.
    """
    if run is None:
        return [(Path(get_image(name)), "") for name in ("cheetah1.jpg", "lion.jpg", "tower.jpg")]
    split = run.path / "split.json"
    return _unseen(run.path, split.stat().st_mtime_ns if split.exists() else 0)


@lru_cache(maxsize=16)
def _unseen(path: Path, _changed: int) -> list[tuple[Path, str]]:
    pictures = catalog.from_json(Run(path).read("split.json"))
    items = list(pictures.splits["test"] or pictures.splits["val"])
    random.Random(0).shuffle(items)
    rows = zip_longest(*([item for item in items if item.label == label] for label in range(len(pictures.classes))))
    in_turn = [item for row in rows for item in row if item is not None]
    shown = class_names.of(pictures.root, pictures.classes)
    return [(pictures.path(item), class_names.say(pictures.classes[item.label], shown)) for item in in_turn[:EXAMPLES]]


def _nothing(said: Markup) -> list[Any]:
    return [said, gr.Column(visible=False), "", gr.skip(), gr.skip(), ""]
