"""A compiled network learns what the other does, resumes to the bit, and where it cannot be had nothing is lost.

Most of it with `aot_eager`, which captures the network as the real compiler does, and makes no program of it: seconds
in the place of minutes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # its own import warns where warnings are errors
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from test_learner import batch, learner_of, tiny

from ftlab import backbones, runs, words
from ftlab.config import TrainConfig
from ftlab.errors import ConfigError
from ftlab.events import Event, Note, Step
from ftlab.runs import Run
from ftlab.training import compiled, sealed
from ftlab.training.checkpoint import Position
from ftlab.training.compiled import Compiler
from ftlab.training.engine import train

BACKBONE = "mobilenet_v2"
FULL: dict[str, Any] = {"mode": "full", "learning_rate": 1e-4, "batchnorm": "frozen", "epochs": 2}
PHASES: dict[str, Any] = {**FULL, "unfreeze_epoch": 1, "ema": 0.9, "accumulate": 2, "dropout": 0.2}


@pytest.fixture(autouse=True)
def captured_only(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    row = backbones.get(BACKBONE)
    monkeypatch.setitem(backbones.TABLE, BACKBONE, dataclasses.replace(row, side=64, resize=72))
    torch._dynamo.reset()
    AcceleratorState._reset_state(True)  # which takes one precision a process
    yield
    AcceleratorState._reset_state(True)
    torch._dynamo.reset()


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    few = {"batch_size": 4, "data": str(tiny_folder), "backbone": BACKBONE, "threads": 1}
    return lambda **knobs: runs.create(tmp_path / "runs", TrainConfig(**{**few, **knobs}))


def go(run: Run, stop_at: int | None = None) -> list[Event]:
    run.withdraw_stop()
    events = []
    for event in train(run.config(), run, weights=False):
        run.append(event)
        events.append(event)
        if isinstance(event, Step) and event.step == stop_at:
            run.ask_stop()
    return events


def notes(events: list[Event]) -> dict[str, dict[str, object]]:
    return {event.code: event.values for event in events if isinstance(event, Note)}


def near(one: Run, other: Run) -> None:
    """Within 1e-4 of the largest weight of each tensor; and called the same."""
    left, right = (sealed.load(run.last)[0] for run in (one, other))
    assert left.keys() == right.keys()
    assert not [name for name in left if "_orig_mod" in name]
    for name in [name for name in left if name.startswith(("module.", "average."))]:
        assert torch.allclose(left[name], right[name], rtol=0, atol=1e-4 * float(right[name].abs().max()) + 1e-9), name


@pytest.mark.parametrize(
    "knobs",
    [FULL, PHASES, {**FULL, "precision": "bf16"}],
    ids=["plain", "phases, average, portions, dropout", "mixed precision"],
)
def test_it_learns_what_the_other_does_and_resumes_to_the_bit(begin: Callable[..., Run], knobs: dict[str, Any]) -> None:
    plain, whole, parted = (begin(compile=choice, **knobs) for choice in ("no", "yes", "yes"))
    go(plain)
    torch._dynamo.utils.counters.clear()
    told = notes(go(whole))
    assert {"compiling", "compiled"} <= told.keys(), told
    assert words.text("log.compiled", **told["compiled"])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "a smaller last batch is no new program"
    assert (whole.resolved().compile, plain.resolved().compile) == ("yes", "no")
    near(whole, plain)
    steps = len(whole.history().steps)
    go(parted, steps - 1)
    go(parted)
    assert parted.last.read_bytes() == whole.last.read_bytes()
    assert parted.best.read_bytes() == whole.best.read_bytes()


def test_a_short_training_is_not_compiled(begin: Callable[..., Run]) -> None:
    run = begin(**FULL)
    told = notes(go(run))
    assert "compiling" not in told
    assert run.resolved().compile == "no"


@pytest.mark.parametrize("faster", [True, False])
def test_a_long_one_is_where_it_gains(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, faster: bool) -> None:
    """A step takes 2 s as it is, and compiled 1 s or 1.9 s."""
    plain, run = begin(compile="no", **FULL), begin(**FULL)
    go(plain)

    def clocked(self: Compiler, share: Any, position: Position) -> float:
        self.learner.attempt(share, position.step)
        return (1.0 if faster else 1.9) if self.learner.fast is not None else 2.0

    monkeypatch.setattr(Compiler, "_seconds", clocked)
    monkeypatch.setattr(compiled, "_FEWEST", 1)
    monkeypatch.setattr(compiled, "_SECONDS", 0.01)
    told = notes(go(run))
    assert ("compiled" in told, "not_faster" in told) == (faster, not faster)
    assert run.resolved().compile == ("yes" if faster else "no")
    near(run, plain)
    assert (run.last.read_bytes() == plain.last.read_bytes()) or faster, "attempts leave nothing behind"


def test_without_a_compiler_it_says_so_and_goes_on(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "no-such-compiler" in words.text("log.no_compiler", **told["no_compiler"])
    assert run.resolved().compile == "no"
    assert run.last.read_bytes() == plain.last.read_bytes()


def test_a_compiler_that_fails_costs_nothing_but_its_time(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("cannot find the header")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "cannot find the header" in words.text("log.not_compiled", **told["not_compiled"])
    assert run.last.read_bytes() == plain.last.read_bytes()


def test_a_run_that_began_without_a_word_of_compiling_goes_on_without(begin: Callable[..., Run]) -> None:
    run = begin(**FULL)
    go(run, 3)
    stored = run.read("config.json")
    del stored["resolved"]["compile"]
    run.write("config.json", stored)
    assert "compiling" not in notes(go(run))


@pytest.mark.parametrize(
    "knobs", [{"mode": "frozen"}, {"mode": "full", "unfreeze_epoch": 1, "gradual": "yes"}], ids=str
)
def test_where_there_is_nothing_to_gain_it_is_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--compile"):
        TrainConfig(compile="yes", **knobs)


def test_the_real_compilers_steps_are_the_others_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three steps of a tiny network by a program in C++: within 1e-5."""
    if not compiled._cpp()[1]:
        pytest.skip("no C++ compiler here")
    import torch._inductor.config

    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    alone, share = Accelerator(cpu=True), batch()
    plain = tiny()
    fast = copy.deepcopy(plain)
    run = runs.create(tmp_path / "runs", TrainConfig(mode="scratch", compile="yes", epochs=1))
    run.write("config.json", {**run.read("config.json"), "resolved": run.config().to_json()})
    for net in (plain, fast):
        learner = learner_of(net, alone)
        if net is fast:
            settings = dataclasses.replace(learner.config, compile="yes", epochs=learner.phase.last)
            told = [note.code for note in Compiler(learner, settings, run, alone).look(share, Position())]
            assert told == ["compiling", "compiled"]
            assert learner.fast is not None
        for step in range(3):
            learner.gradients(share, step)
            learner.step(step)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5)
