"""What the Runs tab does, without its components: which runs a page sees, and what it may do with them.

What a page keeps (`picked`, in it) is `{"names": [names], "most": rows that are shown}`. It comes from outside, and is
looked up each time among the runs that the page may see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from ftlab.runs import run_notes, comparison, run_table, trash
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs.run_table import RunRow
from ftlab.runs.directory import Run
from ftlab.ui.runs import view
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.common.access import ServerProfile
from ftlab.core.html import Markup, join_html, tag
from ftlab.ui.common.html import render_empty_state, render_error

LOCATIONS = ("runs", "bin")
"""What can be listed."""
ROWS_PER_PAGE = 100
"""Rows that are shown, and that each press shows more."""
ROW_CACHE_SECONDS = 2.0
"""Seconds in which a page that is searched is not looked through again."""
_PANEL_OUTPUT_COUNT = 11
"""Components that show what was picked."""


class RunsActions:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: ServerProfile) -> None:
        self.profile, self.train_actions = profile, TrainActions(profile)
        self._row_cache: dict[tuple[bool, tuple[str, ...]], tuple[float, list[RunRow]]] = {}

    # --- the table

    def open_tab(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """All of the tab, as it is now."""
        self._row_cache.clear()
        return self._render_all(page_state, search, sort, location, selection)

    def switch_location(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """The runs, or the bin: nothing is picked there yet."""
        return self._render_all(page_state, search, sort, location, {})

    def list_runs(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """Totals, table and what is picked. Runs that a search hides stay picked."""
        run_rows, trash_rows = self._load_rows(page_state), self._load_rows(page_state, in_trash=True)
        rows = trash_rows if location == "bin" else run_rows
        selected_names, row_limit = _parse_selection(selection)
        available_names = {row.name for row in rows}
        query = search if isinstance(search, str) else ""
        matching_rows = run_table.sort_rows(run_table.filter_rows(rows, query), str(sort))
        match_note = messages.get_text("shelf.found", found=f"{len(matching_rows):,}", count=f"{len(rows):,}") if query.strip() else None
        totals = view.render_totals(run_rows, trash_rows, match_note, self.profile.is_space)
        selected_names = [name for name in selected_names if name in available_names]
        new_selection = {"names": selected_names, "most": row_limit}
        if not matching_rows:
            message_key = "bin_nothing" if location == "bin" else "nothing"
            message_key = "none_found" if rows else message_key
            return [totals, render_empty_state(f"shelf.{message_key}", f"shelf.{message_key}_step"), new_selection]
        return [totals, view.render_table(matching_rows, selected_names, row_limit, ROWS_PER_PAGE), new_selection]

    def handle_press(
        self, page_state: object, search: object, sort: object, location: object, selection: object, event: gr.EventData
    ) -> list[Any]:
        """A run is pressed or ticked, or more rows are wanted."""
        press_data = event._data if isinstance(event._data, dict) else {}
        selected_names, row_limit = _parse_selection(selection)
        run_name, add = press_data.get("run"), press_data.get("add")
        if press_data.get("more"):
            extended_selection = {"names": selected_names, "most": row_limit + ROWS_PER_PAGE}
            return [*self.list_runs(page_state, search, sort, location, extended_selection), *_skip_outputs(_PANEL_OUTPUT_COUNT)]
        other_names = [other_name for other_name in selected_names if other_name != run_name]
        if isinstance(run_name, str):
            selected_names = [run_name] if add is None else [*other_names, run_name] if add else other_names
        new_selection = {"names": selected_names, "most": row_limit}
        if isinstance(run_name, str) and run_name not in self.train_actions.list_visible_runs(page_state, location == "bin"):
            error = RunError("run.gone", run=run_name)
            self._row_cache.clear()
            return self._render_all(page_state, search, sort, location, new_selection, render_error(str(error)))
        return [gr.skip(), gr.skip(), new_selection, *self._render_panel(page_state, location, new_selection)]

    def _render_all(
        self, page_state: object, search: object, sort: object, location: object, selection: object, message: Markup | str = ""
    ) -> list[Any]:
        list_outputs = self.list_runs(page_state, search, sort, location, selection)
        return [*list_outputs, *self._render_panel(page_state, location, list_outputs[2], message)]

    def _load_rows(self, page_state: object, in_trash: bool = False) -> list[RunRow]:
        run_names = tuple(self.train_actions.list_visible_runs(page_state, in_trash))
        now = time.monotonic()
        loaded_at, rows = self._row_cache.get((in_trash, run_names), (-ROW_CACHE_SECONDS, []))
        if now - loaded_at < ROW_CACHE_SECONDS:
            return rows
        root = trash.get_trash_folder(self.profile.runs_dir) if in_trash else self.profile.runs_dir
        rows = run_table.load_rows(root, run_names)
        if len(self._row_cache) > 8:
            self._row_cache.clear()
        self._row_cache[in_trash, run_names] = time.monotonic(), rows
        return rows

    # --- what is picked

    def _render_panel(self, page_state: object, location: object, selection: object, message: Markup | str = "") -> list[Any]:
        """What is told of the runs that are picked and what can be done with them."""
        in_trash, (selected_names, _) = location == "bin", _parse_selection(selection)
        all_rows = self._load_rows(page_state, in_trash)
        selected_rows = [row for row in all_rows if row.name in selected_names]
        single_row = selected_rows[0] if len(selected_rows) == 1 else None
        details = self._render_single_run(page_state, single_row, all_rows) if single_row else view.render_runs(selected_rows) if selected_rows else view.render_no_selection(in_trash)
        is_editable = single_row is not None and not in_trash
        has_weights = single_row is not None and is_editable and Run(self.profile.runs_dir / single_row.name).best_weights_path.is_file()
        return [
            join_html([message, details]),
            gr.Column(visible=is_editable),
            single_row.title if single_row else "",
            single_row.notes if single_row else "",
            gr.Button(visible=has_weights),
            gr.Button(visible=has_weights),
            gr.Button(visible=not in_trash and 2 <= len(selected_rows) <= comparison.MAX_COMPARED_RUNS),
            gr.Button(visible=bool(selected_rows) and not in_trash),
            gr.Button(visible=bool(selected_rows) and in_trash),
            gr.Button(visible=in_trash and bool(all_rows) and not self.profile.is_space),
            gr.Column(visible=False),
        ]

    def _render_single_run(self, page_state: object, row: RunRow, rows: list[RunRow]) -> Markup:
        origin_key = ""
        if row.source_run:
            names_by_location = {False: self.train_actions.list_visible_runs(page_state), True: self.train_actions.list_visible_runs(page_state, in_trash=True)}
            origin_in_trash = next((in_trash for in_trash, run_names in names_by_location.items() if row.source_run in run_names), None)
            origin_key = {False: "shelf.begun_from", True: "shelf.begun_from_binned", None: "shelf.begun_from_gone"}[origin_in_trash]
        return view.render_run(row, origin_key, run_table.find_successors(rows, row.name))

    def save_notes(
        self, page_state: object, search: object, sort: object, location: object, selection: object, title: object, notes: object
    ) -> list[Any]:
        """Title and notes of the one that is picked: for the listing and what is told of it."""
        selected_names, _ = _parse_selection(selection)
        try:
            run = self.train_actions.get_run(page_state, selected_names[0] if len(selected_names) == 1 else None)
            run_notes.write_notes(run, title=_as_text(title), notes=_as_text(notes))
        except FtlabError as error:
            gr.Warning(str(error))
            return _skip_outputs(4)
        gr.Info(messages.get_text("shelf.saved"), duration=2)
        outputs = self.open_tab(page_state, search, sort, location, selection)
        return outputs[:4]

    # --- the bin

    def delete_runs(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """Put what is picked into the bin."""
        return self._move_runs(page_state, search, sort, location, selection, "deleted")

    def restore_runs(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """Bring what is picked back."""
        return self._move_runs(page_state, search, sort, location, selection, "restored")

    def _move_runs(self, page_state: object, search: object, sort: object, location: object, selection: object, action: str) -> list[Any]:
        selected_names, row_limit = _parse_selection(selection)
        is_deletion = action == "deleted"
        root = self.profile.runs_dir if is_deletion else trash.get_trash_folder(self.profile.runs_dir)
        available_names = self.train_actions.list_visible_runs(page_state, in_trash=not is_deletion)
        try:
            missing_names = [name for name in selected_names if name not in available_names]
            if missing_names:
                raise RunError("run.gone", run=missing_names[0])
            runs = [Run(root / name) for name in selected_names]
            moved_runs = trash.discard_runs(runs) if is_deletion else trash.restore_runs(runs)
        except FtlabError as error:
            self._row_cache.clear()
            return self._render_all(page_state, search, sort, location, selection, render_error(str(error)))
        self._row_cache.clear()
        message_key = "shelf.deleted_one" if is_deletion and len(moved_runs) == 1 else f"shelf.{action}"
        message = tag("p", messages.get_text(message_key, count=len(moved_runs)), class_="ftlab-good", role="status")
        return self._render_all(page_state, search, sort, location, {"names": [], "most": row_limit}, message)

    def ask_empty_trash(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """What would be lost and freed, and the question: for the button, the section and its sentence."""
        rows = self._load_rows(page_state, in_trash=True)
        message_key = "shelf.empty_sure_one" if len(rows) == 1 else "shelf.empty_sure"
        warning = messages.get_text(message_key, count=len(rows), size=messages.format_bytes(sum(row.size_bytes for row in rows)))
        return [gr.Button(visible=False), gr.Column(visible=bool(rows)), render_error(warning)]

    def cancel_empty_trash(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """Nothing is removed: for the button and the section."""
        return [gr.Button(visible=True), gr.Column(visible=False)]

    def empty_trash(self, page_state: object, search: object, sort: object, location: object, selection: object) -> list[Any]:
        """Remove for good what is in the bin."""
        try:
            if self.profile.is_space:
                raise RunError("run.bin_space")
            freed_size = messages.format_bytes(trash.empty_trash(self.profile.runs_dir))
            message = tag("p", messages.get_text("shelf.emptied", size=freed_size), class_="ftlab-good", role="status")
        except FtlabError as error:
            message = render_error(str(error))
        self._row_cache.clear()
        return self._render_all(page_state, search, sort, location, {}, message)

    # --- other tabs

    def make_open_handler(self, tab: str) -> Callable[[object, object], list[Any]]:
        """A handler that makes the picked run the page's own and turns to a tab: for the store and the tabs."""

        def open_run(page_state: object, selection: object) -> list[Any]:
            selected_names, _ = _parse_selection(selection)
            try:
                run = self.train_actions.get_run(page_state, selected_names[0] if len(selected_names) == 1 else None)
            except FtlabError as error:
                gr.Warning(str(error))
                return _skip_outputs(2)
            return [self.train_actions.select_run(page_state, run), gr.Tabs(selected=tab)]

        return open_run

    def compare_runs(self, page_state: object, selection: object) -> list[Any]:
        """Tick what is picked in the Compare tab, and turn to it: for the store, the ticks and the tabs."""
        selected_names, _ = _parse_selection(selection)
        available_names = self.train_actions.list_visible_runs(page_state)
        new_state = self.train_actions.select_compared_runs(page_state, [name for name in selected_names if name in available_names][: comparison.MAX_COMPARED_RUNS])
        run_checkboxes = gr.CheckboxGroup(choices=self.train_actions.list_run_choices(new_state), value=new_state["beside"])
        return [new_state, run_checkboxes, gr.Tabs(selected="compare")]


def _parse_selection(selection: object) -> tuple[list[str], int]:
    """The names and the number of rows of what a page keeps."""
    state = selection if isinstance(selection, dict) else {}
    selected_names, row_limit = state.get("names"), state.get("most")
    valid_names = [name for name in selected_names if isinstance(name, str)] if isinstance(selected_names, list) else []
    return list(dict.fromkeys(valid_names)), row_limit if isinstance(row_limit, int) and row_limit > ROWS_PER_PAGE else ROWS_PER_PAGE


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _skip_outputs(count: int) -> list[Any]:
    return [gr.skip()] * count
