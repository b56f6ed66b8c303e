"""What a server may do, by how it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.server.profile import SPACE_TIME_LIMIT_MINUTES, create_profile


def test_a_start_for_this_machine_may_open_any_folder_and_begins_at_the_home_folder() -> None:
    profile = create_profile(environment={})
    assert profile.data_root == Path(Path.home().resolve().anchor)
    assert profile.start_folder == Path.home().resolve()
    assert create_profile(environment={}).max_minutes == 0


def test_a_start_for_others_looks_nowhere_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert create_profile(host="0.0.0.0", environment={}).data_root is None
    assert create_profile(host="0.0.0.0", data_root=tmp_path, environment={}).data_root == tmp_path.resolve()


def test_behind_a_proxy_of_this_machine_only_the_home_folder_is_open() -> None:
    profile = create_profile(hosts=("lab.example",), environment={})
    assert profile.data_root == profile.start_folder == Path.home().resolve()


def test_a_named_folder_is_where_a_page_begins(tmp_path: Path) -> None:
    assert create_profile(data_root=tmp_path, environment={}).start_folder == tmp_path.resolve()


def test_a_data_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        create_profile(data_root=tmp_path / "nowhere", environment={})


def test_a_space_has_no_folder_to_look_below_and_a_time_limit(tmp_path: Path) -> None:
    space = create_profile(data_root=tmp_path, environment={"SPACE_ID": "someone/ftlab"})
    assert space.data_root is None
    assert space.is_space
    assert space.max_minutes == SPACE_TIME_LIMIT_MINUTES
