"""What a server for others prints at its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.server.class_pages.invitation import format_join_url, write_invitation
from ftlab.server.listening.tls import TlsFiles
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind

URLS = ["http://192.168.1.5:7860/", "http://10.0.0.9:7860/"]


def test_a_class_gets_a_picture_of_the_address_and_both_codes(tmp_path: Path) -> None:
    room = Membership(ProfileKind.CLASSROOM, tmp_path)
    drawing, joining, others, teacher, no_tls = write_invitation(room, URLS, None)
    assert drawing.count("\n") > 10
    assert URLS[0] in joining
    assert room.room_code in joining
    assert URLS[1] in others
    assert room.teacher_code in teacher
    assert "http://192.168.1.5:7860/ftlab/join" in teacher
    assert "--tls auto" in no_tls
    assert format_join_url(URLS[0], "ABC") == "http://192.168.1.5:7860/ftlab/join?code=ABC"


def test_without_a_network_there_is_a_code_and_what_to_do(tmp_path: Path) -> None:
    room = Membership(ProfileKind.CLASSROOM, tmp_path)
    told = write_invitation(room, [], TlsFiles(tmp_path, tmp_path))
    assert len(told) == 1
    assert "connect it" in told[0]
    assert room.room_code in told[0]


def test_other_visitors_get_no_room_code(tmp_path: Path) -> None:
    network = Membership(ProfileKind.NETWORK, tmp_path)
    told = "\n".join(write_invitation(network, URLS[:1], None))
    assert network.room_code not in told
    assert network.teacher_code in told


@pytest.mark.parametrize("kind", [ProfileKind.LOCAL, ProfileKind.SPACE])
def test_on_ones_own_machine_and_on_a_space_nothing_is_added(kind: ProfileKind, tmp_path: Path) -> None:
    assert write_invitation(Membership(kind, tmp_path), URLS, None) == []
