"""The pieces: scores, classes, confusions, reliability. HTML in which all text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.core.messages import format_percent
from ftlab.evaluation import calibration, metrics
from ftlab.evaluation.calibration import ReliabilityDiagram
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.metrics import CountArray, Proportion

MAX_MATRIX_CLASSES = 100
"""Classes that a matrix has room for; of more, those with the most mistakes are shown."""
_MAX_NUMBERED_CLASSES = 25
"""Classes up to which the cells are large enough for their numbers."""
_MAX_LISTED_FILES = 20
"""Pictures that could not be read, by name; the rest is counted."""

ClassFormatter = Callable[[str], str]
"""What a person reads for the name of a class."""


def render_scores(evaluation: Evaluation) -> Markup:
    """The figures as cards, and what is to be known of them."""
    result, summary = evaluation.result, evaluation.metrics
    cards = [_render_proportion("top1", summary.top1)]
    if len(result.class_names) > 5:
        cards.append(_render_proportion("top5", summary.top5))
    cards.append(
        _render_card(
            "balanced", format_percent(summary.balanced_accuracy), messages.get_text("inspect.card.balanced_note")
        )
    )
    n = summary.top1.n
    is_small_sample = n < metrics.SMALL_SAMPLE_IMAGES
    note = (
        messages.get_text("inspect.card.points", points=f"{100 / n:.2g}")
        if is_small_sample
        else messages.get_text("inspect.card.seen")
    )
    cards.append(_render_card("pictures", f"{n:,}", note))
    error_before, error_after = (
        calibration.compute_reliability(result, temperature).calibration_error
        for temperature in (1.0, evaluation.temperature)
    )
    key = "inspect.card.error_after" if evaluation.temperature != 1 else "inspect.card.error_note"
    cards.append(
        _render_card("error", format_percent(error_before), messages.get_text(key, after=format_percent(error_after)))
    )
    if evaluation.decision and evaluation.decision.threshold:
        threshold_note = messages.get_text(
            "inspect.card.none_note", threshold=format_percent(evaluation.decision.threshold)
        )
        cards.append(_render_card("none", format_percent(evaluation.rejected_count / n), threshold_note))
    return tag("div", tag("dl", *cards, class_="ft-cards"), _render_notes(evaluation), class_="ft-scores")


def _render_proportion(key: str, proportion: Proportion) -> Markup:
    low, high = proportion.confidence_interval
    return _render_card(
        key,
        format_percent(proportion.fraction),
        messages.get_text("inspect.card.interval", low=format_percent(low), high=format_percent(high)),
    )


def _render_card(key: str, value: str, note: str) -> Markup:
    heading = tag("dt", messages.get_text(f"inspect.card.{key}"))
    return tag("div", heading, tag("dd", value), tag("dd", note, class_="note"))


def _render_notes(evaluation: Evaluation) -> Markup:
    result, decision = evaluation.result, evaluation.decision
    notes: list[object] = []
    if result.skipped_images:
        list_items = (
            tag("li", tag("code", isolate_text(skipped_image.path, is_path=True)), " ", skipped_image.problem)
            for skipped_image in result.skipped_images[:_MAX_LISTED_FILES]
        )
        summary = messages.get_text("inspect.skipped", count=f"{len(result.skipped_images):,}")
        notes.append(tag("details", tag("summary", summary), tag("ul", *list_items)))
    if result.unknown_classes:
        names = ", ".join(
            f"{messages.escape_control_chars(name)} ({count:,})" for name, count in result.unknown_classes
        )
        notes.append(tag("p", messages.get_text("inspect.unknown", names=names)))
    if decision is None:
        notes.append(tag("p", messages.get_text("inspect.undecided")))
    elif not decision.threshold:
        threshold_note = messages.get_text("inspect.no_threshold", right=decision.right, few=calibration.MIN_IMAGES)
        notes.append(tag("p", threshold_note))
    return tag("div", *notes, class_="ft-notes") if notes else Markup("")


def render_class_table(evaluation: Evaluation, format_class: ClassFormatter, *, sortable: bool = False) -> Markup:
    """The classes one by one, the least well known first.

    Args:
        sortable: a column's head is a button, for a script that sorts by `data-value`.
    """
    class_metrics = metrics.compute_class_metrics(metrics.confusion_matrix(evaluation.result))
    rows = sorted(
        zip(evaluation.result.class_names, class_metrics, strict=True),
        key=lambda entry: (entry[1].f1 is None, entry[1].f1 or 0),
    )
    columns = ("class", "count", "precision", "recall", "f1")
    headings = (messages.get_text(f"inspect.column.{key}") for key in columns)
    header_cells = (
        tag("th", tag("button", entry, type="button") if sortable else entry, scope="col") for entry in headings
    )
    body_rows = (
        tag(
            "tr",
            tag("th", isolate_text(format_class(name)), scope="row", title=messages.escape_control_chars(name)),
            tag("td", f"{entry.image_count:,}", data_value=entry.image_count),
            *map(_render_bar_cell, (entry.precision, entry.recall, entry.f1)),
        )
        for name, entry in rows
    )
    return tag("table", tag("thead", tag("tr", *header_cells)), tag("tbody", *body_rows), class_="ft-classes")


def _render_bar_cell(fraction: float | None) -> Markup:
    if fraction is None:
        return tag("td", "–", data_value=-1)
    bar = tag("i", style=f"width:{100 * fraction:.1f}%", aria_hidden="true")
    return tag("td", bar, tag("span", format_percent(fraction)), data_value=f"{fraction:.6f}", class_="bar")


def render_confusion_matrix(evaluation: Evaluation, format_class: ClassFormatter, *, pressable: bool = False) -> Markup:
    """The confusion matrix: a row a true class, a column an answer; colour by the share of the row.

    Args:
        pressable: each count is a button with `data-true` and `data-predicted`, indices of classes.
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
                _render_matrix_cell(counts, row, column, names, len(shown_classes), pressable)
                for column in shown_classes
            ),
        )
        for row in shown_classes
    )
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
        [tag("div", table, class_="ft-scroll", tabindex="0"), tag("p", note, class_="sub") if is_truncated else ""]
    )


