"""What a class is doing, as the teacher's page asks every two seconds: members, trainings, results, rules. No torch.

It is read from the run directories. What a run that has ended says is remembered until one of its files changes, so a
question about 200 runs looks at the dates of their files, and reads the few that are at work.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs import run_notes, run_quota, run_store
from ftlab.runs.directory import Run
from ftlab.runs.history import History
from ftlab.runs.jobs import local_launcher
from ftlab.runs.liveness import ACTIVE_STATUSES, QUEUED_FILE, WORKING_STATUSES
from ftlab.runs.queue.places import QueuePlace
from ftlab.server.paths import get_visitors_dir
from ftlab.server.people import upload_tokens
from ftlab.server.people.lesson_rules import (
    LessonRules,
    LessonSettings,
    format_backbones,
    format_modes,
    list_source_choices,
    match_handed,
)
from ftlab.server.people.member_register import Member
from ftlab.server.people.membership import Membership
from ftlab.server.people.person import Person

ANSWER_MAX_AGE_SECONDS = 1.0
"""Seconds for which one answer serves all teachers."""
MAX_LISTED_RESULTS = 200
"""Runs on the page, newest first, besides those at work."""
ONLINE_SECONDS = 60.0
"""Seconds after a request for which a member counts as here: an open page asks every few seconds."""
_EARLY_STAGES = ("download", "statistics", "features")
"""Stages of a training that can take long before its first step."""
_KEY_FILES = ("config.json", "about.json", "owner", "metrics.jsonl", "pid", "process.json", "stop", QUEUED_FILE)
"""Files that what is shown of a run depends on."""


@dataclass(frozen=True)
class RunGlance:
    """What the page shows of a run.

    Attributes:
        run: name of the run directory.
        title: title, or backbone and mode.
        owner: as `run_quota.read_owner` returns it.
        status: as `RunLiveness.get_status` returns it.
        progress: fraction done of a run at work, in [0, 1]; None before it is known.
        accuracy: validation accuracy of the best epoch, in [0, 1]; None before there is one.
        is_shared: everybody may look at it.
        stage: what comes before the first step, or `stopping`; empty for training, and when nothing works on it.
    """

    run: str
    title: str
    owner: str
    status: str
    progress: float | None
    accuracy: float | None
    is_shared: bool
    stage: str = ""

    @property
    def is_active(self) -> bool:
        """Return whether it is at work, or waits for its turn."""
        return self.status in ACTIVE_STATUSES


class ClassBoard:
    """What a class is doing. Thread-safe; one instance per server."""

    def __init__(self, membership: Membership, runs_dir: Path) -> None:
        """Start with nothing read.

        Args:
            membership: of the server.
            runs_dir: folder of the runs.
        """
        self._membership, self._runs_dir = membership, runs_dir
        self._rules = LessonRules(runs_dir)
        self._lock = threading.Lock()
        self._glances: dict[str, tuple[tuple[object, ...], RunGlance]] = {}
        self._histories: dict[str, tuple[History, int]] = {}
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}

    def build_answer(self) -> dict[str, Any]:
        """Return everything that the page shows, at most `ANSWER_MAX_AGE_SECONDS` old, as JSON values."""
        with self._lock:
            language = messages.current_language()
            answer_time, answer = self._answers.get(language, (-ANSWER_MAX_AGE_SECONDS, {}))
            if time.monotonic() - answer_time >= ANSWER_MAX_AGE_SECONDS:
                answer = self._build_answer()
                self._answers[language] = (time.monotonic(), answer)
            return answer

    def forget_answer(self) -> None:
        """Let the next question be answered anew, after an action of the teacher."""
        with self._lock:
            self._answers.clear()

    def list_glances(self) -> list[RunGlance]:
        """Return what is known of each run, the newest first."""
        names = run_store.list_run_names(self._runs_dir)
        for known in (self._glances, self._histories):
            for name in known.keys() - set(names):
                del known[name]
        return [self._glance(Run(self._runs_dir / name)) for name in names]

    def _build_answer(self) -> dict[str, Any]:
        settings, names = self._rules.read(), self._membership.list_owner_names()
        glances = self.list_glances()
        places = local_launcher.read_places(self._runs_dir)
        queue = [glance for glance in glances if glance.run in places]
        queue.sort(key=lambda glance: places[glance.run].number)
        active = [glance for glance in glances if glance.is_active]
        ended = [glance for glance in glances if not glance.is_active][:MAX_LISTED_RESULTS]
        return {
            "members": [
                self._describe_member(key, member, glances) for key, member in self._membership.list_members().items()
            ],
            "barred": [
                {"member": run_quota.make_owner(key), "name": member.name}
                for key, member in self._membership.list_barred().items()
            ],
            "is_closed": self._membership.is_closed,
            "queue": [
                {**_describe_glance(glance, names, settings), "place": _describe_place(places[glance.run])}
                for glance in queue
            ],
            "runs": [_describe_glance(glance, names, settings) for glance in (*active, *ended)],
            "is_paused": settings.is_paused,
            "locks": {
                "backbones": settings.backbones,
                "modes": settings.modes,
                "max_epochs": settings.max_epochs,
                "sources": settings.sources,
            },
            "sources": [{"title": title, "source": source} for title, source in list_source_choices(settings)],
            "handed": [{"name": entry.name, "title": entry.title} for entry in settings.handed],
        }

    def _describe_member(self, visitor_id: str, member: Member, glances: list[RunGlance]) -> dict[str, Any]:
        owner = run_quota.make_owner(visitor_id)
        own = [glance for glance in glances if glance.owner == owner]
        # What is at work says most; else what was last.
        shown = next((glance for glance in own if glance.is_active), own[0] if own else None)
        return {
            "member": owner,
            "name": member.name,
            "is_teacher": member.is_teacher,
            **_describe_presence(self._membership.get_seen_time(visitor_id)),
            "run_count": len(own),
            "run": _describe_run(shown) if shown else None,
        }

    def _glance(self, run: Run) -> RunGlance:
        key = (messages.current_language(), *(_stamp_file(run.path / name) for name in _KEY_FILES))
        known_key, glance = self._glances.get(run.name, (None, None))
        if glance is None or known_key != key or glance.is_active:
            glance = self._read_glance(run)
            self._glances[run.name] = (key, glance)
        return glance

    def _read_glance(self, run: Run) -> RunGlance:
        notes, status = run_notes.read_notes(run), run.liveness.get_status()
        glance = RunGlance(
            run=run.name,
            title=notes.title or _describe_config(run, self._rules.read()),
            owner=run_quota.read_owner(run),
            status=status,
            progress=None,
            accuracy=None,
            is_shared=notes.is_shared,
        )
        end_event = run.liveness.read_end_event() if status not in WORKING_STATUSES else None
        if end_event is not None:
            self._histories.pop(run.name, None)
            return replace(glance, accuracy=end_event.best_val_accuracy)
        history = self._follow(run)
        best_epoch, progress = history.best_epoch, history.progress
        if status not in WORKING_STATUSES:
            del self._histories[run.name]
        done, total, stage = history.steps_done, history.total_steps, ""
        if progress is not None and progress.stage in _EARLY_STAGES:
            done, total, stage = progress.done, progress.total, progress.stage
        return replace(
            glance,
            progress=min(1.0, done / total) if total else None,
            accuracy=best_epoch.val_accuracy if best_epoch else None,
            stage="stopping" if run.liveness.is_stop_requested() and status in ("running", "hanging") else stage,
        )

    def _follow(self, run: Run) -> History:
        """Return the history of a run at work, read on from where it was read last."""
        history, offset = self._histories.get(run.name, (History(), 0))
        events, offset = run.read_events(offset)
        history.add_events(events)
        self._histories[run.name] = (history, offset)
        return history


def list_uploads(person: Person) -> list[tuple[str, Path]]:
    """Return the uploads of a person, the newest first.

    Args:
        person: whose uploads are wanted.

    Returns:
        Token, and folder of the images.
    """
    uploads = []
    with suppress(OSError):
        for entry in os.scandir(get_visitors_dir()):
            if person.owner and upload_tokens.parse_owner_part(entry.name) == upload_tokens.get_owner_part(
                person.owner
            ):
                with os.scandir(entry.path) as content:
                    folders = [item.name for item in content if item.is_dir(follow_symlinks=False)]
                if folders:
                    uploads.append((entry.stat().st_mtime, entry.name, Path(entry.path) / folders[0]))
    return [(token, folder) for _, token, folder in sorted(uploads, reverse=True)]


def make_upload_key(token: str) -> str:
    """Return by what the teacher's page names an upload: its token is secret, and no answer has it."""
    return run_quota.make_owner(token)


