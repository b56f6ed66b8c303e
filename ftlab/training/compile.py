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
from ftlab.models.execution.micro_batches import out_of_memory
from ftlab.runs.directory import Run
from ftlab.runs.events import Note
from ftlab.training.checkpoints.checkpoint import Position
from ftlab.training.cuda_graph import record
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import Share
from ftlab.training.train_step import Learner, kept_buffers

BACKEND = "inductor"
_FEWEST = 60
"""Steps left below which not even a step is measured."""
_SECONDS = 0.5
"""That compiling takes for a layer, about: 0.35 and 0.5 were measured on two cores."""
_SAVED, _REPAID = 0.25, 3.0
"""Share of a step that a compiled one is hoped to save; and how many times that must repay the compiling, for some
networks turn out not to gain."""
_MOST = 1_000_000_000
"""Bytes of programs that are kept; a network takes some ten million."""
_FAR = 0.1
"""Share of the logits' size by which recorded passes may differ from others, and of what gradients have in common."""
_FASTER = 1.1
"""Times that a compiled step must be faster to be taken."""


class Compiler:
    """Decides once, at the first step of the last phase, whether the network is compiled. The run keeps what it was."""

    def __init__(self, learner: Learner, config: TrainConfig, run: Run, accelerator: Accelerator) -> None:
        """`config.compile` is `auto` where nothing was decided yet."""
        self.learner, self.config, self.run, self.accelerator = learner, config, run, accelerator
        self.device = accelerator.device.type
        self._decided = config.compile == "no" or config.caches_features

    def look(self, share: Share, position: Position) -> Iterator[Note]:
        """To be called before each step; what a person should know of what was decided."""
        last = self.learner.phase.last
        if self._decided or last < (self.config.epochs or 1):
            return
        self._decided = True
        left = (last - position.epoch + 1) * self.learner.per_epoch - position.done
        automatic = self.config.compile == "auto"
        if self.config.compile == "record" or (automatic and not self._worth(share, position, left)):
            yield from self._record(share, position, left)
            return
        if self.device == "cpu" and BACKEND == "inductor" and not (found := _cpp())[1]:
            self._keep("no")
            yield Note(code="no_compiler", values={"name": found[0]}, level="warning")
            return
        yield Note(code="compiling", values={"seconds": round(self._cost())})
        yield self._try(share, position, automatic)

    def _record(self, share: Share, position: Position, left: int) -> Iterator[Note]:
        """Record the passes, where a card computes, and go on so unless that is slower, or gives something else: it
        costs some ten steps."""
        alone, whole = self.accelerator.num_processes == 1, not self.learner.portions.most
        possible = self.device == "cuda" and alone and whole and self.config.gradual == "no"
        asked = self.config.compile == "record"
        if not possible or (left < _FEWEST and not asked):
            self._keep("no")
            return
        self._seconds(share, position)  # whatever is slow the first time only
        before = self._seconds(share, position)
        try:
            with kept_buffers(self.learner.module):
                fast = record(self.learner.module, share.inputs)
            with _moved(self.learner.module):  # a record that has not noticed would give what it gave
                plain = self._gradients(share, position)
                self.learner.compile(fast, len(share.labels), undivided=True)
                alike = _alike(plain, self._gradients(share, position))
            if not alike:
                raise RuntimeError("the recorded passes give something else")
            after = min(self._seconds(share, position) for _ in range(2))
        except Exception as failure:  # the same as in `_try`; a card without room for two of it goes on as well
            yield self._back(Note(code="not_compiled", values={"cause": _first_line(failure)}, level="warning"))
            return
        figures: dict[str, object] = {"before": round(before, 4), "after": round(after, 4)}
        if not asked and after > before:
            yield self._back(Note(code="not_recorded", values=figures))
            return
        self._keep("record")
        yield Note(code="recorded", values=figures)

    def _cost(self) -> float:
        """Seconds that compiling takes, about."""
        return _SECONDS * sum(not any(True for _ in part.children()) for part in self.learner.bare.modules())

    def _worth(self, share: Share, position: Position, left: int) -> bool:
        """Whether so many steps would repay it, by the first process's measure."""
        worth, alone = False, self.accelerator.num_processes == 1  # with several it was not tried
        if left >= _FEWEST and alone and self.config.gradual == "no" and self.device in ("cpu", "cuda"):
            self._seconds(share, position)  # whatever is slow the first time only
            worth = left * self._seconds(share, position) * _SAVED > _REPAID * self._cost()
        return device_setup.told(self.accelerator, worth)

    def _try(self, share: Share, position: Position, automatic: bool) -> Note:
        """Compile, and go on with what comes of it, or as before."""
        _keep_programs(user_dirs.home() / "compiled")
        before = self._seconds(share, position)
        # The same random numbers as without: dropout stays a function of the seed.
        options: Any = {"fallback_random": True} if BACKEND == "inductor" else None
        cause = ""
        with _beating(self.run):
            try:
                fast = torch.compile(self.learner.module, dynamic=False, backend=BACKEND, options=options)
                self.learner.compile(fast, len(share.labels))
                seconds = self._seconds(share, position)
                after = self._seconds(share, position)
            # The very same step went well without it, so it is the compiler's fault, whatever it is.
            except Exception as failure:
                if out_of_memory(failure):
                    raise
                cause = _first_line(failure)
        if any(device_setup.agree(self.accelerator, [bool(cause)])):
            return self._back(Note(code="not_compiled", values={"cause": cause}, level="warning"))
        figures: dict[str, object] = {"before": round(before, 3), "after": round(after, 3), "seconds": round(seconds)}
        if automatic and device_setup.told(self.accelerator, before < _FASTER * after):
            return self._back(Note(code="not_faster", values=figures))
        self._keep("yes")
        return Note(code="compiled", values=figures)

    def _back(self, why: Note) -> Note:
        self.learner.compile(None, 0)
        self._keep("no")
        return why

    def _seconds(self, share: Share, position: Position) -> float:
        """How long the gradients of a step take, which is not taken."""
        began = time.perf_counter()
        self.learner.attempt(share, position.step)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def _gradients(self, share: Share, position: Position) -> list[Tensor]:
        """Of a step that is not taken: its logits, and all its gradients."""
        with kept_buffers(self.learner.module):
            logits, _ = self.learner.gradients(share, position.step)
        found = [logits, *(one.grad.clone() for one in self.learner.module.parameters() if one.grad is not None)]
        self.learner.forget()
        return found

    def _keep(self, what: str) -> None:
        """Write it to the run, so that a resume goes on likewise."""
        if self.accelerator.is_main_process and self.config.compile != what:
            self.run.resolve(compile=what)