def _render_matrix_cell(
    counts: CountArray, row: int, column: int, names: Sequence[str], shown_count: int, pressable: bool
) -> Markup:
    count = int(counts[row, column])
    if not count:
        return Markup("<td></td>")
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
    # Even one mistake among a thousand is to be seen.
    share_style = f"--share:{12 + 78 * fraction:.0f}%"
    return tag(
        "td",
        content,
        class_=("hit" if row == column else "miss") + (" strong" if fraction > 0.5 else ""),
        style=share_style,
        title=description,
    )


def render_calibration(evaluation: Evaluation) -> Markup:
    """How far the probabilities can be believed: diagrams before and, where there is one, after the temperature."""
    result, decision = evaluation.result, evaluation.decision
    diagrams = [
        _render_reliability(calibration.compute_reliability(result), messages.get_text("inspect.reliability.before"))
    ]
    if evaluation.temperature != 1:
        title = messages.get_text("inspect.reliability.after", temperature=f"{evaluation.temperature:.2f}")
        diagrams.append(_render_reliability(calibration.compute_reliability(result, evaluation.temperature), title))
    paragraphs = [tag("p", messages.get_text("inspect.reliability.how"), class_="sub")]
    if evaluation.temperature != 1:
        key = "inspect.reliability.own" if evaluation.is_validation else "inspect.reliability.fitted"
        paragraphs.append(tag("p", messages.get_text(key, temperature=f"{evaluation.temperature:.2f}"), class_="sub"))
    elif decision:
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.none"), class_="sub"))
    if decision and decision.threshold:
        message_values = {"threshold": format_percent(decision.threshold), "right": f"{decision.right:,}"}
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.threshold", **message_values), class_="sub"))
    if decision and result.weights_choice == "best" and (decision.threshold or evaluation.temperature != 1):
        paragraphs.append(tag("p", messages.get_text("inspect.reliability.used"), class_="sub"))
    return tag("div", tag("div", *diagrams, class_="ft-pair"), *paragraphs, class_="ft-calibration")


_DIAGRAM_SIDE_UNITS, _LEFT_MARGIN_UNITS, _BOTTOM_MARGIN_UNITS = 220, 34, 30
"""Of the diagram's square, and of the room for its numbers: units of the drawing."""


