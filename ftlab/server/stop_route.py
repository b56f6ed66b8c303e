"""The route of the Stop buttons: it must be heard while the queue is full and all of its workers are busy."""

from __future__ import annotations

from ftlab.core.errors import FtlabError
from ftlab.runs.jobs import job_stop
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.server.bodies import parse_fields
from ftlab.server.people.permitted_runs import get_permitted_run
from ftlab.server.people.person import Person
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile


def stop_run(profile: ServerProfile, person: Person, run_name: object, *, by_force: bool) -> None:
    """Request a run to stop, take it out of the queue, or terminate its process. A run that has ended stays as it is.

    Propagates `RunError` where there is no such run, or this person may not stop it.

    Args:
        profile: profile of the server.
        person: who asks for it.
        run_name: full name, as the page sent it.
        by_force: terminate the process; the error of the launcher propagates.
    """
    run = get_permitted_run(profile.runs_dir, person, run_name, RunAction.STOP)
    if not run.liveness.is_active() or (run.liveness.is_queued() and open_queue(profile.runs_dir).cancel(run)):
        return
    if by_force:
        open_queue(profile.runs_dir).terminate(run)
    else:
        run.liveness.request_stop()


def answer_stop(profile: ServerProfile, person: Person, body: bytes) -> tuple[int, str]:
    """Answer a request of the Stop button.

    Args:
        profile: profile of the server.
        person: who asks for it.
        body: JSON `{"run": name, "by_force": bool}`, or `{"job": name}` for an audit or an export (`JobStop.name`).

    Returns:
        HTTP status, and a sentence for the page: empty if the run, audit or export was asked to stop.
    """
    fields = parse_fields(body)
    if fields.get("job") is not None:
        job_stop.request_stop(fields["job"], None if person.leads else person.owner)
        return 200, ""
    try:
        stop_run(profile, person, fields.get("run"), by_force=fields.get("by_force") is True)
    except FtlabError as error:
        return 404 if error.code == "run.missing" else 409, str(error)
    return 200, ""
