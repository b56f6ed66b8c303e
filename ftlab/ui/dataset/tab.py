"""The Dataset tab: choose or send pictures, see at once what they are and what is amiss. Layout and wiring."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.config.train_config import KNOBS, SAMPLES
from ftlab.core import messages
from ftlab.data.sources import tutorial_datasets, zip_file
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty
from ftlab.ui.dataset import audit, tutorial_picker, view
from ftlab.ui.dataset.actions import Shop, about_of, offered

_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_PAINT: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
_PLACE = """(sample, folder, sent, set, left) => {
  const place = ({upload: sent, tutorial: set})[sample] ?? folder;
  const name = (left ?? {})[['upload', 'tutorial', 'folder'].includes(sample) ? `${sample} ${place}` : sample];
  return name ? `${place}\\n${name}` : place;
}"""
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
        sample: `shapes`, `shortcut`, `folder`, `upload`, or `tutorial`.
        folder: path as typed where `sample` is `folder`; name of what was sent where it is `upload`, of the data set
            where it is `tutorial`. A second line names what is left out of it (`sources.place`).
        val_share, test_share: fractions.
    """

    sample: gr.Radio
    folder: gr.Textbox
    val_share: gr.Slider
    test_share: gr.Slider


def build(profile: Profile, tabs: gr.Tabs) -> DatasetTab:
    """Lay out the tab where the page stands, and wire it."""
    root = profile.data_root
    names = offered(profile)
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=4, min_width=320):
            sample = gr.Radio(
                [(messages.text(f"dataset.choice.{name}"), name) for name in names],
                value=SAMPLES[0],
                label=messages.text("dataset.source"),
                info=messages.text("dataset.source_hint" if root else "dataset.source_hint_closed"),
                elem_id="dataset-source",
                elem_classes="ftlab-choices",
            )
            with gr.Column(visible=False, elem_id="dataset-browse", elem_classes="ftlab-tight") as browse:
                folder = gr.Textbox(
                    value=f"{root}{os.sep}" if root else "",
                    label=messages.text("dataset.folder.label"),
                    info=messages.text("dataset.folder.hint"),
                    max_lines=1,
                    visible=root is not None,
                    elem_id="dataset-folder",
                )
                shelf = gr.HTML(elem_id="dataset-shelf", js_on_load=_BROWSE, apply_default_css=False)
                look = gr.Button(messages.text("dataset.look"), elem_id="dataset-scan")
            with gr.Column(visible=False, elem_id="dataset-send", elem_classes="ftlab-tight") as sending:
                file = gr.File(
                    label=messages.text("dataset.send.label"),
                    file_types=[*zip_file.SUFFIXES],
                    height=170,
                    elem_id="dataset-zip",
                )
            sets = tutorial_picker.choices(profile)
            first = sets[0][1] if sets else next(iter(tutorial_datasets.TABLE))
            with gr.Column(visible=False, elem_id="dataset-tutorials", elem_classes="ftlab-tight") as teaching:
                which = gr.Dropdown(
                    sets,
                    value=first if sets else None,
                    label=messages.text("dataset.tutorial.label"),
                    info=messages.text("dataset.tutorial.hint" if profile.local else "dataset.tutorial.hint_closed"),
                    elem_id="dataset-set",
                )
                terms = gr.HTML(tutorial_picker.about(first), elem_id="dataset-terms", apply_default_css=False)
                get = gr.Button(tutorial_picker.button(first), elem_id="dataset-get")
            about = gr.HTML(about_of(SAMPLES[0], profile), elem_id="dataset-about", apply_default_css=False)
            val_share, test_share = _share("val_share"), _share("test_share")
            go = gr.Button(messages.text("dataset.go"), variant="primary", interactive=False, elem_id="dataset-go")
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
                [(messages.text("dataset.all_classes"), view.ALL)],
                value=view.ALL,
                label=messages.text("dataset.show_class"),
                info=messages.text("dataset.show_class_hint"),
                elem_id="dataset-class",
            )
            of_split = gr.Radio(
                [(messages.text("dataset.all_splits"), view.ALL)],
                value=view.ALL,
                label=messages.text("dataset.show_split"),
                info=messages.text("dataset.show_split_hint"),
                elem_id="dataset-split",
            )
            others = gr.Button(messages.text("dataset.others"), elem_id="dataset-others", min_width=150, scale=0)
        gallery = gr.HTML(elem_id="dataset-gallery", apply_default_css=False)
    page = gr.Number(0, visible=False, precision=0, elem_id="dataset-page")
    place = gr.Textbox(visible="hidden", elem_id="dataset-place")
    kept = gr.BrowserState({"sample": SAMPLES[0]}, storage_key="ftlab-pictures", secret="ftlab")
    sent = gr.BrowserState("", storage_key="ftlab-upload", secret="ftlab")
    left = audit.remembered()

    shop = Shop(profile)
    choice = [sample, place, val_share, test_share]
    shown = [summary, problems, pictures, of_class, of_split, page, gallery, val_share, test_share, go, kept]
    scanning: dict[str, Any] = {"show_progress_on": summary, "concurrency_limit": 4, "trigger_mode": "always_last"}
    # Which field counts is settled in the browser, before the server is asked.
    settle: dict[str, Any] = {"fn": None, "inputs": [sample, folder, sent, which, left], "outputs": place, "js": _PLACE}
    asked = gr.on([look.click, folder.submit], **settle)
    asked.then(shop.look_again, choice, shown, api_name="scan", **scanning)
    chosen = sample.input(**settle)
    chosen.then(shop.look, choice, shown, api_visibility="private", **scanning)
    folder.change(**settle)
    receiving = {**scanning, "concurrency_limit": 1}
    taken = file.upload(
        shop.receive, [file, sent, val_share, test_share], [sent, place, *shown], api_visibility="private", **receiving
    )
    taken.then(lambda: None, None, file, **_QUICK)
    named = which.input(**settle)
    named.then(shop.look, choice, shown, api_visibility="private", **scanning)
    which.change(shop.choose_set, which, [terms, get], **_QUICK)
    fetching = [which, get, place, *shown]
    get.click(shop.fetch, [which, val_share, test_share], fetching, api_visibility="private", **receiving)
    # `release` tells of the slider only, not of its number field
    shares = [val_share.change, test_share.change]
    gr.on(shares, shop.look, choice, shown, trigger_mode="always_last", **_PAINT)
    ways = [about, browse, shelf, sending, teaching]
    back = [sample, folder, place, val_share, test_share, *ways, which]
    restored = _page().load(shop.restore, [kept, sent], back, **_QUICK)
    restored.then(shop.look, choice, shown, api_visibility="private", **scanning)

    decided = audit.build(profile, choice, left, summary)
    decided.then(shop.look, choice, shown, trigger_mode="always_last", **_PAINT)

    sample.input(shop.open_way, [sample, folder], ways, **_QUICK)
    # `input` tells of typed letters only, not of a pasted path
    folder.change(shop.shelf, folder, shelf, trigger_mode="always_last", **_QUICK)
    shelf.select(shop.pick, None, [folder, shelf], **_QUICK)

    what = [*choice, of_class, of_split]
    gr.on([of_class.input, of_split.input], shop.first, what, [page, gallery], trigger_mode="always_last", **_PAINT)
    others.click(shop.turn, [*what, page], [page, gallery], **_PAINT)
    go.click(lambda: gr.Tabs(selected="train"), None, tabs, **_QUICK)
    return DatasetTab(sample, place, val_share, test_share)


def _share(name: str) -> gr.Slider:
    knob, default = KNOBS[name]
    return gr.Slider(
        knob.low or 0.0,
        knob.high or 1.0,
        value=default,
        step=knob.step,
        label=messages.text(f"knob.{name}.label"),
        info=messages.text(f"knob.{name}.hint"),
        visible=False,
        elem_id=f"dataset-{name.replace('_', '-')}",
    )


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
