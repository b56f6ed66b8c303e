"""Decision whether a training compiles its network, by whether the steps that are left repay the time of compiling.

`torch.compile` (Ansel et al., 2024, "PyTorch 2", ASPLOS) fuses many operations into one program. Only batches, or
micro-batches, of the usual size go through it: a last batch of another size would have to be compiled by itself.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, user_dirs
from ftlab.models.buffer_snapshot import preserve_buffers
from ftlab.models.execution.micro_batches import is_out_of_memory
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.cuda_graph import capture_cuda_graph, outputs_match, perturb_parameters
from ftlab.training.devices import distributed
from ftlab.training.feeds.base import RankBatch
from ftlab.training.train_step import TrainStep

BACKEND = "inductor"
"""Backend of `torch.compile`; the tests use one that compiles nothing."""
MIN_REMAINING_STEPS = 60
"""Remaining steps below which not even the time of a step is measured."""
COMPILE_SECONDS_PER_LAYER = 0.5
"""Approximate time of compiling, for each layer: 0.35 and 0.5 were measured on two cores."""
_EXPECTED_SAVED_FRACTION, _REQUIRED_PAYBACK_FACTOR = 0.25, 3.0
"""Fraction of a step's time that compiling is expected to save, and how many times the saving must repay the compiling:
some networks turn out not to gain anything."""
MAX_COMPILE_CACHE_BYTES = 1_000_000_000
"""Size above which the cache of compiled programs is deleted; those of a network take some ten million bytes."""
_MAX_COMPILE_SECONDS = 7200.0
"""Seconds after which a compilation counts as hanging."""
_MIN_SPEEDUP = 1.1
"""Speed of a compiled step, relative to an uncompiled one, below which the network is not compiled."""


class ModelCompiler:
    """Decides once, at the first step of the last phase, whether the network is compiled, and records it in the run."""

    def __init__(self, train_step: TrainStep, config: TrainConfig, run: Run, accelerator: Accelerator) -> None:
        """Prepare the decision.

        Args:
            train_step: gets the compiled model.
            config: `compile` is `auto`, unless the user decided, or an earlier start of the run.
            run: the run directory.
            accelerator: device and ranks.
        """
        self.train_step, self.config, self.run, self.accelerator = train_step, config, run, accelerator
        self.device = accelerator.device.type
        self._decided = config.compile == "no" or not config.trains_on_images

    def maybe_compile(self, batch: RankBatch, train_state: TrainState) -> Iterator[LogMessage]:
        """Compile the network if it is time to decide and worth it; call it before each step.

        Args:
            batch: this rank's part of the step; steps with it are timed, and not taken.
            train_state: how far the training is.

        Yields:
            What was decided, and measured.
        """
        # A phase before the last trains fewer layers, and its program would not fit the next phase.
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
        yield self._try_compile(batch, train_state, is_auto=is_auto)

    def _try_cuda_graph(self, batch: RankBatch, train_state: TrainState, steps_left: int) -> Iterator[LogMessage]:
        """Capture a CUDA graph on a GPU and use it, unless it is slower or gives other results; costs some ten steps.

        Args:
            batch: this rank's part of the step.
            train_state: how far the training is.
            steps_left: steps of the last phase that are left.

        Yields:
            What was decided, and measured.
        """
        # A graph is captured for one batch size and a fixed set of parameters; gradient exchange is not captured.
        single_process = self.accelerator.num_processes == 1
        undivided = not self.train_step.micro_batcher.micro_batch_size
        can_capture = self.device == "cuda" and single_process and undivided and not self.config.gradual_unfreezing
        is_required = self.config.compile == "record"
        if not can_capture or (steps_left < MIN_REMAINING_STEPS and not is_required):
            self._save_decision("no")
            return
        self.measure_step_seconds(batch, train_state)  # warm up: kernels are loaded and memory is allocated
        eager_seconds = self.measure_step_seconds(batch, train_state)
        try:
            graph_seconds = self._capture_and_time(batch, train_state)
        # As in `_try_compile`; and a GPU without memory for a second copy of the activations goes on without it.
        except Exception as failure:
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

    def _capture_and_time(self, batch: RankBatch, train_state: TrainState) -> float:
        """Capture a CUDA graph, use it from now on, and compare its results with those of the network.

        Args:
            batch: this rank's part of the step.
            train_state: gives the number of the step.

        Returns:
            Seconds of a step with the graph.

        Raises:
            RuntimeError: the results differ by more than rounding.
        """
        with preserve_buffers(self.train_step.prepared_model):
            graphed_model = capture_cuda_graph(self.train_step.prepared_model, batch.inputs)
        # With other parameters than at the capture: a graph that does not read them would replay its old results.
        with perturb_parameters(self.train_step.prepared_model):
            eager_tensors = self._compute_gradients(batch, train_state)
            self.train_step.set_compiled_model(graphed_model, len(batch.labels), whole_batches_only=True)
            is_match = outputs_match(eager_tensors, self._compute_gradients(batch, train_state))
        if not is_match:
            raise RuntimeError("the CUDA graph gives other results")
        return min(self.measure_step_seconds(batch, train_state) for _ in range(2))

    def _estimate_compile_seconds(self) -> float:
        """Return the approximate time of compiling, by the number of layers."""
        return COMPILE_SECONDS_PER_LAYER * sum(
            not any(True for _ in submodule.children()) for submodule in self.train_step.unwrapped_model.modules()
        )

    def _is_worth_compiling(self, batch: RankBatch, train_state: TrainState, steps_left: int) -> bool:
        """Measure a step, and return whether the steps that are left would repay compiling.

        Args:
            batch: this rank's part of the step.
            train_state: how far the training is.
            steps_left: steps of the last phase that are left.

        Returns:
            The answer of rank 0.
        """
        # With several ranks compiling is not measured, and so never chosen automatically.
        is_worth, single_process = False, self.accelerator.num_processes == 1
        if (
            steps_left >= MIN_REMAINING_STEPS
            and single_process
            and not self.config.gradual_unfreezing
            and self.device in ("cpu", "cuda")
        ):
            self.measure_step_seconds(batch, train_state)  # warm up
            is_worth = (
                steps_left * self.measure_step_seconds(batch, train_state) * _EXPECTED_SAVED_FRACTION
                > _REQUIRED_PAYBACK_FACTOR * self._estimate_compile_seconds()
            )
        return distributed.broadcast_object(self.accelerator, is_worth)

    def _try_compile(self, batch: RankBatch, train_state: TrainState, *, is_auto: bool) -> LogMessage:
        """Compile the network and use it, unless it fails or is not faster.

        Args:
            batch: this rank's part of the step.
            train_state: how far the training is.
            is_auto: the user did not ask for it, so that it must be faster.

        Returns:
            What was decided, and measured.
        """
        limit_compile_cache(user_dirs.get_ftlab_home() / "compiled")
        eager_seconds = self.measure_step_seconds(batch, train_state)
        # Random numbers from PyTorch's generators as without compiling: dropout stays a function of the seed.
        # Other backends know no such option.
        options: Any = {"fallback_random": True} if BACKEND == "inductor" else None
        cause = ""
        with self.run.liveness.create_heartbeat().beat_during(_MAX_COMPILE_SECONDS):
            try:
                compiled_model = torch.compile(
                    self.train_step.prepared_model, dynamic=False, backend=BACKEND, options=options
                )
                self.train_step.set_compiled_model(compiled_model, len(batch.labels))
                compile_seconds = self.measure_step_seconds(batch, train_state)
                compiled_seconds = self.measure_step_seconds(batch, train_state)
            # The same step succeeded without compiling: whatever was raised, it comes from the compiler.
            except Exception as failure:
                if is_out_of_memory(failure):
                    raise
                cause = _get_first_error_line(failure)
        if any(distributed.any_rank(self.accelerator, [bool(cause)])):
            return self._revert_to_eager(LogMessage(code="not_compiled", values={"cause": cause}, level="warning"))
        figures: dict[str, object] = {
            "before": round(eager_seconds, 3),
            "after": round(compiled_seconds, 3),
            "seconds": round(compile_seconds),
        }
        if is_auto and distributed.broadcast_object(self.accelerator, eager_seconds < _MIN_SPEEDUP * compiled_seconds):
            return self._revert_to_eager(LogMessage(code="not_faster", values=figures))
        self._save_decision("yes")
        return LogMessage(code="compiled", values=figures)

    def _revert_to_eager(self, note: LogMessage) -> LogMessage:
        """Return the note on why the network is not compiled, and go on without."""
        self.train_step.set_compiled_model(None, 0)
        self._save_decision("no")
        return note

    def measure_step_seconds(self, batch: RankBatch, train_state: TrainState) -> float:
        """Return the seconds that the gradients of a step take; the step is not taken.

        Args:
            batch: this rank's part of the step.
            train_state: gives the number of the step.
        """
        start_time = time.perf_counter()
        self.train_step.dry_run_step(batch, train_state.step)
        # Kernels run asynchronously: without this, only their launches would be timed.
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start_time

    def _compute_gradients(self, batch: RankBatch, train_state: TrainState) -> list[Tensor]:
        """Return logits and gradients of a step that is not taken.

        Args:
            batch: this rank's part of the step.
            train_state: gives the number of the step.

        Returns:
            Logits [b, K], then a copy of each parameter's gradient.
        """
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
        """Record the decision in the run: a resumed training must compute the same way."""
        if self.accelerator.is_main_process and self.config.compile != choice:
            self.run.update_resolved_config(compile=choice)


def limit_compile_cache(folder: Path) -> None:
    """Keep compiled programs in a folder for later trainings, and empty it where it has grown too large.

    If the environment variable `TORCHINDUCTOR_CACHE_DIR` names a folder, that one is used and never emptied. All
    programs go at once: nobody can tell which ones will be used again.
    """
    if (
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder)) == str(folder)
        and file_io.get_folder_size(folder) > MAX_COMPILE_CACHE_BYTES
    ):
        shutil.rmtree(folder, ignore_errors=True)


def _get_first_error_line(failure: BaseException) -> str:
    """Return the first line of an error, of the backend's own error where torch has wrapped it."""
    error = getattr(failure, "inner_exception", failure)
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def find_cpp_compiler() -> tuple[str, bool]:
    """Return the name of the C++ compiler that PyTorch calls, and whether it is installed."""
    # As `torch._inductor.cpp_builder` chooses it.
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return name, shutil.which(name) is not None
