"""The file of a class beside its runs: codes, members, and who was one."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ftlab.core import file_io, json_fields
from ftlab.runs import run_quota

MEMBERS_FOLDER = ".people"
"""Subfolder of the runs folder; it does not match the name of a run, so it is never listed."""


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: what the member is called.
        is_teacher: the member leads.
        joined: when they joined, in seconds since 1970.
        is_barred: the teacher has removed them, and has not let them in again.
    """

    name: str
    is_teacher: bool = False
    joined: float = 0.0
    is_barred: bool = False


@dataclass
class MemberRegister:
    """Content of the file.

    Attributes:
        room_code: by which students join.
        teacher_code: by which teachers join.
        is_closed: nobody new may join as a student.
        members: by the identity in their cookie.
        former: who has left, or was removed, in this lesson.
    """

    room_code: str = ""
    teacher_code: str = ""
    is_closed: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    former: dict[str, Member] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replace the file; an `OSError` propagates.

        Args:
            path: of the file.
        """
        # The codes are secret, and names are nobody else's business.
        file_io.write_private_file(path, json.dumps(asdict(self), ensure_ascii=False, indent=1).encode())


def read_register(path: Path) -> MemberRegister:
    """Return the content of the file; what is damaged is left out, so that a lesson can go on.

    The room is closed then: who was removed, and whether it was closed, may be among what is lost.
    """
    try:
        values = json_fields.read_json_object(path)
    except (FileNotFoundError, NotADirectoryError):
        return MemberRegister()
    except (OSError, ValueError):
        return MemberRegister(is_closed=True)
    room_code, teacher_code = (values.get(key) for key in ("room_code", "teacher_code"))
    former = _parse_members(stored_former := values.get("former", {}))
    is_damaged = not isinstance(stored_former, dict) or len(former) < len(stored_former)
    return MemberRegister(
        room_code if isinstance(room_code, str) else "",
        teacher_code if isinstance(teacher_code, str) else "",
        is_damaged or values.get("is_closed", False) is not False,
        _parse_members(values.get("members")),
        former,
    )


def _parse_members(stored_members: object) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for member_id, member in stored_members.items() if isinstance(stored_members, dict) else ():
        if not isinstance(member, dict):
            continue
        with suppress(TypeError, ValueError):
            members[member_id] = json_fields.build_dataclass(Member, member)
    return members


def name_owners(register: MemberRegister) -> dict[str, str]:
    """Return the names of present and former members, by what a run keeps of its owner."""
    everybody = {**register.former, **register.members}
    return {run_quota.make_owner(member_id): member.name for member_id, member in everybody.items()}


def find_member_id(members: dict[str, Member], owner: object) -> str | None:
    """Return the identity of a member, None where there is none.

    Args:
        members: by their identity.
        owner: what their runs keep of them, as a page sent it.
    """
    return next((member_id for member_id in members if run_quota.make_owner(member_id) == owner), None)


def read_owner_names(runs_dir: Path) -> dict[str, str]:
    """Return what `Membership.list_owner_names` returns, from the file: for whoever only shows names.

    Args:
        runs_dir: folder of the runs.
    """
    return name_owners(read_register(runs_dir / MEMBERS_FOLDER / "members.json"))
