"""A compiled network, where what is left of a training repays the compiling.

`torch.compile` (Ansel et al., 2024, "PyTorch 2", ASPLOS) makes one program of many operations. Only whole batches, or
whole portions of one, go through it: a last batch of another size would have to be compiled by itself.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.models.execution.micro_batches import is_out_of_memory
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.cuda_graph import capture_cuda_graph
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import RankBatch
from ftlab.training.train_step import TrainStep, preserve_buffers

BACKEND = "inductor"
MIN_REMAINING_STEPS = 60
"""Steps left below which not even a step is measured."""
COMPILE_SECONDS_PER_LAYER = 0.5
"""That compiling takes for a layer, about: 0.35 and 0.5 were measured on two cores."""
_EXPECTED_SAVED_FRACTION, _REQUIRED_PAYBACK_FACTOR = 0.25, 3.0
"""Share of a step that a compiled one is hoped to save; and how many times that must repay the compiling, for some
networks turn out not to gain."""
MAX_COMPILE_CACHE_BYTES = 1_000_000_000
"""Bytes of programs that are kept; a network takes some ten million."""
_MAX_RELATIVE_DIFFERENCE = 0.1
"""Share of the logits' size by which recorded passes may differ from others, and of what gradients have in common."""
_MIN_SPEEDUP = 1.1
"""Times that a compiled step must be faster to be taken."""


class ModelCompiler:
    """Decides once, at the first step of the last phase, whether the network is compiled. The run keeps what it was."""

    def __init__(self, train_step: TrainStep, config: TrainConfig, run: Run, accelerator: Accelerator) -> None:
        """`config.compile` is `auto` where nothing was decided yet."""
        self.train_step, self.config, self.run, self.accelerator = train_step, config, run, accelerator
        self.device = accelerator.device.type
        self._decided = config.compile == "no" or config.caches_features

    def maybe_compile(self, batch: RankBatch, train_state: TrainState) -> Iterator[LogMessage]:
        """To be called before each step; what a person should know of what was decided."""
        last_epoch = self.train_step.phase.last_epoch
        if self._decided or last_epoch < (self.config.epochs or 1):
            return
        self._decided = True
        steps_left = (last_epoch - train_state.epoch + 1) * self.train_step.steps_per_epoch - train_state.done
        is_auto = self.config.compile == "auto"
        if self.config.compile == "record" or (
            is_auto and not self._is_worth_compiling(batch, train_state, steps_left)
        ):
            yield from self._try_cuda_graph(batch, train_state, steps_left)
            return
        if self.device == "cpu" and BACKEND == "inductor" and not (cpp_compiler := find_cpp_compiler())[1]:
            self._save_decision("no")
            yield LogMessage(code="no_compiler", values={"name": cpp_compiler[0]}, level="warning")
            return
        yield LogMessage(code="compiling", values={"seconds": round(self._estimate_compile_seconds())})
        yield self._try_compile(batch, train_state, is_auto)

    def _try_cuda_graph(self, batch: RankBatch, train_state: TrainState, steps_left: int) -> Iterator[LogMessage]:
        """Record the passes, where a card computes, and go on so unless that is slower, or gives something else: it
        costs some ten steps."""
        single_process, undivided = (
            self.accelerator.num_processes == 1,
            not self.train_step.micro_batcher.micro_batch_size,
        )
        can_capture = self.device == "cuda" and single_process and undivided and self.config.gradual == "no"
        is_required = self.config.compile == "record"
        if not can_capture or (steps_left < MIN_REMAINING_STEPS and not is_required):
            self._save_decision("no")
            return
        self.measure_step_seconds(batch, train_state)  # whatever is slow the first time only
        eager_seconds = self.measure_step_seconds(batch, train_state)
        try:
            with preserve_buffers(self.train_step.prepared_model):
                graphed_model = capture_cuda_graph(self.train_step.prepared_model, batch.inputs)
            with _perturb_parameters(
                self.train_step.prepared_model
            ):  # a record that has not noticed would give what it gave
                eager_tensors = self._compute_gradients(batch, train_state)
                self.train_step.set_compiled_model(graphed_model, len(batch.labels), whole_batches_only=True)
                outputs_match = _outputs_match(eager_tensors, self._compute_gradients(batch, train_state))
            if not outputs_match:
                raise RuntimeError("the recorded passes give something else")
            graph_seconds = min(self.measure_step_seconds(batch, train_state) for _ in range(2))
        except Exception as failure:  # the same as in `_try`; a card without room for two of it goes on as well
            yield self._revert_to_eager(
                LogMessage(code="not_compiled", values={"cause": _get_first_error_line(failure)}, level="warning")
            )
            return
        figures: dict[str, object] = {"before": round(eager_seconds, 4), "after": round(graph_seconds, 4)}
        if not is_required and graph_seconds > eager_seconds:
            yield self._revert_to_eager(LogMessage(code="not_recorded", values=figures))
            return
        self._save_decision("record")
        yield LogMessage(code="recorded", values=figures)

    def _estimate_compile_seconds(self) -> float:
        """Seconds that compiling takes, about."""
        return COMPILE_SECONDS_PER_LAYER * sum(
            not any(True for _ in submodule.children()) for submodule in self.train_step.unwrapped_model.modules()
        )

    def _is_worth_compiling(self, batch: RankBatch, train_state: TrainState, steps_left: int) -> bool:
        """Whether so many steps would repay it, by the first process's measure."""
        is_worth, single_process = False, self.accelerator.num_processes == 1  # with several it was not tried
        if (
            steps_left >= MIN_REMAINING_STEPS
            and single_process
            and self.config.gradual == "no"
            and self.device in ("cpu", "cuda")
        ):
            self.measure_step_seconds(batch, train_state)  # whatever is slow the first time only
            is_worth = (
                steps_left * self.measure_step_seconds(batch, train_state) * _EXPECTED_SAVED_FRACTION
                > _REQUIRED_PAYBACK_FACTOR * self._estimate_compile_seconds()
            )
        return device_setup.broadcast_object(self.accelerator, is_worth)

    def _try_compile(self, batch: RankBatch, train_state: TrainState, is_auto: bool) -> LogMessage:
        """Compile, and go on with what comes of it, or as before."""
        limit_compile_cache(user_dirs.get_ftlab_home() / "compiled")
        eager_seconds = self.measure_step_seconds(batch, train_state)
        # The same random numbers as without: dropout stays a function of the seed.
        options: Any = {"fallback_random": True} if BACKEND == "inductor" else None
        cause = ""
        with _send_heartbeats(self.run):
            try:
                compiled_model = torch.compile(
                    self.train_step.prepared_model, dynamic=False, backend=BACKEND, options=options
                )
                self.train_step.set_compiled_model(compiled_model, len(batch.labels))
                compile_seconds = self.measure_step_seconds(batch, train_state)
                compiled_seconds = self.measure_step_seconds(batch, train_state)
            # The very same step went well without it, so it is the compiler's fault, whatever it is.
            except Exception as failure:
                if is_out_of_memory(failure):
                    raise
                cause = _get_first_error_line(failure)
        if any(device_setup.any_rank(self.accelerator, [bool(cause)])):
            return self._revert_to_eager(LogMessage(code="not_compiled", values={"cause": cause}, level="warning"))
        figures: dict[str, object] = {
            "before": round(eager_seconds, 3),
            "after": round(compiled_seconds, 3),
            "seconds": round(compile_seconds),
        }
        if is_auto and device_setup.broadcast_object(self.accelerator, eager_seconds < _MIN_SPEEDUP * compiled_seconds):
            return self._revert_to_eager(LogMessage(code="not_faster", values=figures))
        self._save_decision("yes")
        return LogMessage(code="compiled", values=figures)

    def _revert_to_eager(self, note: LogMessage) -> LogMessage:
        self.train_step.set_compiled_model(None, 0)
        self._save_decision("no")
        return note

    def measure_step_seconds(self, batch: RankBatch, train_state: TrainState) -> float:
        """How long the gradients of a step take, which is not taken."""
        start_time = time.perf_counter()
        self.train_step.dry_run_step(batch, train_state.step)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start_time

    def _compute_gradients(self, batch: RankBatch, train_state: TrainState) -> list[Tensor]:
        """Of a step that is not taken: its logits, and all its gradients."""
        with preserve_buffers(self.train_step.prepared_model):
            logits, _ = self.train_step.forward_backward(batch, train_state.step)
        tensors = [
            logits,
            *(
                parameter.grad.clone()
                for parameter in self.train_step.prepared_model.parameters()
                if parameter.grad is not None
            ),
        ]
        self.train_step.zero_grad()
        return tensors

    def _save_decision(self, choice: str) -> None:
        """Write it to the run, so that a resume goes on likewise."""
        if self.accelerator.is_main_process and self.config.compile != choice:
            self.run.update_resolved_config(compile=choice)


