"""A compiled network learns what the other does, resumes to the bit, and where it cannot be had nothing is lost.

Most of it with `aot_eager`, which captures the network as the real compiler does, and makes no program of it: seconds
in the place of minutes.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # its own import warns where warnings are errors
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from loop import go
from test_learner import batch, learner_of, tiny
from tiny_row import TINY

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, Note
from ftlab.training import compile, cuda_graph
from ftlab.training.checkpoints.checkpoint import Position
from ftlab.training.compile import Compiler
from ftlab.training.devices import device_setup

FULL: dict[str, Any] = {"mode": "full", "learning_rate": 1e-4, "batchnorm": "frozen", "epochs": 2}
PHASES: dict[str, Any] = {**FULL, "unfreeze_epoch": 1, "ema": 0.9, "accumulate": 2, "dropout": 0.2}


@pytest.fixture(autouse=True)
def captured_only(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    monkeypatch.setattr(compile, "BACKEND", "aot_eager")
    monkeypatch.setitem(backbones.TABLE, TINY.name, TINY)
    torch._dynamo.reset()
    AcceleratorState._reset_state(True)  # which takes one precision a process
    yield
    AcceleratorState._reset_state(True)
    torch._dynamo.reset()


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    few = {"batch_size": 4, "data": str(tiny_folder), "backbone": TINY.name, "threads": 1}
    return lambda **knobs: run_store.create(tmp_path / "runs", TrainConfig(**{**few, **knobs}))


def notes(events: list[Event]) -> dict[str, dict[str, object]]:
    return {event.code: event.values for event in events if isinstance(event, Note)}


def near(one: Run, other: Run) -> None:
    """Within 1e-4 of the largest weight of each tensor; and called the same."""
    left, right = (weights_file.load(run.last)[0] for run in (one, other))
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
    assert messages.text("log.compiled", **told["compiled"])
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
    monkeypatch.setattr(compile, "_FEWEST", 1)
    monkeypatch.setattr(compile, "_SECONDS", 0.01)
    told = notes(go(run))
    assert ("compiled" in told, "not_faster" in told) == (faster, not faster)
    assert run.resolved().compile == ("yes" if faster else "no")
    near(run, plain)
    assert (run.last.read_bytes() == plain.last.read_bytes()) or faster, "attempts leave nothing behind"


def test_without_a_compiler_it_says_so_and_goes_on(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "no-such-compiler" in messages.text("log.no_compiler", **told["no_compiler"])
    assert run.resolved().compile == "no"
    assert run.last.read_bytes() == plain.last.read_bytes()


def test_a_compiler_that_fails_costs_nothing_but_its_time(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("cannot find the header")

    monkeypatch.setattr(compile, "BACKEND", broken)
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "cannot find the header" in messages.text("log.not_compiled", **told["not_compiled"])
    assert run.last.read_bytes() == plain.last.read_bytes()


@pytest.mark.parametrize(("most", "named", "stays"), [(3, "", False), (4, "", True), (3, "elsewhere", True)])
def test_programs_are_kept_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, named: str, stays: bool
) -> None:
    """Then all of ftlab's own go; what another folder holds, which the person named, is left alone."""
    folder, named = tmp_path / "compiled", named and str(tmp_path / named)
    program = Path(named or folder, "ab", "program")
    program.parent.mkdir(parents=True)
    program.write_text("four")
    monkeypatch.setattr(compile, "_MOST", most)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named)
    if not named:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compile._keep_programs(folder)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (named or str(folder))
    assert program.exists() == stays


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
@pytest.mark.parametrize("way", ["yes", "record"])
def test_where_there_is_nothing_to_gain_it_is_refused(knobs: dict[str, Any], way: str) -> None:
    with pytest.raises(ConfigError, match="--compile"):
        TrainConfig(compile=way, **knobs)


