"""Pieces of an evaluation as HTML: scores, class table, image grid. All text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.core.messages import format_percent
from ftlab.evaluation import calibration, metrics
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.metrics import Proportion

_MAX_LISTED_FILES = 20
"""Images that could not be read and are listed by path; only the number of the others is shown."""

ClassFormatter = Callable[[str], str]
"""Maps a class name to its name for people."""


def render_scores(evaluation: Evaluation) -> Markup:
    """Return the metrics as cards, and notes on skipped images, unknown classes and the decision rule."""
    result, summary = evaluation.result, evaluation.metrics
    cards = [_render_proportion("top1", summary.top1)]
    # With five classes or fewer, top-5 accuracy is 100 % by definition.
    if len(result.class_names) > 5:
        cards.append(_render_proportion("top5", summary.top5))
    cards.append(
        _render_card(
            "balanced", format_percent(summary.balanced_accuracy), messages.get_text("inspect.card.balanced_note")
        )
    )
    n = summary.top1.n
    # In a small sample the note says how many percentage points a single image is.
    is_small_sample = n < metrics.SMALL_SAMPLE_IMAGES
    note = (
        messages.get_text("inspect.card.points", points=f"{100 / n:.2g}")
        if is_small_sample
        else messages.get_text("inspect.card.seen")
    )
    cards.append(_render_card("pictures", f"{n:,}", note))
    # Calibration error as trained, and with the temperature.
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
    """Return the card of a fraction with its 95 % confidence interval."""
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
    """Return what limits the evaluation: skipped images, unknown classes, no decision rule or threshold."""
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
    """Render a table of the metrics of each class, the lowest F1 first.

    Args:
        evaluation: the evaluation.
        format_class: maps a class name to its name for people.
        sortable: column heads are buttons, for a script that sorts rows by `data-value`.

    Returns:
        The table.
    """
    class_metrics = metrics.compute_class_metrics(metrics.confusion_matrix(evaluation.result))
    rows = sorted(
        zip(evaluation.result.class_names, class_metrics, strict=True),
        # Classes with neither images nor predictions have no F1 and come last.
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
    """Return a table cell with a fraction in [0, 1] as a bar and as a number."""
    if fraction is None:
        # Undefined, which is not 0; -1 sorts it below all values.
        return tag("td", "–", data_value=-1)
    bar = tag("i", style=f"width:{100 * fraction:.1f}%", aria_hidden="true")
    return tag("td", bar, tag("span", format_percent(fraction)), data_value=f"{fraction:.6f}", class_="bar")


def render_image_grid(
    evaluation: Evaluation,
    indices: Sequence[int],
    image_uris: Sequence[str | None],
    format_class: ClassFormatter,
    *,
    pressable: bool = False,
) -> Markup:
    """Render images with their true and predicted class.

    Args:
        evaluation: the evaluation.
        indices: indices of the images in its result.
        image_uris: a `data:` URI for each image; None for one that no longer exists.
        format_class: maps a class name to its name for people.
        pressable: each image is a button with `data-index`.

    Returns:
        The grid.
    """
    pairs = zip(indices, image_uris, strict=True)
    return tag(
        "div",
        *(_render_image(evaluation, index, image_uri, format_class, pressable=pressable) for index, image_uri in pairs),
        class_="ft-grid",
    )


def _render_image(
    evaluation: Evaluation, index: int, image_uri: str | None, format_class: ClassFormatter, *, pressable: bool
) -> Markup:
    """Return an image with its predicted class and, where that is wrong, the true one."""
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