def _render_reliability(reliability: ReliabilityDiagram, title: str) -> Markup:
    """A reliability diagram: accuracy by the probability of the answer; on the diagonal the two are the same."""
    max_count, bin_width = max(1, int(reliability.counts.max())), _DIAGRAM_SIDE_UNITS / calibration.BIN_COUNT
    shapes: list[object] = []
    for bin_index, (count, confidence, accuracy) in enumerate(
        zip(reliability.counts.tolist(), reliability.confidence.tolist(), reliability.accuracy.tolist(), strict=True)
    ):
        if not count:
            continue
        tooltip = messages.get_text(
            "inspect.reliability.bin",
            count=f"{count:,}",
            confidence=format_percent(confidence),
            accuracy=format_percent(accuracy),
        )
        x_attributes = {"x": f"{_LEFT_MARGIN_UNITS + bin_index * bin_width + 1:.1f}", "width": f"{bin_width - 2:.1f}"}
        y_attributes = {
            "y": f"{_DIAGRAM_SIDE_UNITS * (1 - accuracy):.1f}",
            "height": f"{_DIAGRAM_SIDE_UNITS * accuracy:.1f}",
        }
        # Few pictures say little: their bar is pale.
        bar_shape = tag(
            "rect",
            tag("title", tooltip),
            **x_attributes,
            **y_attributes,
            class_="got",
            opacity=f"{0.35 + 0.65 * count / max_count:.2f}",
        )
        confidence_y = f"{_DIAGRAM_SIDE_UNITS * (1 - confidence):.1f}"
        confidence_x = f"{_LEFT_MARGIN_UNITS + confidence * _DIAGRAM_SIDE_UNITS:.1f}"
        shapes += [bar_shape, tag("circle", cx=confidence_x, cy=confidence_y, r="2.4", class_="meant")]
    ticks = [
        tick
        for fraction in (0, 0.5, 1)
        for tick in (
            tag(
                "text",
                f"{fraction:.0%}",
                x=_LEFT_MARGIN_UNITS - 5,
                y=f"{_DIAGRAM_SIDE_UNITS * (1 - fraction) + 4:.0f}",
                text_anchor="end",
            ),
            tag(
                "text",
                f"{fraction:.0%}",
                x=f"{_LEFT_MARGIN_UNITS + fraction * _DIAGRAM_SIDE_UNITS:.0f}",
                y=_DIAGRAM_SIDE_UNITS + 14,
                text_anchor="middle",
            ),
        )
    ]
    axis_label = tag(
        "text",
        messages.get_text("inspect.reliability.axis"),
        x=_LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS / 2,
        y=_DIAGRAM_SIDE_UNITS + 27,
        text_anchor="middle",
    )
    frame = tag(
        "rect", x=_LEFT_MARGIN_UNITS, y=0, width=_DIAGRAM_SIDE_UNITS, height=_DIAGRAM_SIDE_UNITS, class_="frame"
    )
    diagonal = tag(
        "line",
        x1=_LEFT_MARGIN_UNITS,
        y1=_DIAGRAM_SIDE_UNITS,
        x2=_LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS,
        y2=0,
        class_="even",
    )
    svg = tag(
        "svg",
        frame,
        *shapes,
        diagonal,
        *ticks,
        axis_label,
        viewBox=f"0 -8 {_LEFT_MARGIN_UNITS + _DIAGRAM_SIDE_UNITS + 16} {_DIAGRAM_SIDE_UNITS + _BOTTOM_MARGIN_UNITS + 10}",
        role="img",
        aria_label=f"{title}. {messages.get_text('inspect.reliability.axis')}",
    )
    return tag(
        "figure",
        tag("figcaption", title, tag("b", format_percent(reliability.calibration_error))),
        svg,
        class_="ft-reliability",
    )


def render_image_grid(
    evaluation: Evaluation,
    indices: Sequence[int],
    image_uris: Sequence[str | None],
    format_class: ClassFormatter,
    *,
    pressable: bool = False,
) -> Markup:
    """Pictures with their true class and the answer.

    Args:
        indices: of the pictures.
        image_uris: a `data:` address each; None for one that is gone.
        pressable: each is a button with `data-index`.
    """
    pairs = zip(indices, image_uris, strict=True)
    return tag(
        "div",
        *(_render_image(evaluation, index, image_uri, format_class, pressable) for index, image_uri in pairs),
        class_="ft-grid",
    )


def _render_image(
    evaluation: Evaluation, index: int, image_uri: str | None, format_class: ClassFormatter, pressable: bool
) -> Markup:
    result = evaluation.result
    true_name, predicted_name = (
        format_class(result.class_names[label_array[index]]) for label_array in (result.labels, result.predicted_labels)
    )
    is_correct = bool(result.is_correct[index])
    image = (
        tag("img", src=image_uri, alt="")
        if image_uri
        else tag("span", messages.get_text("inspect.gone"), class_="gone")
    )
    confidence = format_percent(float(evaluation.confidences[index]))
    lines: list[object] = [tag("b", isolate_text(predicted_name)), tag("small", confidence)]
    if not is_correct:
        lines.append(tag("small", messages.get_text("inspect.truly"), " ", isolate_text(true_name), class_="true"))
    content = [image, tag("span", *lines, class_="said")]
    css_class = "right" if is_correct else "wrong"
    title = messages.escape_control_chars(result.paths[index])
    if pressable:
        return tag("button", *content, type="button", data_index=index, class_=css_class, title=title)
    return tag("figure", *content, class_=css_class, title=title)
