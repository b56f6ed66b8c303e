"""What a teacher does to a class, one method a button of the teacher's page. No torch, no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftlab.config.backbones import BACKBONES
from ftlab.config.train_config import MODES
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs import run_notes
from ftlab.server import stop_route
from ftlab.server.class_pages.class_board import ClassBoard, list_uploads, make_upload_key
from ftlab.server.class_pages.lesson_archive import LessonArchive
from ftlab.server.paths import get_uploads_dir, resolve_inside
from ftlab.server.people.lesson_rules import LessonRules, list_source_choices
from ftlab.server.people.member_register import find_member_id
from ftlab.server.people.membership import Membership
from ftlab.server.people.permitted_runs import get_permitted_run
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, RunAction
from ftlab.server.profile import ServerProfile
from ftlab.server.redaction import FolderNames, list_named_folders

MAX_EPOCH_LIMIT = 10_000
"""Highest limit on the epochs of a training."""

Fields = dict[str, Any]
"""Fields of a command, as a page sent them: nothing of them is trusted."""


class ActionRefusedError(Exception):
    """An action that cannot be done.

    Attributes:
        status: HTTP status.
        text: why, and what to do.
    """

    def __init__(self, message_key: str, status: int = 409, **values: object) -> None:
        """Store the reason.

        Args:
            message_key: key below `class.` in the messages.
            status: HTTP status.
            **values: what the sentence names.
        """
        super().__init__(message_key)
        self.status, self.text = status, messages.get_text(f"class.{message_key}", **values)


class TeacherActions:
    """Actions of the teacher's page. They may wait for a disk or a process: call them in a thread."""

    def __init__(
        self, profile: ServerProfile, membership: Membership, erase_sent_files: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare the actions of a server.

        Args:
            profile: profile of the server.
            membership: of the server.
            erase_sent_files: removes the files that pages have sent and were shown, at the end of a lesson.
        """
        self.profile, self.membership = profile, membership
        self.rules = LessonRules(profile.runs_dir)
        self.board = ClassBoard(membership, profile.runs_dir)
        folder_names = FolderNames(list_named_folders(profile, get_uploads_dir()))
        self.archive = LessonArchive(membership, profile.runs_dir, folder_names.hide)
        self._erase_sent_files = erase_sent_files
        self.actions: dict[str, Callable[[Person, Fields], str]] = {
            "stop": self.stop_runs,
            "remove": self.remove_member,
            "readmit": self.readmit_member,
            "close": self.close_room,
            "pause": self.pause_starts,
            "lock": self.lock_options,
            "hand": self.hand_dataset,
            "take": self.take_dataset,
            "share": self.share_run,
            "project": self.project_run,
            "end": self.end_lesson,
        }

    def act(self, name: str, person: Person, fields: Fields) -> tuple[int, dict[str, str]]:
        """Do what a page asks for.

        Args:
            name: last part of the route.
            person: who asks, allowed to lead.
            fields: of the command.

        Returns:
            HTTP status and the JSON of the answer: `detail`, a sentence that says what was done or why not.
        """
        action = self.actions.get(name)
        if action is None:
            return 404, {"detail": messages.get_text("server.route")}
        try:
            text = action(person, fields)
        except ActionRefusedError as refusal:
            return refusal.status, {"detail": refusal.text}
        except FtlabError as error:
            return 404 if error.code == "run.missing" else 409, {"detail": str(error)}
        except OSError as cause:
            return 507, {"detail": messages.get_text("class.not_written", cause=cause.strerror or cause)}
        finally:
            self.board.forget_answer()
        return 200, {"detail": text}

    def stop_runs(self, person: Person, fields: Fields) -> str:
        """Stop a run (`run`, `by_force`), or all that are at work (`all`).

        Returns:
            What was done, as a sentence.
        """
        if fields.get("all") is True:
            runs = [glance.run for glance in self.board.list_glances() if glance.is_active]
            for name in runs:
                stop_route.stop_run(self.profile, person, name, by_force=False)
            return messages.get_text("class.stopped_all", count=len(runs))
        stop_route.stop_run(self.profile, person, fields.get("run"), by_force=fields.get("by_force") is True)
        return messages.get_text("class.stopped")

    def remove_member(self, person: Person, fields: Fields) -> str:
        """Let a member go (`member`), who does not come back by the room code; their runs stay.

        Returns:
            What was done, as a sentence.

        Raises:
            ActionRefusedError: it cannot be done as the command says.
        """
        visitor_id = find_member_id(self.membership.list_members(), fields.get("member"))
        if visitor_id is None:
            raise ActionRefusedError("no_member", 404)
        if visitor_id == person.id:
            raise ActionRefusedError("not_yourself")
        name = self.membership.list_members()[visitor_id].name
        self.membership.remove(visitor_id, is_barred=True)
        return messages.get_text("class.removed", name=name)

    def readmit_member(self, _person: Person, fields: Fields) -> str:
        """Let somebody join again who was removed (`member`).

        Returns:
            What was done, as a sentence.

        Raises:
            ActionRefusedError: it cannot be done as the command says.
        """
        barred = self.membership.list_barred()
        visitor_id = find_member_id(barred, fields.get("member"))
        if visitor_id is None:
            raise ActionRefusedError("no_member", 404)
        self.membership.readmit(visitor_id)
        return messages.get_text("class.readmitted", name=barred[visitor_id].name)

    def close_room(self, _person: Person, fields: Fields) -> str:
        """Let nobody new join by the room code, or let them again (`is_closed`).

        Returns:
            What was done, as a sentence.
        """
        is_closed = fields.get("is_closed") is True
        self.membership.close_room(is_closed=is_closed)
        return messages.get_text("class.closed" if is_closed else "class.opened")

    def pause_starts(self, _person: Person, fields: Fields) -> str:
        """Pause or allow new trainings (`is_paused`).

        Returns:
            What was done, as a sentence.
        """
        is_paused = fields.get("is_paused") is True
        self.rules.change(is_paused=is_paused)
        return messages.get_text("class.paused" if is_paused else "class.allowed")

    def lock_options(self, _person: Person, fields: Fields) -> str:
        """Limit what may be trained (`backbones`, `modes`, `sources`: allowed ones, empty for all; `max_epochs`).

        Returns:
            What was done, as a sentence.

        Raises:
            ActionRefusedError: it cannot be done as the command says.
        """
        sources = [name for _, name in list_source_choices(self.rules.read())]
        epochs = fields.get("max_epochs") or 0
        if not isinstance(epochs, int) or not 0 <= epochs <= MAX_EPOCH_LIMIT:
            raise ActionRefusedError("bad_epochs", 400, most=MAX_EPOCH_LIMIT)
        self.rules.change(
            backbones=_select(fields.get("backbones"), [*BACKBONES]),
            modes=_select(fields.get("modes"), [*MODES]),
            sources=_select(fields.get("sources"), sources),
            max_epochs=int(epochs),
        )
        return messages.get_text("class.locked")

    def hand_dataset(self, person: Person, fields: Fields) -> str:
        """Offer a data set on every page: `folder` below the data root, or an own `upload`; with a `title`.

        Returns:
            What was done, as a sentence.

        Raises:
            ActionRefusedError: it cannot be done as the command says.
        """
        title, folder = (fields[key] if isinstance(fields.get(key), str) else "" for key in ("title", "folder"))
        if fields.get("upload"):
            known = {make_upload_key(token): (token, path) for token, path in list_uploads(person)}
            token, path = known.get(str(fields["upload"]), ("", Path()))
            if not token:
                raise ActionRefusedError("no_upload", 404)
            dataset = self.rules.hand_out(title or path.name, upload=token)
        else:
            if not folder.strip():
                raise ActionRefusedError("no_folder", 400)
            path = resolve_inside(self.profile.data_root, folder)
            if not path.exists():
                raise ActionRefusedError("no_such_folder", 404)
            dataset = self.rules.hand_out(title or path.name, folder=str(path))
        return messages.get_text("class.handed_out", title=dataset.title)

    def take_dataset(self, _person: Person, fields: Fields) -> str:
        """Offer a data set no longer (`name`).

        Returns:
            What was done, as a sentence.
        """
        self.rules.take_back(str(fields.get("name")))
        return messages.get_text("class.taken_back")

    def share_run(self, person: Person, fields: Fields) -> str:
        """Let everybody look at a run, or no longer (`run`, `is_shared`).

        Returns:
            What was done, as a sentence.
        """
        is_shared = fields.get("is_shared") is True
        run = get_permitted_run(self.profile.runs_dir, person, fields.get("run"), RunAction.SHARE)
        run_notes.write_notes(run, is_shared=is_shared)
        return messages.get_text("class.shared" if is_shared else "class.unshared")

    def project_run(self, person: Person, fields: Fields) -> str:
        """Show a run on the projector (`run`), or how to join again (without).

        Returns:
            What was done, as a sentence.
        """
        run_name, runs_dir = fields.get("run"), self.profile.runs_dir
        name = get_permitted_run(runs_dir, person, run_name, RunAction.LOOK).name if run_name else ""
        self.rules.change(projected_run=name)
        return messages.get_text("class.projected" if name else "class.not_projected")

    def end_lesson(self, person: Person, fields: Fields) -> str:
        """Erase the class, once its zip is complete and the teacher has said that it is saved (`is_saved`).

        Returns:
            What was done, as a sentence.

        Raises:
            ActionRefusedError: it cannot be done as the command says.
        """
        if self.profile.kind is not ProfileKind.CLASSROOM:
            raise ActionRefusedError("no_class")
        if any(run.liveness.is_active() for run in self.archive.list_runs()):
            raise ActionRefusedError("still_active")
        if not self.archive.has_saved_all():
            raise ActionRefusedError("not_saved")
        if fields.get("is_saved") is not True:
            raise ActionRefusedError("not_confirmed", 400)
        # First: what fails here can be tried again, as the class is still there.
        self._erase_sent_files()
        count = self.archive.erase(self.rules)
        # Whoever leads goes on to do so, with the new codes.
        self.membership.join(person.id, self.membership.teacher_code, person.name)
        return messages.get_text("class.ended", count=count)


def _select(wanted: object, choices: list[str]) -> tuple[str, ...]:
    """Return the wanted ones of some choices, in their order; none where all are wanted, which locks nothing."""
    names = [choice for choice in choices if isinstance(wanted, list) and choice in wanted]
    return () if len(names) == len(choices) else tuple(names)
