"""What a page may start a training from: less, the more people can reach the server."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs.directory import Run
from ftlab.runs.trash import discard_runs
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile, create_profile
from ftlab.ui.common.init_choice import resolve_init
from tests.support.fabricated_runs import make, story
from tests.support.people import ANN, BEN, acting_as, give_to


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's folder with weights of both kinds and two trainings."""
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors")
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pth")
    for _ in range(2):
        make(tmp_path / "runs", story())
    return tmp_path


def whole(where: ServerProfile, init: str | Path) -> str:
    return resolve_init(where, TrainConfig(mode="full", init_from=str(init))).init_from


def refused(where: ServerProfile, init: str | Path) -> str:
    with pytest.raises(FtlabError) as caught:
        whole(where, init)
    return caught.value.code


def test_a_start_for_this_machine_only_is_local_and_no_other() -> None:
    assert create_profile(environment={}).is_local
    assert not create_profile(host="0.0.0.0", environment={}).is_local
    assert not create_profile(hosts=("lab.example",), environment={}).is_local
    assert not create_profile(environment={"SPACE_ID": "someone/ftlab"}).is_local


def test_a_local_page_takes_files_below_its_root_and_runs(home: Path) -> None:
    local = ServerProfile(home, home / "runs")
    for name in ("weights.safetensors", "weights.pth"):
        assert whole(local, home / name) == str(home / name)
    run = sorted((home / "runs").iterdir())[0]
    assert whole(local, run.name) == whole(local, run.name[-12:]) == str(run)
    assert refused(local, "/etc/x.pth") == "page.outside"
    assert refused(local, home / "nothing.pth") == "init.missing"
    assert refused(local, "nothing") == "run.missing"


def test_where_others_reach_the_server_a_pickle_is_not_even_opened(home: Path) -> None:
    lan = ServerProfile(home, home / "runs", ProfileKind.NETWORK)
    assert whole(lan, "weights.safetensors") == str(home / "weights.safetensors")
    assert refused(lan, "weights.pth") == "init.pickled"
    (home / "renamed.safetensors").write_bytes((home / "weights.pth").read_bytes())
    assert refused(lan, "renamed.safetensors") == "init.pickled"
    (home / "noending").write_bytes((home / "weights.pth").read_bytes())
    assert refused(lan, home / "noending") == "init.pickled"
    assert refused(ServerProfile(None, home / "runs"), home / "weights.safetensors") == "init.closed"


def test_on_a_space_only_the_whole_name_of_a_run_will_do(home: Path) -> None:
    space = ServerProfile(None, home / "runs", ProfileKind.SPACE)
    run = sorted((home / "runs").iterdir())[0]
    give_to(Run(run), ANN)
    with acting_as(BEN), pytest.raises(RunError, match="There is no run"):
        whole(space, run.name)
    with acting_as(ANN):
        assert whole(space, run.name) == str(run)
    for init in ("latest", run.name[-12:], run, home / "weights.safetensors", f"../runs/{run.name}"):
        assert refused(space, init) == "init.closed"


def test_without_a_start_nothing_changes(home: Path) -> None:
    settings = TrainConfig()
    assert resolve_init(ServerProfile(None, home, ProfileKind.SPACE), settings) is settings


def test_no_part_of_a_name_finds_or_names_a_run_of_somebody_else(home: Path) -> None:
    lan = ServerProfile(None, home / "runs", ProfileKind.NETWORK)
    first, second = sorted((home / "runs").iterdir())
    ann, ben = (Person(ProfileKind.NETWORK, Role.VISITOR, letter * 32) for letter in "ab")
    give_to(Run(first), ann)
    give_to(Run(second), ann)
    for typed in (first.name, first.name[:4], first.name[-12:], "latest"):
        with acting_as(ben), pytest.raises(RunError) as caught:
            whole(lan, typed)
        assert caught.value.code == "run.missing"
        assert str(caught.value).replace(typed, "").find(first.name[-12:]) < 0
    with acting_as(ann):
        assert refused(lan, first.name[:4]) == "run.several"
    give_to(Run(second), ben)
    with acting_as(ben):
        assert whole(lan, second.name[:4]) == whole(lan, "latest") == str(second)
    discard_runs([Run(first)])
    with acting_as(ann):
        assert refused(lan, first.name[-12:]) == "run.binned"
    with acting_as(ben):
        assert refused(lan, first.name[-12:]) == "run.missing"


@pytest.mark.parametrize("environment", [{"SPACE_ID": "me/space"}, {}])
def test_a_server_for_others_downloads_no_model_from_the_hub(home: Path, environment: dict[str, str]) -> None:
    where = create_profile(data_root=home, host="0.0.0.0", environment=environment)
    assert refused(where, "hf://me/model") == "hub.closed"
