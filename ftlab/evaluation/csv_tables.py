"""Evaluation results as CSV tables in UTF-8 for other programs, with the classes' own (folder) names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ftlab.core import csv_cells
from ftlab.evaluation import metrics
from ftlab.evaluation.evaluate import Evaluation

MAX_TOP_CLASSES = 5
"""Most probable classes listed for each image."""


def format_image_table(evaluation: Evaluation) -> str:
    """Format one row per image: path, true and predicted class, correct, rejected, and the most probable classes.

    Probabilities are at the temperature of the decision rule.

    Returns:
        CSV text with a header row.
    """
    result, decision = evaluation.result, evaluation.decision
    top_count = min(MAX_TOP_CLASSES, len(result.class_names))
    header = ["path", "true", "predicted", "right", "none_of_these"]
    header += [f"{column}_{rank + 1}" for rank in range(top_count) for column in ("class", "probability")]
    # Stable: of equal probabilities the lower class index comes first, as `argmax` has it for the prediction.
    top_classes = (-evaluation.probabilities).argsort(axis=1, kind="stable")[:, :top_count]

    # A generator: of a million images only the CSV text is held in memory, not all rows as well.
    def iter_rows() -> Iterable[Sequence[object]]:
        for index, path in enumerate(result.paths):
            true_class, predicted_class = (
                result.class_names[result.labels[index]],
                result.class_names[result.predicted_labels[index]],
            )
            top_pairs = (
                (result.class_names[class_index], f"{evaluation.probabilities[index, class_index]:.6f}")
                for class_index in top_classes[index]
            )
            rejected = _format_yes_no(
                decision is not None and decision.rejects_probability(float(evaluation.confidences[index]))
            )
            yield (
                path,
                true_class,
                predicted_class,
                _format_yes_no(result.is_correct[index]),
                rejected,
                *(cell for pair in top_pairs for cell in pair),
            )

    return _format_csv(header, iter_rows())


def format_class_table(evaluation: Evaluation) -> str:
    """Format one row per class: image count, predicted count, precision, recall and F1; empty where undefined.

    Returns:
        CSV text with a header row.
    """
    class_metrics = metrics.compute_class_metrics(metrics.confusion_matrix(evaluation.result))
    rows = (
        [
            name,
            row_metrics.image_count,
            row_metrics.predicted_count,
            *("" if x is None else f"{x:.6f}" for x in (row_metrics.precision, row_metrics.recall, row_metrics.f1)),
        ]
        for name, row_metrics in zip(evaluation.result.class_names, class_metrics, strict=True)
    )
    return _format_csv(["class", "pictures", "predicted", "precision", "recall", "f1"], rows)


def format_confusion_table(evaluation: Evaluation) -> str:
    """Return the confusion matrix as CSV text: true class (row) by predicted class (column)."""
    class_names = evaluation.result.class_names
    counts = metrics.confusion_matrix(evaluation.result).tolist()
    return _format_csv(["true", *class_names], ([name, *row] for name, row in zip(class_names, counts, strict=True)))


def _format_yes_no(value: object) -> str:
    return "yes" if value else "no"


def _format_csv(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV text of a header and rows; cells are quoted where they need it, and none is run as a formula."""
    stream = io.StringIO()
    # RFC 4180 ends lines with CRLF, on every system.
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(map(csv_cells.escape_formula, header))
    writer.writerows(map(csv_cells.escape_formula, row) for row in rows)
    return stream.getvalue()
