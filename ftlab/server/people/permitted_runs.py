"""Runs that a request names, as far as whoever sent it may do something with them."""

from __future__ import annotations

from pathlib import Path

from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.server.people.person import Person
from ftlab.server.people.rights import RunAction


def get_permitted_run(runs_dir: Path, person: Person, run_name: object, action: RunAction) -> Run:
    """Return the run of a full name.

    Args:
        runs_dir: folder of the runs.
        person: who asks for it.
        run_name: as a page sent it.
        action: what the person wants to do with the run.

    Returns:
        The run.

    Raises:
        RunError: there is no such run, or this person may not do that: the answers are the same for a stranger's run.
    """
    if isinstance(run_name, str) and run_name in run_store.list_run_names(runs_dir):
        run = Run(runs_dir / run_name)
        if person.may_with(action, run):
            return run
    # Not repeated unless it can be a run's name: it comes from outside.
    is_name = isinstance(run_name, str) and run_store.is_run_name(run_name)
    raise RunError("run.missing", run=run_name if is_name else "", folder=runs_dir.name)
