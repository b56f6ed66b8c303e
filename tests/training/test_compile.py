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

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models import weights_file
from ftlab.models.pretrained import weights
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage
from ftlab.training import compile, cuda_graph
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.compile import ModelCompiler
from ftlab.training.devices import device_setup
from tests.support.short_trainings import go
from tests.support.single_steps import batch, learner_of, tiny
from tests.support.tiny_backbone import TINY

pytestmark = pytest.mark.usefixtures("one_thread")
FULL: dict[str, Any] = {"mode": "full", "learning_rate": 1e-4, "batchnorm": "frozen", "epochs": 1}
PHASES: dict[str, Any] = {
    **{**FULL, "epochs": 2, "unfreeze_epoch": 1, "ema_decay": 0.9, "grad_accum_steps": 2, "dropout": 0.2}
}


class Residual(torch.nn.Module):
    """A backbone with what matters to a capture, normalisation and a sum of two ways, in a fraction of the layers of
    the tiny ResNet, each of which takes long to capture: float32 [B, 3, S, S] -> [B, 96]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 96, 3, stride=4, bias=False), torch.nn.BatchNorm2d(96)
        self.layer4 = torch.nn.Sequential(torch.nn.Conv2d(96, 96, 1, bias=False), torch.nn.BatchNorm2d(96))
        self.fc = torch.nn.Linear(96, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        below = self.bn1(self.conv1(images)).relu()
        answers: torch.Tensor = self.fc((below + self.layer4(below)).relu().mean(dim=(2, 3)))
        return answers


SMALL = dataclasses.replace(
    TINY, parameters=sum(one.numel() for name, one in Residual().named_parameters() if not name.startswith("fc"))
)


@pytest.fixture(autouse=True)
def captured_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compile, "BACKEND", "aot_eager")
    monkeypatch.setitem(backbones.BACKBONES, SMALL.name, SMALL)
    monkeypatch.setattr(weights, "build_module", lambda _spec: Residual())
    torch._dynamo.reset()
    AcceleratorState._reset_state(True)  # which takes one precision a process
    yield
    AcceleratorState._reset_state(True)
    torch._dynamo.reset()


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    few = {"batch_size": 4, "data": str(tiny_folder), "backbone": SMALL.name, "torch_num_threads": 1}
    return lambda **settings: run_store.create_run(tmp_path / "runs", TrainConfig(**{**few, **settings}))


def notes(events: list[Event]) -> dict[str, dict[str, object]]:
    return {event.code: event.values for event in events if isinstance(event, LogMessage)}


def near(one: Run, other: Run) -> None:
    """Within 1e-4 of the largest weight of each tensor; and called the same."""
    left, right = (weights_file.load_tensors(run.last_checkpoint_path)[0] for run in (one, other))
    assert left.keys() == right.keys()
    assert not [name for name in left if "_orig_mod" in name]
    for name in [name for name in left if name.startswith(("module.", "average."))]:
        assert torch.allclose(left[name], right[name], rtol=0, atol=1e-4 * float(right[name].abs().max()) + 1e-9), name


@pytest.mark.parametrize(
    "settings",
    [FULL, PHASES, {**FULL, "precision": "bf16"}],
    ids=["plain", "phases, average, portions, dropout", "mixed precision"],
)
def test_it_learns_what_the_other_does_and_resumes_to_the_bit(
    begin: Callable[..., Run], settings: dict[str, Any]
) -> None:
    plain, whole, parted = (begin(compile=choice, **settings) for choice in ("no", "yes", "yes"))
    go(plain)
    torch._dynamo.utils.counters.clear()
    told = notes(go(whole))
    assert {"compiling", "compiled"} <= told.keys(), told
    assert messages.get_text("log.compiled", **told["compiled"])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "a smaller last batch is no new program"
    assert (whole.load_resolved_config().compile, plain.load_resolved_config().compile) == ("yes", "no")
    near(whole, plain)
    steps = len(whole.load_history().steps)
    go(parted, steps - 1)
    go(parted)
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()


def test_a_short_training_is_not_compiled(begin: Callable[..., Run]) -> None:
    run = begin(**FULL)
    told = notes(go(run))
    assert "compiling" not in told
    assert run.load_resolved_config().compile == "no"


@pytest.mark.parametrize("faster", [True, False])
def test_a_long_one_is_where_it_gains(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, *, faster: bool
) -> None:
    """A step takes 2 s as it is, and compiled 1 s or 1.9 s."""
    plain, run = begin(compile="no", **FULL), begin(**FULL)
    go(plain)

    def clocked(self: ModelCompiler, share: Any, position: TrainState) -> float:
        self.train_step.dry_run_step(share, position.step)
        return (1.0 if faster else 1.9) if self.train_step.compiled_model is not None else 2.0

    monkeypatch.setattr(ModelCompiler, "measure_step_seconds", clocked)
    monkeypatch.setattr(compile, "MIN_REMAINING_STEPS", 1)
    monkeypatch.setattr(compile, "COMPILE_SECONDS_PER_LAYER", 0.01)
    told = notes(go(run))
    assert ("compiled" in told, "not_faster" in told) == (faster, not faster)
    assert run.load_resolved_config().compile == ("yes" if faster else "no")
    near(run, plain)
    assert (run.last_checkpoint_path.read_bytes() == plain.last_checkpoint_path.read_bytes()) or faster, (
        "attempts leave nothing behind"
    )


def test_without_a_compiler_it_says_so_and_goes_on(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "no-such-compiler" in messages.get_text("log.no_compiler", **told["no_compiler"])
    assert run.load_resolved_config().compile == "no"
    assert run.last_checkpoint_path.read_bytes() == plain.last_checkpoint_path.read_bytes()


def test_a_compiler_that_fails_costs_nothing_but_its_time(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("cannot find the header")

    monkeypatch.setattr(compile, "BACKEND", broken)
    plain, run = begin(compile="no", **FULL), begin(compile="yes", **FULL)
    go(plain)
    told = notes(go(run))
    assert "cannot find the header" in messages.get_text("log.not_compiled", **told["not_compiled"])
    assert run.last_checkpoint_path.read_bytes() == plain.last_checkpoint_path.read_bytes()


@pytest.mark.parametrize(("most", "named", "stays"), [(3, "", False), (4, "", True), (3, "elsewhere", True)])
def test_programs_are_kept_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, named: str, *, stays: bool
) -> None:
    """Then all of ftlab's own go; what another folder holds, which the person named, is left alone."""
    folder, named = tmp_path / "compiled", named and str(tmp_path / named)
    program = Path(named or folder, "ab", "program")
    program.parent.mkdir(parents=True)
    program.write_text("four")
    monkeypatch.setattr(compile, "MAX_COMPILE_CACHE_BYTES", most)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named)
    if not named:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compile.limit_compile_cache(folder)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (named or str(folder))
    assert program.exists() == stays


