"""Which device computes: one a process, asked for anew by each training; a small head learns on the processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.models.execution import device
from ftlab.training.devices import device_setup

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def test_each_training_of_a_process_has_its_own_precision() -> None:
    for precision in ("bf16", "fp32", "bf16"):
        found = device_setup.create_accelerator(TrainConfig(device="cpu", precision=precision))
        assert found.mixed_precision == {"fp32": "no"}.get(precision, precision)
        assert found.device.type == "cpu"


@pytest.mark.parametrize(
    ("kind", "processes", "width", "moves"),
    [("cuda", 1, 1280, True), ("mps", 1, 1280, True), ("cuda", 1, 25_088, False), ("cuda", 2, 1280, False)],
)
def test_a_small_head_learns_on_the_processor_beside_a_card(
    kind: str, processes: int, width: int, *, moves: bool
) -> None:
    """In float32; a large one where it is, and of several processes each where it is."""
    card: Any = SimpleNamespace(device=torch.device(kind), num_processes=processes)
    found = device_setup.head_accelerator(card, nn.Linear(width, 101), 32)
    assert (found is not card) == moves
    if moves:
        assert (found.device.type, found.mixed_precision, found.num_processes) == ("cpu", "no", 1)


@pytest.mark.parametrize(("width", "threads"), [(101, 1), (1000, 2)])
def test_only_a_large_head_is_shared_by_the_cores(width: int, threads: int) -> None:
    device_setup.set_head_threads(nn.Linear(1280, width), 32, 2)
    assert torch.get_num_threads() == threads


def test_on_a_processor_it_stays_where_it_is() -> None:
    found = device_setup.create_accelerator(TrainConfig(device="cpu"))
    assert device_setup.head_accelerator(found, nn.Linear(8, 2), 4) is found


def test_a_pass_casts_the_weights_as_they_are_now() -> None:
    """Autocast's cache would keep those of the first pass for as long as a context around it is open."""
    found = device_setup.create_accelerator(TrainConfig(device="cpu", precision="bf16"))
    layer = found.prepare_model(nn.Linear(4, 1, bias=False))
    with device_setup.autocast(found):
        before = layer(torch.ones(1, 4))
        with torch.no_grad():
            layer.weight.mul_(2)
        assert torch.equal(layer(torch.ones(1, 4)), 2 * before)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_pass_has_the_precision_asked_for_and_leaves_the_environment_alone(
    precision: str, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may just then start a process, which would begin with an empty one."""
    found = device_setup.create_accelerator(TrainConfig(device="cpu", precision=precision))
    changes: list[str] = []
    monkeypatch.setattr(os, "putenv", lambda name, _value: changes.append(name))
    monkeypatch.setattr(os, "unsetenv", changes.append)
    with device_setup.autocast(found):
        assert nn.Linear(4, 1)(torch.ones(1, 4)).dtype == kind
    assert not changes


@pytest.mark.parametrize(("value", "expected"), [("1", "cpu"), ("true", "cpu"), ("0", "cuda"), ("", "cuda")])
def test_on_zero_gpu_hardware_a_training_takes_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert device.detect_device() == expected
    description = device_setup.describe_device(torch.device("cpu"))
    assert ("ZeroGPU" in description) is (expected == "cpu")
    if expected == "cpu":
        assert device_setup.create_accelerator(TrainConfig(precision="auto")).device.type == "cpu"
        with pytest.raises(ConfigError, match="cuda is not available: this machine has cpu"):
            device_setup.create_accelerator(TrainConfig(device="cuda"))
