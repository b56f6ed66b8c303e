"""Section of the Predict tab for class activation maps: method, layer, class, baseline and faithfulness verdict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gradio as gr

from ftlab.core import messages
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.dataset import class_names
from ftlab.inference.cam_options import CAM_METHODS, CamOptions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    import numpy as np

    from ftlab.inference.faithfulness import Faithfulness
    from ftlab.inference.predictor import Predictor

CHART_WIDTH, CHART_HEIGHT = 220, 84
"""Size of a chart's plotting area in units of its view box."""


@dataclass(frozen=True)
class ModelMenus:
    """Menus of a model: its classes and its target layers.

    Attributes:
        class_choices: (display name, index) of each class.
        layer_choices: (label, path) of each target layer: the default one, then from output to input.
        fingerprint: equal only for equal choices; the page sends back the one that it has the menus of.
    """

    class_choices: list[tuple[str, int]]
    layer_choices: list[tuple[str, str]]
    fingerprint: str


_MODEL_MENUS: WeakKeyDictionary[Predictor, ModelMenus] = WeakKeyDictionary()
"""Of the models in memory: one that is dropped takes its names with it."""


@dataclass(frozen=True)
class CamControls:
    """Components of the section.

    Attributes:
        method: CAM method.
        layer: target layer.
        show_baseline: show the map before fine-tuning too.
        score_button: starts the faithfulness test.
        verdict: result of that test.
    """

    method: gr.Dropdown
    layer: gr.Dropdown
    show_baseline: gr.Checkbox
    score_button: gr.Button
    verdict: gr.HTML

    @property
    def option_inputs(self) -> list[Any]:
        """The components whose values `PredictActions` takes: method, layer, baseline."""
        return [self.method, self.layer, self.show_baseline]


def build_cam_controls() -> CamControls:
    """Return the components, built in a folded section of the current Gradio context."""
    with gr.Accordion(messages.get_text("explain.title"), open=False, elem_id="predict-looks"):
        with gr.Row():
            method = create_method_dropdown("predict-method")
            layer = gr.Dropdown(
                [(messages.get_text("explain.layer_usual"), "")],
                value="",
                label=messages.get_text("explain.layer"),
                info=messages.get_text("explain.layer_hint"),
                min_width=260,
                elem_id="predict-layer",
            )
        show_baseline = gr.Checkbox(
            label=messages.get_text("explain.before"),
            info=messages.get_text("explain.before_hint"),
            elem_id="predict-before",
        )
        score_button = gr.Button(messages.get_text("explain.weigh"), size="sm", elem_id="predict-weigh")
        gr.HTML(
            tag("p", messages.get_text("explain.weigh_hint"), class_="ftlab-about"),
            elem_id="predict-weigh-hint",
            apply_default_css=False,
        )
        verdict = gr.HTML(elem_id="predict-verdict", apply_default_css=False, min_height=60)
    return CamControls(method, layer, show_baseline, score_button, verdict)


def create_method_dropdown(elem_id: str) -> gr.Dropdown:
    """Return a menu of CAM methods."""
    return gr.Dropdown(
        [(messages.get_text(f"explain.methods.{name}"), name) for name in CAM_METHODS],
        value=CAM_METHODS[0],
        label=messages.get_text("explain.method"),
        info=messages.get_text("explain.method_hint"),
        min_width=260,
        elem_id=elem_id,
    )


def parse_cam_options(method: object, layer: object, layer_choices: list[tuple[str, str]]) -> CamOptions:
    """Parse what a page sends; what is not offered becomes the default.

    Args:
        method: name of a method.
        layer: path of a target layer.
        layer_choices: of the model's menus.

    Returns:
        The options.
    """
    is_offered = any(layer == path for _, path in layer_choices)
    return CamOptions(
        method if isinstance(method, str) and method in CAM_METHODS else CAM_METHODS[0],
        str(layer) if is_offered else "",
    )


def get_model_menus(predictor: Predictor) -> ModelMenus:
    """Return the menus of a model, made once: it may have a thousand classes."""
    menus = _MODEL_MENUS.get(predictor)
    if menus is None:
        class_choices = [
            (class_names.get_display_name(name, predictor.display_names), index)
            for index, name in enumerate(predictor.class_names)
        ]
        layer_choices = _list_layer_choices(predictor)
        fingerprint = hashlib.sha256(repr((class_choices, layer_choices)).encode("utf-8", "surrogatepass")).hexdigest()
        menus = _MODEL_MENUS[predictor] = ModelMenus(class_choices, layer_choices, fingerprint[:32])
    return menus


