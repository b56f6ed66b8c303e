"""The layers of the network that the Train tab would train, shown when a person asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.config import backbones
from ftlab.config.backbones import Backbone
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join, tag
from ftlab.runs.jobs import launch
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import trouble
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk

if TYPE_CHECKING:
    from ftlab.models.summary import Layer

CLASSES = 10
"""Of the head, as long as the pictures were not looked at."""


def build(desk: Desk, widgets: form.Form, inputs: list[Any]) -> None:
    """Lay out the folded section where the page stands.

    Args:
        inputs: components whose values `Desk.settings` takes.
    """
    with gr.Accordion(messages.text("train.layers.title"), open=False, elem_id="train-layers"):
        button = gr.Button(messages.text("train.layers.button"), size="sm", elem_id="train-layers-show")
        shown = gr.HTML(elem_id="train-layers-table", apply_default_css=False, min_height=40)
    # torch is imported the first time, and timm's models are looked up: seconds, in which the field says so.
    button.click(
        lambda *given: show(desk, widgets, given),
        inputs,
        shown,
        show_progress="full",
        api_visibility="private",
        concurrency_limit=1,
        concurrency_id="layers",
    )


def show(desk: Desk, widgets: form.Form, given: tuple[Any, ...]) -> Markup:
    """The table of the form's backbone, or the one sentence that stands in its way."""
    try:
        source, settings = desk.settings(widgets, given)
        row = backbones.get(settings.backbone)
    except FtlabError as error:
        return trouble(form.sentence(error))
    from ftlab.models.summary import table

    catalog = data_choice.known(source)
    classes = len(catalog.classes) if catalog else CLASSES
    return drawn(row, settings.mode, classes, table(row, classes, settings.mode))


def drawn(row: Backbone, mode: str, classes: int, layers: list[Layer]) -> Markup:
    """A table of layers as HTML."""
    total, learning = (sum(getattr(one, key) for one in layers) for key in ("parameters", "trainable"))
    columns = ("layer", "output", "parameters", "learns")
    head = tag("tr", *(tag("th", messages.text(f"train.layers.{key}"), scope="col", class_=key) for key in columns))
    rows = [
        tag(
            "tr",
            tag("td", tag("code", one.name), tag("span", one.kind), class_="layer"),
            tag("td", " × ".join(map(str, one.shape)) or "–", class_="output"),
            tag("td", f"{one.parameters:,}" if one.parameters else "", class_="parameters"),
            tag("td", messages.text("train.layers.yes") if one.trainable else "", class_="learns"),
            class_="learning" if one.trainable else None,
        )
        for one in layers
    ]
    caption = messages.text(
        "train.layers.caption",
        title=row.title,
        mode=messages.text(f"choice.mode.{mode}"),
        classes=classes,
        learning=f"{learning:,}",
        total=f"{total:,}",
        side=row.side,
    )
    body = tag("table", tag("thead", head), tag("tbody", join(rows)))
    command = launch.shown(["python", "-m", "ftlab", "layers", row.name, "--mode", mode, "--depth", "9"])
    hint = tag("p", messages.text("train.layers.hint"), tag("br"), tag("code", command), class_="sub")
    return tag("div", tag("p", caption), tag("div", body, class_="scroll"), hint, class_="ftlab-layers")
