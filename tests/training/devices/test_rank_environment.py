"""What a launcher says in the environment is believed where its processes train together, and refused where not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.training.devices import device_setup, rank_environment

Say = Callable[..., tuple[int, str, str]]
TORCHRUN = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
RESTARTS = {**TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "3", "GROUP_WORLD_SIZE": "2"}
ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True"}
"""What `accelerate launch --cpu` sets; with `--num_processes 2` an address too."""


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", *ACCELERATE):
        monkeypatch.delenv(name, raising=False)


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "world_size"),
    [
        ({}, 1),
        (TORCHRUN, 2),
        (ACCELERATE, 1),
        ({**TORCHRUN, "RANK": "1"}, 2),
        ({**RESTARTS, "GROUP_WORLD_SIZE": "1"}, 2),
    ],
    ids=["none", "torchrun", "accelerate, one process", "second rank", "restarts on one machine"],
)
def test_processes_that_train_together_are_accepted(
    variables: dict[str, str], world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, variables)
    rank_environment.check_launcher("train")
    assert rank_environment.get_world_size() == world_size
    assert rank_environment.is_main_process() == (variables.get("RANK") != "1")


@pytest.mark.parametrize("command", ["train", "resume"])
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({**ACCELERATE, "MASTER_ADDR": "127.0.0.1"}, "accelerate launch starts only one process on a CPU"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun starts processes that would train apart"),
        ({"PMI_SIZE": "2"}, "mpirun starts processes that would train apart"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "WORLD_SIZE is 2, but RANK or LOCAL_RANK is not set"),
    ],
    ids=["accelerate, two processes", "Open MPI", "MPICH", "no local rank"],
)
def test_processes_that_would_train_apart_are_refused_in_one_line_that_names_torchrun(
    variables: dict[str, str], reason: str, command: str, monkeypatch: pytest.MonkeyPatch, say: Say, tmp_path: Path
) -> None:
    set_environment(monkeypatch, variables)
    arguments = ("--sample", "shapes") if command == "train" else ("latest",)
    status, _, error = say(command, *arguments, "--runs", tmp_path / "runs")
    assert (status, error.count("\n")) == (2, 1)
    assert reason in error
    assert f"torchrun --standalone --nproc-per-node 2 -m ftlab {command} …" in error
    assert not (tmp_path / "runs").exists(), "no run is created"


def test_restarts_on_several_machines_need_a_store_for_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {**RESTARTS, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    with pytest.raises(ConfigError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment of torchrun"):
        rank_environment.check_launcher("train")
    # What torchrun sets if TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 is in its own environment.
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    rank_environment.check_launcher("train")


def test_fewer_ranks_than_the_launcher_announced_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"WORLD_SIZE": "2"})
    monkeypatch.setattr(device_setup, "Accelerator", lambda **_options: SimpleNamespace(num_processes=1))
    with pytest.raises(ConfigError, match="announced 2 processes, but 1 can train together"):
        device_setup.create_accelerator(TrainConfig(sample="shapes", device="cpu"))


def test_without_an_id_a_call_of_torchrun_is_known_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rank_environment.get_launch_id() == ""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    launch_id = rank_environment.get_launch_id()
    assert launch_id == rank_environment.get_launch_id()
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert rank_environment.get_launch_id() != launch_id
