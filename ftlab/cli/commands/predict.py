"""The command that names the classes of pictures; and which model and which pictures a command is about."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.common import config_flags
from ftlab.cli.terminal.output import print_json
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.runs import run_store
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from ftlab.inference.predictor import ClassScore, Predictor


def predict(options: Namespace) -> int:
    """The top classes of each file, a line each."""
    config_flags.check_bounds("--top", options.top, 1, 1000)
    model, files = load_named_model(options), find_image_files(options.files)
    error_count = 0
    tsv_writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    for file, top_scores in _predict_files(model, files, options.top):
        if isinstance(top_scores, FtlabError):
            error_count += 1
            print(f"ftlab: {top_scores}", file=sys.stderr)
            continue
        if options.json:
            result = {
                "file": str(file),
                "top": [{"class": score.name, "probability": score.probability} for score in top_scores],
            }
            print_json(result | ({"none_of_these": model.is_rejected(top_scores)} if model.decision else {}))
        else:
            rejection = [messages.get_text("cli.none")] if model.is_rejected(top_scores) else []
            tsv_writer.writerow(
                [str(file), *(f"{score.name} {score.probability:.1%}" for score in top_scores), *rejection]
            )
    return 2 if error_count == len(files) else 0


def _predict_files(model: Predictor, files: list[Path], k: int) -> Iterator[tuple[Path, list[ClassScore] | FtlabError]]:
    """The top classes of each file. Of few by the network as it is; of many by what is fastest."""
    from ftlab.models.execution import engines

    if len(files) >= engines.MIN_ONNX_VIEWS:
        from ftlab.inference import batch_predict

        yield from batch_predict.predict_files(model, files, k)
        return
    for file in files:
        try:
            yield file, model.predict(file, k)
        except FtlabError as error:
            yield file, error


def find_image_files(names: list[str]) -> list[Path]:
    """Files as they are, folders as the pictures below them, sorted.

    Raises:
        DataError: a name is neither, or no picture is found.
    """
    from ftlab.data.images.decode import IMAGE_SUFFIXES

    image_files: list[Path] = []
    for path in map(Path, names):
        if path.is_dir():
            image_files += sorted(
                image_path
                for image_path in path.rglob("*")
                if image_path.suffix.lower() in IMAGE_SUFFIXES and image_path.is_file()
            )
        elif path.is_file():
            image_files.append(path)
        else:
            raise DataError("data.no_file", file=path)
    if not image_files:
        raise DataError("data.no_pictures_named", files=", ".join(names))
    return image_files


def load_named_model(options: Namespace) -> Predictor:
    """The model of the run that a command names; of `default` the untrained one."""
    from ftlab.inference.predictor import load_predictor

    return load_predictor(find_requested_run(options))


def find_requested_run(options: Namespace) -> Run | None:
    """The run that a command names; None is the untrained default."""
    return find_named_run(options, options.run)


def find_named_run(options: Namespace, name: str) -> Run | None:
    """The same of another flag's value."""
    return None if name == "default" else run_store.find_run(options.runs, name)