def find_class(menus: ModelMenus, choice: object) -> int | None:
    """Return the class that somebody chose.

    Args:
        menus: of the model.
        choice: index of a class, or its display name as typed.

    Returns:
        Index of the class; None where the model has no such class, as after a change of the model.
    """
    if type(choice) is int:  # true and false are numbers too
        return choice if 0 <= choice < len(menus.class_choices) else None
    typed_name = str(choice).strip().casefold()
    return next((index for name, index in menus.class_choices if name.casefold() == typed_name), None)


def _list_layer_choices(predictor: Predictor) -> list[tuple[str, str]]:
    """Return the (label, path) pairs of a model's target layers: the default one, then from output to input."""
    layer_choices = [(messages.get_text("explain.layer_usual"), "")]
    for layer in reversed(predictor.cam_layers):
        # The default layer stands first, with an empty path: so the choice survives a change of the model.
        if layer.path != predictor.spec.cam:
            layer_choices.append(
                (messages.get_text("explain.layer_other", layer=layer.path, side=layer.grid_size), layer.path)
            )
        else:
            layer_choices[0] = (messages.get_text("explain.layer_own", layer=layer.path, side=layer.grid_size), "")
    return layer_choices


def render_verdict(faithfulness: Faithfulness | None) -> Markup:
    """Render the result of the faithfulness test.

    Args:
        faithfulness: of `Predictor.score_faithfulness`; None where there is no map.

    Returns:
        The verdict, its reason and both curves, as HTML.
    """
    from ftlab.inference.faithfulness import describe_faithfulness

    verdict_text, reason = describe_faithfulness(faithfulness)
    if faithfulness is None:
        return tag("div", tag("b", verdict_text), class_="ftlab-verdict")
    charts = (
        ("deletion", faithfulness.deletion, faithfulness.chance_deletion),
        ("insertion", faithfulness.insertion, faithfulness.chance_insertion),
    )
    legend = [tag("span", messages.get_text(f"explain.{name}"), class_=name) for name in ("this_map", "chance")]
    return tag(
        "div",
        tag("b", verdict_text, class_="yes" if faithfulness.is_meaningful else "no"),
        tag("p", reason),
        tag("div", *(_render_chart(*chart) for chart in charts), class_="charts"),
        tag("p", *legend, class_="key"),
        class_="ftlab-verdict",
    )


def _render_chart(name: str, curve: np.ndarray[Any, Any], chance_curve: np.ndarray[Any, Any]) -> Markup:
    """Return a chart of a curve and of its mean over shuffled maps.

    Args:
        name: `deletion` or `insertion`.
        curve: float64 [steps + 1], probability in [0, 1].
        chance_curve: float64 [steps / 2 + 1], likewise.

    Returns:
        A figure, as HTML.
    """
    title = messages.get_text(f"explain.{name}")
    background = tag("rect", x=0, y=0, width=CHART_WIDTH, height=CHART_HEIGHT)
    lines = (
        tag("polyline", points=_format_points(values), class_=kind)
        for values, kind in ((chance_curve, "chance"), (curve, "this_map"))
    )
    chart_svg = tag(
        "svg",
        background,
        join_html(lines),
        # A margin of two units, so that lines at the edge are drawn whole.
        viewBox=f"-2 -2 {CHART_WIDTH + 4} {CHART_HEIGHT + 4}",
        role="img",
        aria_label=f"{title}. {messages.get_text('explain.axis')}",
    )
    return tag("figure", tag("figcaption", title), chart_svg)


def _format_points(curve: np.ndarray[Any, Any]) -> str:
    """Return the points of an SVG polyline for a curve with values in [0, 1]."""
    # Curves of shuffled maps have half as many steps; all span the whole width.
    step = CHART_WIDTH / (len(curve) - 1)
    return " ".join(f"{index * step:.1f},{CHART_HEIGHT * (1 - value):.1f}" for index, value in enumerate(curve))
