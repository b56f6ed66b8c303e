"""Several runs side by side: what each came to, what it cost, and in which knobs they differ. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftlab.runs import run_notes
from ftlab.core import file_io, messages
from ftlab.config.backbones import TABLE, TIMM
from ftlab.config.train_config import KNOBS, TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.history import History
from ftlab.runs.directory import Run

MOST = 6
"""Runs that are compared at a time: as many colours are told apart."""


@dataclass(frozen=True)
class Contender:
    """One run.

    Attributes:
        name: of the run.
        title: that a person gave it; empty for none.
        status: as `Run.status` has it.
        backbone: its title for people.
        mode: frozen, full or scratch.
        best: validation accuracy of the best epoch, in [0, 1]; None before there is one.
        best_epoch: which that was.
        test: accuracy of the best model on the test pictures, in [0, 1]; None where it was not evaluated on them.
        epochs: done so far.
        seconds: of its last process so far, with all that came before the first epoch; at least of all its epochs.
        images_per_second: training pictures of all epochs by those seconds; None before an epoch is done.
        trainable, total: parameters; 0 before they are known.
        weights: bytes of the best weights; 0 before there are any.
        folder: bytes of all that the run keeps.
    """

    name: str
    title: str
    status: str
    backbone: str
    mode: str
    best: float | None
    best_epoch: int | None
    test: float | None
    epochs: int
    seconds: float
    images_per_second: float | None
    trainable: int
    total: int
    weights: int
    folder: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """A knob that not all runs have alike, and its value in each."""

    knob: str
    values: tuple[str, ...]

    @property
    def label(self) -> str:
        return messages.text(f"knob.{self.knob}.label")


def contender(run: Run, history: History) -> Contender:
    """What there is to know of one run now.

    Raises:
        RunError: its configuration cannot be read.
    """
    config, started, best = run.config(), history.started, history.best
    epochs, seconds = max((row.epoch for row in history.epochs), default=0), _seconds(history)
    return Contender(
        name=run.name,
        title=run_notes.read(run).title,
        status=run.status(),
        backbone=titled(config.backbone),
        mode=config.mode,
        best=best.val_accuracy if best else None,
        best_epoch=best.epoch if best else None,
        test=tested(run),
        epochs=epochs,
        seconds=seconds,
        images_per_second=epochs * started.train_images / seconds if started and epochs and seconds else None,
        trainable=started.trainable if started else 0,
        total=started.total if started else 0,
        weights=run.best.stat().st_size if run.best.is_file() else 0,
        folder=file_io.size(run.path),
    )


def titled(backbone: str) -> str:
    """A backbone's title for people."""
    return TABLE[backbone].title if backbone in TABLE else backbone.removeprefix(TIMM)


def tested(run: Run) -> float | None:
    """Accuracy of the best model on the test pictures, in [0, 1], as `inspection.outcome` keeps it; None where it was
    not evaluated on them. An evaluation older than the best weights is of others."""
    kept = run.path / "evaluation" / "test-best.json"
    try:
        if kept.stat().st_mtime_ns < run.best.stat().st_mtime_ns:
            return None
    except OSError:
        return None
    try:
        told = run.read("evaluation/test-best.json")
        return float(told["right"] / told["count"]) if told["count"] else None
    except (RunError, KeyError, TypeError):  # damaged: it is made anew when it is asked for
        return None


def _seconds(history: History) -> float:
    times = [row.time for rows in (history.steps, history.epochs) for row in rows[-1:]]
    so_far = max(times) - history.started.time if times and history.started else 0.0
    told = history.ended.seconds if history.ended else so_far
    return max(told, sum(row.seconds for row in history.epochs))


def differences(configs: Sequence[TrainConfig]) -> list[Difference]:
    """In which knobs configurations differ, in the order of the form."""
    made = [config.to_json() for config in configs]
    return [
        Difference(name, tuple(_shown(one[name]) for one in made))
        for name in KNOBS
        if len({str(one[name]) for one in made}) > 1
    ]


def _shown(value: object) -> str:
    """A knob's value for people; none is a dash."""
    if value is None or value == "":
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