def test_a_run_that_began_without_a_word_of_compiling_goes_on_without(begin: Callable[..., Run]) -> None:
    run = begin(**FULL)
    go(run, 3)
    stored = run.read_json("config.json")
    del stored["resolved"]["compile"]
    run.write_json("config.json", stored)
    assert "compiling" not in notes(go(run))


@pytest.mark.parametrize(
    "settings", [{"mode": "frozen"}, {"mode": "full", "unfreeze_epoch": 1, "gradual_unfreezing": True}], ids=str
)
@pytest.mark.parametrize("way", ["yes", "record"])
def test_where_there_is_nothing_to_gain_it_is_refused(settings: dict[str, Any], way: str) -> None:
    with pytest.raises(ConfigError, match="--compile"):
        TrainConfig(compile=way, **settings)


def test_the_real_compilers_steps_are_the_others_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three steps of a tiny network by a program in C++: within 1e-5."""
    if not compile.find_cpp_compiler()[1]:
        pytest.skip("no C++ compiler here")
    import torch._inductor.config
    from torch._inductor import cpu_vec_isa

    monkeypatch.setattr(compile, "BACKEND", "inductor")
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    # Else libraries are compiled and loaded to try the vector instructions of this CPU, longer than the test takes.
    monkeypatch.setattr(torch._inductor.config.cpp, "vec_isa_ok", True)
    # And of those that are tried all the same, which are for numbers of 8 and 16 bits, none is needed here.
    usual = [one for one in cpu_vec_isa.supported_vec_isa_list if "__bool__" not in vars(type(one))]
    monkeypatch.setattr(cpu_vec_isa, "supported_vec_isa_list", usual)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "programs"))
    alone, share = Accelerator(cpu=True), batch()
    plain = tiny()
    fast = copy.deepcopy(plain)
    run = run_store.create_run(tmp_path / "runs", TrainConfig(mode="scratch", compile="yes", epochs=1))
    run.write_json("config.json", {**run.read_json("config.json"), "resolved": run.load_config().to_json()})
    for net in (plain, fast):
        learner = learner_of(net, alone)
        if net is fast:
            settings = dataclasses.replace(learner.config, compile="yes", epochs=learner.phase.last_epoch)
            told = [
                note.code for note in ModelCompiler(learner, settings, run, alone).maybe_compile(share, TrainState())
            ]
            assert told == ["compiling", "compiled"]
            assert learner.compiled_model is not None
        for step in range(3):
            learner.forward_backward(share, step)
            learner.step(step)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5)


# Recorded, on a card


def recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Any, **fields: Any
) -> tuple[ModelCompiler, list[LogMessage]]:
    """What is decided at the first step on a card of which this machine plays the part: there is no other way to
    record than CUDA's, so `record` stands for that. Its real one is tried where there is a card, below."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(compile, "capture_cuda_graph", record)
    alone = Accelerator(cpu=True)
    settings = TrainConfig(**{"mode": "scratch", "compile": "record", "epochs": 1, **fields})
    run = run_store.create_run(tmp_path / "runs", settings)
    run.write_json("config.json", {**run.read_json("config.json"), "resolved": run.load_config().to_json()})
    learner = learner_of(tiny(), alone, grad_accum_steps=settings.grad_accum_steps, batch_size=2)
    compiler = ModelCompiler(learner, dataclasses.replace(settings, epochs=learner.phase.last_epoch), run, alone)
    compiler.device = "cuda"
    before = {name: value.clone() for name, value in learner.prepared_model.state_dict().items()}
    told = list(compiler.maybe_compile(batch(), TrainState()))
    assert all(torch.equal(before[name], value) for name, value in learner.prepared_model.state_dict().items())
    assert all(one.grad is None for one in learner.prepared_model.parameters())
    return compiler, told


