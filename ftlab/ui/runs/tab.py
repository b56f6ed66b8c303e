"""The Runs tab: all runs in a table to search and sort, with titles, notes and a bin. Layout and wiring."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ftlab.ui.common.theme import STATIC
from ftlab.runs import run_notes, run_table
from ftlab.core import messages
from ftlab.ui.runs import view
from ftlab.ui.common.access import Profile
from ftlab.ui.runs.actions import OF, Keeper
from ftlab.core.html import tag
from ftlab.ui.train.tab import TrainTab

_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_BUTTON: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
_PRESS = (STATIC / "shelf.js").read_text(encoding="utf-8")
_TO_PICKED = (
    "() => { if (window.innerWidth < 900)"
    " document.getElementById('shelf-picked').scrollIntoView({behavior: 'smooth', block: 'nearest'}) }"
)


def build(profile: Profile, train_tab: TrainTab, ticked: gr.CheckboxGroup, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose store says which runs the page may see, and keeps the one that is opened.
        ticked: the runs of the Compare tab.
        tabs: of the page; the ids are `train`, `predict`, `inspect`, `compare`.
        tab: this one; the runs are listed anew when it is opened.
    """
    with gr.Row(elem_classes="ftlab-runs-bar"):
        search = gr.Textbox(
            label=messages.text("shelf.search"),
            info=messages.text("shelf.search_hint"),
            max_lines=1,
            scale=4,
            min_width=240,
            elem_id="shelf-search",
        )
        sort = gr.Radio(
            [(messages.text(f"shelf.by.{name}"), name) for name in run_table.SORTS],
            value=run_table.SORTS[0],
            label=messages.text("shelf.sort"),
            info=messages.text("shelf.sort_hint"),
            scale=3,
            min_width=330,
            elem_id="shelf-sort",
        )
        of = gr.Radio(
            [(messages.text(f"shelf.of.{name}"), name) for name in OF],
            value=OF[0],
            label=messages.text("shelf.view"),
            info=messages.text("shelf.view_hint"),
            scale=3,
            min_width=240,
            elem_id="shelf-of",
        )
    totals = gr.HTML(elem_id="shelf-totals", apply_default_css=False)
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=8, min_width=320):
            table = gr.HTML(js_on_load=_PRESS, elem_id="shelf-table", apply_default_css=False)
        with gr.Column(scale=3, min_width=280, elem_classes="ftlab-stays"):
            said = gr.HTML(view.nobody(), elem_id="shelf-picked", apply_default_css=False)
            with gr.Column(visible=False, elem_classes="ftlab-naming") as form:
                title = gr.Textbox(
                    label=messages.text("shelf.name"),
                    info=messages.text("shelf.name_hint"),
                    max_lines=1,
                    max_length=run_notes.TITLE,
                    elem_id="shelf-title",
                )
                notes = gr.Textbox(
                    label=messages.text("shelf.notes"),
                    info=messages.text("shelf.notes_hint"),
                    lines=4,
                    max_lines=12,
                    max_length=run_notes.NOTES,
                    elem_id="shelf-notes",
                )
                save = gr.Button(messages.text("shelf.save"), variant="primary", size="md", elem_id="shelf-save")
                gr.HTML(
                    tag("p", messages.text("shelf.open"), class_="ftlab-about"),
                    elem_id="shelf-open",
                    apply_default_css=False,
                )
                with gr.Row(elem_classes="ftlab-buttons"):
                    opens = {
                        name: gr.Button(messages.text(f"{name}.title"), size="md", elem_id=f"shelf-{name}", min_width=70)
                        for name in ("train", "predict", "inspect")
                    }
            compare = gr.Button(messages.text("shelf.compare"), visible=False, size="md", elem_id="shelf-compare")
            delete = gr.Button(messages.text("shelf.delete"), visible=False, size="md", elem_id="shelf-delete")
            restore = gr.Button(
                messages.text("shelf.restore"), visible=False, variant="primary", size="md", elem_id="shelf-restore"
            )
            empty = gr.Button(messages.text("shelf.empty"), visible=False, size="md", elem_id="shelf-empty")
            with gr.Column(visible=False) as sure:
                warning = gr.HTML(elem_id="shelf-warning", apply_default_css=False)
                with gr.Row(elem_classes="ftlab-buttons"):
                    yes = gr.Button(
                        messages.text("shelf.empty_yes"), variant="stop", size="md", elem_id="shelf-yes", min_width=150
                    )
                    no = gr.Button(messages.text("shelf.empty_no"), size="md", elem_id="shelf-no", min_width=100)
    picked = gr.JSON({}, visible=False, elem_id="shelf-kept")

    keeper, store = Keeper(profile), train_tab.run
    shows = [store, search, sort, of, picked]
    panel = [said, form, title, notes, opens["predict"], opens["inspect"], compare, delete, restore, empty, sure]
    listing = [totals, table, picked]
    tab.select(keeper.opened, shows, [*listing, *panel], **_QUICK)
    search.change(keeper.listed, shows, listing, trigger_mode="always_last", **_QUICK)
    sort.input(keeper.listed, shows, listing, **_QUICK)
    of.input(keeper.turned, shows, [*listing, *panel], **_QUICK)
    pressed = table.select(keeper.pressed, shows, [*listing, *panel], **_QUICK)
    pressed.then(None, None, None, js=_TO_PICKED)
    gr.on([save.click, title.submit], keeper.save, [*shows, title, notes], [*listing, said], **_BUTTON)
    delete.click(keeper.delete, shows, [*listing, *panel], **_BUTTON)
    restore.click(keeper.restore, shows, [*listing, *panel], **_BUTTON)
    empty.click(keeper.ask, shows, [empty, sure, warning], **_BUTTON)
    no.click(keeper.keep, shows, [empty, sure], **_BUTTON)
    yes.click(keeper.empty, shows, [*listing, *panel], **_BUTTON)
    for name, button in opens.items():
        button.click(keeper.opener(name), [store, picked], [store, tabs], **_BUTTON)
    compare.click(keeper.compare, [store, picked], [store, ticked, tabs], **_BUTTON)
