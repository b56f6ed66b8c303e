"""The command that names the classes of pictures; and which model and which pictures a command is about."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.common import config_flags
from ftlab.cli.terminal.output import as_json
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.runs import run_store
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from ftlab.inference.predictor import Predictor, Score


def predict(options: Namespace) -> int:
    """The top classes of each file, a line each."""
    config_flags.within("--top", options.top, 1, 1000)
    model, files = model_of(options), pictures(options.files)
    mistakes = 0
    lines = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    for file, top in _answers(model, files, options.top):
        if isinstance(top, FtlabError):
            mistakes += 1
            print(f"ftlab: {top}", file=sys.stderr)
            continue
        if options.json:
            told = {"file": str(file), "top": [{"class": s.name, "probability": s.probability} for s in top]}
            as_json(told | ({"none_of_these": model.none_of_these(top)} if model.decision else {}))
        else:
            none = [messages.text("cli.none")] if model.none_of_these(top) else []
            lines.writerow([str(file), *(f"{s.name} {s.probability:.1%}" for s in top), *none])
    return 2 if mistakes == len(files) else 0


def _answers(model: Predictor, files: list[Path], k: int) -> Iterator[tuple[Path, list[Score] | FtlabError]]:
    """The top classes of each file. Of few by the network as it is; of many by what is fastest."""
    from ftlab.models.execution import engines

    if len(files) >= engines.WORTH:
        from ftlab.inference import batch_predict

        yield from batch_predict.tops(model, files, k)
        return
    for file in files:
        try:
            yield file, model.top(file, k)
        except FtlabError as mistake:
            yield file, mistake


def pictures(named: list[str]) -> list[Path]:
    """Files as they are, folders as the pictures below them, sorted.

    Raises:
        DataError: a name is neither, or no picture is found.
    """
    from ftlab.data.images.decode import EXTENSIONS

    found: list[Path] = []
    for name in map(Path, named):
        if name.is_dir():
            found += sorted(p for p in name.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        elif name.is_file():
            found.append(name)
        else:
            raise DataError("data.no_file", file=name)
    if not found:
        raise DataError("data.no_pictures_named", files=", ".join(named))
    return found


def model_of(options: Namespace) -> Predictor:
    """The model of the run that a command names; of `default` the untrained one."""
    from ftlab.inference.predictor import load

    return load(run_of(options))


def run_of(options: Namespace) -> Run | None:
    """The run that a command names; None is the untrained default."""
    return run_named(options, options.run)


def run_named(options: Namespace, name: str) -> Run | None:
    """The same of another flag's value."""
    return None if name == "default" else run_store.find(options.runs, name)