def test_the_real_compilers_steps_are_the_others_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three steps of a tiny network by a program in C++: within 1e-5."""
    if not compile._cpp()[1]:
        pytest.skip("no C++ compiler here")
    import torch._inductor.config

    monkeypatch.setattr(compile, "BACKEND", "inductor")
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    alone, share = Accelerator(cpu=True), batch()
    plain = tiny()
    fast = copy.deepcopy(plain)
    run = run_store.create(tmp_path / "runs", TrainConfig(mode="scratch", compile="yes", epochs=1))
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


# Recorded, on a card


def recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Any, **knobs: Any
) -> tuple[Compiler, list[Note]]:
    """What is decided at the first step on a card of which this machine plays the part: there is no other way to
    record than CUDA's, so `record` stands for that. Its real one is tried where there is a card, below."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(compile, "record", record)
    alone = Accelerator(cpu=True)
    settings = TrainConfig(**{"mode": "scratch", "compile": "record", "epochs": 1, **knobs})
    run = run_store.create(tmp_path / "runs", settings)
    run.write("config.json", {**run.read("config.json"), "resolved": run.config().to_json()})
    learner = learner_of(tiny(), alone, accumulate=settings.accumulate, batch_size=2)
    compiler = Compiler(learner, dataclasses.replace(settings, epochs=learner.phase.last), run, alone)
    compiler.device = "cuda"
    before = {name: value.clone() for name, value in learner.module.state_dict().items()}
    told = list(compiler.look(batch(), Position()))
    assert all(torch.equal(before[name], value) for name, value in learner.module.state_dict().items())
    assert all(one.grad is None for one in learner.module.parameters())
    return compiler, told


def codes(told: list[Note]) -> list[str]:
    return [note.code for note in told]


def test_a_card_replays_what_was_recorded_of_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def record(network: torch.nn.Module, inputs: torch.Tensor) -> Any:
        def replayed(some: torch.Tensor) -> Any:
            asked.append(tuple(some.shape))
            return network(some)

        return replayed

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert codes(told) == ["recorded"]
    assert compiler.run.resolved().compile == "record"
    asked.clear()
    compiler.learner.gradients(batch(), 1)
    assert asked == [(6, 3, 8, 8)]
    compiler.learner.gradients(batch(5), 2)
    compiler.learner.portions.most = 3
    compiler.learner.gradients(batch(), 3)
    assert len(asked) == 1, "another size, and portions of a step, go through the network itself"


def test_a_card_that_cannot_record_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert "not permitted" in messages.text("log.not_compiled", **told[0].values)
    assert compiler.learner.fast is None
    assert compiler.run.resolved().compile == "no"


@pytest.mark.parametrize("wrong", ["logits", "gradients", "weights of then"])
def test_a_record_that_gives_something_else_is_not_used(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(network: torch.nn.Module, inputs: torch.Tensor) -> Any:
        other = copy.deepcopy(network)
        if wrong == "weights of then":
            return lambda some: network(some) + (other(some) - network(some)).detach()
        torch.nn.init.normal_(other.head.weight)  # type: ignore[union-attr,arg-type]
        if wrong == "logits":
            return lambda some: network(some) + other(some).detach()
        return lambda some: network(some).detach() + (network(some) - network(some).detach()) * torch.tensor([-1, 1, 3])

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert codes(told) == ["not_compiled"]
    assert compiler.learner.fast is None


def test_portions_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, told = recording(tmp_path, monkeypatch, None, accumulate=2)
    assert told == []
    assert compiler.run.resolved().compile == "no"


@pytest.mark.parametrize("faster", [True, False])
def test_of_itself_a_card_goes_on_with_what_is_not_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    def clocked(self: Compiler, share: Any, position: Position) -> float:
        self.learner.attempt(share, position.step)
        return (0.01 if faster else 0.03) if self.learner.fast is not None else 0.02

    monkeypatch.setattr(Compiler, "_seconds", clocked)
    monkeypatch.setattr(compile, "_FEWEST", 1)
    compiler, told = recording(tmp_path, monkeypatch, lambda network, *_: lambda some: network(some), compile="auto")
    assert codes(told) == ["recorded" if faster else "not_recorded"]
    assert (compiler.learner.fast is not None) == faster
    assert compiler.run.resolved().compile == ("record" if faster else "no")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", *("cuda" for _ in range(torch.cuda.is_available()))])
def test_recorded_steps_are_the_others_but_for_rounding(device: str, precision: str) -> None:
    """Three steps with batches that differ: a record of old weights or pictures would be seen. A processor records
    nothing, and plays the network itself."""
    plain, alone = tiny().to(device), device_setup.open_device(TrainConfig(device=device, precision=precision))
    fast = copy.deepcopy(plain)
    for net in (plain, fast):
        learner = learner_of(net, alone)
        for step in range(3):
            share = batch()
            labels, weight = share.labels.to(device), share.weight.to(device)
            share = dataclasses.replace(share, inputs=(share.inputs + step).to(device), labels=labels, weight=weight)
            if net is fast and not step:
                same = learner.module if device == "cpu" else cuda_graph.record(learner.module, share.inputs)
                learner.compile(same, len(share.labels), undivided=True)
            learner.gradients(share, step)
            learner.step(step)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5 if precision == "fp32" else 1e-3)
