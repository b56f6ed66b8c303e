"""The Train tab: the form, what is to be known before Start, and the run as it goes. Layout and wiring only.

Nothing of a run lives here: every second the page asks `Desk.look`, which reads the run directory, and is sent the
parts that changed. So a reload, a second page and a restarted server find the run as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from gradio.utils import get_upload_folder

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs.directory import Run
from ftlab.ui.common import run_status
from ftlab.ui.common.access import Profile
from ftlab.ui.common.run_status import Look
from ftlab.ui.common.theme import STATIC
from ftlab.ui.dataset.tab import DatasetTab
from ftlab.ui.train import augment_preview, form, layers, lr_finder, preflight, recipe_picker
from ftlab.ui.train.actions import Desk

LIVE_EVERY, IDLE_EVERY = 1.0, 4.0
"""Seconds between two looks of a page while its run goes on, and when it does not."""
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_BUTTON: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


@dataclass(frozen=True)
class TrainTab:
    """What other tabs need of this one: `run`, `{"run": name or None, "mine": [names]}`, kept in the browser; the
    form's components, and the configuration that their values make (`FtlabError` where they make none)."""

    run: gr.BrowserState
    inputs: list[Any]
    settings: Callable[[Sequence[Any]], TrainConfig]


@dataclass(frozen=True)
class _Panel:
    """The components that show a run, in the order in which `_changes` fills them."""

    store: gr.BrowserState
    head: gr.HTML
    curves: gr.HTML
    log: gr.HTML
    start: gr.Button
    stop: gr.Button
    resume: gr.Button
    kept: gr.Row
    chooser: gr.Dropdown
    timer: gr.Timer
    phase: gr.Textbox
    seen: gr.JSON

    def outputs(self) -> list[Any]:
        return list(vars(self).values())


def remembered() -> gr.BrowserState:
    """What the page keeps in the browser: `{"run": name or None, "mine": [names]}`. To be made outside the tabs: in
    a tab that was not opened yet, it would not be read."""
    return gr.BrowserState({"run": None}, storage_key="ftlab-run", secret="ftlab")


