"""Layout and events of the Runs tab: a searchable table of all runs, with titles, notes and a trash folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.runs import run_notes, run_table
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.gradio_guard import FREE_TEXT_CLASS
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.runs import view
from ftlab.ui.runs.actions import RunsActions
from ftlab.ui.runs.listing import LOCATIONS
from ftlab.ui.runs.push_panel import build_export_panels
from ftlab.ui.train.tab import TrainTab

# Handlers that only read answer at once. Those that show a message must be queued: outside the queue, a message does
# not reach the page.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
_PRESS_JS = (STATIC_DIR / "shelf.js").read_text(encoding="utf-8")
# On a narrow screen the details lie below the table, out of view.
_SCROLL_TO_DETAILS_JS = (
    "() => { if (window.innerWidth < 900)"
    " document.getElementById('shelf-picked').scrollIntoView({behavior: 'smooth', block: 'nearest'}) }"
)


@dataclass(frozen=True)
class _NotesForm:
    """Components for one selected run: its title and notes, and buttons that open it in another tab, by tab id."""

    section: gr.Column
    title: gr.Textbox
    notes: gr.Textbox
    save_button: gr.Button
    share_button: gr.Button
    open_buttons: dict[str, gr.Button]


@dataclass(frozen=True)
class _SelectionButtons:
    """Buttons for the selected runs and for the trash folder, and the question before it is emptied."""

    compare: gr.Button
    delete: gr.Button
    restore: gr.Button
    empty: gr.Button
    confirmation: gr.Column
    warning: gr.HTML
    confirm: gr.Button
    cancel: gr.Button


def build_runs_tab(
    profile: ServerProfile, train_tab: TrainTab, ticked_runs: gr.CheckboxGroup, tabs: gr.Tabs, tab: gr.Tab
) -> None:
    """Build the components of the tab in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        train_tab: its page state says which runs the page may see, and records the run that is opened.
        ticked_runs: runs ticked in the Compare tab.
        tabs: tabs of the page; the ids are `train`, `predict`, `inspect`, `compare`.
        tab: this tab; the runs are listed anew each time it is selected.
    """
    filters = _build_filters()
    actions, page_state = RunsActions(profile), train_tab.page_state
    selection = gr.JSON({}, visible=False, elem_id="shelf-kept")
    totals = gr.HTML(js_on_load=_PRESS_JS, elem_id="shelf-totals", apply_default_css=False)
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=8, min_width=320):
            table = gr.HTML(js_on_load=_PRESS_JS, elem_id="shelf-table", apply_default_css=False)
        with gr.Column(scale=3, min_width=280, elem_classes="ftlab-stays"):
            details = gr.HTML(view.render_no_selection(), elem_id="shelf-picked", apply_default_css=False)
            notes_form = _build_notes_form()
            export_outputs = build_export_panels(actions.train_actions, selection)
            buttons = _build_selection_buttons()

    inputs = [page_state, *filters, selection]
    panel_outputs = [
        details,
        notes_form.section,
        notes_form.title,
        notes_form.notes,
        notes_form.share_button,
        notes_form.open_buttons["predict"],
        notes_form.open_buttons["inspect"],
        buttons.compare,
        buttons.delete,
        buttons.restore,
        buttons.empty,
        buttons.confirmation,
        *export_outputs,
    ]
    list_outputs = [totals, table, selection]
    outputs = [*list_outputs, *panel_outputs]
    _wire_listing(actions, tab, filters, table, inputs, list_outputs, outputs)
    totals.select(actions.handle_press, inputs, outputs, **_UNQUEUED_EVENT)
    gr.on(
        [notes_form.save_button.click, notes_form.title.submit],
        actions.save_notes,
        [*inputs, notes_form.title, notes_form.notes],
        [*list_outputs, details],
        **_QUEUED_EVENT,
    )
    notes_form.share_button.click(actions.toggle_sharing, inputs, outputs, **_QUEUED_EVENT)
    _wire_trash(actions, buttons, inputs, outputs)
    _wire_open_buttons(actions, notes_form, selection, train_tab, tabs)
    buttons.compare.click(
        actions.compare_runs, [page_state, selection], [page_state, ticked_runs, tabs], **_QUEUED_EVENT
    )


def _wire_open_buttons(
    actions: RunsActions, notes_form: _NotesForm, selection: gr.JSON, train_tab: TrainTab, tabs: gr.Tabs
) -> None:
    """Register the buttons that open the selected run in another tab."""
    page_state = train_tab.page_state
    for name, button in notes_form.open_buttons.items():
        open_event = button.click(
            actions.make_open_handler(name), [page_state, selection], [page_state, tabs], **_QUEUED_EVENT
        )
        if name == "train":
            train_tab.follow_run(open_event)


def _build_filters() -> tuple[gr.Textbox, gr.Radio, gr.Radio]:
    """Return search text, sort order and location, built in a row above the table."""
    with gr.Row(elem_classes="ftlab-runs-bar"):
        search = gr.Textbox(
            label=messages.get_text("shelf.search"),
            info=messages.get_text("shelf.search_hint"),
            max_lines=1,
            scale=4,
            min_width=240,
            elem_id="shelf-search",
            elem_classes=FREE_TEXT_CLASS,
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
    return search, sort, location


def _build_notes_form() -> _NotesForm:
    with gr.Column(visible=False, elem_classes="ftlab-naming") as section:
        title = gr.Textbox(
            label=messages.get_text("shelf.name"),
            info=messages.get_text("shelf.name_hint"),
            max_lines=1,
            max_length=run_notes.MAX_TITLE_CHARS,
            elem_id="shelf-title",
            elem_classes=FREE_TEXT_CLASS,
        )
        notes = gr.Textbox(
            label=messages.get_text("shelf.notes"),
            info=messages.get_text("shelf.notes_hint"),
            lines=4,
            max_lines=12,
            max_length=run_notes.MAX_NOTES_CHARS,
            elem_id="shelf-notes",
            elem_classes=FREE_TEXT_CLASS,
        )
        save_button = gr.Button(messages.get_text("shelf.save"), variant="primary", size="md", elem_id="shelf-save")
        share_button = gr.Button(messages.get_text("shelf.share"), visible=False, size="md", elem_id="shelf-share")
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
    return _NotesForm(section, title, notes, save_button, share_button, open_buttons)


def _build_selection_buttons() -> _SelectionButtons:
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
    return _SelectionButtons(
        compare_button,
        delete_button,
        restore_button,
        empty_button,
        confirmation,
        warning,
        confirm_button,
        cancel_button,
    )


def _wire_listing(
    actions: RunsActions,
    tab: gr.Tab,
    filters: tuple[gr.Textbox, gr.Radio, gr.Radio],
    table: gr.HTML,
    inputs: list[Any],
    list_outputs: list[Any],
    outputs: list[Any],
) -> None:
    """Register what lists and selects runs: opening the tab, filters, and presses in the table."""
    search, sort, location = filters
    tab.select(actions.open_tab, inputs, outputs, **_UNQUEUED_EVENT)
    # Keys come faster than answers: only the answer to the last one counts.
    search.change(actions.list_runs, inputs, list_outputs, trigger_mode="always_last", **_UNQUEUED_EVENT)
    sort.input(actions.list_runs, inputs, list_outputs, **_UNQUEUED_EVENT)
    location.input(actions.switch_location, inputs, outputs, **_UNQUEUED_EVENT)
    press_event = table.select(actions.handle_press, inputs, outputs, **_UNQUEUED_EVENT)
    press_event.then(None, None, None, js=_SCROLL_TO_DETAILS_JS)


def _wire_trash(actions: RunsActions, buttons: _SelectionButtons, inputs: list[Any], outputs: list[Any]) -> None:
    """Register deletion, restoring, and emptying with its confirmation."""
    buttons.delete.click(actions.delete_runs, inputs, outputs, **_QUEUED_EVENT)
    buttons.restore.click(actions.restore_runs, inputs, outputs, **_QUEUED_EVENT)
    buttons.empty.click(
        actions.ask_empty_trash, inputs, [buttons.empty, buttons.confirmation, buttons.warning], **_QUEUED_EVENT
    )
    buttons.cancel.click(actions.cancel_empty_trash, inputs, [buttons.empty, buttons.confirmation], **_QUEUED_EVENT)
    buttons.confirm.click(actions.empty_trash, inputs, outputs, **_QUEUED_EVENT)
