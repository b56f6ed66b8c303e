"""The Runs tab: all runs in a table to search and sort, with titles, notes and a bin. Layout and wiring."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ftlab.ui.common.theme import STATIC_DIR
from ftlab.runs import run_notes, run_table
from ftlab.core import messages
from ftlab.ui.runs import view
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.runs.actions import LOCATIONS, RunsActions
from ftlab.core.html import tag
from ftlab.ui.train.tab import TrainTab

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
_PRESS_JS = (STATIC_DIR / "shelf.js").read_text(encoding="utf-8")
_SCROLL_TO_DETAILS_JS = (
    "() => { if (window.innerWidth < 900)"
    " document.getElementById('shelf-picked').scrollIntoView({behavior: 'smooth', block: 'nearest'}) }"
)


def build_runs_tab(profile: ServerProfile, train_tab: TrainTab, ticked_runs: gr.CheckboxGroup, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: whose store says which runs the page may see, and keeps the one that is opened.
        ticked_runs: the runs of the Compare tab.
        tabs: of the page; the ids are `train`, `predict`, `inspect`, `compare_button`.
        tab: this one; the runs are listed anew when it is opened.
    """
    with gr.Row(elem_classes="ftlab-runs-bar"):
        search = gr.Textbox(
            label=messages.get_text("shelf.search"),
            info=messages.get_text("shelf.search_hint"),
            max_lines=1,
            scale=4,
            min_width=240,
            elem_id="shelf-search",
        )
        sort = gr.Radio(
            [(messages.get_text(f"shelf.by.{name}"), name) for name in run_table.SORT_ORDERS],
            value=run_table.SORT_ORDERS[0],
            label=messages.get_text("shelf.sort"),
            info=messages.get_text("shelf.sort_hint"),
            scale=3,
            min_width=330,
            elem_id="shelf-sort",
        )
        location = gr.Radio(
            [(messages.get_text(f"shelf.of.{name}"), name) for name in LOCATIONS],
            value=LOCATIONS[0],
            label=messages.get_text("shelf.view"),
            info=messages.get_text("shelf.view_hint"),
            scale=3,
            min_width=240,
            elem_id="shelf-of",
        )
    totals = gr.HTML(elem_id="shelf-totals", apply_default_css=False)
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=8, min_width=320):
            table = gr.HTML(js_on_load=_PRESS_JS, elem_id="shelf-table", apply_default_css=False)
        with gr.Column(scale=3, min_width=280, elem_classes="ftlab-stays"):
            details = gr.HTML(view.render_no_selection(), elem_id="shelf-picked", apply_default_css=False)
            with gr.Column(visible=False, elem_classes="ftlab-naming") as notes_form:
                title = gr.Textbox(
                    label=messages.get_text("shelf.name"),
                    info=messages.get_text("shelf.name_hint"),
                    max_lines=1,
                    max_length=run_notes.MAX_TITLE_CHARS,
                    elem_id="shelf-title",
                )
                notes = gr.Textbox(
                    label=messages.get_text("shelf.notes"),
                    info=messages.get_text("shelf.notes_hint"),
                    lines=4,
                    max_lines=12,
                    max_length=run_notes.MAX_NOTES_CHARS,
                    elem_id="shelf-notes",
                )
                save_button = gr.Button(messages.get_text("shelf.save"), variant="primary", size="md", elem_id="shelf-save")
                gr.HTML(
                    tag("p", messages.get_text("shelf.open"), class_="ftlab-about"),
                    elem_id="shelf-open",
                    apply_default_css=False,
                )
                with gr.Row(elem_classes="ftlab-buttons"):
                    open_buttons = {
                        name: gr.Button(messages.get_text(f"{name}.title"), size="md", elem_id=f"shelf-{name}", min_width=70)
                        for name in ("train", "predict", "inspect")
                    }
            compare_button = gr.Button(messages.get_text("shelf.compare"), visible=False, size="md", elem_id="shelf-compare")
            delete_button = gr.Button(messages.get_text("shelf.delete"), visible=False, size="md", elem_id="shelf-delete")
            restore_button = gr.Button(
                messages.get_text("shelf.restore"), visible=False, variant="primary", size="md", elem_id="shelf-restore"
            )
            empty_button = gr.Button(messages.get_text("shelf.empty"), visible=False, size="md", elem_id="shelf-empty")
            with gr.Column(visible=False) as confirmation:
                warning = gr.HTML(elem_id="shelf-warning", apply_default_css=False)
                with gr.Row(elem_classes="ftlab-buttons"):
                    confirm_button = gr.Button(
                        messages.get_text("shelf.empty_yes"), variant="stop", size="md", elem_id="shelf-yes", min_width=150
                    )
                    cancel_button = gr.Button(messages.get_text("shelf.empty_no"), size="md", elem_id="shelf-no", min_width=100)
    selection = gr.JSON({}, visible=False, elem_id="shelf-kept")

    actions, page_state = RunsActions(profile), train_tab.page_state
    inputs = [page_state, search, sort, location, selection]
    panel_outputs = [details, notes_form, title, notes, open_buttons["predict"], open_buttons["inspect"], compare_button, delete_button, restore_button, empty_button, confirmation]
    list_outputs = [totals, table, selection]
    tab.select(actions.open_tab, inputs, [*list_outputs, *panel_outputs], **_UNQUEUED_EVENT)
    search.change(actions.list_runs, inputs, list_outputs, trigger_mode="always_last", **_UNQUEUED_EVENT)
    sort.input(actions.list_runs, inputs, list_outputs, **_UNQUEUED_EVENT)
    location.input(actions.switch_location, inputs, [*list_outputs, *panel_outputs], **_UNQUEUED_EVENT)
    press_event = table.select(actions.handle_press, inputs, [*list_outputs, *panel_outputs], **_UNQUEUED_EVENT)
    press_event.then(None, None, None, js=_SCROLL_TO_DETAILS_JS)
    gr.on([save_button.click, title.submit], actions.save_notes, [*inputs, title, notes], [*list_outputs, details], **_QUEUED_EVENT)
    delete_button.click(actions.delete_runs, inputs, [*list_outputs, *panel_outputs], **_QUEUED_EVENT)
    restore_button.click(actions.restore_runs, inputs, [*list_outputs, *panel_outputs], **_QUEUED_EVENT)
    empty_button.click(actions.ask_empty_trash, inputs, [empty_button, confirmation, warning], **_QUEUED_EVENT)
    cancel_button.click(actions.cancel_empty_trash, inputs, [empty_button, confirmation], **_QUEUED_EVENT)
    confirm_button.click(actions.empty_trash, inputs, [*list_outputs, *panel_outputs], **_QUEUED_EVENT)
    for name, button in open_buttons.items():
        button.click(actions.make_open_handler(name), [page_state, selection], [page_state, tabs], **_QUEUED_EVENT)
    compare_button.click(actions.compare_runs, [page_state, selection], [page_state, ticked_runs, tabs], **_QUEUED_EVENT)
