"""An outcome as tables for other programs: CSV in UTF-8, with the classes' own names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ftlab.evaluation import metrics
from ftlab.evaluation.evaluate import Inspection

TOP = 5
"""Classes of a picture that are told."""


def pictures(found: Inspection) -> str:
    """A line a picture: path, true and predicted class, whether it is right, whether it would be called none of these,
    then class and probability of the most probable ones. Probabilities are at the decision's temperature."""
    outcome, decided = found.outcome, found.decision
    top = min(TOP, len(outcome.classes))
    head = ["path", "true", "predicted", "right", "none_of_these"]
    head += [f"{what}_{place + 1}" for place in range(top) for what in ("class", "probability")]
    best = (-found.probabilities).argsort(axis=1, kind="stable")[:, :top]

    def rows() -> Iterable[Sequence[object]]:
        for number, path in enumerate(outcome.paths):
            true, said = outcome.classes[outcome.labels[number]], outcome.classes[outcome.predicted[number]]
            told = ((outcome.classes[one], f"{found.probabilities[number, one]:.6f}") for one in best[number])
            none = _yes(decided is not None and decided.refuses(float(found.sure[number])))
            yield path, true, said, _yes(outcome.right[number]), none, *(cell for pair in told for cell in pair)

    return _written(head, rows())


def classes(found: Inspection) -> str:
    """A line a class: its count, how often it was predicted, precision, recall and F1; empty where undefined."""
    figures = metrics.classes(metrics.confusion(found.outcome))
    rows = (
        [
            name,
            one.count,
            one.predicted,
            *("" if x is None else f"{x:.6f}" for x in (one.precision, one.recall, one.f1)),
        ]
        for name, one in zip(found.outcome.classes, figures, strict=True)
    )
    return _written(["class", "pictures", "predicted", "precision", "recall", "f1"], rows)


def confusion(found: Inspection) -> str:
    """Pictures by true class (line) and predicted class (column)."""
    names = found.outcome.classes
    known = metrics.confusion(found.outcome).tolist()
    return _written(["true", *names], ([name, *row] for name, row in zip(names, known, strict=True)))


def _yes(true: object) -> str:
    return "yes" if true else "no"


def _written(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
