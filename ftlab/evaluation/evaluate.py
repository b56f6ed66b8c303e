"""One pass of a model over labelled pictures, by the fastest engine that gives what a prediction gives.

python -m ftlab evaluate latest --split test
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ftlab.core.errors import DataError
from ftlab.evaluation import calibration, datasets, results
from ftlab.evaluation.metrics import Doubles, Figures, figures, probabilities
from ftlab.evaluation.results import Outcome, Pictures, Progress, Skipped
from ftlab.inference import batch_predict, decision_rule, predictor
from ftlab.inference.decision_rule import Decision
from ftlab.inference.predictor import Predictor
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class Inspection:
    """An outcome, and how its probabilities are to be read.

    Attributes:
        outcome: of at least one picture.
        decision: by validation; None where its pictures are not to be had any more.
        own: whether the outcome is of the pictures that the decision was chosen by.
    """

    outcome: Outcome
    decision: Decision | None

    @property
    def own(self) -> bool:
        return self.outcome.pictures == "val"

    @property
    def temperature(self) -> float:
        """That of the decision, or 1."""
        return self.decision.temperature if self.decision else 1.0

    @cached_property
    def figures(self) -> Figures:
        """The outcome in numbers."""
        return figures(self.outcome)

    @cached_property
    def probabilities(self) -> Doubles:
        """Of every class, at the temperature: float64 [N, K]."""
        return probabilities(self.outcome.logits, self.temperature)

    @cached_property
    def sure(self) -> Doubles:
        """Of the answer: float64 [N]."""
        return self.probabilities.max(1)

    @property
    def refused(self) -> int:
        """Pictures that would be called none of these."""
        return sum(map(self.decision.refuses, self.sure.tolist())) if self.decision else 0


def inspect(
    run: Run, pictures: Pictures, which: str = "best", progress: Progress = lambda done, total: None
) -> Inspection:
    """An outcome of pictures and one of validation, each as it was kept or made now.

    Raises:
        RunError, DataError: as `evaluate`, of the pictures; that those of validation are gone is borne.
    """
    made = evaluate(run, pictures, which, progress)
    try:
        return Inspection(made, decide(run, which, progress))
    except DataError as missing:
        if missing.code not in ("data.gone", "data.empty_split"):
            raise
        return Inspection(made, None)


def kept(run: Run, pictures: Pictures, which: str = "best") -> Inspection | None:
    """The same as it was kept, without a pass; None where one is needed.

    Raises:
        RunError: `decision.json` cannot be read.
    """
    made = results.read(run, pictures, which)
    if made is None:
        return None
    decided = decision_rule.read(run) if which == "best" else None
    if decided is None:
        validation = results.read(run, datasets.of_split(run, "val"), which)
        decided = calibration.decide(validation) if validation else None
    return Inspection(made, decided)


def evaluate(
    run: Run, pictures: Pictures, which: str = "best", progress: Progress = lambda done, total: None
) -> Outcome:
    """What a run's model says of pictures: as it was kept, else by a pass over them, whose outcome is kept.

    Logits are those of `Predictor` but for rounding (float32, about 1e-6 of the largest), in any batch.

    Args:
        run: with weights.
        pictures: of a split or a folder.
        which: `best` or `last`.
        progress: called as pictures are done.

    Raises:
        RunError: there are no such weights, they are damaged, or the outcome cannot be written.
        DataError: none of the pictures can be read.
    """
    kept = results.read(run, pictures, which)
    if kept is not None:
        return kept
    # Before they are loaded: weights that get better meanwhile must not be taken for those that were asked.
    weights = results.weights(run, which)
    made = look(predictor.load(run, which), pictures, which, weights, progress)
    results.write(run, made, pictures.fingerprint)
    return made


def look(
    model: Predictor,
    pictures: Pictures,
    which: str = "best",
    weights: str = "",
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """The pass itself; nothing is read from the run and nothing is kept. `which` and `weights` are as in `Outcome`.

    Raises:
        DataError: none of the pictures can be read.
    """
    began, items = time.monotonic(), pictures.items
    files = [pictures.root / item.path for item in items]
    found = batch_predict.logits(model, batch_predict.engine(model, len(files)), files, progress)
    if not found.indices:
        raise DataError("data.gone", folder=pictures.root)
    refused = ((items[index].path, refusal) for index, refusal in found.skipped)
    return Outcome(
        pictures.name,
        which,
        model.classes,
        pictures.root,
        tuple(items[index].path for index in found.indices),
        np.array([items[index].label for index in found.indices], np.int64),
        found.vectors[0].numpy(),
        tuple(Skipped(path, one.code, {**one.values, "file": path}) for path, one in refused),
        pictures.unknown,
        weights,
        time.monotonic() - began,
    )


def decide(run: Run, which: str = "best", progress: Progress = lambda done, total: None) -> Decision:
    """How the model's probabilities are to be read, by validation; of the best model it is kept in the run, where
    predictions find it.

    Raises:
        RunError, DataError: as `evaluate`.
    """
    decided = decision_rule.read(run) if which == "best" else None
    if decided is None:
        decided = calibration.decide(evaluate(run, datasets.of_split(run, "val"), which, progress))
        if which == "best":
            decision_rule.write(run, decided)
    return decided
