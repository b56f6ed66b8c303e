"""Form fields: the Gradio component of each setting, from what the configuration declares about it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ftlab.config import backbones, train_config
from ftlab.config.train_config import FIELDS
from ftlab.core import messages
from ftlab.models.pretrained import weights

MAX_SLIDER_STOPS = 200
"""A setting with more values than these between its bounds gets a number field instead of a slider."""
# Ids that differ from the field's name; style sheet and tests know them.
_ELEM_IDS = {"batch_size": "train-batch", "learning_rate": "train-rate"}
_SWITCH_LABELS = {None: "auto", True: "yes", False: "no"}
"""Labels of an optional boolean; None lets the configuration choose."""


def is_three_way(name: str) -> bool:
    """Return whether a setting is an optional boolean."""
    return train_config.get_field_type(name) is bool and train_config.is_optional_field(name)


def format_switch(value: bool | None) -> str:  # noqa: FBT001 - the value that is shown, not a switch of this function
    """Return the label of an optional boolean."""
    return _SWITCH_LABELS[value]


FormComponent = gr.Radio | gr.Checkbox | gr.CheckboxGroup | gr.Slider | gr.Number | gr.Textbox | gr.Dropdown


def build_component(name: str, value: Any) -> FormComponent:
    """Build the component of a setting, to be rendered where it belongs.

    Args:
        name: name of the setting.
        value: its value at first.

    Returns:
        Radio buttons, checkboxes, a slider, or a number or text field.
    """
    field_spec, _ = FIELDS[name]
    label = messages.get_text(f"setting.{name}.label")
    unit = messages.get_text(f"unit.{field_spec.unit}") if field_spec.unit else ""
    if unit and unit not in label.lower():
        label = messages.get_text("unit.labelled", label=label, unit=unit)
    component_options: dict[str, Any] = {
        "label": label,
        "info": messages.get_text(f"setting.{name}.hint"),
        "value": value,
        "elem_id": _ELEM_IDS.get(name, f"train-{name.replace('_', '-')}"),
        "min_width": 200,
        "interactive": True,
        "render": False,
    }
    if is_three_way(name):
        return gr.Radio(list(_SWITCH_LABELS.values()), elem_classes="ftlab-choice", **component_options)
    if train_config.get_field_type(name) is bool:
        return gr.Checkbox(**component_options)
    if field_spec.choices:
        choices = [(_format_choice(name, choice), choice) for choice in field_spec.choices]
        if field_spec.several:
            return gr.CheckboxGroup(choices, **component_options)
        return gr.Radio(choices, elem_classes="ftlab-choice", **component_options)
    if train_config.get_field_type(name) is str or value is None:
        # Not a gr.Number for an optional number: an empty one turns to 0 when it is first shown (gradio 6.31).
        return gr.Textbox(
            placeholder=messages.get_text("train.chosen") if train_config.is_optional_field(name) else None,
            max_lines=1,
            **component_options,
        )
    return _build_number_component(name, component_options)


def _build_number_component(name: str, component_options: dict[str, Any]) -> gr.Slider | gr.Number:
    """Build the component of a number, to be rendered where it belongs.

    Args:
        name: name of the setting.
        component_options: arguments that all components have in common.

    Returns:
        A slider, or a number field for an optional setting and for one without bounds or with many values.
    """
    field_spec, _ = FIELDS[name]
    low, high, step = field_spec.low, field_spec.high, field_spec.step
    # A slider cannot be empty, so an optional setting, which may be left to be chosen, gets none.
    fits_slider = low is not None and high is not None and step is not None and (high - low) / step <= MAX_SLIDER_STOPS
    if fits_slider and not train_config.is_optional_field(name):
        return gr.Slider(low or 0.0, high or 0.0, step=step, **component_options)
    # Without bounds: Gradio would report a value outside them by an error box over the whole page. `parse_config` does.
    return gr.Number(step=field_spec.step or 1e-4, placeholder=messages.get_text("train.chosen"), **component_options)


def _format_choice(name: str, value: str) -> str:
    """Return the label of an allowed value."""
    try:
        return messages.get_text(f"choice.{name}.{value}")
    except KeyError:  # names such as those of optimizers are the same in all languages
        return value


def build_backbone_cards() -> gr.Radio:
    """Return the cards of the featured backbones, built in the current Gradio context."""
    return gr.Radio(
        list_backbone_cards(),
        value=backbones.DEFAULT_BACKBONE,
        label=messages.get_text("setting.backbone.label"),
        info=messages.get_text("setting.backbone.hint"),
        elem_id="train-backbone",
        elem_classes="ftlab-cards",
        interactive=True,
    )


def build_backbone_menu(*, is_space: bool) -> gr.Dropdown:
    """Return the menu of all other backbones, built in the current Gradio context."""
    hidden_specs = [spec for spec in backbones.BACKBONES.values() if not spec.featured]
    return gr.Dropdown(
        [(format_backbone_card(spec, " · "), spec.name) for spec in hidden_specs],
        value=None,
        label=messages.get_text("train.backbones.rest_label"),
        info=messages.get_text("train.backbones.rest_space" if is_space else "train.backbones.rest_hint"),
        allow_custom_value=not is_space,
        elem_id="train-backbone-rest",
    )


def list_backbone_cards() -> list[tuple[str, str]]:
    """Return the (label, name) pairs of the featured backbones; whether weights are on this machine is checked anew."""
    return [(format_backbone_card(spec, "\n"), spec.name) for spec in backbones.BACKBONES.values() if spec.featured]


def format_backbone_card(spec: backbones.BackboneSpec, separator: str) -> str:
    """Return title, number of parameters, and whether the weights are on this machine, of a backbone."""
    location = weights.locate_weights(spec)
    message_key = "train.card.ready" if location.ready else "train.card.download"
    return (
        spec.title
        + separator
        + messages.get_text(message_key, millions=f"{spec.parameters / 1e6:.1f}", megabytes=f"{location.megabytes:.0f}")
    )
