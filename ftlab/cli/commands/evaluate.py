"""The command `evaluate`: score a run's model."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.terminal.output import open_progress_bar, print_json, print_problem
from ftlab.core import messages
from ftlab.core.errors import ConfigError, DataError
from ftlab.core.typed_path import parse_typed_path
from ftlab.runs import run_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftlab.data.shards.shard_sample import ShardProblem
    from ftlab.evaluation.evaluate import Evaluation
    from ftlab.runs.directory import Run


def evaluate(options: Namespace) -> None:
    """Evaluate a run's checkpoints on a split or a labelled folder; with `--out`, write a report for each.

    Raises:
        DataError: the folder does not exist.
    """
    from ftlab.data.shards.shard_list import is_shard_source

    run = run_store.find_usable_run(options.runs, options.run)
    if options.folder and is_shard_source(options.folder):
        _evaluate_shards(run, options)
        return
    # Before torch is loaded, which takes seconds.
    if options.folder and not parse_typed_path(options.folder).exists():
        raise DataError("data.missing", folder=options.folder)
    from ftlab.evaluation import datasets
    from ftlab.evaluation.evaluate import evaluate_with_decision
    from ftlab.inference import load_model
    from ftlab.reporting.html import files

    if options.folder:
        dataset = datasets.load_folder_dataset(options.folder, datasets.read_class_names(run))
    else:
        dataset = datasets.load_split_dataset(run, options.split)
    for problem in dataset.problems:
        print_problem(problem.location, problem, sys.stderr)
    for checkpoint_name in _list_checkpoints(options):
        with open_progress_bar("console.validation") as progress:
            evaluation = evaluate_with_decision(run, dataset, checkpoint_name, progress)
        folder = Path(options.out) / f"{dataset.name}-{checkpoint_name}" if options.out else None
        if options.json:
            print_json(_collect_metrics(evaluation) | ({"out": str(folder)} if folder else {}))
        else:
            _print_evaluation(evaluation, options.folder or options.split)
        if folder:
            model = load_model.load_predictor(run, checkpoint_name)
            written_files = files.write_report_files(folder, evaluation, model.title, run.name, model.display_names)
            if not options.json:
                print(
                    messages.get_text(
                        "cli.reported", out=folder, files=", ".join(written_file.name for written_file in written_files)
                    )
                )


def _list_checkpoints(options: Namespace) -> tuple[str, ...]:
    """Return the names of the checkpoints to evaluate."""
    return ("best", "last") if options.which == "both" else (options.which,)


def _print_shard_problem(problem: ShardProblem) -> None:
    """Print a problem of a shard, with its position in bytes."""
    print_problem(f"{problem.file}:{problem.offset}", problem, sys.stderr)


def _evaluate_shards(run: Run, options: Namespace) -> None:
    """Evaluate a run's checkpoints on tar shards; print once, on standard error, what is not used in them.

    Raises:
        ConfigError: a report is asked for, which would need the images again.
    """
    from ftlab.data.shards.shard_list import find_shards
    from ftlab.evaluation.shard_evaluation import evaluate_shards

    if options.out:
        raise ConfigError("config.shards_out")
    shards = find_shards(options.folder)
    for pass_index, checkpoint_name in enumerate(_list_checkpoints(options)):
        # A second pass meets the same problems.
        on_problem: Callable[[ShardProblem], None] = (lambda _: None) if pass_index else _print_shard_problem
        with open_progress_bar("console.validation") as progress:
            evaluation = evaluate_shards(run, shards, checkpoint_name, on_problem=on_problem, progress=progress)
        if options.json:
            print_json(_collect_metrics(evaluation))
        else:
            _print_evaluation(evaluation, shards.source)


def _collect_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics for `--json`."""
    from ftlab.evaluation import calibration

    result, metrics, decision = evaluation.result, evaluation.metrics, evaluation.decision
    low, high = metrics.top1.confidence_interval
    return {
        "pictures": result.dataset_name,
        "which": result.weights_choice,
        "n": metrics.top1.n,
        "top1": metrics.top1.fraction,
        "top1_interval": [low, high],
        "top5": metrics.top5.fraction,
        "balanced": metrics.balanced_accuracy,
        "loss": metrics.loss,
        "calibration_error": calibration.compute_reliability(result).calibration_error,
        "calibration_error_after": calibration.compute_reliability(result, evaluation.temperature).calibration_error,
        "temperature": evaluation.temperature,
        "threshold": decision.threshold if decision else 0.0,
        "none_of_these": evaluation.rejected_count,
        "skipped": [skipped_image.path for skipped_image in result.skipped_images],
        "unknown": dict(result.unknown_classes),
    }


def _print_evaluation(evaluation: Evaluation, split_name: str) -> None:
    """Print the metrics, the images that could not be read, and the folders that are no class of the model."""
    result, metrics = evaluation.result, evaluation.metrics
    low, high = metrics.top1.confidence_interval
    metric_values = {
        "top1": metrics.top1.fraction,
        "top5": metrics.top5.fraction,
        "low": low,
        "high": high,
        "loss": metrics.loss,
    }
    # With five classes or fewer, top-5 accuracy is 100 % by definition.
    key = "cli.score_top5" if len(result.class_names) > 5 else "cli.score"
    print(messages.get_text(key, split=split_name, which=result.weights_choice, n=metrics.top1.n, **metric_values))
    for skipped_image in result.skipped_images:
        print_problem(messages.escape_control_chars(skipped_image.path), skipped_image)
    if result.unknown_classes:
        names = ", ".join(
            f"{messages.escape_control_chars(name)} ({count:,})" for name, count in result.unknown_classes
        )
        print(messages.get_text("inspect.unknown", names=names))