def _stamp_file(path: Path) -> tuple[int, int] | None:
    try:
        file_stat = path.stat()
    except OSError:
        return None
    return file_stat.st_size, file_stat.st_mtime_ns


def _describe_config(run: Run, settings: LessonSettings) -> str:
    """Return data, backbone and mode of a run in a few words; its name where they cannot be read.

    Args:
        run: the run.
        settings: the rules, which name the handed data sets.
    """
    try:
        config = run.read_config_file()["config"]
    except FtlabError:
        return run.name
    sample, data, backbone, mode = (str(config.get(key) or "") for key in ("sample", "data", "backbone", "mode"))
    handed = match_handed(settings, data)
    title = messages.get_text(f"sample.{sample}.title") if sample in SAMPLE_SET_NAMES else Path(data).name
    return " · ".join((handed.title if handed else title, format_backbones([backbone]), format_modes([mode])))


def _describe_place(place: QueuePlace) -> str:
    """Return when the turn of a run comes, as far as it is known."""
    if place.is_held:
        return messages.get_text("class.turn_held")
    if place.seconds is None:
        return ""
    if place.seconds < 60:
        return messages.get_text("class.turn_soon")
    return messages.get_text("class.turn_later", minutes=f"{place.seconds / 60:.0f}")


def _describe_presence(seen_time: float | None) -> dict[str, Any]:
    """Return whether a member is here, and when they were seen, coarsely: an unchanged row is not drawn again."""
    if seen_time is None:
        return {"is_here": False, "seen": messages.get_text("class.seen_never")}
    seconds = max(0.0, time.time() - seen_time)
    if seconds < ONLINE_SECONDS:
        return {"is_here": True, "seen": messages.get_text("class.seen_now")}
    minutes = int(seconds // 60)
    message_key = "seen_minutes" if minutes < 120 else "seen_hours"
    return {
        "is_here": False,
        "seen": messages.get_text(f"class.{message_key}", count=minutes if minutes < 120 else minutes // 60),
    }


def _describe_run(glance: RunGlance) -> dict[str, Any]:
    """Return what the page shows of a run, as JSON values."""
    values = asdict(glance)
    values["title"] = messages.escape_control_chars(glance.title)
    message_key = f"status.{glance.stage}" if glance.stage else f"status.short.{glance.status}"
    values["status_text"] = messages.get_text(message_key)
    values["accuracy"] = None if glance.accuracy is None else f"{100 * glance.accuracy:.1f} %"
    values["is_active"] = glance.is_active
    del values["owner"]
    return values


def _describe_glance(glance: RunGlance, names: dict[str, str], settings: LessonSettings) -> dict[str, Any]:
    return {
        **_describe_run(glance),
        "owner": names.get(glance.owner, ""),
        "is_projected": glance.run == settings.projected_run,
    }