@contextmanager
def _perturb_parameters(module: nn.Module) -> Iterator[None]:
    """All that learns has other values meanwhile, up to a half more."""
    parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    original_values = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator(original_values[0].device).manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.rand(parameter.shape, generator=generator, device=parameter.device)
            parameter.mul_(1 + noise / 2)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, original_values)


def _outputs_match(eager: list[Tensor], replayed: list[Tensor]) -> bool:
    """Whether two passes are the same but for rounding: bfloat16's adds up in a deep network, and more so in its
    gradients, of which only the direction is looked at."""
    if len(eager) != len(replayed):
        return False
    eager_gradients, replayed_gradients = (
        torch.cat([tensor.flatten().float() for tensor in tensors[1:]]) for tensors in (eager, replayed)
    )
    relative_difference = (eager[0] - replayed[0]).float().norm() / eager[0].float().norm()
    return bool(relative_difference < _MAX_RELATIVE_DIFFERENCE) and bool(
        torch.cosine_similarity(eager_gradients, replayed_gradients, dim=0) > 1 - _MAX_RELATIVE_DIFFERENCE
    )


def limit_compile_cache(folder: Path) -> None:
    """What is compiled stays there for later trainings, unless another folder was named; what would be too much by now
    goes, for nobody can say which part of it will be used again."""
    if (
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder)) == str(folder)
        and file_io.get_folder_size(folder) > MAX_COMPILE_CACHE_BYTES
    ):
        shutil.rmtree(folder, ignore_errors=True)


def _get_first_error_line(failure: BaseException) -> str:
    """Of what went wrong; torch puts words of its own around what a compiler says."""
    error = getattr(failure, "inner_exception", failure)
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def find_cpp_compiler() -> tuple[str, bool]:
    """The compiler of C++ that torch calls, and whether it is here."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return name, shutil.which(name) is not None


@contextmanager
def _send_heartbeats(run: Run) -> Iterator[None]:
    """Signs of life from a thread: compiling takes minutes in which nothing else can give any."""
    stop_event, heartbeat = threading.Event(), run.create_heartbeat()

    def beat_until_stopped() -> None:
        heartbeat.beat()
        while not stop_event.wait(1.0):
            heartbeat.beat()

    thread = threading.Thread(target=beat_until_stopped, name="heart", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop_event.set()
        thread.join()
