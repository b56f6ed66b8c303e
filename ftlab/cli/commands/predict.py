"""The command `predict`: the most probable classes of images."""

from __future__ import annotations

import csv
import itertools
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ftlab.cli.common.image_files import find_image_files
from ftlab.cli.common.named_models import find_model_run, load_named_model
from ftlab.cli.parsing import config_flags
from ftlab.cli.terminal.output import print_json, print_problem
from ftlab.core import csv_cells, messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.runs.cluster import address

if TYPE_CHECKING:
    from ftlab.data.shards.shard_list import ShardList
    from ftlab.inference.predictor import ClassScore, Predictor
    from ftlab.runs.directory import Run


def predict(options: Namespace) -> int:
    """Print the most probable classes of each image, one line per image.

    Returns:
        Exit status: 2 if every image failed, else 0.

    Raises:
        ConfigError: shards are to be predicted on a cluster.
    """
    config_flags.check_bounds("--top", options.top, 1, 1000)
    _check_cluster(options)
    run = find_model_run(options)
    from ftlab.data.shards.shard_list import find_shards, is_shard_source

    # Before the model is loaded, which takes seconds.
    shard_lists = [find_shards(name) for name in options.files if is_shard_source(name)]
    file_names = [name for name in options.files if not is_shard_source(name)]
    if options.cluster and shard_lists:
        raise ConfigError("cluster.predict_shards")
    files = find_image_files(file_names) if file_names else []
    model = load_named_model(run)
    answers: Iterable[tuple[Path | str, list[ClassScore] | FtlabError]] = itertools.chain(
        _predict_files(run, model, files, options) if files else (),
        *(_predict_shards(model, shards, options.top) for shards in shard_lists),
    )
    output = sys.stdout
    # Standard output is for the answers alone: Ray prints there that a machine was lost.
    with redirect_stdout(sys.stderr):
        return 0 if _print_answers(model, answers, options, output) else 2


def _print_answers(
    model: Predictor,
    answers: Iterable[tuple[Path | str, list[ClassScore] | FtlabError]],
    options: Namespace,
    output: TextIO,
) -> bool:
    """Print the most probable classes of each image, and the errors on standard error.

    Args:
        model: that has answered.
        answers: each image with its most probable classes, or with the error.
        options: of the command.
        output: where the answers go.

    Returns:
        Whether any image was predicted.
    """
    image_count = error_count = 0
    # csv quotes the names that contain a tab or a line end.
    tsv_writer = csv.writer(output, delimiter="\t", lineterminator="\n")
    for file, top_scores in answers:
        image_count += 1
        if isinstance(top_scores, FtlabError):
            error_count += 1
            print(f"ftlab: {top_scores}", file=sys.stderr)
            continue
        if options.json:
            result = {
                "file": str(file),
                "top": [{"class": score.name, "probability": score.probability} for score in top_scores],
            }
            rejection = {"none_of_these": model.is_rejected(top_scores)} if model.decision else {}
            print_json(result | rejection, output)
        else:
            scores = [f"{score.name} {score.probability:.1%}" for score in top_scores]
            row = [str(file), *scores, *_mark_unsure(model, top_scores, rejects=options.reject)]
            tsv_writer.writerow(map(csv_cells.escape_formula, row))
    return error_count < image_count


def _check_cluster(options: Namespace) -> None:
    """Check that a prediction on a cluster is started on one of its machines.

    Args:
        options: of the command.

    Raises:
        ConfigError: the address is another one than `auto`, or Ray is not installed.
    """
    if options.cluster:
        address.declare_cluster(options.cluster)
        if options.cluster != address.CURRENT_CLUSTER:
            if address.is_slurm_address(options.cluster):
                raise ConfigError("cluster.predict_slurm")
            # The answers go to standard output, which a submitted job does not have here.
            raise ConfigError("cluster.predict_address", address=options.cluster)


def _mark_unsure(model: Predictor, top_scores: list[ClassScore], *, rejects: bool) -> list[str]:
    """Return the last cell of an image that the model is unsure of, as the person wants it said; else no cell."""
    if model.decision is None or not model.is_rejected(top_scores):
        return []
    if rejects:
        return [messages.get_text("cli.none")]
    threshold = messages.format_percent(model.decision.threshold)
    return [messages.get_text("predict.unsure", threshold=threshold)]


def _predict_shards(model: Predictor, shards: ShardList, k: int) -> Iterator[tuple[str, list[ClassScore] | FtlabError]]:
    """Predict the samples of shards, with or without a class; what is not used is told on standard error.

    Args:
        model: to predict with.
        shards: to read.
        k: number of classes per image.

    Yields:
        The name of each sample with its most probable classes, or with the error.
    """
    from ftlab.data.shards.stream import ShardStream
    from ftlab.inference import batch_predict

    stream = ShardStream(
        shards,
        needs_class=False,
        on_problem=lambda problem: print_problem(f"{problem.file}:{problem.offset}", problem, sys.stderr),
    )
    for sample, answer in batch_predict.predict_samples(model, stream, shards.count_samples()):
        name = sample.name
        yield name, answer if isinstance(answer, FtlabError) else model.rank_classes(answer, k)


def _predict_files(
    run: Run | None, model: Predictor, files: list[Path], options: Namespace
) -> Iterator[tuple[Path, list[ClassScore] | FtlabError]]:
    """Predict images: a few one by one, many by `batch_predict`, with the fastest engine, or all on a cluster.

    Args:
        run: whose model is used; None for the pretrained network.
        model: of that run.
        files: of the images.
        options: of the command.

    Yields:
        Each file with its most probable classes, or with the error.
    """
    from ftlab.models.execution import engines

    if options.cluster:
        from ftlab.inference.cluster import cluster_predict

        yield from cluster_predict.predict_files(run, files, options.top)
        return
    # For fewer images, choosing and exporting an engine would take longer than it saves.
    if len(files) >= engines.MIN_ONNX_VIEWS:
        from ftlab.inference import batch_predict

        yield from batch_predict.predict_files(model, files, options.top)
        return
    for file in files:
        try:
            yield file, model.predict(file, options.top)
        except FtlabError as error:
            yield file, error
