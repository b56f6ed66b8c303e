"""Comparison of runs: result and cost of each, and the settings in which they differ. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftlab.config.backbones import BACKBONES, TIMM_PREFIX
from ftlab.config.train_config import FIELDS, TrainConfig
from ftlab.core import file_io, messages
from ftlab.core.errors import RunError
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.history import History

MAX_COMPARED_RUNS = 6
"""Maximum number of runs compared at a time: as many line colours as people can tell apart."""


@dataclass(frozen=True)
class RunSummary:
    """Result and cost of one run.

    Attributes:
        name: name of the run directory.
        title: title given by a person; empty for none.
        status: as `RunLiveness.get_status` returns it.
        backbone: title of the backbone for people.
        mode: `frozen`, `full` or `scratch`.
        best: validation accuracy of the best epoch, in [0, 1]; None before there is one.
        best_epoch: number of that epoch.
        test: accuracy of the best model on the test images, in [0, 1]; None where it was not evaluated on them.
        epochs: epochs done so far.
        seconds: duration of the last process so far, with all that came before the first epoch; at least that of all
            epochs together.
        images_per_second: training images of all epochs divided by `seconds`; None before an epoch is done.
        trainable: number of trainable parameters; 0 before it is known.
        total: number of all parameters; 0 before it is known.
        weights: size of the best weights in bytes; 0 before there are any.
        folder: size of the run directory in bytes.
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
        """Return the fields as a dictionary for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ConfigDifference:
    """A field of the configuration in which runs differ, and its value in each of them."""

    field_name: str
    values: tuple[str, ...]

    @property
    def label(self) -> str:
        """The label of the field on the page."""
        return messages.get_text(f"setting.{self.field_name}.label")


def summarize_run(run: Run, history: History) -> RunSummary:
    """Summarize a run as it is now; a `RunError` says that its configuration cannot be read.

    Args:
        run: the run.
        history: all of its events.

    Returns:
        The summary.
    """
    config, start_event, best_epoch = run.load_config(), history.start_event, history.best_epoch
    epochs, seconds = max((row.epoch for row in history.epochs), default=0), _measure_seconds(history)
    return RunSummary(
        name=run.name,
        title=run_notes.read_notes(run).title,
        status=run.liveness.get_status(),
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
    """Return the title of a backbone for people; of a timm model, its name there."""
    return BACKBONES[backbone].title if backbone in BACKBONES else backbone.removeprefix(TIMM_PREFIX)


def read_test_accuracy(run: Run) -> float | None:
    """Read the accuracy of the best model on the test images, as `evaluation.results` stores it.

    Args:
        run: the run.

    Returns:
        Fraction in [0, 1]; None where the best model was not evaluated on the test images.
    """
    result_path = run.path / "evaluation" / "test-best.json"
    try:
        # An evaluation older than the best weights belongs to earlier weights.
        if result_path.stat().st_mtime_ns < run.best_weights_path.stat().st_mtime_ns:
            return None
    except OSError:
        return None
    try:
        result = run.read_json("evaluation/test-best.json")
        return float(result["right"] / result["count"]) if result["count"] else None
    except (RunError, KeyError, TypeError):  # a damaged file counts as none: the next evaluation replaces it
        return None


def _measure_seconds(history: History) -> float:
    """Return the duration of the last process in seconds, at least that of all epochs together (see `RunSummary`)."""
    times = [row.time for rows in (history.steps, history.epochs) for row in rows[-1:]]
    elapsed_seconds = max(times) - history.start_event.time if times and history.start_event else 0.0
    reported_seconds = history.end_event.seconds if history.end_event else elapsed_seconds
    return max(reported_seconds, sum(row.seconds for row in history.epochs))


def find_differences(configs: Sequence[TrainConfig]) -> list[ConfigDifference]:
    """Return the fields in which configurations differ, in the order of the form."""
    config_values = [config.to_json() for config in configs]
    return [
        ConfigDifference(name, tuple(_format_setting(values[name]) for values in config_values))
        for name in FIELDS
        if len({str(values[name]) for values in config_values}) > 1
    ]


def _format_setting(value: object) -> str:
    """Return a value for people; a dash for no value."""
    if value is None or value == "":
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
