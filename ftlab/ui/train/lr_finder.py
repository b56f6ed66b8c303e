"""A learning rate found for the Train tab's form: the loss at each of a hundred, and one that a click takes over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ftlab.config import backbones
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, tag
from ftlab.models.pretrained import weights
from ftlab.runs.curves import compute_ticks
from ftlab.runs.jobs import lr_sweep
from ftlab.runs.jobs.lr_sweep import LrSweep
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.ui.common import data_choice, run_status_view
from ftlab.ui.common.curves_view import format_number
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

PLOT_HEIGHT_PX = 190
"""Height of the plot in CSS pixels."""
# Unicode superscripts: not all browsers support `baseline-shift` in SVG text.
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_finder_section(actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any]) -> None:
    """Build the folded section in the current Gradio context, and register its events.

    Args:
        actions: handlers of the tab.
        config_form: the form.
        inputs: components whose values `TrainActions.parse_inputs` takes.
    """
    with gr.Accordion(messages.get_text("train.rate.title"), open=False, elem_id="train-find"):
        gr.HTML(
            tag("p", messages.get_text("train.rate.about"), class_="sub"),
            elem_id="train-find-about",
            apply_default_css=False,
        )
        start_button = gr.Button(messages.get_text("train.rate.button"), size="sm", elem_id="train-find-start")
        curve_html = gr.HTML(
            render_empty_state("train.rate.idle", "train.rate.idle_step"),
            elem_id="train-find-curve",
            apply_default_css=False,
        )
        use_button = gr.Button(visible=False, size="sm", variant="primary", elem_id="train-find-use")
    suggested_rate = gr.Number(visible=False, elem_id="train-find-rate")

    def show_busy() -> tuple[Any, ...]:
        busy_html = run_status_view.render_card(
            "waiting", messages.get_text("train.rate.busy"), messages.get_text("train.rate.busy_step"), -1.0
        )
        return busy_html, gr.Button(visible=False), gr.Button(interactive=False)

    def run_sweep(*input_values: Any) -> tuple[Any, ...]:
        curve, suggestion = find_learning_rate(actions, config_form, input_values)
        button = gr.Button(visible=False)
        if suggestion is not None:
            button = gr.Button(messages.get_text("train.rate.use", rate=f"{suggestion:g}"), visible=True)
        return curve, button, gr.Button(interactive=True), suggestion

    busy_event = start_button.click(show_busy, None, [curve_html, use_button, start_button], **_UNQUEUED_EVENT)
    # The same queue as the speed measurement of `preflight`: run at the same time, each would falsify the other.
    busy_event.then(
        run_sweep,
        inputs,
        [curve_html, use_button, start_button, suggested_rate],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="measure",
        concurrency_limit=1,
    )
    use_button.click(lambda value: value, suggested_rate, config_form.components["learning_rate"], **_UNQUEUED_EVENT)


def find_learning_rate(
    actions: TrainActions, config_form: form.ConfigForm, input_values: Sequence[Any]
) -> tuple[Markup, float | None]:
    """Run a learning rate range test with the form's settings.

    Args:
        actions: handlers of the tab.
        config_form: the form.
        input_values: as `TrainActions.parse_inputs` takes them.

    Returns:
        The plot as HTML and the suggested rate; or an error message, and None.
    """
    try:
        source, config = actions.parse_inputs(config_form, input_values)
        # It trains too, for a hundred steps.
        LessonRules(actions.profile.runs_dir).check_start(actions.get_person(), config)
        catalog = data_choice.find_scanned_catalog(source) if source.folder else data_choice.scan_source(source)
        spec = backbones.get_backbone_spec(config.backbone)
        if catalog is None:
            return render_error(messages.get_text("train.rate.unlooked")), None
        # The sweep's process would download them, which may take minutes without a sign of progress.
        if config.mode != "scratch" and not weights.locate_weights(spec).ready:
            return render_error(messages.get_text("train.rate.unfetched", title=spec.title)), None
        if actions.find_active_run():
            return render_error(messages.get_text("train.rate.working")), None
        sweep = lr_sweep.run_lr_sweep(config, catalog.root, should_continue=lambda: not actions.find_active_run())
    except FtlabError as error:
        return render_error(form.format_error(error)), None
    if sweep is None:
        return render_error(messages.get_text("train.rate.working")), None
    return render_sweep(sweep), sweep.suggest_learning_rate()


def render_sweep(sweep: LrSweep) -> Markup:
    """Render the losses of a sweep over the logarithm of the learning rate, and where they fall fastest.

    Args:
        sweep: of `lr_sweep.run_lr_sweep`.

    Returns:
        Suggestion, legend and plot, as HTML.
    """
    suggestion = sweep.suggest_learning_rate()
    message = messages.get_text("train.rate.none")
    if suggestion is not None:
        message = messages.get_text("train.rate.found", rate=f"{suggestion:g}")
    legend_entries = [
        ("line train", messages.get_text("train.rate.smooth")),
        ("raw train", messages.get_text("curve.raw")),
    ]
    legend = tag(
        "div",
        *(tag("span", tag("i", class_=css_class), text, class_="key") for css_class, text in legend_entries),
        class_="legend",
    )
    caption = tag("figcaption", messages.get_text("train.rate.axes"))
    return tag(
        "div",
        tag("p", message, class_="said"),
        legend,
        tag("figure", caption, _render_plot(sweep, suggestion, message), class_="panel loss"),
        class_="ftlab-curves ftlab-rates",
    )


def _render_plot(sweep: LrSweep, suggestion: float | None, message: str) -> Markup:
    """Return the plot as SVG; `message` is part of its description for screen readers.

    As in `curves_view`, the coordinates inside are the data, and the browser scales them. Text and marks, which must
    not be stretched, lie in an outer SVG with relative positions.
    """
    log_rates, smooth_losses = [math.log10(rate) for rate in sweep.rates], sweep.smooth_losses()
    # The axis needs a width, even for a sweep that ended at its first rate.
    low, high = log_rates[0], max(log_rates[-1], log_rates[0] + 1e-6)
    # The loss explodes at high rates: the first quarter of the sweep sets the scale, so that its fall stays visible.
    max_loss = 1.35 * max(smooth_losses[: max(1, len(smooth_losses) // 4)])
    lines = [
        tag(
            "polyline",
            class_=css_class,
            points=" ".join(f"{format_number(x)},{format_number(y)}" for x, y in zip(log_rates, losses, strict=True)),
        )
        for css_class, losses in (("raw train", sweep.losses), ("line train", smooth_losses))
    ]
    data_svg = tag(
        "svg",
        tag("g", *lines, transform="scale(1,-1)"),  # the y axis of SVG points down
        class_="data",
        width="100%",
        height=str(PLOT_HEIGHT_PX),
        preserveAspectRatio="none",
        viewBox=" ".join(map(format_number, (low, -max_loss, high - low, max_loss))),
    )
    spoken_text = messages.get_text(
        "train.rate.spoken", low=f"{sweep.rates[0]:.1g}", high=f"{sweep.rates[-1]:.1g}", said=message
    )
    return tag(
        "svg",
        *_render_marks(low, high, max_loss, suggestion),
        data_svg,
        class_="frame",
        width="100%",
        height=str(PLOT_HEIGHT_PX),
        role="img",
        aria_label=spoken_text,
    )


def _render_marks(low: float, high: float, max_loss: float, suggestion: float | None) -> list[Markup]:
    """Return grid, axis labels and the mark of the suggested rate.

    Args:
        low: decimal logarithm of the lowest rate.
        high: that of the highest.
        max_loss: loss at the top of the plot.
        suggestion: the suggested rate, if any.

    Returns:
        SVG elements.
    """

    def format_x(value: float) -> str:
        return f"{format_number(100 * (value - low) / (high - low))}%"

    marks = []
    for value in compute_ticks(0.0, max_loss, 4):
        y = format_number(PLOT_HEIGHT_PX * (max_loss - value) / max_loss)
        marks += [
            tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y),
            tag("text", f"{value:g}", class_="y", x="-7", y=y, dy=".32em"),
        ]
    # 1e-9: the logarithm of a power of ten may miss it by rounding.
    for exponent in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        x = format_x(exponent)
        marks += [
            tag("line", class_="tick", x1=x, x2=x, y1=str(PLOT_HEIGHT_PX), y2=str(PLOT_HEIGHT_PX + 4)),
            tag("text", "10" + str(exponent).translate(_SUPERSCRIPTS), class_="x", x=x, y=str(PLOT_HEIGHT_PX + 16)),
        ]
    if suggestion is not None:
        x = format_x(math.log10(suggestion))
        marks.append(tag("line", class_="best", x1=x, x2=x, y1="0", y2=str(PLOT_HEIGHT_PX)))
    return marks
