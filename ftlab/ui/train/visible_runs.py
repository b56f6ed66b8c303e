"""Access control of runs: which ones a page may see, and which one it shows.

The state of a page (`page_state`, kept in the browser) is `{"run": name, "mine": [names]}`, with `"beside": [names]`
once it has compared runs. It comes from outside and is checked like any other input: on a public Space it opens no run
except one whose full name, with its 48 random bits, it contains.
"""

from __future__ import annotations

import time
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs import run_store, trash
from ftlab.runs.directory import Run
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import run_status, run_status_view
from ftlab.ui.common.run_status import RunSnapshot

MAX_LISTED_RUNS = 50
"""Number of runs in the menu, newest first, and of a visitor's own runs that a page state records."""
TITLE_MAX_AGE_SECONDS = 2.0
"""Seconds for which the title of a run, once read, serves every page."""


class VisibleRuns:
    """The runs of a server, as far as a page may see them. One instance serves all pages.

    Attributes:
        profile: what this server is for, and its runs folder.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the listing of a server's runs."""
        self.profile = profile
        self._titles: dict[str, tuple[float, str]] = {}
        self._statuses: dict[str, str] = {}

    def list_visible_runs(self, page_state: object, *, in_trash: bool = False) -> list[str]:
        """Return the names of all runs that this page may see, newest first; or of those in the trash folder."""
        run_names = (
            trash.list_trashed_names(self.profile.runs_dir)
            if in_trash
            else run_store.list_run_names(self.profile.runs_dir)
        )
        if self.profile.is_space:
            own_runs = _get_own_runs(page_state)
            # In the trash folder a second run of a name has a suffix; the page knows the original name.
            run_names = [run_name for run_name in run_names if trash.get_original_name(run_name) in own_runs]
        return run_names

    def list_offered_runs(self, page_state: object) -> list[str]:
        """Return the run names for menus: the newest `MAX_LISTED_RUNS`, and those that the page shows or compares."""
        run_names, state = self.list_visible_runs(page_state), page_state if isinstance(page_state, dict) else {}
        compared_runs = state.get("beside")
        referenced_runs = [state.get("run"), *(compared_runs if isinstance(compared_runs, list) else [])]
        return [
            *run_names[:MAX_LISTED_RUNS],
            *(run_name for run_name in run_names[MAX_LISTED_RUNS:] if run_name in referenced_runs),
        ]

    def get_run(self, page_state: object, run_name: object) -> Run:
        """Return the run of that name.

        Args:
            page_state: see the module's docstring.
            run_name: as the page sent it.

        Returns:
            The run.

        Raises:
            RunError: this page may not see it, or it was deleted.
        """
        if isinstance(run_name, str) and run_name in self.list_visible_runs(page_state):
            return Run(self.profile.runs_dir / run_name)
        if isinstance(run_name, str) and run_name in self.list_visible_runs(page_state, in_trash=True):
            raise RunError("run.binned", run=run_name)
        # The same error for a stranger's run as for none, so that names cannot be probed.
        raise RunError("run.missing", run=run_name, folder=self.profile.runs_dir)

    def filter_ticked_runs(self, page_state: object, ticked_names: object) -> list[str]:
        """Return those of the ticked runs that this page may see, oldest first.

        In this order, a run keeps its number and its colour when later ones start.

        Args:
            page_state: see the module's docstring.
            ticked_names: value of the checkboxes, as the page sent it.

        Returns:
            Names of runs.
        """
        wanted_names = (
            [run_name for run_name in ticked_names if isinstance(run_name, str)]
            if isinstance(ticked_names, list)
            else []
        )
        return (
            [run_name for run_name in reversed(self.list_offered_runs(page_state)) if run_name in wanted_names]
            if wanted_names
            else []
        )

    def get_selected_run(self, page_state: object) -> Run | None:
        """Return the run that this page shows: its own, else the active one.

        On a Space, where the active run may be a stranger's, a page without a run of its own has none.

        Args:
            page_state: see the module's docstring.

        Returns:
            The run, or None.
        """
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        # Any run by its full name, on a Space too: nobody guesses its random bits.
        if isinstance(run_name, str) and run_name in run_store.list_run_names(self.profile.runs_dir):
            return Run(self.profile.runs_dir / run_name)
        return None if self.profile.is_space else self.find_active_run()

    def find_active_run(self) -> Run | None:
        """Return the run that a process works on, None if there is none."""
        return next(iter(run_store.find_active_runs(self.profile.runs_dir)), None)

    def take_snapshot(self, page_state: object) -> RunSnapshot:
        """Return what the page shows of its selected run, or that there is none, or that it was deleted."""
        run = self.get_selected_run(page_state)
        if run is not None:
            return run_status.watch_run(run).take_snapshot()
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        # Anything else than a run's name was made up, and is not repeated in a message.
        if not isinstance(run_name, str) or not run_store.is_run_name(run_name):
            return run_status.build_empty_snapshot()
        return run_status.build_deleted_snapshot(in_trash=run_name in self.list_visible_runs(page_state, in_trash=True))

    def select_run(self, page_state: object, run: Run) -> dict[str, Any]:
        """Return the page state after it has opened a run, which becomes the visitor's own."""
        # Latest first; the cap also bounds what a page makes the server check on each request.
        own_runs = [run_name for run_name in _get_own_runs(page_state) if run_name != run.name]
        return {"run": run.name, "mine": [run.name, *own_runs][:MAX_LISTED_RUNS]}

    def select_compared_runs(self, page_state: object, run_names: list[str]) -> dict[str, Any]:
        """Return the page state after it has opened these runs in the Compare tab."""
        return {**(page_state if isinstance(page_state, dict) else {}), "beside": run_names}

    def list_run_choices(self, page_state: object, snapshot: RunSnapshot | None = None) -> list[tuple[str, str]]:
        """Return the (title, name) pairs of the runs in a menu.

        Args:
            page_state: see the module's docstring.
            snapshot: of the selected run; its title is as new as that, others are at most `TITLE_MAX_AGE_SECONDS` old.

        Returns:
            Choices of a `gr.Dropdown` or `gr.CheckboxGroup`.
        """
        now, choices = time.monotonic(), []
        for run_name in self.list_offered_runs(page_state):
            title_time, title = self._titles.get(run_name, (-TITLE_MAX_AGE_SECONDS, ""))
            # A title contains the status: that of the snapshot's run must not contradict the rest of the panel.
            if now - title_time >= TITLE_MAX_AGE_SECONDS or (
                snapshot and run_name == snapshot.run_name and snapshot.status != self._statuses.get(run_name)
            ):
                title = run_status_view.format_run_title(Run(self.profile.runs_dir / run_name))
                self._titles[run_name] = (now, title)
                if snapshot and run_name == snapshot.run_name:
                    self._statuses[run_name] = snapshot.status
            choices.append((title, run_name))
        return choices


def _get_own_runs(page_state: object) -> list[str]:
    """Return the names of the visitor's own runs in a page state; they may be made up."""
    own_runs = page_state.get("mine") if isinstance(page_state, dict) else None
    return (
        [run_name for run_name in own_runs if isinstance(run_name, str)][:MAX_LISTED_RUNS]
        if isinstance(own_runs, list)
        else []
    )
