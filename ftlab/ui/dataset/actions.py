"""What the Dataset tab does, without its components: look at pictures, take a zip, fetch a set, find a folder.

Every event sends the choice along and gets what it shows from the scan of that choice, which the server keeps: so
nothing of it lives in a session, and a restarted server only looks again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.config.train_config import SAMPLES
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.core.html import Markup, join, tag
from ftlab.data.dataset import class_names, exclusions
from ftlab.data.sources import locate, tutorial_datasets
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.access import UPLOAD, Profile, inside
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.common.latest_only import Latest
from ftlab.ui.dataset import folder_browser, tutorial_picker, view


class Shop:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._latest = Latest()

    # --- looking at the pictures

    def look(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """What the tab shows of a choice, as scanned before if it was. Values for `shown` in `dataset.build`."""
        choice = (sample, folder, val, test)
        return self._latest.answer(request, choice, lambda: self._look(*choice, progress))

    def _look(self, sample: str, folder: str, val: float, test: float, progress: gr.Progress) -> list[Any]:
        root = self.profile.data_root
        if sample == data_choice.UPLOAD and not folder:
            return _nothing(empty("dataset.send.choose", "dataset.send.choose_step"))
        if sample == data_choice.FOLDER and root is not None and folder.strip().rstrip("/\\") in ("", str(root)):
            return _nothing(empty("dataset.choose", "dataset.choose_step"))  # nobody wants the home folder scanned
        if (
            sample == data_choice.TUTORIAL
            and folder in tutorial_datasets.TABLE
            and not tutorial_datasets.find(tutorial_datasets.get(folder))
        ):
            return _nothing(empty("dataset.tutorial.choose", "dataset.tutorial.choose_step"))
        return self._scanned(sample, folder, val, test, _told(progress), fresh=False)

    def look_again(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """The same, the files looked at again: they may have been mended."""
        scan = partial(self._scanned, sample, folder, val, test, _told(progress), fresh=True)
        return self._latest.answer(request, (sample, folder, val, test), scan)

    def receive(
        self,
        file: str | None,
        before: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """A zip that was sent, unpacked and looked at; the zip itself is not kept. For `sent`, `place`, and `shown` in
        `dataset.build`."""
        before = str(before or "")
        if not file:
            return [gr.skip()] * (2 + len(_nothing(Markup(""))))
        try:
            name, told = Path(file).stem, _told(progress, "dataset.send.progress")
            token = uploads.take(self.profile, Path(file), before, name=name, progress=told)
        except FtlabError as mistake:
            return [gr.skip(), gr.skip(), *self._beside(trouble(str(mistake)), before, val, test)]
        finally:
            if Path(file).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
                Path(file).unlink(missing_ok=True)
        return [token, token, *self.look(data_choice.UPLOAD, token, val, test, progress, request)]

    def fetch(
        self,
        which: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """A tutorial's data set, downloaded unless it is here, and looked at. For the menu, its button, `place`, and
        `shown` in `dataset.build`."""
        telling: dict[str, Callable[[int, int], None]] = {}

        def tell(stage: str, done: int, total: int) -> None:
            scale = 1 if stage == "unpack" else 1_000_000
            told = telling.setdefault(stage, _told(progress, f"dataset.tutorial.{stage}"))
            told(done // scale, max(1, total // scale))

        try:
            row = tutorial_datasets.get(str(which))
            if not self.profile.local and not tutorial_datasets.find(row):
                raise DataError("page.no_fetch")
            tutorial_datasets.fetch(row, progress=tell)
        except FtlabError as mistake:
            return [gr.skip(), gr.skip(), gr.skip(), *_nothing(trouble(str(mistake)))]
        shown = self.look(data_choice.TUTORIAL, row.name, val, test, progress)
        menu = gr.Dropdown(choices=tutorial_picker.choices(self.profile), value=row.name)
        return [menu, gr.Button(tutorial_picker.button(row.name)), row.name, *shown]

    def choose_set(self, which: str) -> list[Any]:
        """A set of the menu was chosen: what it is, and what its button does."""
        if which not in tutorial_datasets.TABLE:
            return [gr.skip(), gr.skip()]
        return [tutorial_picker.about(which), gr.Button(tutorial_picker.button(which))]

    def _beside(self, said: Markup, before: str, val: float, test: float) -> list[Any]:
        """A refusal above what was sent before it and is still chosen, if that is there. Values for `shown`."""
        try:
            uploads.find(before)
        except FtlabError:
            return _nothing(said)
        summary, *rest = self._scanned(data_choice.UPLOAD, before, val, test, lambda *_: None, fresh=False)
        return [join([said, summary]), *rest]

    def _scanned(
        self, sample: str, folder: str, val: float, test: float, progress: Callable[[int, int], None], *, fresh: bool
    ) -> list[Any]:
        try:
            source = data_choice.choose(self.profile, sample, folder, val, test)
            catalog = data_choice.scan(source, fresh=fresh, progress=progress)
        except FtlabError as mistake:
            return _nothing(trouble(str(mistake)))
        splits = view.splits_of(catalog)
        known = class_names.of(catalog.root, catalog.classes)
        return [
            view.summary(catalog, source),
            view.problems(catalog),
            gr.Column(visible=True),
            gr.Dropdown(
                [
                    (messages.text("dataset.all_classes"), view.ALL),
                    *((messages.one_line(class_names.say(name, known)), name) for name in catalog.classes),
                ],
                value=view.ALL,
            ),
            gr.Radio(
                [
                    (messages.text("dataset.all_splits"), view.ALL),
                    *((messages.text(f"dataset.split.{split}"), split) for split in splits),
                ],
                value=view.ALL,
            ),
            0,
            view.gallery(catalog, view.ALL, view.ALL, 0),
            gr.Slider(visible="val" in catalog.dealt),
            gr.Slider(visible="test" in catalog.dealt),
            gr.Button(interactive=True),
            {"sample": sample, "folder": folder, "val": val, "test": test},
        ]

    def first(self, sample: str, folder: str, val: float, test: float, name: str, split: str) -> list[Any]:
        """The first page of a class and a split."""
        return self._page(sample, folder, val, test, name, split, 0)

    def turn(
        self, sample: str, folder: str, val: float, test: float, name: str, split: str, page: float | None
    ) -> list[Any]:
        """The next page."""
        return self._page(sample, folder, val, test, name, split, int(page or 0) + 1)

    def _page(self, sample: str, folder: str, val: float, test: float, name: str, split: str, page: int) -> list[Any]:
        try:
            catalog = data_choice.scan(data_choice.choose(self.profile, sample, folder, val, test))
        except FtlabError as mistake:
            return [0, trouble(str(mistake))]
        return [page, view.gallery(catalog, name, split, max(page, 0))]

    # --- finding a folder

    def restore(self, kept: object, sent: object = "") -> list[Any]:
        """The choice that the browser kept, as far as it still makes sense: for sample, folder, place, shares, `ways`,
        set.

        Args:
            kept: what `_scanned` gave it.
            sent: name of what was sent last.
        """
        stored = kept if isinstance(kept, dict) else {}
        sample, (folder, name) = stored.get("sample"), data_choice.parted(stored.get("folder"))
        if sample not in offered(self.profile):
            return [gr.skip()] * 11
        typed = folder if sample == data_choice.FOLDER else ""
        named = folder if sample == data_choice.TUTORIAL and folder in tutorial_datasets.TABLE else ""
        first = str(sent or "") if sample == data_choice.UPLOAD else named or typed
        return [
            sample,
            typed or gr.skip(),
            data_choice.place(first, name if exclusions.find(name) else ""),
            data_choice.share("val_share", stored.get("val")),
            data_choice.share("test_share", stored.get("test")),
            *self.open_way(sample, typed),
            named or gr.skip(),
        ]

    def open_way(self, sample: str, folder: str) -> list[Any]:
        """The way to a folder is shown where a folder is wanted, the field for a zip where a zip is: for `ways`."""
        wanted = sample == data_choice.FOLDER and self.profile.data_root is not None
        return [
            about_of(sample, self.profile),
            gr.Column(visible=wanted),
            self.shelf(folder) if wanted else "",
            gr.Column(visible=sample == data_choice.UPLOAD),
            gr.Column(visible=sample == data_choice.TUTORIAL),
        ]

    def shelf(self, typed: str) -> Markup:
        """Sub-folders that what is typed could become."""
        root = self.profile.data_root
        if root is None:
            return Markup("")
        try:
            return view.shelf(folder_browser.look(root, str(typed or "")), root)
        except FtlabError:  # looking at the pictures says what is wrong; here is the way on
            return view.shelf(folder_browser.look(root, ""), root)

    def pick(self, event: gr.EventData) -> list[Any]:
        """A folder, a zip or a list of the shelf was chosen: for the path field and the shelf."""
        root, path = self.profile.data_root, str(event._data.get("folder", ""))
        if root is None:
            return [gr.skip(), ""]
        try:
            if locate.is_file(inside(root, path)):
                return [path, self.shelf(path)]
            found = folder_browser.look(root, path + os.sep)
        except FtlabError:
            return [gr.skip(), self.shelf("")]
        return [f"{Path(found.here)}{os.sep}", view.shelf(found, root)]


def offered(profile: Profile) -> list[str]:
    """The kinds of pictures that can be chosen on this server."""
    sets = [data_choice.TUTORIAL] if tutorial_picker.offered(profile) else []
    own = [data_choice.FOLDER, data_choice.UPLOAD] if profile.data_root else [data_choice.UPLOAD]
    return [*SAMPLES, *sets, *own]


def about_of(sample: str, profile: Profile) -> Markup:
    """What the chosen set is good for, or what becomes of what is sent."""
    hours = uploads.kept(profile) / 3600
    unit = "hours" if hours < 48 else "days"
    lasts = messages.text(f"dataset.send.{unit}", count=f"{hours if hours < 48 else hours / 24:.0f}")
    said = messages.text(f"dataset.about.{sample}", lasts=lasts, limit=UPLOAD >> 20)
    return tag("p", said, class_="ftlab-about")


def _nothing(said: Markup) -> list[Any]:
    """Nothing to show but a sentence; what the person chose and typed stays. Values for `shown` in `dataset.build`."""
    hidden = gr.Column(visible=False)
    return [
        said,
        "",
        hidden,
        gr.skip(),
        gr.skip(),
        0,
        "",
        gr.skip(),
        gr.skip(),
        gr.Button(interactive=False),
        gr.skip(),
    ]


def _told(progress: gr.Progress, key: str = "dataset.progress") -> Callable[[int, int], None]:
    """Progress on the page, ten times a second at most; `key` is the sentence's."""
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.1:
            last = time.monotonic()
            progress(done / max(total, 1), desc=messages.text(key, done=f"{done:,}", total=f"{total:,}"))

    return tell
