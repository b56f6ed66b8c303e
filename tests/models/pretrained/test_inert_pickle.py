"""Records beside the weights of a checkpoint are read without running anything; what would run code is named."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import enum
import functools
import io
import os
import pathlib
import pickle
import random
import types
from typing import Any

import numpy as np
import pytest
import torch

from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import checkpoint_import

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


class Color(enum.Enum):
    RED = 1


class AttributeDict(dict[str, Any]):
    """As EasyDict: a dictionary whose entries are attributes too."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(**entries)
        self.__dict__.update(entries)


class NumberList(list[int]):
    pass


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int = 1


RECORDS: dict[str, Any] = {
    "a NumPy number": np.float64(0.9),
    "a NumPy array": np.array([0.5, 0.2]),
    "NumPy texts": np.array(["a", "bc"]),
    "a NumPy array of objects": np.array(["a", None], dtype=object),
    "NumPy's random state": np.random.RandomState(1).get_state(),
    "a NumPy generator": np.random.default_rng(1),
    "paths": argparse.Namespace(out=pathlib.PurePosixPath("/x"), root=pathlib.PureWindowsPath("c:/x")),
    "a date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "a defaultdict": collections.defaultdict(list, loss=[1.0]),
    "a counter": collections.Counter("aab"),
    "a deque": collections.deque([1, 2], maxlen=3),
    "a simple namespace": types.SimpleNamespace(a=1),
    "Python's random state": random.Random(1).getstate(),
    "a generator of random numbers": random.Random(1),
    "a size, a dtype and a device": (torch.Size([1, 2]), torch.float16, torch.device("cpu")),
    "an enumeration": Color.RED,
    "a dictionary with attributes": AttributeDict(a=1, b=AttributeDict(c=2)),
    "a kind of list": NumberList([1, 2]),
    "an object with slots": Slotted(),
    "a partial": functools.partial(torch.optim.SGD, lr=0.1),
    "sets": ({1}, frozenset([2])),
    "an optimizer": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1),
}


@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("record", [*RECORDS])
def test_weights_are_read_whatever_record_lies_beside_them(record: str, *, in_zip: bool) -> None:
    file = pathlib.Path("c.pth")
    torch.save({"state_dict": WEIGHTS, "record": RECORDS[record]}, file, _use_new_zipfile_serialization=in_zip)
    tensors = checkpoint_import.read_checkpoint(file).tensors
    assert all(torch.equal(tensors[f"state_dict.{name}"], tensor) for name, tensor in WEIGHTS.items())


def test_arrays_of_numpy_1_are_read_as_those_of_numpy_2() -> None:
    """Its modules had other names."""
    stream = io.BytesIO()
    torch.save({"state_dict": WEIGHTS, "mean": np.array([0.5]), "best": np.float64(1)}, stream)
    torch.save({"state_dict": WEIGHTS, "mean": np.array([0.5])}, "c.pth", _use_new_zipfile_serialization=False)
    file = pathlib.Path("c.pth")
    renamed = file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert renamed != file.read_bytes()
    file.write_bytes(renamed)
    assert set(checkpoint_import.read_checkpoint(file).tensors) == {"state_dict.fc.weight", "state_dict.fc.bias"}


class Reduced:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Reduced(os.system, "touch sprung"), "system"),
        (Reduced(eval, "open('sprung', 'w')"), "eval"),
        (Reduced(exec, "open('sprung', 'w')"), "exec"),
        (Reduced(getattr, pathlib.Path, "touch"), "getattr"),
        (Reduced(pickle.loads, b"N."), "loads"),
    ],
)
def test_what_would_run_code_is_refused_by_name(call: Reduced, name: str, *, in_zip: bool) -> None:
    torch.save({"state_dict": WEIGHTS, "hook": call}, "trap.pth", _use_new_zipfile_serialization=in_zip)
    with pytest.raises(WeightsError) as caught:
        checkpoint_import.read_checkpoint(pathlib.Path("trap.pth"))
    said = str(caught.value)
    assert caught.value.code == "init.unsafe"
    assert name in said
    assert "state_dict" in said, "with the command that saves the weights alone"
    assert len(said.splitlines()) == 1
    assert not pathlib.Path("sprung").exists()


def leave_mark() -> None:
    pathlib.Path("sprung").touch()


class Eager:
    """Leaves a mark whenever it is made or filled."""

    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: Any) -> None:
        leave_mark()


@pytest.mark.parametrize("thing", [Eager(), Reduced(leave_mark)])
def test_code_of_another_program_is_not_called_and_its_object_is_named(thing: Any) -> None:
    torch.save({"state_dict": WEIGHTS, "thing": thing}, "c.pth")
    checkpoint = checkpoint_import.read_checkpoint(pathlib.Path("c.pth"))
    assert not pathlib.Path("sprung").exists()
    assert "test_inert_pickle" in checkpoint.foreign_names


def test_a_whole_model_is_named_by_its_class_with_the_command_that_saves_its_weights() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for content, expression in ((model, "weights_only=False);"), ({"model": model, "epoch": 3}, 'False)["model"];')):
        torch.save(content, "whole.pth")
        with pytest.raises(WeightsError) as caught:
            checkpoint_import.read_checkpoint(pathlib.Path("whole.pth"))
        assert caught.value.code == "init.unsafe"
        assert "torch.nn.modules.container.Sequential" in str(caught.value)
        assert expression in str(caught.value)
