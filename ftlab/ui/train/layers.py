"""The layers of the network that the Train tab would train, shown when a person asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs.jobs import launch
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:
    from ftlab.models.summary import LayerSummary

DEFAULT_CLASS_COUNT = 10
"""Of the head, as long as the pictures were not looked at."""


def build_layers_section(actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any]) -> None:
    """Lay out the folded section where the page stands.

    Args:
        inputs: components whose values `TrainActions.settings` takes.
    """
    with gr.Accordion(messages.get_text("train.layers.title"), open=False, elem_id="train-layers"):
        button = gr.Button(messages.get_text("train.layers.button"), size="sm", elem_id="train-layers-show")
        table_html = gr.HTML(elem_id="train-layers-table", apply_default_css=False, min_height=40)
    # torch is imported the first time, and timm's models are looked up: seconds, in which the field says so.
    button.click(
        lambda *input_values: render_layers(actions, config_form, input_values),
        inputs,
        table_html,
        show_progress="full",
        api_visibility="private",
        concurrency_limit=1,
        concurrency_id="layers",
    )


def render_layers(actions: TrainActions, config_form: form.ConfigForm, input_values: tuple[Any, ...]) -> Markup:
    """The table of the form's backbone, or the one sentence that stands in its way."""
    try:
        source, config = actions.parse_inputs(config_form, input_values)
        spec = backbones.get_backbone_spec(config.backbone)
    except FtlabError as error:
        return render_error(form.format_error(error))
    from ftlab.models.summary import summarize_layers

    catalog = data_choice.find_scanned_catalog(source)
    class_count = len(catalog.classes) if catalog else DEFAULT_CLASS_COUNT
    return render_layer_table(spec, config.mode, class_count, summarize_layers(spec, class_count, config.mode))


def render_layer_table(spec: BackboneSpec, mode: str, class_count: int, layers: list[LayerSummary]) -> Markup:
    """A table of layers as HTML."""
    total_count, trainable_count = (sum(getattr(layer, key) for layer in layers) for key in ("parameters", "trainable"))
    columns = ("layer", "output", "parameters", "learns")
    head = tag("tr", *(tag("th", messages.get_text(f"train.layers.{key}"), scope="col", class_=key) for key in columns))
    rows = [
        tag(
            "tr",
            tag("td", tag("code", layer.name), tag("span", layer.kind), class_="layer"),
            tag("td", " × ".join(map(str, layer.shape)) or "–", class_="output"),
            tag("td", f"{layer.parameters:,}" if layer.parameters else "", class_="parameters"),
            tag("td", messages.get_text("train.layers.yes") if layer.trainable else "", class_="learns"),
            class_="learning" if layer.trainable else None,
        )
        for layer in layers
    ]
    caption = messages.get_text(
        "train.layers.caption",
        title=spec.title,
        mode=messages.get_text(f"choice.mode.{mode}"),
        classes=class_count,
        learning=f"{trainable_count:,}",
        total=f"{total_count:,}",
        side=spec.side,
    )
    body = tag("table", tag("thead", head), tag("tbody", join_html(rows)))
    command = launch.format_command(["python", "-m", "ftlab", "layers", spec.name, "--mode", mode, "--depth", "9"])
    hint = tag("p", messages.get_text("train.layers.hint"), tag("br"), tag("code", command), class_="sub")
    return tag("div", tag("p", caption), tag("div", body, class_="scroll"), hint, class_="ftlab-layers")
