"""The members of a class, and the teachers of a server for others, kept in a file beside the runs.

Whoever knows the room code joins with a name, and whoever knows the teacher's code leads. Both codes are made at the
first start and stay until the lesson ends, so a restarted server knows everybody again.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from dataclasses import replace
from pathlib import Path

from ftlab.core import messages
from ftlab.server.people.member_register import (
    MEMBERS_FOLDER,
    Member,
    MemberRegister,
    name_owners,
    read_register,
)
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.people.person_names import fold_look, normalize_name
from ftlab.server.people.rights import ProfileKind, Role

MAX_MEMBERS = 500
"""Members of a class; more are refused, so that nobody fills the file."""
ROOM_CODE_CHARS, TEACHER_CODE_CHARS = 6, 12
"""Characters of the codes."""
_CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the characters that look alike: 0 and O, 1 and I."""


class JoinRefusedError(Exception):
    """Somebody may not join.

    Attributes:
        status: HTTP status.
        message_key: key below `class.` in the messages.
    """

    def __init__(self, status: int, message_key: str) -> None:
        """Store the reason."""
        super().__init__(message_key)
        self.status, self.message_key = status, message_key


class Membership:
    """Who is who on a server. Thread-safe.

    Attributes:
        kind: the kind of server.
    """

    def __init__(self, kind: ProfileKind, runs_dir: Path) -> None:
        """Read the file, or make the codes; an `OSError` says that the folder cannot be written.

        A server for one person has no members, and no file.

        Args:
            kind: the kind of server.
            runs_dir: folder of the runs.
        """
        self.kind = kind
        self._path = runs_dir / MEMBERS_FOLDER / "members.json"
        self._damaged_path = self._path.with_suffix(".damaged.json")
        self._lock = threading.Lock()
        self._register = MemberRegister()
        self._seen_times: dict[str, float] = {}
        if kind is not ProfileKind.LOCAL:
            self._register = read_register(self._path)
            if not (self._register.teacher_code and self._register.room_code):
                self._keep_damaged_file()
                self._renew_codes()

    @property
    def room_code(self) -> str:
        """Return the code by which students join."""
        return self._register.room_code

    @property
    def teacher_code(self) -> str:
        """Return the code by which teachers join."""
        return self._register.teacher_code

    def identify(self, visitor_id: str | None) -> Person:
        """Return whom the server knows by an identity.

        Args:
            visitor_id: identity from a cookie of this server; None without one.

        Returns:
            The person.
        """
        if self.kind is ProfileKind.LOCAL or visitor_id is None:
            return make_stranger(self.kind)
        with self._lock:
            member = self._register.members.get(visitor_id)
            if member is not None:  # of visitors there is no end
                self._seen_times[visitor_id] = time.time()
        if member is not None:
            return Person(self.kind, Role.TEACHER if member.is_teacher else Role.STUDENT, visitor_id, member.name)
        return (
            make_stranger(self.kind)
            if self.kind is ProfileKind.CLASSROOM
            else Person(self.kind, Role.VISITOR, visitor_id)
        )

    def join(self, visitor_id: str, code: str, name: str, *, is_crowded: bool = False) -> Person:
        """Make somebody a member by a code.

        Args:
            visitor_id: identity from the cookie.
            code: room code or teacher's code; case, spaces and dashes do not matter.
            name: what they want to be called.
            is_crowded: too many have joined from where they are: nobody new does, as a student.

        Returns:
            The person they are now.

        Raises:
            JoinRefusedError: the code is wrong, the name is missing or taken, the class is full or closed, or the
                teacher has removed them.
        """
        given_code = "".join(code.upper().split()).replace("-", "")
        is_teacher = _equal_codes(given_code, self.teacher_code)
        # On a server that is no class, only teachers join: all others are visitors.
        if not is_teacher and not (self.kind is ProfileKind.CLASSROOM and _equal_codes(given_code, self.room_code)):
            raise JoinRefusedError(403, "wrong_code")
        clean_name = normalize_name(name)
        if not clean_name:
            raise JoinRefusedError(400, "no_name")
        with self._lock:
            members = self._register.members
            if not is_teacher:
                self._check_open(visitor_id, clean_name, is_crowded=is_crowded)
            other_looks = {fold_look(member.name) for member_id, member in members.items() if member_id != visitor_id}
            if fold_look(clean_name) in other_looks:
                raise JoinRefusedError(409, "name_taken")
            if visitor_id not in members and len(members) >= MAX_MEMBERS:
                raise JoinRefusedError(409, "full")
            was_teacher = visitor_id in members and members[visitor_id].is_teacher
            self._register.former.pop(visitor_id, None)
            members[visitor_id] = Member(clean_name, is_teacher or was_teacher, time.time())
            self._write()
        return self.identify(visitor_id)

    def _check_open(self, visitor_id: str, name: str, *, is_crowded: bool) -> None:
        """Check that somebody with the room code is let in.

        Args:
            visitor_id: identity from the cookie.
            name: what they want to be called.
            is_crowded: nobody new is let in now.

        Raises:
            JoinRefusedError: the teacher has removed them, or somebody of this name; or nobody new is let in, and they
                were not in the class before.
        """
        members, former = self._register.members, self._register.former
        look = fold_look(name)
        if any(
            member.is_barred and (member_id == visitor_id or fold_look(member.name) == look)
            for member_id, member in former.items()
        ):
            raise JoinRefusedError(403, "barred")
        if visitor_id in members or visitor_id in former:
            return
        if self._register.is_closed:
            raise JoinRefusedError(403, "room_closed")
        if is_crowded:
            raise JoinRefusedError(429, "too_many_new")

    def remove(self, visitor_id: str, *, is_barred: bool = False) -> None:
        """Let a member go; their runs stay, and the end of the lesson erases them.

        Args:
            visitor_id: identity of the member.
            is_barred: neither this browser nor the name comes back by the room code, until `readmit`.
        """
        with self._lock:
            member = self._register.members.pop(visitor_id, None)
            if member is None:
                return
            former = self._register.former
            former[visitor_id] = replace(member, is_barred=is_barred)
            while len(former) > MAX_MEMBERS:
                # Whoever joins and leaves without end makes the class forget nobody whom the teacher has removed.
                del former[next((key for key, other in former.items() if not other.is_barred), next(iter(former)))]
            self._write()

    def readmit(self, visitor_id: str) -> None:
        """Let somebody join again whom the teacher has removed.

        Args:
            visitor_id: identity of the former member.
        """
        with self._lock:
            member = self._register.former.get(visitor_id)
            if member is not None:
                self._register.former[visitor_id] = replace(member, is_barred=False)
                self._write()

    def list_barred(self) -> dict[str, Member]:
        """Return whom the teacher has removed and not let in again, by their identity."""
        with self._lock:
            return {key: member for key, member in self._register.former.items() if member.is_barred}

    @property
    def is_closed(self) -> bool:
        """Return whether nobody new may join by the room code."""
        return self._register.is_closed

    def close_room(self, *, is_closed: bool) -> None:
        """Let nobody new join by the room code, or let them again; whoever was in the class comes back all the same.

        Args:
            is_closed: nobody new may join.
        """
        with self._lock:
            self._register.is_closed = is_closed
            self._write()

    def move_member(self, old_id: str, new_id: str) -> None:
        """Let a member be known by another identity: that of the account by which they have signed in.

        Args:
            old_id: identity by which they are known; nothing is changed where it is no member's.
            new_id: identity by which they will be.
        """
        with self._lock:
            member = self._register.members.pop(old_id, None)
            if member is not None:
                self._register.members[new_id] = member
                self._write()

    def list_members(self) -> dict[str, Member]:
        """Return the members by their identity, in the order in which they joined."""
        with self._lock:
            return dict(self._register.members)

    def get_seen_time(self, visitor_id: str) -> float | None:
        """Return when a member last asked this server for something, in seconds since 1970; None if not yet."""
        return self._seen_times.get(visitor_id)

    def find_name(self, owner: str) -> str:
        """Return the name of who owns a run, also of somebody who has left; empty where no member does.

        Args:
            owner: as `run_quota.read_owner` returns it.
        """
        return self.list_owner_names().get(owner, "")

    def list_owner_names(self) -> dict[str, str]:
        """Return the names of all who were members in this lesson, by what their runs keep of them."""
        with self._lock:
            return name_owners(self._register)

    def end_lesson(self) -> None:
        """Forget all members, and make new codes."""
        self._damaged_path.unlink(missing_ok=True)  # it has names
        with self._lock:
            self._register = MemberRegister()
            self._seen_times.clear()
        self._renew_codes()

    def _keep_damaged_file(self) -> None:
        """Keep what cannot be read beside the new file: a person may still read names and codes in it."""
        if not self._path.is_file():
            return
        self._path.replace(self._damaged_path)
        logging.getLogger(__name__).warning(messages.get_text("class.damaged_members", file=self._damaged_path))

    def _renew_codes(self) -> None:
        with self._lock:
            self._register.room_code = _make_code(ROOM_CODE_CHARS)
            self._register.teacher_code = _make_code(TEACHER_CODE_CHARS)
            self._write()

    def _write(self) -> None:
        self._register.write(self._path)


def _equal_codes(given_code: str, code: str) -> bool:
    """Return whether a code is right, in a time that tells nothing of it."""
    # What a program sends may have halves of characters in it.
    return bool(code) and hmac.compare_digest(given_code.encode("utf-8", "replace"), code.encode())


def _make_code(length: int) -> str:
    return "".join(secrets.choice(_CODE_ALPHABET) for _ in range(length))
