"""The members of a class, and the teachers of a server for others, kept in a file beside the runs.

Whoever knows the room code joins with a name, and whoever knows the teacher's code leads. Both codes are made at the
first start and stay until the lesson ends, so a restarted server knows everybody again.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ftlab.core import file_io, json_fields
from ftlab.runs import run_quota
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.people.rights import ProfileKind, Role

MEMBERS_FOLDER = ".people"
"""Subfolder of the runs folder; it does not match the name of a run, so it is never listed."""
MAX_MEMBERS = 500
"""Members of a class; more are refused, so that nobody fills the file."""
MAX_NAME_CHARS = 40
"""Characters of a name."""
ROOM_CODE_CHARS, TEACHER_CODE_CHARS = 6, 12
"""Characters of the codes."""
_CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the characters that look alike: 0 and O, 1 and I."""
_BLANK_CHARACTERS = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}.union(
        range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
    )
)
"""Letters, marks and signs that show nothing: fillers, selectors of variants, the empty pattern of Braille."""
_LOOKALIKES = str.maketrans("авекмнорстухіјѕһԁԛԝαβεζηικμνορτυχ", "abekmhopctyxijshdqwabezhikmnoptyx")
"""Small letters of other scripts, whose capital or small form looks like that of the Latin letter."""


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


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: what the member is called.
        is_teacher: the member leads.
        joined: when they joined, in seconds since 1970.
    """

    name: str
    is_teacher: bool = False
    joined: float = 0.0


@dataclass
class _Register:
    """Content of the file; `former`: who has left, or was removed, in this lesson."""

    room_code: str = ""
    teacher_code: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    former: dict[str, Member] = field(default_factory=dict)


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
        self._lock = threading.Lock()
        self._register = _Register()
        self._seen_times: dict[str, float] = {}
        if kind is not ProfileKind.LOCAL:
            self._register = _read_register(self._path)
            if not self._register.teacher_code:
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

    def join(self, visitor_id: str, code: str, name: str) -> Person:
        """Make somebody a member by a code.

        Args:
            visitor_id: identity from the cookie.
            code: room code or teacher's code; case, spaces and dashes do not matter.
            name: what they want to be called.

        Returns:
            The person they are now.

        Raises:
            JoinRefusedError: the code is wrong, the name is missing or taken, or the class is full.
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
            other_looks = {_fold_look(member.name) for member_id, member in members.items() if member_id != visitor_id}
            if _fold_look(clean_name) in other_looks:
                raise JoinRefusedError(409, "name_taken")
            if visitor_id not in members and len(members) >= MAX_MEMBERS:
                raise JoinRefusedError(409, "full")
            was_teacher = visitor_id in members and members[visitor_id].is_teacher
            self._register.former.pop(visitor_id, None)
            members[visitor_id] = Member(clean_name, is_teacher or was_teacher, time.time())
            self._write()
        return self.identify(visitor_id)

    def remove(self, visitor_id: str) -> None:
        """Let a member go; their runs stay, and the end of the lesson erases them.

        Args:
            visitor_id: identity of the member.
        """
        with self._lock:
            member = self._register.members.pop(visitor_id, None)
            if member is None:
                return
            former = self._register.former
            former[visitor_id] = member
            while len(former) > MAX_MEMBERS:
                del former[next(iter(former))]
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
            return _name_owners(self._register)

    def end_lesson(self) -> None:
        """Forget all members, and make new codes."""
        with self._lock:
            self._register = _Register()
            self._seen_times.clear()
        self._renew_codes()

    def _renew_codes(self) -> None:
        with self._lock:
            self._register.room_code = _make_code(ROOM_CODE_CHARS)
            self._register.teacher_code = _make_code(TEACHER_CODE_CHARS)
            self._write()

    def _write(self) -> None:
        register = self._register
        values = {
            "room_code": register.room_code,
            "teacher_code": register.teacher_code,
            "members": {member_id: asdict(member) for member_id, member in register.members.items()},
            "former": {member_id: asdict(member) for member_id, member in register.former.items()},
        }
        # The codes are secret, and names are nobody else's business.
        file_io.write_private_file(self._path, json.dumps(values, ensure_ascii=False, indent=1).encode())


def normalize_name(name: str) -> str:
    """Return a person's name on one line, without characters that cannot be seen, at most `MAX_NAME_CHARS` long.

    Args:
        name: as somebody typed it.

    Returns:
        The name; empty where nothing of it can be seen.
    """
    # Control and format characters could turn the text around them, and make two names look the same.
    visible_text = "".join(
        " " if character.isspace() else character for character in unicodedata.normalize("NFC", name)
    )
    kept_text = "".join(
        character
        for character in visible_text
        if unicodedata.category(character)[0] != "C" and ord(character) not in _BLANK_CHARACTERS
    )
    return " ".join(kept_text.split())[:MAX_NAME_CHARS].strip()


def _fold_look(name: str) -> str:
    """Return a text that names have in common which people take for the same: by case, width or script."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_LOOKALIKES)


def _equal_codes(given_code: str, code: str) -> bool:
    """Return whether a code is right, in a time that tells nothing of it."""
    # What a program sends may have halves of characters in it.
    return bool(code) and hmac.compare_digest(given_code.encode("utf-8", "replace"), code.encode())


def _make_code(length: int) -> str:
    return "".join(secrets.choice(_CODE_ALPHABET) for _ in range(length))


def _read_register(path: Path) -> _Register:
    """Return the content of the file; what is damaged is left out, so that a lesson can go on."""
    try:
        values = json_fields.read_json_object(path)
    except (OSError, ValueError):
        return _Register()
    room_code, teacher_code = (values.get(key) for key in ("room_code", "teacher_code"))
    return _Register(
        room_code if isinstance(room_code, str) else "",
        teacher_code if isinstance(teacher_code, str) else "",
        _parse_members(values.get("members")),
        _parse_members(values.get("former")),
    )


def _parse_members(stored_members: object) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for member_id, member in stored_members.items() if isinstance(stored_members, dict) else ():
        if not isinstance(member, dict):
            continue
        with suppress(TypeError, ValueError):
            members[member_id] = json_fields.build_dataclass(Member, member)
    return members


def _name_owners(register: _Register) -> dict[str, str]:
    """Return the names of present and former members, by what a run keeps of its owner."""
    everybody = {**register.former, **register.members}
    return {run_quota.make_owner(member_id): member.name for member_id, member in everybody.items()}


def read_owner_names(runs_dir: Path) -> dict[str, str]:
    """Return what `Membership.list_owner_names` returns, from the file: for whoever only shows names.

    Args:
        runs_dir: folder of the runs.
    """
    return _name_owners(_read_register(runs_dir / MEMBERS_FOLDER / "members.json"))
