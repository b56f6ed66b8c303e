"""How the heat is made, in the Predict tab: method, layer, what was looked at before, whether the map means anything.
Layout, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.html import Markup, join, tag
from ftlab.inference.cam_options import METHODS, How

if TYPE_CHECKING:
    import numpy as np

    from ftlab.inference.faithfulness import Faithfulness
    from ftlab.inference.predictor import Predictor

WIDTH, HEIGHT = 220, 84
"""Of a chart's plane, in units of its view box."""


@dataclass(frozen=True)
class Looks:
    """The components, as the tab wires them."""

    method: gr.Dropdown
    layer: gr.Dropdown
    before: gr.Checkbox
    weigh: gr.Button
    verdict: gr.HTML

    @property
    def asked(self) -> list[Any]:
        """Those whose values `Lab` takes: method, layer, before."""
        return [self.method, self.layer, self.before]


def build() -> Looks:
    """Lay out the folded section where the page stands."""
    with gr.Accordion(messages.text("explain.title"), open=False, elem_id="predict-looks"):
        with gr.Row():
            method = methods("predict-method")
            layer = gr.Dropdown(
                [(messages.text("explain.layer_usual"), "")],
                value="",
                label=messages.text("explain.layer"),
                info=messages.text("explain.layer_hint"),
                min_width=260,
                elem_id="predict-layer",
            )
        before = gr.Checkbox(
            label=messages.text("explain.before"), info=messages.text("explain.before_hint"), elem_id="predict-before"
        )
        weigh = gr.Button(messages.text("explain.weigh"), size="sm", elem_id="predict-weigh")
        gr.HTML(
            tag("p", messages.text("explain.weigh_hint"), class_="ftlab-about"),
            elem_id="predict-weigh-hint",
            apply_default_css=False,
        )
        verdict = gr.HTML(elem_id="predict-verdict", apply_default_css=False, min_height=60)
    return Looks(method, layer, before, weigh, verdict)


def methods(elem_id: str) -> gr.Dropdown:
    """The chooser of a method."""
    return gr.Dropdown(
        [(messages.text(f"explain.methods.{name}"), name) for name in METHODS],
        value=METHODS[0],
        label=messages.text("explain.method"),
        info=messages.text("explain.method_hint"),
        min_width=260,
        elem_id=elem_id,
    )


def how(method: object, layer: object, offered: list[tuple[str, str]]) -> How:
    """What a page asks for; what it cannot have is the usual."""
    there = any(layer == path for _, path in offered)
    return How(method if isinstance(method, str) and method in METHODS else METHODS[0], str(layer) if there else "")


def layers(predictor: Predictor) -> list[tuple[str, str]]:
    """(what a person reads, path) of the layers of a model to choose from: the usual one, then those next to the answer
    first."""
    offered = [(messages.text("explain.layer_usual"), "")]
    for one in reversed(predictor.layers):
        if one.path != predictor.row.cam:
            offered.append((messages.text("explain.layer_other", layer=one.path, side=one.side), one.path))
        else:
            offered[0] = (messages.text("explain.layer_own", layer=one.path, side=one.side), "")
    return offered


def verdict(found: Faithfulness | None) -> Markup:
    """The verdict in a sentence, why, and the two curves it rests on."""
    from ftlab.inference.faithfulness import sentences

    said, why = sentences(found)
    if found is None:
        return tag("div", tag("b", said), class_="ftlab-verdict")
    charts = (
        ("deletion", found.deletion, found.chance_deletion),
        ("insertion", found.insertion, found.chance_insertion),
    )
    key = [tag("span", messages.text(f"explain.{name}"), class_=name) for name in ("this_map", "chance")]
    return tag(
        "div",
        tag("b", said, class_="yes" if found.meaningful else "no"),
        tag("p", why),
        tag("div", *(_chart(*chart) for chart in charts), class_="charts"),
        tag("p", *key, class_="key"),
        class_="ftlab-verdict",
    )


def _chart(name: str, mine: np.ndarray[Any, Any], chance: np.ndarray[Any, Any]) -> Markup:
    title = messages.text(f"explain.{name}")
    plane = tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT)
    lines = (
        tag("polyline", points=_points(one), class_=kind) for one, kind in ((chance, "chance"), (mine, "this_map"))
    )
    drawn = tag(
        "svg",
        plane,
        join(lines),
        viewBox=f"-2 -2 {WIDTH + 4} {HEIGHT + 4}",
        role="img",
        aria_label=f"{title}. {messages.text('explain.axis')}",
    )
    return tag("figure", tag("figcaption", title), drawn)


def _points(curve: np.ndarray[Any, Any]) -> str:
    step = WIDTH / (len(curve) - 1)
    return " ".join(f"{number * step:.1f},{HEIGHT * (1 - value):.1f}" for number, value in enumerate(curve))
