"""What an event of the page brings besides the values of its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from ftlab.core.errors import RunError
from ftlab.server.accounts.account_store import Account
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events
from ftlab.ui.common.page_events import get_account, get_download_folder
from tests.support import ROOT
from tests.support.hostile_text import SCRIPTS
from tests.support.people import ANN, BEN, acting_as


def test_files_that_are_made_for_a_person_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    profile = ServerProfile(None, tmp_path, ProfileKind.SPACE)
    folders = []
    for person in (ANN, BEN, ANN):
        with acting_as(person):
            folders.append(get_download_folder(profile))
    anns, bens, anns_again = folders
    assert anns == anns_again != bens
    # Names of files hold for what lies directly below the uploads folder.
    assert {folder.parent for folder in folders} == {Path(get_upload_folder())}


def test_a_handler_gets_the_token_of_whoever_sent_the_event_and_of_nobody_else() -> None:
    account = Account("hf:1", "ann-hf", "token-of-the-account", 1e12)
    with acting_as(ANN, account):
        assert get_account() == account
    with acting_as(BEN):
        assert get_account() is None
    assert get_account() is None, "outside of an event nobody is signed in"


@pytest.mark.parametrize("text", SCRIPTS)
def test_names_in_a_message_are_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    for name in ("Warning", "Info"):
        monkeypatch.setattr(gr, name, lambda message, **_: shown.append(message))
    page_events.show_warning(RunError("run.gone", run=text))
    page_events.show_notice(text)
    assert len(shown) == 2
    assert not [message for message in shown if "<" in message]


def test_no_other_module_shows_a_message() -> None:
    modules = [path for path in (ROOT / "ftlab" / "ui").rglob("*.py") if path.name != "page_events.py"]
    calls = ("gr.Warning(", "gr.Info(", "gr.Error(", "gr.Success(")
    assert not [path.name for path in modules if any(call in path.read_text("utf-8") for call in calls)]
