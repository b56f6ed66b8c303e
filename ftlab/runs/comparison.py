"""Several runs side by side: what each came to, what it cost, and in which knobs they differ. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftlab.runs import run_notes
from ftlab.core import file_io, messages
from ftlab.config.backbones import BACKBONES, TIMM_PREFIX
from ftlab.config.train_config import FIELDS, TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.history import History
from ftlab.runs.directory import Run

MAX_COMPARED_RUNS = 6
"""Runs that are compared at a time: as many colours are told apart."""


@dataclass(frozen=True)
class RunSummary:
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
class ConfigDifference:
    """A knob that not all runs have alike, and its value in each."""

    field_name: str
    values: tuple[str, ...]

    @property
    def label(self) -> str:
        return messages.get_text(f"knob.{self.field_name}.label")


def summarize_run(run: Run, history: History) -> RunSummary:
    """What there is to know of one run now.

    Raises:
        RunError: its configuration cannot be read.
    """
    config, start_event, best_epoch = run.load_config(), history.start_event, history.best_epoch
    epochs, seconds = max((row.epoch for row in history.epochs), default=0), _measure_seconds(history)
    return RunSummary(
        name=run.name,
        title=run_notes.read_notes(run).title,
        status=run.get_status(),
        backbone=get_backbone_title(config.backbone),
        mode=config.mode,
        best=best_epoch.val_accuracy if best_epoch else None,
        best_epoch=best_epoch.epoch if best_epoch else None,
        test=read_test_accuracy(run),
        epochs=epochs,
        seconds=seconds,
        images_per_second=epochs * start_event.train_images / seconds if start_event and epochs and seconds else None,
        trainable=start_event.trainable if start_event else 0,
        total=start_event.total if start_event else 0,
        weights=run.best_weights_path.stat().st_size if run.best_weights_path.is_file() else 0,
        folder=file_io.get_folder_size(run.path),
    )


def get_backbone_title(backbone: str) -> str:
    """A backbone's title for people."""
    return BACKBONES[backbone].title if backbone in BACKBONES else backbone.removeprefix(TIMM_PREFIX)


def read_test_accuracy(run: Run) -> float | None:
    """Accuracy of the best model on the test pictures, in [0, 1], as `inspection.outcome` keeps it; None where it was
    not evaluated on them. An evaluation older than the best weights is of others."""
    result_path = run.path / "evaluation" / "test-best.json"
    try:
        if result_path.stat().st_mtime_ns < run.best_weights_path.stat().st_mtime_ns:
            return None
    except OSError:
        return None
    try:
        result = run.read_json("evaluation/test-best.json")
        return float(result["right"] / result["count"]) if result["count"] else None
    except (RunError, KeyError, TypeError):  # damaged: it is made anew when it is asked for
        return None


def _measure_seconds(history: History) -> float:
    times = [row.time for rows in (history.steps, history.epochs) for row in rows[-1:]]
    elapsed_seconds = max(times) - history.start_event.time if times and history.start_event else 0.0
    reported_seconds = history.end_event.seconds if history.end_event else elapsed_seconds
    return max(reported_seconds, sum(row.seconds for row in history.epochs))


def find_differences(configs: Sequence[TrainConfig]) -> list[ConfigDifference]:
    """In which knobs configurations differ, in the order of the form."""
    config_values = [config.to_json() for config in configs]
    return [
        ConfigDifference(name, tuple(_format_setting(values[name]) for values in config_values))
        for name in FIELDS
        if len({str(values[name]) for values in config_values}) > 1
    ]


def _format_setting(value: object) -> str:
    """A knob's value for people; none is a dash."""
    if value is None or value == "":
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
