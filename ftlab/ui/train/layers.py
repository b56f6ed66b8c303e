"""Layer table of the Train tab: the layers of the backbone and which of them the training would update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import messages, shell
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.models.summary import LayerSummary

DEFAULT_CLASS_COUNT = 10
"""Number of outputs of the head, as long as the data was not scanned."""


def build_layers_section(actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any]) -> None:
    """Build the folded section in the current Gradio context, and register its events.

    Args:
        actions: handlers of the tab.
        config_form: the form.
        inputs: components whose values `TrainActions.parse_inputs` takes.
    """
    with gr.Accordion(messages.get_text("train.layers.title"), open=False, elem_id="train-layers"):
        button = gr.Button(messages.get_text("train.layers.button"), size="sm", elem_id="train-layers-show")
        table_html = gr.HTML(elem_id="train-layers-table", apply_default_css=False, min_height=40)
    # The first call imports torch and may look up a timm model: this takes seconds, so the progress is shown.
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
    """Render the layers of the form's backbone, or the error that prevents it.

    Args:
        actions: handlers of the tab.
        config_form: the form.
        input_values: as `TrainActions.parse_inputs` takes them.

    Returns:
        HTML.
    """
    try:
        source, config = actions.parse_inputs(config_form, input_values)
        spec = backbones.get_backbone_spec(config.backbone)
    except FtlabError as error:
        return render_error(form.format_error(error))
    from ftlab.models.summary import summarize_layers  # imports torch

    # Only a scan that was done already: the table must not wait for one.
    catalog = data_choice.find_scanned_catalog(source)
    class_count = len(catalog.classes) if catalog else DEFAULT_CLASS_COUNT
    return render_layer_table(spec, config.mode, class_count, summarize_layers(spec, class_count, config.mode))


def render_layer_table(spec: BackboneSpec, mode: str, class_count: int, layers: list[LayerSummary]) -> Markup:
    """Render a table of layers.

    Args:
        spec: the backbone.
        mode: frozen, full or scratch.
        class_count: number of outputs of the head.
        layers: rows of the table.

    Returns:
        The table with a caption and the command that prints it, as HTML.
    """
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
    # The table of the page is cut to a readable depth; the command lists deeper levels too.
    body = tag("table", tag("thead", head), tag("tbody", join_html(rows)))
    command = shell.format_command(["python", "-m", "ftlab", "layers", spec.name, "--mode", mode, "--depth", "9"])
    hint = tag("p", messages.get_text("train.layers.hint"), tag("br"), tag("code", command), class_="sub")
    return tag("div", tag("p", caption), tag("div", body, class_="scroll"), hint, class_="ftlab-layers")
