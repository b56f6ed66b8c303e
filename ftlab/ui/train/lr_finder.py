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
from ftlab.runs.curves import ticks
from ftlab.runs.jobs import lr_sweep
from ftlab.runs.jobs.lr_sweep import Sweep
from ftlab.ui.common import data_choice, run_status_view
from ftlab.ui.common.curves_view import number
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk

HEIGHT = 190
"""Of the drawing, in CSS pixels."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(desk: Desk, widgets: form.Form, inputs: list[Any]) -> None:
    """Lay out the folded section where the page stands.

    Args:
        inputs: components whose values `Desk.settings` takes.
    """
    with gr.Accordion(messages.text("train.rate.title"), open=False, elem_id="train-find"):
        gr.HTML(
            tag("p", messages.text("train.rate.about"), class_="sub"),
            elem_id="train-find-about",
            apply_default_css=False,
        )
        start = gr.Button(messages.text("train.rate.button"), size="sm", elem_id="train-find-start")
        shown = gr.HTML(
            empty("train.rate.idle", "train.rate.idle_step"), elem_id="train-find-curve", apply_default_css=False
        )
        use = gr.Button(visible=False, size="sm", variant="primary", elem_id="train-find-use")
    rate = gr.Number(visible=False, elem_id="train-find-rate")

    def begin() -> tuple[Any, ...]:
        busy = run_status_view.frame(
            "waiting", messages.text("train.rate.busy"), messages.text("train.rate.busy_step"), -1.0
        )
        return busy, gr.Button(visible=False), gr.Button(interactive=False)

    def find(*given: Any) -> tuple[Any, ...]:
        text, suggestion = found(desk, widgets, given)
        button = gr.Button(visible=False)
        if suggestion is not None:
            button = gr.Button(messages.text("train.rate.use", rate=f"{suggestion:g}"), visible=True)
        return text, button, gr.Button(interactive=True), suggestion

    begun = start.click(begin, None, [shown, use, start], **_LIGHT)
    # One at a time with the measuring of speed: each would falsify the other.
    begun.then(
        find,
        inputs,
        [shown, use, start, rate],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="measure",
        concurrency_limit=1,
    )
    use.click(lambda value: value, rate, widgets.fields["learning_rate"], **_LIGHT)


def found(desk: Desk, widgets: form.Form, given: Sequence[Any]) -> tuple[Markup, float | None]:
    """The curve as HTML and the rate suggested; or the one sentence that stands in the way."""
    try:
        source, settings = desk.settings(widgets, given)
        catalog = data_choice.known(source) if source.folder else data_choice.scan(source)
        row = backbones.get(settings.backbone)
        if catalog is None:
            return trouble(messages.text("train.rate.unlooked")), None
        if settings.mode != "scratch" and not weights.locate(row).ready:
            return trouble(messages.text("train.rate.unfetched", title=row.title)), None
        if desk.at_work():
            return trouble(messages.text("train.rate.working")), None
        sweep = lr_sweep.find(settings, catalog.root, wanted=lambda: not desk.at_work())
    except FtlabError as error:
        return trouble(form.sentence(error)), None
    if sweep is None:
        return trouble(messages.text("train.rate.working")), None
    return drawing(sweep), sweep.suggestion()


def drawing(sweep: Sweep) -> Markup:
    """The losses of a sweep over the logarithm of the rate, and where they fall fastest. The coordinates are the data,
    as in `curves_view`."""
    where, smooth, suggestion = [math.log10(rate) for rate in sweep.rates], sweep.smooth(), sweep.suggestion()
    low, high = where[0], max(where[-1], where[0] + 1e-6)
    top = 1.35 * max(smooth[: max(1, len(smooth) // 4)])
    said = messages.text("train.rate.none")
    if suggestion is not None:
        said = messages.text("train.rate.found", rate=f"{suggestion:g}")

    def across(value: float) -> str:
        return f"{number(100 * (value - low) / (high - low))}%"

    marks = []
    for value in ticks(0.0, top, 4):
        y = number(HEIGHT * (top - value) / top)
        marks += [
            tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y),
            tag("text", f"{value:g}", class_="y", x="-7", y=y, dy=".32em"),
        ]
    for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        x = across(power)
        marks += [
            tag("line", class_="tick", x1=x, x2=x, y1=str(HEIGHT), y2=str(HEIGHT + 4)),
            tag("text", "10" + str(power).translate(_RAISED), class_="x", x=x, y=str(HEIGHT + 16)),
        ]
    if suggestion is not None:
        x = across(math.log10(suggestion))
        marks.append(tag("line", class_="best", x1=x, x2=x, y1="0", y2=str(HEIGHT)))
    lines = [
        tag("polyline", class_=css, points=" ".join(f"{number(x)},{number(y)}" for x, y in zip(where, ys, strict=True)))
        for css, ys in (("raw train", sweep.losses), ("line train", smooth))
    ]
    inner = tag(
        "svg",
        tag("g", *lines, transform="scale(1,-1)"),
        class_="data",
        width="100%",
        height=str(HEIGHT),
        preserveAspectRatio="none",
        viewBox=" ".join(map(number, (low, -top, high - low, top))),
    )
    spoken = messages.text("train.rate.spoken", low=f"{sweep.rates[0]:.1g}", high=f"{sweep.rates[-1]:.1g}", said=said)
    frame = tag("svg", *marks, inner, class_="frame", width="100%", height=str(HEIGHT), role="img", aria_label=spoken)
    keys = [("line train", messages.text("train.rate.smooth")), ("raw train", messages.text("curve.raw"))]
    legend = tag("div", *(tag("span", tag("i", class_=css), text, class_="key") for css, text in keys), class_="legend")
    caption = tag("figcaption", messages.text("train.rate.axes"))
    return tag(
        "div",
        tag("p", said, class_="said"),
        legend,
        tag("figure", caption, frame, class_="panel loss"),
        class_="ftlab-curves ftlab-rates",
    )
