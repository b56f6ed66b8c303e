"""The route of the Stop buttons: it must be heard while the queue is full and all of its workers are busy."""

from __future__ import annotations

import json

from ftlab.core.errors import FtlabError, RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import audit_job, launch
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.server.people.person import Person
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile


def stop_run(profile: ServerProfile, person: Person, run_name: object, *, by_force: bool) -> None:
    """Request a run to stop, take it out of the queue, or terminate its process. A run that has ended stays as it is.

    Args:
        profile: profile of the server.
        person: who asks for it.
        run_name: full name, as the page sent it.
        by_force: terminate the process; the error of `launch.terminate_run` propagates.

    Raises:
        RunError: there is no such run, or this person may not stop it: the answers are the same for a stranger's run.
    """
    is_known = isinstance(run_name, str) and run_name in run_store.list_run_names(profile.runs_dir)
    if not is_known or not person.may_with(RunAction.STOP, Run(profile.runs_dir / str(run_name))):
        # Not repeated unless it can be a run's name: it comes from outside.
        is_name = isinstance(run_name, str) and run_store.is_run_name(run_name)
        raise RunError("run.missing", run=run_name if is_name else "", folder=profile.runs_dir.name)
    run = Run(profile.runs_dir / str(run_name))
    if not run.liveness.is_active() or (run.liveness.is_queued() and open_queue(profile.runs_dir).cancel(run)):
        return
    if by_force:
        launch.terminate_run(run)
    else:
        run.liveness.request_stop()


def answer_stop(profile: ServerProfile, person: Person, body: bytes) -> tuple[int, str]:
    """Answer a request of the Stop button.

    Args:
        profile: profile of the server.
        person: who asks for it.
        body: JSON `{"run": name, "by_force": bool}`, or `{"audit": name}` for the audit of a data set.

    Returns:
        HTTP status, and a sentence for the page: empty if the run or the audit was asked to stop.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    fields = request if isinstance(request, dict) else {}
    if fields.get("audit") is not None:
        audit_job.request_stop(fields["audit"])
        return 200, ""
    try:
        stop_run(profile, person, fields.get("run"), by_force=fields.get("by_force") is True)
    except FtlabError as error:
        return 404 if error.code == "run.missing" else 409, str(error)
    return 200, ""
