"""What an event of the page brings besides the values of its inputs."""

from __future__ import annotations

from pathlib import Path

from gradio.utils import get_upload_folder

from ftlab.server.accounts.account_store import Account
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.page_events import get_account, get_download_folder
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
