"""The Dataset tab: choose pictures, see at once what they are and what is amiss. Layout and wiring.

Every event sends the choice along and gets what it shows from the scan of that choice, which the server keeps: so
nothing of it lives in a session, and a restarted server only looks again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab import words
from ftlab.config import KNOBS, SAMPLES
from ftlab.errors import FtlabError
from ftlab.ui import dataset_view as view
from ftlab.ui import folders, sources
from ftlab.ui.guard import Profile
from ftlab.ui.markup import Markup, empty, tag, trouble

_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_PAINT: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
_BROWSE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-path]');
  if (button) trigger('select', {folder: button.dataset.path});
});
"""


@dataclass(frozen=True)
class DatasetTab:
    """What other tabs need of this one. `sources.choose` takes the four values, in this order, and checks them.

    Attributes:
        sample: `shapes`, `shortcut`, or `folder`.
        folder: path as typed; counts only where `sample` is `folder`.
        val_share, test_share: fractions.
    """

    sample: gr.Radio
    folder: gr.Textbox
    val_share: gr.Slider
    test_share: gr.Slider


def build(profile: Profile, tabs: gr.Tabs) -> DatasetTab:
    """Lay out the tab where the page stands, and wire it."""
    root = profile.data_root
    names = [*SAMPLES, sources.FOLDER] if root else [*SAMPLES]
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=4, min_width=320):
            sample = gr.Radio(
                [(words.text(f"dataset.choice.{name}"), name) for name in names],
                value=SAMPLES[0],
                label=words.text("dataset.source"),
                info=words.text("dataset.source_hint" if root else "dataset.source_hint_closed"),
                elem_id="dataset-source",
                elem_classes="ftlab-choices",
            )
            with gr.Column(visible=False, elem_id="dataset-browse", elem_classes="ftlab-tight") as browse:
                folder = gr.Textbox(
                    value=f"{root}{os.sep}" if root else "",
                    label=words.text("dataset.folder.label"),
                    info=words.text("dataset.folder.hint"),
                    max_lines=1,
                    visible=root is not None,
                    elem_id="dataset-folder",
                )
                shelf = gr.HTML(elem_id="dataset-shelf", js_on_load=_BROWSE, apply_default_css=False)
                look = gr.Button(words.text("dataset.look"), elem_id="dataset-scan")
            about = gr.HTML(_about(SAMPLES[0]), elem_id="dataset-about", apply_default_css=False)
            val_share, test_share = _share("val_share"), _share("test_share")
            go = gr.Button(words.text("dataset.go"), variant="primary", interactive=False, elem_id="dataset-go")
        with gr.Column(scale=7, min_width=320):
            summary = gr.HTML(
                empty("dataset.reading", "dataset.reading_step"),
                min_height=180,
                elem_id="dataset-summary",
                apply_default_css=False,
            )
            problems = gr.HTML(elem_id="dataset-problems", apply_default_css=False)
    with gr.Column(visible=False, elem_id="dataset-pictures") as pictures:
        with gr.Row(elem_classes="ftlab-toolbar"):
            of_class = gr.Dropdown(
                [(words.text("dataset.all_classes"), view.ALL)],
                value=view.ALL,
                label=words.text("dataset.show_class"),
                info=words.text("dataset.show_class_hint"),
                elem_id="dataset-class",
            )
            of_split = gr.Radio(
                [(words.text("dataset.all_splits"), view.ALL)],
                value=view.ALL,
                label=words.text("dataset.show_split"),
                info=words.text("dataset.show_split_hint"),
                elem_id="dataset-split",
            )
            others = gr.Button(words.text("dataset.others"), elem_id="dataset-others", min_width=150, scale=0)
        gallery = gr.HTML(elem_id="dataset-gallery", apply_default_css=False)
    page = gr.Number(0, visible=False, precision=0, elem_id="dataset-page")
    kept = gr.BrowserState({"sample": SAMPLES[0]}, storage_key="ftlab-pictures", secret="ftlab")

    shop = _Shop(profile)
    choice = [sample, folder, val_share, test_share]
    shown = [summary, problems, pictures, of_class, of_split, page, gallery, val_share, test_share, go, kept]
    scanning: dict[str, Any] = {"show_progress_on": summary, "concurrency_limit": 4, "trigger_mode": "always_last"}
    gr.on([look.click, folder.submit], shop.look_again, choice, shown, api_name="scan", **scanning)
    sample.input(shop.look, choice, shown, api_visibility="private", **scanning)
    # `release` tells of the slider only, not of its number field
    shares = [val_share.change, test_share.change]
    gr.on(shares, shop.look, choice, shown, trigger_mode="always_last", **_PAINT)
    restored = _page().load(shop.restore, kept, [*choice, about, browse, shelf], **_QUICK)
    restored.then(shop.look, choice, shown, api_visibility="private", **scanning)

    sample.input(shop.open_shelf, [sample, folder], [about, browse, shelf], **_QUICK)
    # `input` tells of typed letters only, not of a pasted path
    folder.change(shop.shelf, folder, shelf, trigger_mode="always_last", **_QUICK)
    shelf.select(shop.pick, None, [folder, shelf], **_QUICK)

    what = [*choice, of_class, of_split]
    gr.on([of_class.input, of_split.input], shop.first, what, [page, gallery], trigger_mode="always_last", **_PAINT)
    others.click(shop.turn, [*what, page], [page, gallery], **_PAINT)
    go.click(lambda: gr.Tabs(selected="train"), None, tabs, **_QUICK)
    return DatasetTab(sample, folder, val_share, test_share)


