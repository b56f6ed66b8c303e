"""The names of repositories that are proposed, and what is kept out of texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.models.pretrained import hub_access
from ftlab.runs import run_notes, run_table
from ftlab.ui.runs.push_access import PushAccess, propose_repository
from tests.support.fabricated_runs import make_with_notes


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Ants & bees, first try", "ann/Ants-bees-first-try"),
        ("--..--a..b--", "ann/a-b"),
        ("蚂蚁", "ann/model"),
        ("x" * 80, "ann/" + "x" * 60),
    ],
)
def test_a_proposed_name_is_one_that_the_hub_takes(tmp_path: Path, title: str, name: str) -> None:
    run = make_with_notes(tmp_path, title)
    assert run_notes.read_notes(run).title == title
    (row,) = run_table.load_rows(tmp_path, (run.name,))
    proposed = propose_repository(PushAccess(account="ann"), row)
    assert proposed == name
    hub_access.check_repo_id(proposed)
    assert propose_repository(PushAccess(), row) == ""


def test_the_token_is_in_no_text_of_the_access() -> None:
    assert "hf_Canary" not in repr(PushAccess(account="ann", token="hf_Canary"))
