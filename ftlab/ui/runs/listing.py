"""Rows, table and details panel of the Runs tab."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.html import Markup, join_html
from ftlab.runs import comparison, run_notes, run_quota, run_table, trash
from ftlab.runs.directory import Run
from ftlab.runs.run_table import RunRow
from ftlab.server.people.member_register import read_owner_names
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.runs import push_access, view
from ftlab.ui.train.actions import TrainActions

LOCATIONS = ("runs", "bin")
"""Values of `location`: the runs folder and its trash folder."""
ROWS_PER_PAGE = 100
"""Rows shown at first, and rows added by each press of the button below the table."""
ROW_CACHE_SECONDS = 2.0
"""Maximum age of cached rows: a search sends an event for each key that is pressed."""
PANEL_OUTPUT_COUNT = 21
"""Number of components that `RunListing.render_panel` updates."""
_MAX_CACHED_LISTINGS = 8
"""On a Space each visitor has a listing of their own; all are dropped when there are more than these."""


class RunListing:
    """The table of the runs that a page may see, and the panel of the selected ones.

    There is one instance per server: it holds the profile and cached rows, but no state of any visitor. All methods
    take the values of components as the page sends them, so none of them is trusted:

    - `page_state`: state kept in the browser, see `ftlab.ui.train.visible_runs`.
    - `search`: search text, `sort`: one of `run_table.SORT_ORDERS`, `location`: one of `LOCATIONS`.
    - `selection`: `{"names": [run names], "most": number of rows shown}`, kept in the page. The names are looked up
      among the runs that the page may see each time.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        self.profile, self.train_actions = profile, TrainActions(profile)
        self._row_cache: dict[tuple[bool, tuple[str, ...], str], tuple[float, list[RunRow]]] = {}

    def list_runs(
        self,
        page_state: object,  # noqa: ARG002 - the page sends it; it gives no right
        search: object,
        sort: object,
        location: object,
        selection: object,
    ) -> list[Any]:
        """Return totals, table and selection; runs hidden by the search stay selected."""
        run_rows, trash_rows = self.load_rows(), self.load_rows(in_trash=True)
        rows = trash_rows if location == "bin" else run_rows
        selected_names, row_limit = parse_selection(selection)
        available_names = {row.name for row in rows}
        query = search if isinstance(search, str) else ""
        matching_rows = run_table.sort_rows(run_table.filter_rows(rows, query), str(sort))
        match_note = (
            messages.get_text("shelf.found", found=f"{len(matching_rows):,}", count=f"{len(rows):,}")
            if query.strip()
            else None
        )
        totals = view.render_totals(
            run_rows,
            trash_rows,
            match_note,
            own_only=not self.train_actions.get_person().leads,
            useless_count=0 if location == "bin" else sum(row.left_nothing for row in run_rows),
        )
        # Not only the matching ones: a search must not change the selection.
        selected_names = [name for name in selected_names if name in available_names]
        new_selection = {"names": selected_names, "most": row_limit}
        if not matching_rows:
            message_key = "bin_nothing" if location == "bin" else "nothing"
            message_key = "none_found" if rows else message_key
            return [totals, render_empty_state(f"shelf.{message_key}", f"shelf.{message_key}_step"), new_selection]
        marks = self.find_owner_marks(matching_rows[:row_limit], in_trash=location == "bin")
        return [
            totals,
            view.render_table(matching_rows, selected_names, row_limit, ROWS_PER_PAGE, marks),
            new_selection,
        ]

    def render_all(
        self,
        page_state: object,
        search: object,
        sort: object,
        location: object,
        selection: object,
        message: Markup | str = "",
    ) -> list[Any]:
        """Return the outputs of `list_runs`, then those of `render_panel` with `message` above the details."""
        list_outputs = self.list_runs(page_state, search, sort, location, selection)
        # `list_runs` has dropped selected names that no longer exist.
        return [*list_outputs, *self.render_panel(page_state, location, list_outputs[2], message)]

    def load_rows(self, *, in_trash: bool = False) -> list[RunRow]:
        """Return the rows of the runs that the page may see, or of those in the trash folder."""
        # The names are part of the key, so new and deleted runs show at once; changes within a run may wait.
        run_names = tuple(self.train_actions.list_visible_runs(in_trash=in_trash))
        now = time.monotonic()
        key = in_trash, run_names, messages.current_language()
        loaded_at, rows = self._row_cache.get(key, (-ROW_CACHE_SECONDS, []))
        if now - loaded_at < ROW_CACHE_SECONDS:
            return rows
        root = trash.get_trash_folder(self.profile.runs_dir) if in_trash else self.profile.runs_dir
        rows = run_table.load_rows(root, run_names)
        if len(self._row_cache) > _MAX_CACHED_LISTINGS:
            self._row_cache.clear()
        self._row_cache[key] = time.monotonic(), rows  # the age counts from the end of the reading
        return rows

    def forget_rows(self) -> None:
        """Drop cached rows, after a change that the names of the runs do not show."""
        self._row_cache.clear()

    def render_panel(
        self,
        page_state: object,  # noqa: ARG002 - the page sends it; it gives no right
        location: object,
        selection: object,
        message: Markup | str = "",
    ) -> list[Any]:
        """Return the details of the selected runs, and which buttons they allow: `PANEL_OUTPUT_COUNT` updates."""
        in_trash, (selected_names, _) = location == "bin", parse_selection(selection)
        all_rows = self.load_rows(in_trash=in_trash)
        selected_rows = [row for row in all_rows if row.name in selected_names]
        single_row = selected_rows[0] if len(selected_rows) == 1 else None
        details = (
            self._render_single_run(single_row, all_rows)
            if single_row
            else view.render_runs(selected_rows)
            if selected_rows
            else view.render_no_selection(in_trash=in_trash)
        )
        is_editable = (
            single_row is not None
            and not in_trash
            and self.train_actions.get_person().may_with(RunAction.RENAME, Run(self.profile.runs_dir / single_row.name))
        )
        has_weights = (
            single_row is not None
            and not in_trash
            and Run(self.profile.runs_dir / single_row.name).best_weights_path.is_file()
        )
        may_export = has_weights and self.train_actions.get_person().may_with(
            RunAction.EXPORT,
            Run(self.profile.runs_dir / single_row.name),  # type: ignore[union-attr]
        )
        # The order is that of `panel_outputs` in `tab.build_runs_tab`.
        return [
            join_html([message, details]),
            gr.Column(visible=is_editable),
            single_row.title if single_row else "",
            single_row.notes if single_row else "",
            self._build_share_button(single_row if is_editable else None),
            gr.Button(visible=has_weights),
            gr.Button(visible=has_weights),
            gr.Button(visible=not in_trash and 2 <= len(selected_rows) <= comparison.MAX_COMPARED_RUNS),
            gr.Button(visible=bool(selected_rows) and not in_trash),
            gr.Button(visible=bool(selected_rows) and in_trash),
            # It erases what this person sees: others' deleted runs are not among them.
            gr.Button(visible=in_trash and bool(all_rows)),
            gr.Column(visible=False),
            gr.Accordion(visible=may_export),
            "",
            gr.DownloadButton(visible=False),
            gr.Button(visible=False),
            *self._build_push_updates(single_row if has_weights else None),
        ]

    def _build_push_updates(self, row: RunRow | None) -> list[Any]:
        """Return the updates of the part that pushes a run; it is hidden where this person may not.

        Args:
            row: of a run with weights; None for none.
        """
        run = Run(self.profile.runs_dir / row.name) if row else None
        if row is None or run is None or not self.train_actions.get_person().may_with(RunAction.PUSH, run):
            return [gr.Column(visible=False), "", gr.skip(), gr.skip(), ""]
        access = push_access.find_push_access(self.profile)
        return [
            gr.Column(visible=True),
            push_access.render_access(access),
            push_access.propose_repository(access, row) or gr.skip(),
            gr.Button(interactive=not access.problem),
            "",
        ]

    def _build_share_button(self, row: RunRow | None) -> gr.Button:
        """Return the button that shares a run or ends that; hidden where there is nobody to share with."""
        run = Run(self.profile.runs_dir / row.name) if row else None
        may_share = run is not None and self.train_actions.get_person().may_with(RunAction.SHARE, run)
        is_shared = run is not None and run_notes.read_notes(run).is_shared
        label = messages.get_text("shelf.unshare" if is_shared else "shelf.share")
        return gr.Button(label, visible=may_share and not self.profile.is_local)

    def find_owner_marks(self, rows: Sequence[RunRow], *, in_trash: bool) -> dict[str, str]:
        """Return what the table says of the owners of runs: their names, as far as this person may know them.

        Args:
            rows: rows of the table.
            in_trash: they are deleted.

        Returns:
            Text by the name of the run.
        """
        if self.profile.is_local:
            return {}
        root = trash.get_trash_folder(self.profile.runs_dir) if in_trash else self.profile.runs_dir
        names, marks = read_owner_names(self.profile.runs_dir), {}
        for row in rows:
            run = Run(root / row.name)
            owner, is_shared = run_quota.read_owner(run), run_notes.read_notes(run).is_shared
            shared_text = messages.get_text("shelf.is_shared") if is_shared else ""
            marks[row.name] = " · ".join(filter(None, (self.train_actions.describe_owner(owner, names), shared_text)))
        return marks

    def _render_single_run(self, row: RunRow, rows: list[RunRow]) -> Markup:
        origin_key = ""
        if row.source_run:
            names_by_location = {
                False: self.train_actions.list_visible_runs(),
                True: self.train_actions.list_visible_runs(in_trash=True),
            }
            origin_in_trash = next(
                (in_trash for in_trash, run_names in names_by_location.items() if row.source_run in run_names), None
            )
            origin_key = {False: "shelf.begun_from", True: "shelf.begun_from_binned", None: "shelf.begun_from_gone"}[
                origin_in_trash
            ]
        return view.render_run(row, origin_key, run_table.find_successors(rows, row.name))


def parse_selection(selection: object) -> tuple[list[str], int]:
    """Return the run names, without duplicates, and the number of rows shown, from the selection that a page sends."""
    state = selection if isinstance(selection, dict) else {}
    selected_names, row_limit = state.get("names"), state.get("most")
    valid_names = [name for name in selected_names if isinstance(name, str)] if isinstance(selected_names, list) else []
    # A dict keeps the order of its keys, unlike a set.
    return list(dict.fromkeys(valid_names)), row_limit if isinstance(
        row_limit, int
    ) and row_limit > ROWS_PER_PAGE else ROWS_PER_PAGE
