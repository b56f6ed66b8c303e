"""The confusion matrix of an evaluation as an HTML table. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.evaluation import metrics
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.metrics import CountArray
from ftlab.reporting.html.parts import ClassFormatter

MAX_MATRIX_CLASSES = 100
"""Classes that the matrix has space for; of more, those with the most errors are shown."""
_MAX_NUMBERED_CLASSES = 25
"""Classes up to which the cells are large enough for their numbers."""


def render_confusion_matrix(evaluation: Evaluation, format_class: ClassFormatter, *, pressable: bool = False) -> Markup:
    """Render the confusion matrix: true class (row) by predicted class (column), coloured by the fraction of the row.

    Args:
        evaluation: the evaluation.
        format_class: maps a class name to its name for people.
        pressable: each count is a button with the class indices `data-true` and `data-predicted`.

    Returns:
        The table and, where classes are left out, a note.
    """
    counts = metrics.confusion_matrix(evaluation.result)
    names = [format_class(name) for name in evaluation.result.class_names]
    shown_classes = metrics.most_confused_classes(counts, MAX_MATRIX_CLASSES)
    header_cells = (
        tag(
            "th",
            tag("span", isolate_text(names[class_index])),
            scope="col",
            title=messages.escape_control_chars(names[class_index]),
        )
        for class_index in shown_classes
    )
    corner = tag("td", messages.get_text("inspect.matrix.corner"), class_="corner")
    rows = (
        tag(
            "tr",
            tag("th", isolate_text(names[row]), scope="row", title=messages.escape_control_chars(names[row])),
            *(
                _render_matrix_cell(counts, row, column, names, len(shown_classes), pressable=pressable)
                for column in shown_classes
            ),
        )
        for row in shown_classes
    )
    # The style sheet has a cell size for each.
    size = "large" if len(shown_classes) <= 10 else "middle" if len(shown_classes) <= _MAX_NUMBERED_CLASSES else "small"
    table = tag(
        "table", tag("thead", tag("tr", corner, *header_cells)), tag("tbody", *rows), class_=f"ft-matrix {size}"
    )
    is_truncated = len(shown_classes) < len(names)
    note = (
        messages.get_text("inspect.matrix.part", shown=len(shown_classes), count=f"{len(names):,}")
        if is_truncated
        else ""
    )
    return join_html(
        # `tabindex`: a region that scrolls must be reachable by keyboard.
        [tag("div", table, class_="ft-scroll", tabindex="0"), tag("p", note, class_="sub") if is_truncated else ""]
    )


def _render_matrix_cell(
    counts: CountArray, row: int, column: int, names: Sequence[str], shown_count: int, *, pressable: bool
) -> Markup:
    """Return a cell of the matrix; empty where the count is 0."""
    count = int(counts[row, column])
    if not count:
        return Markup("<td></td>")
    # Of all images of the class, also those predicted as a class that is not shown.
    fraction = count / int(counts[row].sum())
    key = "inspect.matrix.right" if row == column else "inspect.matrix.wrong"
    description = messages.get_text(
        key,
        count=f"{count:,}",
        true=messages.escape_control_chars(names[row]),
        predicted=messages.escape_control_chars(names[column]),
    )
    number = f"{count:,}" if shown_count <= _MAX_NUMBERED_CLASSES else ""
    content = (
        tag("button", number, type="button", data_true=row, data_predicted=column, aria_label=description)
        if pressable
        else number
    )
    # At least 12 % colour: a single error among a thousand images must be visible.
    share_style = f"--share:{12 + 78 * fraction:.0f}%"
    return tag(
        "td",
        content,
        class_=("hit" if row == column else "miss") + (" strong" if fraction > 0.5 else ""),
        style=share_style,
        title=description,
    )
