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
from ftlab.ui.common import data_choice, run_status_view
from ftlab.ui.common.curves_view import format_number
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

PLOT_HEIGHT_PX = 190
"""Of the drawing, in CSS pixels."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_finder_section(actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any]) -> None:
    """Lay out the folded section where the page stands.

    Args:
        inputs: components whose values `TrainActions.settings` takes.
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
    # One at a time with the measuring of speed: each would falsify the other.
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
    """The curve as HTML and the rate suggested; or the one sentence that stands in the way."""
    try:
        source, config = actions.parse_inputs(config_form, input_values)
        catalog = data_choice.find_scanned_catalog(source) if source.folder else data_choice.scan_source(source)
        spec = backbones.get_backbone_spec(config.backbone)
        if catalog is None:
            return render_error(messages.get_text("train.rate.unlooked")), None
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
    """The losses of a sweep over the logarithm of the rate, and where they fall fastest. The coordinates are the data,
    as in `curves_view`."""
    log_rates, smooth_losses, suggestion = (
        [math.log10(rate) for rate in sweep.rates],
        sweep.smooth_losses(),
        sweep.suggest_learning_rate(),
    )
    low, high = log_rates[0], max(log_rates[-1], log_rates[0] + 1e-6)
    max_loss = 1.35 * max(smooth_losses[: max(1, len(smooth_losses) // 4)])
    message = messages.get_text("train.rate.none")
    if suggestion is not None:
        message = messages.get_text("train.rate.found", rate=f"{suggestion:g}")

    def format_x(value: float) -> str:
        return f"{format_number(100 * (value - low) / (high - low))}%"

    marks = []
    for value in compute_ticks(0.0, max_loss, 4):
        y = format_number(PLOT_HEIGHT_PX * (max_loss - value) / max_loss)
        marks += [
            tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y),
            tag("text", f"{value:g}", class_="y", x="-7", y=y, dy=".32em"),
        ]
    for exponent in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        x = format_x(exponent)
        marks += [
            tag("line", class_="tick", x1=x, x2=x, y1=str(PLOT_HEIGHT_PX), y2=str(PLOT_HEIGHT_PX + 4)),
            tag("text", "10" + str(exponent).translate(_SUPERSCRIPTS), class_="x", x=x, y=str(PLOT_HEIGHT_PX + 16)),
        ]
    if suggestion is not None:
        x = format_x(math.log10(suggestion))
        marks.append(tag("line", class_="best", x1=x, x2=x, y1="0", y2=str(PLOT_HEIGHT_PX)))
    lines = [
        tag(
            "polyline",
            class_=css_class,
            points=" ".join(f"{format_number(x)},{format_number(y)}" for x, y in zip(log_rates, losses, strict=True)),
        )
        for css_class, losses in (("raw train", sweep.losses), ("line train", smooth_losses))
    ]
    inner = tag(
        "svg",
        tag("g", *lines, transform="scale(1,-1)"),
        class_="data",
        width="100%",
        height=str(PLOT_HEIGHT_PX),
        preserveAspectRatio="none",
        viewBox=" ".join(map(format_number, (low, -max_loss, high - low, max_loss))),
    )
    spoken_text = messages.get_text(
        "train.rate.spoken", low=f"{sweep.rates[0]:.1g}", high=f"{sweep.rates[-1]:.1g}", said=message
    )
    frame = tag(
        "svg",
        *marks,
        inner,
        class_="frame",
        width="100%",
        height=str(PLOT_HEIGHT_PX),
        role="img",
        aria_label=spoken_text,
    )
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
        tag("figure", caption, frame, class_="panel loss"),
        class_="ftlab-curves ftlab-rates",
    )
