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
from ftlab.core.errors import DataError, FtlabError, PictureError, RunError
from ftlab.core.html import Markup, isolated, tag
from ftlab.data.dataset import class_names
from ftlab.data.dataset.split import SPLITS
from ftlab.runs.directory import Run
from ftlab.ui.common import data_choice
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.common.latest_only import Latest
from ftlab.ui.predict.view import wrong
from ftlab.ui.train.actions import Desk

if TYPE_CHECKING:
    from ftlab.evaluation.evaluate import Inspection
    from ftlab.evaluation.results import Pictures
    from ftlab.reporting.html.parts import Say

FOLDER = "folder"
"""A choice beside the splits: labelled pictures that the training never saw."""
WEIGHTS = ("best", "last")
_KEPT = 4
Choice = tuple[object, object, object, object, object]
"""What the page keeps, then run, weights, split and folder as its widgets have them: checked by whoever uses them."""


class Inspector:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.profile, self.desk = profile, Desk(profile)
        self._found: OrderedDict[tuple[str, ...], Inspection] = OrderedDict()
        self._lock = threading.Lock()
        self._latest_run, self._latest_choice = Latest(), Latest()

    # --- what can be chosen

    def models(self, store: object, model: object, split: object, seen: object) -> list[Any]:
        """The runs with a model, for the chooser; the splits of the chosen one; and a note of the page's own run.

        That one is chosen when it is new to this tab; else the person's choice stays.
        """
        runs = self.profile.runs
        offered = [(line, name) for line, name in self.desk.choices(store) if Run(runs / name).best.exists()]
        there = [name for _, name in offered]
        own = store.get("run") if isinstance(store, dict) else None
        before = seen.get("run") if isinstance(seen, dict) else None
        asked = model
        if own in there and own != before:
            model = before = own
        chosen = model if model in there else there[0] if there else None
        chooser = gr.Dropdown(choices=offered, value=str(chosen) if chosen else None)
        kept = split if chosen == asked else None
        return [chooser, self._splits(store, chosen, kept), {"run": before}, gr.Button(interactive=bool(there))]

    def splits(self, store: object, model: object, split: object = None, request: gr.Request | None = None) -> Any:
        """The pictures that a run can be asked about, the test pictures first if it has any; unless the page has chosen
        another run meanwhile."""
        return self._latest_run.answer(request, model, lambda: [self._splits(store, model, split)])[0]

    def _splits(self, store: object, model: object, split: object) -> Any:
        try:
            listed = self.desk.run(store, model).read("split.json")["splits"]
            there = [name for name in SPLITS if any(listed.get(name, {}).values())]
        except (FtlabError, AttributeError):
            there = []
        if self.profile.data_root is not None:
            there.append(FOLDER)
        first = next((name for name in ("test", "val", *there) if name in there), None)
        choices = [(messages.text(f"inspect.of.{name}"), name) for name in there]
        return gr.Radio(choices=choices, value=split if split in there else first)

    def open_folder(self, split: object) -> Any:
        """The field for a folder, where one is wanted."""
        return gr.Textbox(visible=split == FOLDER)

    def _asked(self, choice: Choice) -> tuple[Run, str, Pictures]:
        """The run, the weights and the pictures of a choice, if this page may have them."""
        from ftlab.evaluation import datasets

        store, model, which, split, folder = choice
        run = self.desk.run(store, model)
        weights = which if which in WEIGHTS else "best"
        if split == FOLDER:
            if str(folder or "").strip().rstrip("/\\") in ("", str(self.profile.data_root)):
                raise DataError("page.no_new_folder")  # nobody wants the home folder looked through
            source = data_choice.choose(self.profile, data_choice.FOLDER, str(folder or ""), 0.15, 0.15)
            if source.folder is None:
                raise DataError("page.no_folder")
            return run, str(weights), datasets.of_folder(source.folder, datasets.classes(run))
        return run, str(weights), datasets.of_split(run, str(split) if split in SPLITS else "test")

    # --- what is shown

    def show(
        self,
        store: object,
        model: object,
        which: object,
        split: object,
        folder: object,
        request: gr.Request | None = None,
    ) -> list[Any]:
        """What was found before, if it was; else what to do. Values for `seen` in `inspect.build`."""
        choice = (store, model, which, split, folder)
        return self._latest_choice.answer(request, choice[1:], lambda: self._show(choice))

    def _show(self, choice: Choice) -> list[Any]:
        if choice[1] is None:
            return _nothing(empty("inspect.no_models", "inspect.no_models_step"))
        from ftlab.evaluation import evaluate

        try:
            run, which, pictures = self._asked(choice)
            found = evaluate.kept(run, pictures, which)
            if found is None:
                return _nothing(empty("inspect.nothing", "inspect.nothing_step"))
            return self._shown(choice, run, found)
        except FtlabError as mistake:
            untold = mistake.code == "page.no_new_folder"
            return _nothing(empty("inspect.folder", "inspect.folder_hint") if untold else trouble(str(mistake)))

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
        return self._latest_choice.answer(request, choice[1:], lambda: self._evaluated(choice, progress))

    def _evaluated(self, choice: Choice, progress: gr.Progress) -> list[Any]:
        from ftlab.evaluation import evaluate

        last = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                progress(done / total, desc=messages.text("inspect.progress", done=f"{done:,}", total=f"{total:,}"))

        try:
            run, weights, pictures = self._asked(choice)
            return self._shown(choice, run, evaluate.inspect(run, pictures, weights, tell))
        except FtlabError as mistake:
            return _nothing(trouble(str(mistake)))

    def _shown(self, choice: Any, run: Run, found: Inspection) -> list[Any]:
        from ftlab.ui.inspect import view

        with self._lock:
            self._found[_key(choice)] = found
            self._found.move_to_end(_key(choice))
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        say = _say(run)
        kind = "hits" if found.outcome.right.all() else "mistakes"
        return [
            view.scores(found),
            gr.Column(visible=True),
            view.matrix(found, say),
            view.classes(found, say),
            view.calibrated(found),
            view.downloads(),
            gr.Radio(value=kind),
            *self._gallery(run, found, {"kind": kind, "page": 0}),
        ]

    def _have(self, choice: Any) -> tuple[Run, Inspection]:
        """What the page shows: from memory, else, where the server was restarted, as it was kept."""
        from ftlab.evaluation import evaluate

        run = self.desk.run(choice[0], choice[1])
        with self._lock:
            found = self._found.get(_key(choice))
        if found is None:
            run, which, pictures = self._asked(choice)
            found = evaluate.kept(run, pictures, which)
        if found is None:
            raise RunError("run.not_evaluated", run=run.name)
        return run, found

    # --- pictures

    def pick_kind(self, *given: Any) -> list[Any]:
        """Pictures of a kind: for `gallery` in `inspect.build`. Given is the choice, then the kind."""
        return self._pick(given[:5], {"kind": given[5], "page": 0})

    def pick_cell(
        self, store: object, model: object, which: object, split: object, folder: object, event: gr.EventData
    ) -> list[Any]:
        """Pictures of the confusion that was pressed, and no kind any more: for `gallery`, and the kind."""
        cell = {name: event._data.get(name) for name in ("true", "predicted")}
        return [*self._pick((store, model, which, split, folder), {**cell, "page": 0}), gr.Radio(value=None)]

    def turn(self, *given: Any) -> list[Any]:
        """The next ones. Given is the choice, then what was picked."""
        picked = given[5] if isinstance(given[5], dict) else {}
        page = picked.get("page")
        return self._pick(given[:5], {**picked, "page": page + 1 if isinstance(page, int) else 0})

    def _pick(self, choice: Any, picked: dict[str, Any]) -> list[Any]:
        try:
            return self._gallery(*self._have(choice), picked)
        except FtlabError as mistake:
            return [trouble(str(mistake)), gr.Button(visible=False), picked, ""]

    def _gallery(self, run: Run, found: Inspection, picked: dict[str, Any]) -> list[Any]:
        """Values for gallery, button, what was picked, and the pair below."""
        from ftlab.evaluation import selection
        from ftlab.ui.inspect import view

        say, page, count = _say(run), picked.get("page"), len(found.outcome.classes)
        true, predicted = (one if isinstance(one := picked.get(name), int) else -1 for name in ("true", "predicted"))
        if true in range(count) and predicted in range(count):
            cell = true, predicted
            chosen, title = selection.cell(found.outcome, found.sure, *cell), view.cell_title(found, *cell, say)
        else:
            kind = next((one for one in selection.KINDS if one == picked.get("kind")), "mistakes")
            chosen, title = selection.of(kind, found.outcome, found.sure), messages.text(f"inspect.kind.{kind}")
        shown = view.gallery(found, chosen, page if isinstance(page, int) and page >= 0 else 0, say, title)
        return [shown, gr.Button(visible=len(chosen) > view.PAGE), picked, ""]

    def look(
        self, store: object, model: object, which: object, split: object, folder: object, event: gr.EventData
    ) -> Markup:
        """The evidence in the picture that was pressed."""
        from ftlab.inference import predictor
        from ftlab.ui.inspect import view

        try:
            run, found = self._have((store, model, which, split, folder))
            index = event._data.get("index")
            if not isinstance(index, int) or not 0 <= index < len(found.outcome.labels):
                return Markup("")
            asked = predictor.load(run, found.outcome.which)
            first, second = int(found.outcome.labels[index]), int(found.outcome.predicted[index])
            if first == second:
                second = int(found.probabilities[index].argsort()[-2])
            looks = [asked.explain(found.outcome.path(index), one) for one in (first, second)]
            return view.pair(found, index, looks, _say(run))
        except PictureError as mistake:
            return trouble(tag("b", isolated(found.outcome.paths[index], path=True)), ": ", wrong(mistake))
        except FtlabError as mistake:
            return trouble(str(mistake))

    def file(
        self, store: object, model: object, which: object, split: object, folder: object, event: gr.EventData
    ) -> str | None:
        """The file that was asked for, to be downloaded."""
        from ftlab.inference import predictor
        from ftlab.reporting.html import files
        from ftlab.ui.inspect import view

        try:
            run, found = self._have((store, model, which, split, folder))
            name = view.FILES.get(str(event._data.get("file")))
            if name is None:
                return None
            asked = predictor.load(run, found.outcome.which)
        except FtlabError as mistake:
            gr.Warning(str(mistake))
            return None
        place = Path(get_upload_folder()) / "evaluation" / run.name
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{found.outcome.pictures}-{found.outcome.which}-{name}"
        file.write_bytes(files.content(name, found, asked.title, run.name, asked.names))
        return str(file)


def _key(choice: Any) -> tuple[str, ...]:
    return tuple(map(str, choice[1:5]))


def _say(run: Run) -> Say:
    from ftlab.inference import predictor

    return partial(class_names.say, names=predictor.names_of(run))


def _nothing(said: Markup) -> list[Any]:
    """Nothing to show but a sentence. Values for `seen` in `inspect.build`."""
    return [said, gr.Column(visible=False), "", "", "", "", gr.skip(), "", gr.Button(visible=False), {}, ""]
