"""The menu of tutorials' data sets: fetched from the page where nobody else reaches it, offered where they are here."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from ftlab.core.errors import DataError
from ftlab.data.sources import download, tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice
from ftlab.ui.dataset import tutorial_picker
from ftlab.ui.dataset.actions import DatasetActions
from ftlab.ui.dataset.source_actions import list_offered_sources
from tests.support.loopback_server import Server
from tests.support.page_outputs import SHOWN

pytestmark = pytest.mark.usefixtures("nothing_scanned")


@pytest.fixture
def local(tmp_path: Path) -> DatasetActions:
    return DatasetActions(ServerProfile(tmp_path, tmp_path / "runs"))


@pytest.fixture
def space(tmp_path: Path) -> DatasetActions:
    return DatasetActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE))


def pressed(shop: DatasetActions, name: str) -> dict[str, Any]:
    """What the page is sent when the button under the menu is pressed."""
    return dict(zip(["menu", "button", "place", *SHOWN], shop.fetch_tutorial(name, 0.15, 0.15), strict=True))


def text(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip())


def test_a_local_page_offers_all_sets_with_their_size_and_terms(local: DatasetActions) -> None:
    labels = {name: label for label, name in tutorial_picker.list_dataset_choices(local.profile)}
    assert list(labels) == list(tutorial_datasets.DATASETS)
    assert labels["flowers"] == "Flowers · 229 MB"
    for name, one in tutorial_datasets.DATASETS.items():
        said = text(tutorial_picker.render_dataset_info(name))
        assert one.terms in said
        assert one.source in said
        assert str(one.megabytes) in tutorial_picker.format_button_text(name)


@pytest.mark.usefixtures("pets_offer")
def test_a_set_is_fetched_from_the_page_and_shown(local: DatasetActions) -> None:
    before = dict(zip(SHOWN, local.show_dataset("tutorial", "pets", 0.15, 0.15), strict=True))
    assert "Not on this machine yet" in before["summary"]
    shown = pressed(local, "pets")
    assert shown["place"] == "pets"
    assert "<h2>Pets</h2>" in shown["summary"]
    assert "ants" in shown["gallery"]
    assert ("Pets · here", "pets") in shown["menu"].choices
    assert shown["button"].value == "Scan these pictures"
    assert shown["go"].interactive


def test_the_choice_is_found_again_and_trained_on(local: DatasetActions, pets_offer: TutorialDataset) -> None:
    kept = pressed(local, "pets")["kept"]
    assert kept["sample"] == "tutorial"
    sample, _, place, which, *_ = local.restore_choice(kept)
    assert (sample, place, which) == ("tutorial", "pets", "pets")
    settings = data_choice.parse_source(local.profile, sample, place, 0.15, 0.15).to_config_fields()
    assert settings["data"] == str(tutorial_datasets.find_image_folder(pets_offer))


@pytest.mark.usefixtures("pets_offer")
def test_what_goes_wrong_is_told_in_one_line_and_nothing_is_lost(
    local: DatasetActions, pets_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_ATTEMPTS", 1)
    pets_server.cut = [100_000, 0]
    shown = pressed(local, "pets")
    assert "pets.zip" in text(shown["summary"])
    assert not shown["go"].interactive
    assert "<h2>Pets</h2>" in pressed(local, "pets")["summary"]
    assert pets_server.asked[-1] == "bytes=100000-"


@pytest.mark.usefixtures("pets_offer")
def test_where_others_reach_the_server_only_what_is_here_is_offered(
    local: DatasetActions, space: DatasetActions, tmp_path: Path, pets_server: Server
) -> None:
    lan = ServerProfile(tmp_path, tmp_path / "runs", ProfileKind.NETWORK)
    for profile in (space.profile, lan):
        assert "tutorial" not in list_offered_sources(profile)
        assert tutorial_picker.list_dataset_choices(profile) == []
    refused = pressed(space, "pets")
    assert "cannot download data sets" in text(refused["summary"])
    assert pets_server.asked == []
    pressed(local, "pets")
    for profile in (space.profile, lan):
        assert "tutorial" in list_offered_sources(profile)
        assert tutorial_picker.list_dataset_choices(profile) == [("Pets · here", "pets")]
    assert "<h2>Pets</h2>" in pressed(space, "pets")["summary"]


@pytest.mark.parametrize("name", ["", "../../etc", "nothing", None, 7])
def test_a_set_that_is_none_is_refused_whoever_sent_its_name(local: DatasetActions, name: Any) -> None:
    with pytest.raises(DataError):
        data_choice.parse_source(local.profile, "tutorial", name, 0.15, 0.15)
    assert "ftlab-trouble" in pressed(local, name)["summary"]
