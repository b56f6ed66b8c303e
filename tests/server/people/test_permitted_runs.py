"""Runs that a request names: by their full name, and only for whoever may do what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.core.errors import RunError
from ftlab.runs import run_notes
from ftlab.server.people.permitted_runs import get_permitted_run
from ftlab.server.people.rights import RunAction
from tests.support import fabricated_runs
from tests.support.people import ANN, BEN, HOST, give_to


def test_the_owner_and_the_host_get_a_run_and_others_what_is_shared(tmp_path: Path) -> None:
    run = give_to(fabricated_runs.make(tmp_path, []), ANN)
    for person in (ANN, HOST):
        assert get_permitted_run(tmp_path, person, run.name, RunAction.STOP).path == run.path
    run_notes.write_notes(run, is_shared=True)
    assert get_permitted_run(tmp_path, BEN, run.name, RunAction.LOOK).path == run.path


def test_a_strangers_run_is_answered_as_one_that_does_not_exist(tmp_path: Path) -> None:
    run = give_to(fabricated_runs.make(tmp_path, []), ANN)
    missing_name = run.name[:-1] + ("0" if run.name[-1] != "0" else "1")
    answers = []
    for name in (run.name, missing_name):
        with pytest.raises(RunError) as caught:
            get_permitted_run(tmp_path, BEN, name, RunAction.LOOK)
        answers.append(str(caught.value).replace(name, "NAME"))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["<b>", "../x", "", None, 3, ["a"]])
def test_what_cannot_be_a_name_is_not_repeated(tmp_path: Path, name: object) -> None:
    with pytest.raises(RunError) as caught:
        get_permitted_run(tmp_path, HOST, name, RunAction.LOOK)
    assert 'no run ""' in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