def build(profile: Profile, dataset_tab: DatasetTab, tabs: gr.Tabs, store: gr.BrowserState) -> TrainTab:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        dataset_tab: whose choice of pictures is trained on.
        tabs: of the page; the ids are `dataset`, `train`, `predict`.
        store: as `remembered` makes it.
    """
    desk = Desk(profile)
    with gr.Row(elem_classes="ftlab-train"):
        with gr.Column(scale=6, min_width=340, elem_classes="ftlab-form"):
            menu = recipe_picker.build()
            widgets = form.build(space=profile.space, minutes=profile.max_minutes)
            data: list[Any] = [dataset_tab.sample, dataset_tab.folder, dataset_tab.val_share, dataset_tab.test_share]
            lr_finder.build(desk, widgets, [*data, *widgets.inputs()])
            augment_preview.build(desk, widgets, [*data, *widgets.inputs()], tabs)
            said = preflight.build()
            layers.build(desk, widgets, [*data, *widgets.inputs()])
        with gr.Column(scale=7, min_width=340, elem_classes="ftlab-live"):
            with gr.Row(elem_classes="ftlab-buttons"):
                start = gr.Button(messages.text("train.start"), variant="primary", elem_id="train-start", min_width=90)
                stop = gr.Button(messages.text("train.stop"), elem_id="train-stop", interactive=False, min_width=90)
                resume = gr.Button(
                    messages.text("train.resume"), elem_id="train-resume", interactive=False, min_width=90
                )
            empty = run_status.nothing()
            head = gr.HTML(empty.head, elem_id="train-progress", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="ftlab-buttons") as kept:
                go = gr.Button(messages.text("train.go"), variant="primary", elem_id="train-go", scale=2, min_width=160)
                save = gr.Button(messages.text("train.save"), elem_id="train-save", scale=1, min_width=120)
            curves = gr.HTML(
                empty.curves,
                elem_id="train-curves",
                apply_default_css=False,
                js_on_load=(STATIC / "live.js").read_text(encoding="utf-8"),
            )
            chooser = gr.Dropdown(
                [],
                value=None,
                label=messages.text("train.runs"),
                info=messages.text("train.runs_space" if profile.space else "train.runs_hint"),
                elem_id="train-runs",
                visible=False,
            )
            with gr.Accordion(messages.text("train.log"), open=True, elem_id="train-log-fold"):
                log = gr.HTML(empty.log, elem_id="train-log", apply_default_css=False)
    timer = gr.Timer(IDLE_EVERY)
    seen = gr.JSON({}, visible=False, elem_id="train-seen")
    phase = gr.Textbox(visible="hidden", elem_id="train-phase")
    panel = _Panel(store, head, curves, log, start, stop, resume, kept, chooser, timer, phase, seen)
    filled = [widgets.wire(), *menu.wire(desk, widgets, data)]
    said.wire(desk, widgets, data, [panel.phase, tabs], filled)
    _wire_start(desk, widgets, data, panel)
    _wire_run(desk, panel, tabs)
    go.click(lambda: gr.Tabs(selected="predict"), None, tabs, **_LIGHT)
    _wire_picture(desk, store, save)
    return TrainTab(store, [*data, *widgets.inputs()], lambda given: desk.settings(widgets, given)[1])


def _wire_start(desk: Desk, widgets: form.Form, data: list[Any], panel: _Panel) -> None:
    def start(store: object, *given: Any) -> list[Any]:
        try:
            _, settings = desk.settings(widgets, given)
            run = desk.start(settings)
        except FtlabError as error:
            gr.Warning(form.sentence(error))
            return [gr.skip()] * len(panel.outputs())
        return _show(desk, desk.remember(store, run), {}, keep=True)

    _page().load(lambda: gr.Radio(choices=form.cards()), None, widgets.fields["backbone"], **_LIGHT)
    started = panel.start.click(start, [panel.store, *data, *widgets.inputs()], panel.outputs(), **_BUTTON)
    started.then(None, None, None, js=_TO_PROGRESS)


def _wire_run(desk: Desk, panel: _Panel, tabs: gr.Tabs) -> None:
    outputs = panel.outputs()

    def stop(store: object, seen: object) -> list[Any]:
        run = desk.chosen(store)
        try:
            if run is not None and run.live():
                # What the button said when it was pressed counts, not what it would say by now.
                desk.stop(run, now=isinstance(seen, dict) and seen.get("stop") == "end")
        except FtlabError as error:
            gr.Warning(form.sentence(error))
        return _show(desk, store, seen)

    def resume(store: object) -> list[Any]:
        run = desk.chosen(store)
        try:
            if run is not None:
                desk.resume(run)
        except FtlabError as error:
            gr.Warning(form.sentence(error))
        return _show(desk, store, {})

    def choose(name: object, store: object) -> list[Any]:
        if not isinstance(name, str) or name not in desk.names(store):
            return [gr.skip()] * len(outputs)
        return _show(desk, desk.remember(store, Run(desk.profile.runs / name)), {}, keep=True)

    def back(store: object) -> Any:
        own = store.get("run") if isinstance(store, dict) else None
        return gr.Tabs(selected="train") if own and desk.look(store).live else gr.skip()

    _page().load(back, panel.store, tabs, **_LIGHT)
    panel.timer.tick(lambda store, seen: _show(desk, store, seen), [panel.store, panel.seen], outputs, **_LIGHT)
    _page().load(lambda store: _show(desk, store, {}), panel.store, outputs, **_LIGHT)
    panel.stop.click(stop, [panel.store, panel.seen], outputs, **_BUTTON)
    panel.resume.click(resume, panel.store, outputs, **_BUTTON)
    panel.chooser.input(choose, [panel.chooser, panel.store], outputs, **_LIGHT)


def _wire_picture(desk: Desk, store: gr.BrowserState, save: gr.Button) -> None:
    file = gr.DownloadButton(visible="hidden", elem_id="train-file")

    def draw(kept: object) -> Any:
        try:
            return str(desk.picture(kept, Path(get_upload_folder())))
        except FtlabError as error:
            gr.Warning(str(error))
            return None

    # A download button gives the file it had before the click; so another one makes the file, and clicks it.
    drawn = save.click(draw, store, file, **_BUTTON)
    drawn.success(None, None, None, js=_DOWNLOAD)


def _show(desk: Desk, store: object, seen: object, keep: bool = False) -> list[Any]:
    """Values for the panel's components: what is new since `seen`. Never raises.

    Args:
        store: what the page keeps.
        seen: marks of what it shows.
        keep: the store changed and is to be written to the browser.
    """
    try:
        look = desk.look(store)
        run = store.get("run") if isinstance(store, dict) else None
        if look.run and look.run != run:  # found at work, by a page that had no run of its own
            store, keep = {**(store if isinstance(store, dict) else {}), "run": look.run}, True
        choices = desk.choices(store, look)
    except Exception as cause:  # a tick that raises is invisible on the page
        logging.getLogger(__name__).exception("the runs cannot be shown")
        look, choices = run_status.broken("", cause), []
    return _changes(look, choices, store if keep else None, seen if isinstance(seen, dict) else {})


def _changes(look: Look, choices: list[tuple[str, str]], store: object, seen: dict[str, Any]) -> list[Any]:
    marks = {
        "run": look.run,
        **look.marks(),
        "runs": run_status.mark(repr(choices)),
        "live": look.live,
        "stop": look.stop,
    }
    new = {key: marks[key] != seen.get(key) for key in marks}
    skip = gr.skip()
    buttons = new["buttons"] or new["run"]
    return [
        skip if store is None else store,
        look.head if new["head"] else skip,
        look.curves if new["curves"] else skip,
        look.log if new["log"] else skip,
        gr.Button(interactive=not look.live) if buttons else skip,
        _stop_button(look) if buttons else skip,
        gr.Button(interactive=look.resumable) if buttons else skip,
        gr.Row(visible=look.best and not look.live) if buttons else skip,
        gr.Dropdown(choices=choices, value=look.run or None, visible=bool(choices))
        if new["runs"] or new["run"]
        else skip,
        gr.Timer(value=LIVE_EVERY if look.live else IDLE_EVERY) if new["live"] else skip,
        look.status if buttons else skip,
        marks if any(new.values()) else skip,
    ]


def _stop_button(look: Look) -> gr.Button:
    by_force = look.stop == "end"
    word = messages.text("train.end" if by_force else "train.stop")
    return gr.Button(word, variant="stop" if by_force else "secondary", interactive=bool(look.stop))


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page


_DOWNLOAD = "() => document.querySelector('#train-file a, a#train-file, #train-file')?.click()"
_TO_PROGRESS = "() => document.getElementById('train-progress')?.scrollIntoView({behavior: 'smooth', block: 'nearest'})"