def codes(told: list[LogMessage]) -> list[str]:
    return [note.code for note in told]


def test_a_card_replays_what_was_recorded_of_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def record(network: torch.nn.Module, _inputs: torch.Tensor) -> Any:
        def replayed(some: torch.Tensor) -> Any:
            asked.append(tuple(some.shape))
            return network(some)

        return replayed

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert codes(told) == ["recorded"]
    assert compiler.run.load_resolved_config().compile == "record"
    asked.clear()
    compiler.train_step.forward_backward(batch(), 1)
    assert asked == [(6, 3, 8, 8)]
    compiler.train_step.forward_backward(batch(5), 2)
    compiler.train_step.micro_batcher.micro_batch_size = 3
    compiler.train_step.forward_backward(batch(), 3)
    assert len(asked) == 1, "another size, and portions of a step, go through the network itself"


def test_a_card_that_cannot_record_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert "not permitted" in messages.get_text("log.not_compiled", **told[0].values)
    assert compiler.train_step.compiled_model is None
    assert compiler.run.load_resolved_config().compile == "no"


@pytest.mark.parametrize("wrong", ["logits", "gradients", "weights of then"])
def test_a_record_that_gives_something_else_is_not_used(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(network: torch.nn.Module, _inputs: torch.Tensor) -> Any:
        other = copy.deepcopy(network)
        if wrong == "weights of then":
            return lambda some: network(some) + (other(some) - network(some)).detach()
        torch.nn.init.normal_(other.head.weight)  # type: ignore[union-attr,arg-type]
        if wrong == "logits":
            return lambda some: network(some) + other(some).detach()
        return lambda some: network(some).detach() + (network(some) - network(some).detach()) * torch.tensor([-1, 1, 3])

    compiler, told = recording(tmp_path, monkeypatch, record)
    assert codes(told) == ["not_compiled"]
    assert compiler.train_step.compiled_model is None


def test_portions_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, told = recording(tmp_path, monkeypatch, None, grad_accum_steps=2)
    assert told == []
    assert compiler.run.load_resolved_config().compile == "no"


@pytest.mark.parametrize("faster", [True, False])
def test_of_itself_a_card_goes_on_with_what_is_not_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, faster: bool
) -> None:
    def clocked(self: ModelCompiler, share: Any, position: TrainState) -> float:
        self.train_step.dry_run_step(share, position.step)
        return (0.01 if faster else 0.03) if self.train_step.compiled_model is not None else 0.02

    monkeypatch.setattr(ModelCompiler, "measure_step_seconds", clocked)
    monkeypatch.setattr(compile, "MIN_REMAINING_STEPS", 1)
    compiler, told = recording(tmp_path, monkeypatch, lambda network, *_: lambda some: network(some), compile="auto")
    assert codes(told) == ["recorded" if faster else "not_recorded"]
    assert (compiler.train_step.compiled_model is not None) == faster
    assert compiler.run.load_resolved_config().compile == ("record" if faster else "no")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", *("cuda" for _ in range(torch.cuda.is_available()))])
def test_recorded_steps_are_the_others_but_for_rounding(device: str, precision: str) -> None:
    """Three steps with batches that differ: a record of old weights or pictures would be seen. A processor records
    nothing, and plays the network itself."""
    plain, alone = tiny().to(device), device_setup.create_accelerator(TrainConfig(device=device, precision=precision))
    fast = copy.deepcopy(plain)
    for net in (plain, fast):
        learner = learner_of(net, alone)
        for step in range(3):
            share = batch()
            labels, weight = share.labels.to(device), share.sample_weights.to(device)
            share = dataclasses.replace(
                share, inputs=(share.inputs + step).to(device), labels=labels, sample_weights=weight
            )
            if net is fast and not step:
                same = (
                    learner.prepared_model
                    if device == "cpu"
                    else cuda_graph.capture_cuda_graph(learner.prepared_model, share.inputs)
                )
                learner.set_compiled_model(same, len(share.labels), whole_batches_only=True)
            learner.forward_backward(share, step)
            learner.step(step)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5 if precision == "fp32" else 1e-3)
