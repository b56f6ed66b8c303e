"""Who is who in a class: codes, names, and what stays after a restart."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ftlab.server.people.member_register import Member
from ftlab.server.people.membership import MAX_MEMBERS, JoinRefusedError, Membership
from ftlab.server.people.person_names import MAX_NAME_CHARS, normalize_name
from ftlab.server.people.rights import Action, ProfileKind, Role

ANN, BEN = "a" * 32, "b" * 32


@pytest.fixture
def room(tmp_path: Path) -> Membership:
    return Membership(ProfileKind.CLASSROOM, tmp_path)


def refused(room: Membership, visitor_id: str, code: str, name: str) -> str:
    with pytest.raises(JoinRefusedError) as caught:
        room.join(visitor_id, code, name)
    return caught.value.message_key


def test_a_student_joins_by_code_and_name_and_stays_known_after_a_restart(room: Membership, tmp_path: Path) -> None:
    assert room.identify(ANN).role is Role.STRANGER
    person = room.join(ANN, room.room_code, " Ann  Lee ")
    assert (person.role, person.name) == (Role.STUDENT, "Ann Lee")
    restarted = Membership(ProfileKind.CLASSROOM, tmp_path)
    assert restarted.identify(ANN) == person
    assert (restarted.room_code, restarted.teacher_code) == (room.room_code, room.teacher_code)
    assert restarted.identify(BEN).role is Role.STRANGER
    assert restarted.identify(None).role is Role.STRANGER


def test_case_spaces_and_dashes_of_a_code_do_not_matter(room: Membership) -> None:
    code = room.room_code.lower()
    assert room.join(ANN, f" {code[:3]}-{code[3:]} ", "Ann").role is Role.STUDENT


def test_the_teachers_code_leads_and_the_room_code_does_not(room: Membership) -> None:
    assert room.join(ANN, room.teacher_code, "Ms Lee").may(Action.LEAD)
    assert not room.join(BEN, room.room_code, "Ben").may(Action.LEAD)
    assert room.join(ANN, room.room_code, "Ms Lee").may(Action.LEAD), "a teacher who joins again stays one"


@pytest.mark.parametrize("code", ["", "AAAAAA", " ", "é", "\ud800", "0" * 10_000])
def test_a_wrong_code_is_refused(room: Membership, code: str) -> None:
    assert refused(room, ANN, code, "Ann") == "wrong_code"
    assert not room.list_members()


@pytest.mark.parametrize("name", ["", "  ", "\0\n\t", "\u202e\u200b", "\u3164", "\u2800 \ufe0f\u034f"])
def test_a_name_that_cannot_be_read_is_refused(room: Membership, name: str) -> None:
    assert refused(room, ANN, room.room_code, name) == "no_name"


def test_names_are_told_apart_without_case_and_invisible_characters(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    for name in ("ann", "A\u200bnn", "ANN ", "\u202eAnn", "Ann\ufe0f", "Ann\u3164"):
        assert refused(room, BEN, room.room_code, name) == "name_taken"
    assert room.join(ANN, room.room_code, "Anne").name == "Anne", "one's own name may be changed"


def test_nobody_takes_the_name_of_another_in_letters_that_look_the_same(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    for name in ("\uff21nn", "\u0410nn", "\u0391nn", "\u0430nn"):  # fullwidth, Cyrillic, Greek
        assert refused(room, BEN, room.room_code, name) == "name_taken"
    for number, name in enumerate(("Anna", "\u0410\u043d\u043d\u0430", "\u00c4nn", "\u5c0f\u660e")):
        assert room.join(f"{number:032x}", room.room_code, name).name == name


def test_a_name_is_one_short_line() -> None:
    assert normalize_name("a\nb\u2029c") == "a b c"
    assert len(normalize_name("x" * 1000)) == MAX_NAME_CHARS
    assert normalize_name("  小明 ") == "小明"


def test_the_class_has_an_end(room: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftlab.server.people.membership.MAX_MEMBERS", 2)
    for number in range(2):
        room.join(f"{number:032x}", room.room_code, f"n{number}")
    assert refused(room, ANN, room.room_code, "one more") == "full"
    assert MAX_MEMBERS >= 100


def test_on_a_server_that_is_no_class_visitors_have_no_name_and_only_teachers_join(tmp_path: Path) -> None:
    network = Membership(ProfileKind.NETWORK, tmp_path)
    assert network.identify(ANN).role is Role.VISITOR
    assert refused(network, ANN, network.room_code, "Ann") == "wrong_code"
    assert network.join(ANN, network.teacher_code, "Ann").role is Role.TEACHER


def test_on_ones_own_machine_there_are_no_members_and_no_file(tmp_path: Path) -> None:
    local = Membership(ProfileKind.LOCAL, tmp_path / "runs")
    assert local.identify(ANN).role is Role.HOST
    assert local.identify(ANN).id == ""
    assert not (tmp_path / "runs").exists()
    assert refused(local, ANN, "", "Ann") == "wrong_code"


def test_the_end_of_the_lesson_forgets_everybody_and_changes_the_codes(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    old_codes = (room.room_code, room.teacher_code)
    room.end_lesson()
    assert room.identify(ANN).role is Role.STRANGER
    assert not set(old_codes) & {room.room_code, room.teacher_code}


def test_a_member_who_leaves_is_forgotten(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    room.remove(ANN)
    room.remove(BEN)
    assert room.identify(ANN).role is Role.STRANGER


def test_owners_have_names(room: Membership) -> None:
    person = room.join(ANN, room.room_code, "Ann")
    assert room.find_name(person.owner) == "Ann"
    assert room.find_name("") == room.find_name("0" * 32) == ""


def test_the_file_is_nobody_elses_to_read_and_a_damaged_one_loses_only_what_is_damaged(tmp_path: Path) -> None:
    room = Membership(ProfileKind.CLASSROOM, tmp_path)
    room.join(ANN, room.room_code, "Ann")
    path = tmp_path / ".people" / "members.json"
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = json.loads(path.read_text(encoding="utf-8"))
    values["members"] |= {"x": 3, "y": {"name": 7}, "z": {}}
    path.write_text(json.dumps(values), encoding="utf-8")
    assert list(Membership(ProfileKind.CLASSROOM, tmp_path).list_members()) == [ANN]
    for content in ("", "[]", '{"members": 3, "teacher_code": 1}', "\udcff"):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        restarted = Membership(ProfileKind.CLASSROOM, tmp_path)
        assert not restarted.list_members()
        assert len(restarted.room_code) == 6
        assert (path.parent / "members.damaged.json").read_bytes() == content.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("damage", [{"is_closed": "yes"}, {"former": 3}, {"former": {BEN: {"is_barred": True}}}, None])
def test_where_it_may_have_been_closed_or_somebody_removed_a_damaged_file_closes_the_room(
    tmp_path: Path, damage: dict[str, object] | None
) -> None:
    room = Membership(ProfileKind.CLASSROOM, tmp_path)
    room.join(ANN, room.room_code, "Ann")
    path = tmp_path / ".people" / "members.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(text) | damage) if damage else text[:-40], encoding="utf-8")
    restarted = Membership(ProfileKind.CLASSROOM, tmp_path)
    assert refused(restarted, BEN, restarted.room_code, "Ben") == "room_closed"
    restarted.close_room(is_closed=False)
    restarted.join(BEN, restarted.room_code, "Ben")
    restarted.end_lesson()
    assert [file.name for file in path.parent.iterdir()] == ["members.json"], "the end of the lesson erases names"


def test_all_of_a_class_join_at_once(room: Membership, tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=room.join, args=(f"{number:032x}", room.room_code, f"n{number}"))
        for number in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    members = Membership(ProfileKind.CLASSROOM, tmp_path).list_members()
    assert {member.name for member in members.values()} == {f"n{number}" for number in range(30)}
    assert all(isinstance(member, Member) for member in members.values())


def test_whom_the_teacher_removed_comes_back_neither_by_cookie_nor_by_name(room: Membership, tmp_path: Path) -> None:
    room.join(ANN, room.room_code, "Ann")
    room.remove(ANN, is_barred=True)
    for again in (room, Membership(ProfileKind.CLASSROOM, tmp_path)):
        assert refused(again, ANN, again.room_code, "Somebody else") == "barred"
        for name in ("Ann", "ANN", "\u0410nn"):
            assert refused(again, BEN, again.room_code, name) == "barred"
    assert [member.name for member in room.list_barred().values()] == ["Ann"]
    assert room.join(BEN, room.room_code, "Ben").name == "Ben"
    room.readmit(ANN)
    assert not room.list_barred()
    assert room.join(ANN, room.room_code, "Ann").role is Role.STUDENT


def test_a_removed_member_who_has_the_teachers_code_leads(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    room.remove(ANN, is_barred=True)
    assert room.join(ANN, room.teacher_code, "Ann").leads


def test_joining_and_leaving_without_end_makes_no_removed_member_forgotten(
    room: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.server.people.membership.MAX_MEMBERS", 3)
    room.join(ANN, room.room_code, "Ann")
    room.remove(ANN, is_barred=True)
    for number in range(5):
        room.join(f"{number:032x}", room.room_code, f"n{number}")
        room.remove(f"{number:032x}")
    assert refused(room, ANN, room.room_code, "Anna") == "barred"


def test_a_closed_room_lets_in_whoever_was_in_it_and_teachers(room: Membership, tmp_path: Path) -> None:
    room.join(ANN, room.room_code, "Ann")
    room.close_room(is_closed=True)
    restarted = Membership(ProfileKind.CLASSROOM, tmp_path)
    assert refused(restarted, BEN, restarted.room_code, "Ben") == "room_closed"
    restarted.remove(ANN)
    assert restarted.join(ANN, restarted.room_code, "Ann").role is Role.STUDENT
    assert restarted.join("c" * 32, restarted.teacher_code, "Ms Lee").leads
    restarted.close_room(is_closed=False)
    assert restarted.join(BEN, restarted.room_code, "Ben").role is Role.STUDENT


def test_the_next_lesson_begins_open_with_nobody_removed(room: Membership) -> None:
    room.join(ANN, room.room_code, "Ann")
    room.remove(ANN, is_barred=True)
    room.close_room(is_closed=True)
    room.end_lesson()
    assert room.join(ANN, room.room_code, "Ann").role is Role.STUDENT
