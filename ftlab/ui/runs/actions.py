"""Event handlers of the Runs tab, without its components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import tag
from ftlab.runs import comparison, run_notes, trash
from ftlab.runs.directory import Run
from ftlab.server.people.rights import RunAction
from ftlab.ui.common import page_events
from ftlab.ui.common.html import render_error
from ftlab.ui.common.page_events import get_event_data
from ftlab.ui.runs import listing
from ftlab.ui.runs.listing import PANEL_OUTPUT_COUNT, RunListing, parse_selection


class RunsActions(RunListing):
    """Event handlers of the Runs tab. One instance per server.

    Each handler takes the values of its inputs, see `RunListing`, and returns updates for its outputs in the order of
    `tab.build_runs_tab`. Gradio passes all of them positionally.
    """

    # --- the table

    def open_tab(
        self, page_state: object, search: object, sort: object, location: object, selection: object
    ) -> list[Any]:
        """Return the whole tab, read anew."""
        self.forget_rows()
        return self.render_all(page_state, search, sort, location, selection)

    def switch_location(
        self, page_state: object, search: object, sort: object, location: object, _selection: object
    ) -> list[Any]:
        """Return the whole tab for the runs or the trash folder, with nothing selected."""
        return self.render_all(page_state, search, sort, location, {})

    def handle_press(
        self, page_state: object, search: object, sort: object, location: object, selection: object, event: gr.EventData
    ) -> list[Any]:
        """Select a run that was pressed or ticked, or show more rows.

        Args:
            page_state: see `RunListing`, as for the next four.
            search: search text.
            sort: order of the rows.
            location: runs or trash folder.
            selection: selected runs before the press.
            event: with the data that `static/shelf.js` sends: `{"more": true}`, `{"run": name}` for a press,
                `{"run": name, "add": bool}` for a tick, or `{"useless": true}` for all that left nothing.

        Returns:
            Updates of the whole tab; those of the table are skipped where it stays as it is.
        """
        press_data = get_event_data(event)
        selected_names, row_limit = parse_selection(selection)
        run_name, add = press_data.get("run"), press_data.get("add")
        if press_data.get("more"):
            extended_selection = {"names": selected_names, "most": row_limit + listing.ROWS_PER_PAGE}
            return [
                *self.list_runs(page_state, search, sort, location, extended_selection),
                *_skip_outputs(PANEL_OUTPUT_COUNT),
            ]
        if press_data.get("useless"):
            useless_names = [row.name for row in self.load_rows() if row.left_nothing]
            return self.render_all(page_state, search, sort, location, {"names": useless_names, "most": row_limit})
        other_names = [other_name for other_name in selected_names if other_name != run_name]
        if isinstance(run_name, str):
            selected_names = [run_name] if add is None else [*other_names, run_name] if add else other_names
        new_selection = {"names": selected_names, "most": row_limit}
        if isinstance(run_name, str) and run_name not in self.train_actions.list_visible_runs(
            in_trash=location == "bin"
        ):
            error = RunError("run.gone", run=run_name)
            self.forget_rows()
            return self.render_all(page_state, search, sort, location, new_selection, render_error(str(error)))
        # The table is not sent again: the browser has marked the rows already, and a hundred of them are large.
        return [gr.skip(), gr.skip(), new_selection, *self.render_panel(page_state, location, new_selection)]

    def save_notes(
        self,
        page_state: object,
        search: object,
        sort: object,
        location: object,
        selection: object,
        title: object,
        notes: object,
    ) -> list[Any]:
        """Save title and notes of the selected run.

        Args:
            page_state: see `RunListing`, as for the next four.
            search: search text.
            sort: order of the rows.
            location: runs or trash folder.
            selection: with the name of one run.
            title: new title.
            notes: new notes.

        Returns:
            Updates of totals, table, selection and details; none where the run cannot be changed.
        """
        selected_names, _ = parse_selection(selection)
        try:
            run = self.train_actions.get_run(selected_names[0] if len(selected_names) == 1 else None, RunAction.RENAME)
            run_notes.write_notes(run, title=_as_text(title), notes=_as_text(notes))
        except FtlabError as error:
            page_events.show_warning(error)
            return _skip_outputs(4)
        page_events.show_notice(messages.get_text("shelf.saved"), seconds=2)
        outputs = self.open_tab(page_state, search, sort, location, selection)
        # Without the text fields: what was typed into them since the click must stay.
        return outputs[:4]

    def toggle_sharing(
        self, page_state: object, search: object, sort: object, location: object, selection: object
    ) -> list[Any]:
        """Share the selected run with all who were let in, or end that.

        Returns:
            Updates of the whole tab.
        """
        selected_names, _ = parse_selection(selection)
        try:
            run = self.train_actions.get_run(selected_names[0] if len(selected_names) == 1 else None, RunAction.SHARE)
            is_shared = not run_notes.read_notes(run).is_shared
            run_notes.write_notes(run, is_shared=is_shared)
        except FtlabError as error:
            page_events.show_warning(error)
            return self.open_tab(page_state, search, sort, location, selection)
        page_events.show_notice(messages.get_text("shelf.shared" if is_shared else "shelf.unshared"), seconds=3)
        return self.open_tab(page_state, search, sort, location, selection)

    # --- the trash folder

    def delete_runs(
        self, page_state: object, search: object, sort: object, location: object, selection: object
    ) -> list[Any]:
        """Move the selected runs to the trash folder.

        Returns:
            Updates of the whole tab.
        """
        return self._move_runs(page_state, search, sort, location, selection, "deleted")

    def restore_runs(
        self, page_state: object, search: object, sort: object, location: object, selection: object
    ) -> list[Any]:
        """Move the selected runs back from the trash folder.

        Returns:
            Updates of the whole tab.
        """
        return self._move_runs(page_state, search, sort, location, selection, "restored")

    def _move_runs(
        self, page_state: object, search: object, sort: object, location: object, selection: object, action: str
    ) -> list[Any]:
        selected_names, row_limit = parse_selection(selection)
        is_deletion = action == "deleted"
        root = self.profile.runs_dir if is_deletion else trash.get_trash_folder(self.profile.runs_dir)
        available_names = self.train_actions.list_visible_runs(in_trash=not is_deletion)
        try:
            # Check all names before the first is moved: the selection may be old or made up.
            missing_names = [name for name in selected_names if name not in available_names]
            if missing_names:
                raise RunError("run.gone", run=missing_names[0])
            runs = [Run(root / name) for name in selected_names]
            for run in runs:
                self.train_actions.check_may(RunAction.DELETE, run)
            moved_runs = trash.discard_runs(runs) if is_deletion else trash.restore_runs(runs)
        except FtlabError as error:
            self.forget_rows()
            return self.render_all(page_state, search, sort, location, selection, render_error(str(error)))
        self.forget_rows()
        message_key = "shelf.deleted_one" if is_deletion and len(moved_runs) == 1 else f"shelf.{action}"
        message = tag("p", messages.get_text(message_key, count=len(moved_runs)), class_="ftlab-good", role="status")
        return self.render_all(page_state, search, sort, location, {"names": [], "most": row_limit}, message)

    def ask_empty_trash(self, page_state: object, *_inputs: object) -> list[Any]:  # noqa: ARG002 - the page sends it; it gives no right
        """Return the question before emptying: updates of the button, the confirmation section and its warning."""
        rows = self.load_rows(in_trash=True)
        message_key = "shelf.empty_sure_one" if len(rows) == 1 else "shelf.empty_sure"
        warning = messages.get_text(
            message_key, count=len(rows), size=messages.format_bytes(sum(row.size_bytes for row in rows))
        )
        return [gr.Button(visible=False), gr.Column(visible=bool(rows)), render_error(warning)]

    def cancel_empty_trash(self, *_inputs: object) -> list[Any]:
        """Return updates that hide the confirmation section and show the button again."""
        return [gr.Button(visible=True), gr.Column(visible=False)]

    def empty_trash(
        self, page_state: object, search: object, sort: object, location: object, _selection: object
    ) -> list[Any]:
        """Delete the runs in the trash folder permanently: those that this person sees there.

        Returns:
            Updates of the whole tab.
        """
        try:
            own_names = self.train_actions.list_visible_runs(in_trash=True)
            freed_size = messages.format_bytes(trash.empty_trash(self.profile.runs_dir, own_names))
            message = tag("p", messages.get_text("shelf.emptied", size=freed_size), class_="ftlab-good", role="status")
        except FtlabError as error:
            message = render_error(str(error))
        self.forget_rows()
        return self.render_all(page_state, search, sort, location, {}, message)

    # --- other tabs

    def make_open_handler(self, tab: str) -> Callable[[object, object], list[Any]]:
        """Return a handler that makes the selected run the page's own and opens the tab with the id `tab`."""

        def open_run(page_state: object, selection: object) -> list[Any]:
            selected_names, _ = parse_selection(selection)
            try:
                run = self.train_actions.get_run(selected_names[0] if len(selected_names) == 1 else None)
            except FtlabError as error:
                page_events.show_warning(error)
                return _skip_outputs(2)
            return [self.train_actions.select_run(page_state, run), gr.Tabs(selected=tab)]

        return open_run

    def compare_runs(self, page_state: object, selection: object) -> list[Any]:
        """Return updates that tick the selected runs in the Compare tab and open it: page state, ticks, tabs."""
        selected_names, _ = parse_selection(selection)
        available_names = self.train_actions.list_visible_runs()
        new_state = self.train_actions.select_compared_runs(
            page_state, [name for name in selected_names if name in available_names][: comparison.MAX_COMPARED_RUNS]
        )
        # Only with the new state: old runs are among the choices because it names them.
        run_checkboxes = gr.CheckboxGroup(
            choices=self.train_actions.list_comparable_choices(new_state), value=new_state["beside"]
        )
        return [new_state, run_checkboxes, gr.Tabs(selected="compare")]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _skip_outputs(count: int) -> list[Any]:
    """Return updates that leave so many outputs as they are."""
    return [gr.skip()] * count