@contextmanager
def _moved(module: nn.Module) -> Iterator[None]:
    """All that learns has other values meanwhile, up to a half more."""
    parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kept = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator(kept[0].device).manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            share = torch.rand(parameter.shape, generator=generator, device=parameter.device)
            parameter.mul_(1 + share / 2)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, kept)


def _alike(plain: list[Tensor], recorded: list[Tensor]) -> bool:
    """Whether two passes are the same but for rounding: bfloat16's adds up in a deep network, and more so in its
    gradients, of which only the direction is looked at."""
    if len(plain) != len(recorded):
        return False
    one, other = (torch.cat([part.flatten().float() for part in parts[1:]]) for parts in (plain, recorded))
    far = (plain[0] - recorded[0]).float().norm() / plain[0].float().norm()
    return bool(far < _FAR) and bool(torch.cosine_similarity(one, other, dim=0) > 1 - _FAR)


def _keep_programs(folder: Path) -> None:
    """What is compiled stays there for later trainings, unless another folder was named; what would be too much by now
    goes, for nobody can say which part of it will be used again."""
    if os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder)) == str(folder) and file_io.size(folder) > _MOST:
        shutil.rmtree(folder, ignore_errors=True)


def _first_line(failure: BaseException) -> str:
    """Of what went wrong; torch puts words of its own around what a compiler says."""
    first = getattr(failure, "inner_exception", failure)
    return (str(first).strip().splitlines() or [type(first).__name__])[0]


def _cpp() -> tuple[str, bool]:
    """The compiler of C++ that torch calls, and whether it is here."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return name, shutil.which(name) is not None


@contextmanager
def _beating(run: Run) -> Iterator[None]:
    """Signs of life from a thread: compiling takes minutes in which nothing else can give any."""
    over, heart = threading.Event(), run.heart()

    def beat() -> None:
        heart.beat()
        while not over.wait(1.0):
            heart.beat()

    thread = threading.Thread(target=beat, name="heart", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
