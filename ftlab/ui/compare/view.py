"""HTML of the Compare tab: curves of several runs in one plot, a table, differences. All text in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.core.messages import format_percent
from ftlab.runs.comparison import ConfigDifference, RunSummary
from ftlab.runs.curves import CurvePoints, TrainingCurves, compute_ticks
from ftlab.ui.common.curves_view import PANEL_HEIGHT_PX, format_number, render_series
from ftlab.ui.common.run_status_view import format_duration

_MARGIN_FRACTION = 0.035
"""Margin beyond the data on each side, as a fraction of the axis, so that dots at the edge are drawn whole."""


def render_curves(summaries: Sequence[RunSummary], curves: Sequence[TrainingCurves]) -> Markup:
    """Render validation accuracy and loss of all runs over their epochs, each in a colour of its own.

    Args:
        summaries: of the runs.
        curves: of the runs.

    Returns:
        Legend and plots, as HTML.
    """
    # Colours come from the style sheet (`run0`, `run1` …), which has them for both themes.
    legend = [
        tag("span", tag("i", class_=f"run{n}"), format_summary_label(n, summary), class_="key")
        for n, summary in enumerate(summaries)
    ]
    return tag(
        "div",
        tag("div", *legend, class_="legend"),
        _render_plot("loss", [_rescale_to_epochs(run_curves, run_curves.val_loss) for run_curves in curves]),
        _render_plot("accuracy", [_rescale_to_epochs(run_curves, run_curves.val_accuracy) for run_curves in curves]),
        class_="ftlab-curves ftlab-overlaid",
    )


def render_data_warning(data_names: Sequence[str]) -> Markup:
    """Return a warning that the runs were trained on different images; nothing for the same ones.

    Args:
        data_names: as `run_table.list_data_names` returns them.
    """
    if len(data_names) < 2:
        return Markup("")
    names = ", ".join(messages.escape_control_chars(name) for name in dict.fromkeys(data_names))
    return tag("p", messages.get_text("compare.other_data", data=names), class_="ftlab-trouble", role="note")


def format_summary_label(position: int, summary: RunSummary) -> str:
    """Return the label of a run in a legend: number, backbone and mode."""
    return format_run_label(position, summary.backbone, summary.mode)


def format_run_label(position: int, backbone: str, mode: str) -> str:
    """Return the label of a run in a legend.

    Args:
        position: of the run, from 0; its number is one more.
        backbone: title of its backbone.
        mode: frozen, full or scratch.

    Returns:
        The label.
    """
    return messages.get_text("compare.line", number=position + 1, backbone=backbone, mode=mode)


def _rescale_to_epochs(run_curves: TrainingCurves, series: CurvePoints) -> CurvePoints:
    """Return a curve over epochs instead of optimizer steps."""
    # Steps of runs with different batch sizes are not comparable, epochs are.
    return CurvePoints(series.x / run_curves.steps_per_epoch, series.y)


def _render_plot(metric: str, series_list: Sequence[CurvePoints]) -> Markup:
    """Render the curves of a metric as SVG; as in `curves_view`, the coordinates inside are the data.

    Args:
        metric: `loss` or `accuracy`.
        series_list: validation curves of the runs over epochs.

    Returns:
        A figure, as HTML.
    """
    measured_series = [curve.drop_unknown() for curve in series_list]
    values = [float(value) for curve in measured_series for value in curve.y]
    max_epoch = max([1.0, *(float(curve.x.max()) for curve in measured_series if len(curve.x))])
    # The whole upper range of accuracies is shown, from a tenth below the lowest one; losses start at 0.
    high = 1.0 if metric == "accuracy" else max(values, default=1.0) * 1.08 or 1.0
    low = max(0.0, min(values, default=0.0) - 0.1) if metric == "accuracy" else 0.0
    bottom, top = low - _MARGIN_FRACTION * (high - low), high + _MARGIN_FRACTION * (high - low)
    marks = []
    for value in compute_ticks(low, high, 5):
        y = format_number(PANEL_HEIGHT_PX * (top - value) / (top - bottom))
        tick_label = f"{100 * value:.4g} %" if metric == "accuracy" else f"{value:.4g}"
        marks.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        marks.append(tag("text", tick_label, class_="y", x="-7", y=y, dy=".32em"))
    for epoch in compute_ticks(0, max_epoch, 6):
        if epoch == int(epoch):  # no label between two epochs of a short run
            x = f"{format_number(100 * (epoch / max_epoch + _MARGIN_FRACTION) / (1 + 2 * _MARGIN_FRACTION))}%"
            marks.append(tag("line", class_="tick", x1=x, x2=x, y1=str(PANEL_HEIGHT_PX), y2=str(PANEL_HEIGHT_PX + 4)))
            marks.append(tag("text", format_number(epoch), class_="x", x=x, y=str(PANEL_HEIGHT_PX + 16)))
    view_box = " ".join(
        map(format_number, (-max_epoch * _MARGIN_FRACTION, -top, max_epoch * (1 + 2 * _MARGIN_FRACTION), top - bottom))
    )
    data_svg = tag(
        "svg",
        tag(
            "g",
            *(render_series("dots", f"run{n}", curve) for n, curve in enumerate(series_list)),
            transform="scale(1,-1)",  # the y axis of SVG points down
        ),
        class_="data",
        width="100%",
        height=str(PANEL_HEIGHT_PX),
        preserveAspectRatio="none",
        viewBox=view_box,
    )
    description = messages.get_text(f"compare.spoken_{metric}", count=len(series_list))
    frame = tag(
        "svg",
        *marks,
        data_svg,
        class_="frame",
        width="100%",
        height=str(PANEL_HEIGHT_PX),
        role="img",
        aria_label=description,
    )
    return tag("figure", tag("figcaption", messages.get_text(f"compare.{metric}")), frame, class_=f"panel {metric}")


def render_table(summaries: Sequence[RunSummary]) -> Markup:
    """Return a table of results and costs of the runs as HTML."""
    columns = ("run", "status", "best", "test", "epochs", "seconds", "learns", "size")
    header = tag("tr", *(tag("th", messages.get_text(f"compare.column.{name}"), scope="col") for name in columns))
    best_accuracy = max((summary.best for summary in summaries if summary.best is not None), default=None)
    body = [
        tag("tr", *_render_cells(position, summary, is_best=summary.best is not None and summary.best == best_accuracy))
        for position, summary in enumerate(summaries)
    ]
    return _render_scroll_area(tag("table", tag("thead", header), tag("tbody", join_html(body))), "compare.results")


def _render_scroll_area(table: Markup, label_key: str) -> Markup:
    """Return a table that scrolls sideways where it is too wide, also by the keyboard."""
    return tag(
        "div",
        table,
        class_="ftlab-compare scroll",
        tabindex="0",
        role="region",
        aria_label=messages.get_text(label_key),
    )


def _render_cells(position: int, summary: RunSummary, *, is_best: bool) -> list[Markup]:
    """Return the cells of a run's row; the best accuracy of all runs is marked."""
    title_tag = tag("small", isolate_text(summary.title), class_="called") if summary.title else ""
    name_tags = (
        tag("i", class_=f"run{position}"),
        tag("b", format_summary_label(position, summary)),
        title_tag,
        tag("small", summary.name),
    )
    epoch_note = "" if summary.best_epoch is None else messages.get_text("compare.at_epoch", epoch=summary.best_epoch)
    total_note = messages.get_text("compare.of", total=_format_count(summary.total))
    weights_note = f"{summary.weights / 1e6:,.1f} MB" if summary.weights else ""
    return [
        tag("th", *name_tags, scope="row"),
        tag("td", messages.get_text(f"status.short.{summary.status}")),
        tag(
            "td",
            "–" if summary.best is None else format_percent(summary.best),
            tag("small", epoch_note),
            class_="first" if is_best else None,
        ),
        tag("td", "–" if summary.test is None else format_percent(summary.test)),
        tag("td", summary.epochs or "–"),
        tag("td", format_duration(summary.seconds) if summary.seconds else "–"),
        tag("td", _format_count(summary.trainable), tag("small", total_note)) if summary.total else tag("td", "–"),
        tag("td", f"{summary.folder / 1e6:,.0f} MB", tag("small", weights_note)),
    ]


def render_differences(summaries: Sequence[RunSummary], differences: Sequence[ConfigDifference]) -> Markup:
    """Return a table of the settings in which the runs differ as HTML."""
    if not differences:
        return tag("p", messages.get_text("compare.alike"), class_="ftlab-about")
    run_headers = (
        tag("th", tag("i", class_=f"run{n}"), format_summary_label(n, summary), scope="col")
        for n, summary in enumerate(summaries)
    )
    header = tag("tr", tag("th", messages.get_text("compare.column.setting"), scope="col"), *run_headers)
    body = [
        tag("tr", tag("th", difference.label, scope="row"), *(tag("td", value) for value in difference.values))
        for difference in differences
    ]
    table_html = tag("table", tag("thead", header), tag("tbody", join_html(body)))
    heading = tag("h2", messages.get_text("compare.differences"))
    return tag("div", heading, _render_scroll_area(table_html, "compare.differences"), class_="ftlab-differs")


def _format_count(count: int) -> str:
    """Return a count with thousands separators, or in millions."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
