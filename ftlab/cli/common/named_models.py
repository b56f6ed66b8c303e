"""The model that a command is given by the name of its run."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from ftlab.runs import run_store
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from ftlab.inference.predictor import Predictor


def find_model_run(options: Namespace) -> Run | None:
    """Return the run that a command names, whose weights are there; None for `default`, the pretrained network.

    Raises:
        RunError: there is no such run, or it has no weights.
    """  # noqa: DOC502 (`make_no_weights_error` returns one)
    run = find_named_run(options, options.run)
    if run is not None and not run.best_weights_path.exists():
        raise run.make_no_weights_error()
    return run


def load_named_model(run: Run | None) -> Predictor:
    """Return the model of a run; for None the pretrained ImageNet classifier."""
    from ftlab.inference.load_model import load_predictor

    return load_predictor(run)


def find_named_run(options: Namespace, name: str) -> Run | None:
    """Return the run with that name; None for `default`, the pretrained network."""
    return None if name == "default" else run_store.find_usable_run(options.runs, name)
