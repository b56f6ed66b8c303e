"""Access control of runs: which ones a person may see and change, and which one a page shows.

The state of a page (`page_state`, kept in the browser) is `{"run": name}`, with `"beside": [names]` once it has
compared runs. It comes from outside and gives no right: what somebody may do follows from who sent the event, as the
server knows it, and from the owner that the server has noted in the run (`ftlab.server.people`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ftlab.core import messages
from ftlab.core.errors import RunError
from ftlab.runs import run_quota, run_store, trash
from ftlab.runs.directory import Run
from ftlab.server.people import rights
from ftlab.server.people.member_register import read_owner_names
from ftlab.server.people.person import Person
from ftlab.server.people.rights import Relation, RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import run_status, run_status_view
from ftlab.ui.common.page_events import get_person
from ftlab.ui.common.run_status import RunSnapshot

MAX_LISTED_RUNS = 50
"""Number of runs in the menu, newest first."""
TITLE_MAX_AGE_SECONDS = 2.0
"""Seconds for which the title of a run, once read, serves every page; and what a run is to somebody."""
_MAX_REMEMBERED_RELATIONS = 20_000


class VisibleRuns:
    """The runs of a server, as far as a page may see them. One instance serves all pages.

    Attributes:
        profile: what this server is for, and its runs folder.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Create the listing of a server's runs."""
        self.profile = profile
        self._titles: dict[tuple[str, str], tuple[float, str, str]] = {}
        self._statuses: dict[str, str] = {}
        self._relations: dict[tuple[str, Path], tuple[float, Relation]] = {}

    def get_person(self) -> Person:
        """Return who sent the event that is being handled."""
        return get_person(self.profile)

    def list_visible_runs(self, *, in_trash: bool = False) -> list[str]:
        """Return the names of all runs that this person may see, newest first; of deleted ones, those they may delete.

        Args:
            in_trash: the deleted ones.

        Returns:
            Names of folders.
        """
        runs_dir, person = self.profile.runs_dir, self.get_person()
        run_names = trash.list_trashed_names(runs_dir) if in_trash else run_store.list_run_names(runs_dir)
        if person.leads:
            return run_names
        root = trash.get_trash_folder(runs_dir) if in_trash else runs_dir
        action = RunAction.DELETE if in_trash else RunAction.LOOK
        return [
            run_name
            for run_name in run_names
            if rights.may_do_with_run(
                person.kind, person.role, action, self._find_relation(person, Run(root / run_name))
            )
        ]

    def _find_relation(self, person: Person, run: Run) -> Relation:
        """Return what a run is to a person, at most `TITLE_MAX_AGE_SECONDS` old: each page asks every second."""
        now, key = time.monotonic(), (person.owner, run.path)
        known_time, relation = self._relations.get(key, (-TITLE_MAX_AGE_SECONDS, Relation.OTHER))
        if now - known_time >= TITLE_MAX_AGE_SECONDS:
            relation = person.find_relation(run)
            if len(self._relations) >= _MAX_REMEMBERED_RELATIONS:
                self._relations.clear()
            self._relations[key] = now, relation
        return relation

    def list_offered_runs(self, page_state: object) -> list[str]:
        """Return the run names for menus: the newest `MAX_LISTED_RUNS`, and those that the page shows or compares."""
        run_names, state = self.list_visible_runs(), page_state if isinstance(page_state, dict) else {}
        compared_runs = state.get("beside")
        referenced_runs = [state.get("run"), *(compared_runs if isinstance(compared_runs, list) else [])]
        return [
            *run_names[:MAX_LISTED_RUNS],
            *(run_name for run_name in run_names[MAX_LISTED_RUNS:] if run_name in referenced_runs),
        ]

    def get_run(self, run_name: object, action: RunAction = RunAction.LOOK) -> Run:
        """Return the run of that name.

        Args:
            run_name: as the page sent it.
            action: what the person wants to do with it.

        Returns:
            The run.

        Raises:
            RunError: this person may not see it, or may see it only; or it was deleted.
        """
        if isinstance(run_name, str) and run_name in self.list_visible_runs():
            run = Run(self.profile.runs_dir / run_name)
            self.check_may(action, run)
            return run
        if isinstance(run_name, str) and run_name in self.list_visible_runs(in_trash=True):
            raise RunError("run.binned", run=run_name)
        # The same error for a stranger's run as for none, so that names cannot be probed.
        raise RunError("run.missing", run=run_name, folder=self.profile.runs_dir)

    def check_may(self, action: RunAction, run: Run) -> None:
        """Check that the person may do something with a run that they may see.

        Args:
            action: what they want to do.
            run: the run.

        Raises:
            RunError: the run is somebody else's.
        """
        if not self.get_person().may_with(action, run):
            raise RunError("run.not_yours")

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
        """Return the run that this page shows: the one in its state, else the person's active one.

        Args:
            page_state: see the module's docstring.

        Returns:
            The run, or None.
        """
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        visible_names = self.list_visible_runs()
        if isinstance(run_name, str) and run_name in visible_names:
            return Run(self.profile.runs_dir / run_name)
        person = self.get_person()
        # What is trained comes before what waits.
        active_runs = sorted(
            run_store.find_active_runs(self.profile.runs_dir), key=lambda run: run.liveness.is_queued()
        )
        # What others share is opened on request, and does not take the place of what a page is for.
        return next((run for run in active_runs if person.leads or person.find_relation(run) is Relation.OWN), None)

    def find_active_run(self) -> Run | None:
        """Return the run that a process works on, None if there is none; runs that wait are not meant."""
        active_runs = run_store.find_active_runs(self.profile.runs_dir)
        return next((run for run in active_runs if run.liveness.get_status() != "queued"), None)

    def take_snapshot(self, page_state: object) -> RunSnapshot:
        """Return what the page shows of its selected run, or that there is none, or that it was deleted."""
        run = self.get_selected_run(page_state)
        if run is not None:
            return run_status.watch_run(run).take_snapshot()
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        # Anything else than a run's name was made up, and is not repeated in a message.
        if not isinstance(run_name, str) or not run_store.is_run_name(run_name):
            return run_status.build_empty_snapshot()
        return run_status.build_deleted_snapshot(in_trash=run_name in self.list_visible_runs(in_trash=True))

    def select_run(self, page_state: object, run: Run) -> dict[str, Any]:
        """Return the page state after it has opened a run."""
        return {**(page_state if isinstance(page_state, dict) else {}), "run": run.name}

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
        now, owned_titles, language = time.monotonic(), {}, messages.current_language()
        for run_name in self.list_offered_runs(page_state):
            title_time, title, owner = self._titles.get((run_name, language), (-TITLE_MAX_AGE_SECONDS, "", ""))
            # A title contains the status: that of the snapshot's run must not contradict the rest of the panel.
            if now - title_time >= TITLE_MAX_AGE_SECONDS or (
                snapshot and run_name == snapshot.run_name and snapshot.status != self._statuses.get(run_name)
            ):
                run = Run(self.profile.runs_dir / run_name)
                title, owner = run_status_view.format_run_title(run), run_quota.read_owner(run)
                self._titles[run_name, language] = (now, title, owner)
                if snapshot and run_name == snapshot.run_name:
                    self._statuses[run_name] = snapshot.status
            owned_titles[run_name] = (title, owner)
        return [(title, run_name) for run_name, title in self._name_owners(owned_titles).items()]

    def list_comparable_choices(self, page_state: object) -> list[tuple[str, str]]:
        """Return those choices of `list_run_choices` that left something to compare, or are active."""
        return [
            (title, run_name)
            for title, run_name in self.list_run_choices(page_state)
            if not Run(self.profile.runs_dir / run_name).left_nothing()
        ]

    def _name_owners(self, owned_titles: dict[str, tuple[str, str]]) -> dict[str, str]:
        """Return titles of runs, with the names of other people who own them.

        Args:
            owned_titles: title and owner by the name of the run.

        Returns:
            Title by the name of the run.
        """
        own = self.get_person().owner
        # The file of the class is read only where somebody else's run is listed.
        has_others = not self.profile.is_local and any(owner not in ("", own) for _, owner in owned_titles.values())
        names = read_owner_names(self.profile.runs_dir) if has_others else {}
        titles = {}
        for run_name, (title, owner) in owned_titles.items():
            owner_text = self.describe_owner(owner, names)
            titles[run_name] = f"{title} · {owner_text}" if owner_text else title
        return titles

    def describe_owner(self, owner: str, names: dict[str, str]) -> str:
        """Return whose a run is, if it is another person's whose name is known; else empty.

        Whoever sees a stranger's run leads, or it was shared, under its owner's name.

        Args:
            owner: as `run_quota.read_owner` returns it.
            names: as `read_owner_names` returns them.
        """
        name = names.get(owner, "") if owner != self.get_person().owner else ""
        return messages.get_text("shelf.owned_by", name=messages.escape_control_chars(name)) if name else ""