class _Shop:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    # --- looking at the pictures

    def look(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """What the tab shows of a choice, as scanned before if it was. Values for `shown` in `build`."""
        root = self.profile.data_root
        if sample == sources.FOLDER and root is not None and folder.strip().rstrip("/\\") in ("", str(root)):
            return _nothing(empty("dataset.choose", "dataset.choose_step"))  # nobody wants the home folder scanned
        return self._scanned(sample, folder, val, test, _told(progress), fresh=False)

    def look_again(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """The same, the files looked at again: they may have been mended."""
        return self._scanned(sample, folder, val, test, _told(progress), fresh=True)

    def _scanned(
        self, sample: str, folder: str, val: float, test: float, progress: Callable[[int, int], None], *, fresh: bool
    ) -> list[Any]:
        try:
            source = sources.choose(self.profile, sample, folder, val, test)
            catalog = sources.scan(source, fresh=fresh, progress=progress)
        except FtlabError as mistake:
            return _nothing(trouble(str(mistake)))
        splits = view.splits_of(catalog)
        return [
            view.summary(catalog, source),
            view.problems(catalog),
            gr.Column(visible=True),
            gr.Dropdown([(words.text("dataset.all_classes"), view.ALL), *catalog.classes], value=view.ALL),
            gr.Radio(
                [
                    (words.text("dataset.all_splits"), view.ALL),
                    *((words.text(f"dataset.split.{split}"), split) for split in splits),
                ],
                value=view.ALL,
            ),
            0,
            view.gallery(catalog, view.ALL, view.ALL, 0),
            gr.Slider(visible=catalog.layout != "split"),
            gr.Slider(visible=catalog.layout == "flat"),
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
            catalog = sources.scan(sources.choose(self.profile, sample, folder, val, test))
        except FtlabError as mistake:
            return [0, trouble(str(mistake))]
        return [page, view.gallery(catalog, name, split, max(page, 0))]

    # --- finding a folder

    def restore(self, kept: object) -> list[Any]:
        """The choice that the browser kept, as far as it still makes sense: for choice, `about`, `browse`, `shelf`."""
        stored = kept if isinstance(kept, dict) else {}
        sample, folder = stored.get("sample"), stored.get("folder")
        offered = [*SAMPLES, sources.FOLDER] if self.profile.data_root else [*SAMPLES]
        if sample not in offered:
            return [gr.skip()] * 7
        typed = folder if isinstance(folder, str) and folder and self.profile.data_root else None
        return [
            sample,
            typed if typed else gr.skip(),
            sources.share("val_share", stored.get("val")),
            sources.share("test_share", stored.get("test")),
            *self.open_shelf(sample, typed or ""),
        ]

    def open_shelf(self, sample: str, folder: str) -> list[Any]:
        """The way to a folder is shown where a folder is wanted: for `about`, `browse`, `shelf`."""
        wanted = sample == sources.FOLDER and self.profile.data_root is not None
        return [_about(sample), gr.Column(visible=wanted), self.shelf(folder) if wanted else ""]

    def shelf(self, typed: str) -> Markup:
        """Sub-folders that what is typed could become."""
        root = self.profile.data_root
        if root is None:
            return Markup("")
        try:
            return view.shelf(folders.look(root, str(typed or "")), root)
        except FtlabError:  # looking at the pictures says what is wrong; here is the way on
            return view.shelf(folders.look(root, ""), root)

    def pick(self, event: gr.EventData) -> list[Any]:
        """A folder of the shelf was chosen: for the path field and the shelf."""
        root, path = self.profile.data_root, str(event._data.get("folder", ""))
        if root is None:
            return [gr.skip(), ""]
        try:
            found = folders.look(root, path + os.sep)
        except FtlabError:
            return [gr.skip(), self.shelf("")]
        return [f"{Path(found.here)}{os.sep}", view.shelf(found, root)]


def _about(sample: str) -> Markup:
    """What the chosen set is good for."""
    return tag("p", words.text(f"dataset.about.{sample}"), class_="ftlab-about")


def _nothing(said: Markup) -> list[Any]:
    """Nothing to show but a sentence; what the person chose and typed stays. Values for `shown` in `build`."""
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


def _told(progress: gr.Progress) -> Callable[[int, int], None]:
    """A scan's progress on the page, ten times a second at most."""
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.1:
            last = time.monotonic()
            progress(done / max(total, 1), desc=words.text("dataset.progress", done=f"{done:,}", total=f"{total:,}"))

    return tell


def _share(name: str) -> gr.Slider:
    knob, default = KNOBS[name]
    return gr.Slider(
        knob.low or 0.0,
        knob.high or 1.0,
        value=default,
        step=knob.step,
        label=words.text(f"knob.{name}.label"),
        info=words.text(f"knob.{name}.hint"),
        visible=False,
        elem_id=f"dataset-{name.replace('_', '-')}",
    )


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
