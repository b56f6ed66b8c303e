"""The form: each knob of the configuration becomes a widget, and the widgets' values a configuration again.

Nothing here knows a knob by name but the backbone, which is shown as cards: label, hint, bounds, choices, unit and
place come from the knob, so a new one appears by itself. The widgets' own limits are a convenience; `parse_config` checks
everything again, in `TrainConfig`, because any program can send any value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.config import backbones, train_config
from ftlab.config.train_config import FIELDS, FOLDED_GROUPS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.models.pretrained import weights

VISIBLE_GROUPS = ("main",)
SPACE_MAX_BATCH_SIZE = 64
"""Largest batch that a visitor of a public Space may ask for: its memory is everybody's."""
SPACE_MAX_IMAGE_SIDE = 320
"""Largest side of the square that the network sees, for the same reason."""
MAX_SLIDER_STOPS = 200
"""A knob with more values than these between its bounds is typed, not slid."""

FormComponent = gr.Radio | gr.Slider | gr.Number | gr.Textbox | gr.Dropdown


def list_field_names(is_space: bool = False) -> list[str]:
    """Knobs that have a widget here, in the order of the form; a public Space leaves out those of the machine."""
    groups = ("model", *VISIBLE_GROUPS, *(group for group in FOLDED_GROUPS if not (is_space and group == "machine")))
    return [name for group in groups for name, (field_spec, _) in FIELDS.items() if field_spec.group == group]


def get_field_values(config: TrainConfig, is_space: bool = False) -> dict[str, Any]:
    """What the widgets show of a configuration: what is "chosen for you" shows what it comes to."""
    resolved = train_config.fill_defaults(config)
    return {name: getattr(resolved, name) for name in list_field_names(is_space)}


def get_defaults(backbone: str, mode: str) -> dict[str, Any]:
    """What the widgets that depend on backbone and mode show after a change of one of them."""
    return train_config.get_mode_defaults(backbone, mode)


def parse_config(
    values: Mapping[str, Any], *, is_space: bool = False, limit_minutes: float = 0.0, **data: Any
) -> TrainConfig:
    """The configuration that the widgets' values stand for.

    A value that is what would be chosen anyway becomes `None` again, so that the command stays short.

    Args:
        values: by knob; a knob that is left out, or whose field is empty, takes its default.
        is_space: whether limits for strangers hold.
        limit_minutes: upper bound of the time limit, 0 for none.
        data: knobs of the group `data`.

    Raises:
        ConfigError: a value does not fit, or two contradict each other.
    """
    field_values = {
        name: _convert_value(name, value) for name, value in values.items() if name in list_field_names(is_space)
    }
    field_values = {
        name: value for name, value in field_values.items() if value is not None or train_config.is_optional_field(name)
    }
    backbone, mode = (
        field_values.get("backbone", backbones.DEFAULT_BACKBONE),
        field_values.get("mode", TrainConfig().mode),
    )
    if mode not in train_config.MODES:
        raise ConfigError("config.choice", name="--mode", value=mode, choices=", ".join(train_config.MODES))
    default_values = train_config.get_mode_defaults(backbone, mode)
    field_values |= {name: None for name, value in default_values.items() if field_values.get(name) == value}
    config = TrainConfig(**field_values, **data)
    if is_space and config.backbone not in backbones.BACKBONES:  # the memory and the disk are everybody's
        raise ConfigError("config.backbone_space", name=config.backbone)
    if is_space and (train_config.fill_defaults(config).batch_size or 0) > SPACE_MAX_BATCH_SIZE:
        raise ConfigError(
            "config.bounds", name="--batch-size", value=config.batch_size, low=1, high=SPACE_MAX_BATCH_SIZE
        )
    if is_space and (config.side or 0) > SPACE_MAX_IMAGE_SIDE:
        raise ConfigError("config.bounds", name="--side", value=config.side, low=32, high=SPACE_MAX_IMAGE_SIDE)
    if limit_minutes and not 0 < config.max_minutes <= limit_minutes:
        config = train_config.config_from_json(config.to_json() | {"max_minutes": limit_minutes})
    return config


def format_error(error: FtlabError) -> str:
    """An error's sentence with the names that stand in the form instead of the command line's flags."""
    flags = {train_config.format_flag(name): f'"{messages.get_text(f"knob.{name}.label")}"' for name in FIELDS}
    values = {key: flags.get(value, value) if isinstance(value, str) else value for key, value in error.values.items()}
    return str(type(error)(error.code, **values))


def _convert_value(name: str, value: Any) -> Any:
    """A widget's value as the knob's type; an empty field is None."""
    if value is None or (isinstance(value, str) and not value.strip() and "" not in FIELDS[name][0].choices):
        return None
    field_type = train_config.get_field_type(name)
    if field_type is not str and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:  # `TrainConfig` says what it must be
            return value
    if field_type is str or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if not math.isfinite(value):
        raise ConfigError("config.number", name=train_config.format_flag(name))
    if field_type is int and value != int(value):
        raise ConfigError("config.whole", name=train_config.format_flag(name), value=value)
    return field_type(value)


@dataclass(frozen=True)
class ConfigForm:
    """The widgets.

    Attributes:
        components: by knob, in the order of `list_field_names`.
        backbone_menu: menu of the backbones that have no card, where the name of one of timm's can be typed too.
        defaults_pair: backbone and mode whose defaults were put into the fields; hidden.
        is_space, limit_minutes: limits, as `read_config` takes them.
    """

    components: dict[str, FormComponent]
    backbone_menu: gr.Dropdown
    defaults_pair: gr.JSON
    is_space: bool
    limit_minutes: float

    def list_inputs(self) -> list[FormComponent]:
        """Components whose values `collect_values` takes, in its order."""
        return [*self.components.values(), self.backbone_menu]

    def collect_values(self, input_values: Sequence[Any]) -> dict[str, Any]:
        """The widgets' values by knob."""
        values = dict(zip(self.components, input_values, strict=False))
        menu_value = input_values[len(self.components)]
        if isinstance(menu_value, str) and menu_value.strip():
            values["backbone"] = menu_value.strip()
        return values

    def read_config(self, input_values: Sequence[Any], **data: Any) -> TrainConfig:
        """The configuration of the widgets' values. Raises `ConfigError` as `read_config` does."""
        return parse_config(
            self.collect_values(input_values), is_space=self.is_space, limit_minutes=self.limit_minutes, **data
        )

    def list_dependent_fields(self) -> list[str]:
        """Knobs whose default depends on backbone and mode."""
        default_values = get_defaults(backbones.DEFAULT_BACKBONE, TrainConfig().mode)
        return [name for name in self.components if name in default_values]

    def list_edit_events(self) -> list[Any]:
        """Events of a person changing a field; what this program puts into fields is none."""
        # A slider's reset button, and text that is pasted into a field, tell of a change, not of an input.
        return [
            component.change if isinstance(component, gr.Slider | gr.Textbox) else component.input
            for component in self.list_inputs()
        ]

    def wire_defaults(self) -> Any:
        """A change of backbone or mode puts the defaults of the pair into the fields.

        Returns:
            The event after which they stand there.
        """
        event_options: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        components = [self.components["backbone"], self.components["mode"], self.backbone_menu]
        outputs = [self.components[backbone_name] for backbone_name in self.list_dependent_fields()]

        def apply_defaults(filled_pair: object, *input_values: Any) -> list[Any]:
            values = self.collect_values(input_values)
            pair = [values["backbone"], values["mode"]]
            # The page tells of one choice more than once, and late: what was typed since must stay.
            if pair == filled_pair or pair[1] not in train_config.MODES or not _is_valid_backbone(pair[0]):
                return [gr.skip()] * (1 + len(outputs))
            default_values = get_defaults(*pair)
            return [pair, *(default_values[name] for name in self.list_dependent_fields())]

        # A card and the menu are one choice: taking one lets go of the other.
        self.components["backbone"].input(lambda: None, None, self.backbone_menu, **event_options)
        self.backbone_menu.input(
            lambda backbone_name: None if backbone_name else gr.skip(),
            self.backbone_menu,
            self.components["backbone"],
            **event_options,
        )
        input_events = [component.input for component in components]
        inputs, filled_components = [self.defaults_pair, *self.list_inputs()], [self.defaults_pair, *outputs]
        return gr.on(
            input_events, apply_defaults, inputs, filled_components, trigger_mode="always_last", **event_options
        )


def build_form(*, is_space: bool = False, limit_minutes: float = 0.0) -> ConfigForm:
    """Lay out the form where the page stands."""
    config = TrainConfig(max_minutes=limit_minutes)
    values = get_field_values(config, is_space)
    components: dict[str, FormComponent] = {"backbone": _build_backbone_cards()}
    backbone_menu = _build_backbone_menu(is_space)
    model_fields = [name for name in values if FIELDS[name][0].group == "model" and name not in components]
    components |= {name: build_component(name, values[name]) for name in model_fields}
    with gr.Row(elem_classes="ftlab-fields"):
        components |= {
            name: build_component(name, values[name]) for name in values if FIELDS[name][0].group in VISIBLE_GROUPS
        }
    for group in FOLDED_GROUPS:
        group_fields = [name for name in values if FIELDS[name][0].group == group]
        if not group_fields:
            continue
        with (
            gr.Accordion(
                messages.get_text(f"theme.{group}"),
                open=False,
                elem_id=f"train-theme-{group}",
                elem_classes="ftlab-theme",
            ),
            gr.Row(elem_classes="ftlab-fields"),
        ):
            components |= {name: build_component(name, values[name]) for name in group_fields}
    defaults_pair = gr.JSON([config.backbone, config.mode], visible=False, elem_id="train-pair")
    return ConfigForm(
        {name: components[name] for name in values}, backbone_menu, defaults_pair, is_space, limit_minutes
    )


def build_component(name: str, value: Any) -> FormComponent:
    """The widget of a knob, from what the configuration knows of it."""
    field_spec, _ = FIELDS[name]
    label = messages.get_text(f"knob.{name}.label")
    unit = f" ({field_spec.unit})" if field_spec.unit and field_spec.unit not in label else ""
    component_options: dict[str, Any] = {
        "label": label + unit,
        "info": messages.get_text(f"knob.{name}.hint"),
        "value": value,
        "elem_id": _ELEM_IDS.get(name, f"train-{name.replace('_', '-')}"),
        "min_width": 200 if field_spec.group in FOLDED_GROUPS else 130,
        "interactive": True,
    }
    if field_spec.choices:
        choices = [(_format_choice(name, choice), choice) for choice in field_spec.choices]
        return gr.Radio(choices, elem_classes="ftlab-choice", **component_options)
    if train_config.get_field_type(name) is str or value is None:
        # A gr.Number that is empty turns to 0 when it is first shown (gradio 6.31).
        return gr.Textbox(
            placeholder=messages.get_text("train.chosen") if train_config.is_optional_field(name) else None,
            max_lines=1,
            **component_options,
        )
    low, high, step = field_spec.low, field_spec.high, field_spec.step
    fits_slider = low is not None and high is not None and step is not None and (high - low) / step <= MAX_SLIDER_STOPS
    if fits_slider and not train_config.is_optional_field(name):
        return gr.Slider(low or 0.0, high or 0.0, step=step, **component_options)
    # Bounds are not given to the field: Gradio would answer a slip with an error box over the whole page.
    return gr.Number(step=field_spec.step or 1e-4, placeholder=messages.get_text("train.chosen"), **component_options)


_ELEM_IDS = {"batch_size": "train-batch", "learning_rate": "train-rate"}


def _format_choice(name: str, value: str) -> str:
    try:
        return messages.get_text(f"choice.{name}.{value}")
    except KeyError:  # a choice without words of its own stands for itself
        return value


def _build_backbone_cards() -> gr.Radio:
    return gr.Radio(
        list_backbone_cards(),
        value=backbones.DEFAULT_BACKBONE,
        label=messages.get_text("knob.backbone.label"),
        info=messages.get_text("knob.backbone.hint"),
        elem_id="train-backbone",
        elem_classes="ftlab-cards",
        interactive=True,
    )


def _build_backbone_menu(is_space: bool) -> gr.Dropdown:
    hidden_specs = [spec for spec in backbones.BACKBONES.values() if not spec.featured]
    with gr.Accordion(messages.get_text("train.backbones.rest", count=len(hidden_specs)), open=False):
        return gr.Dropdown(
            [(format_backbone_card(spec, " · "), spec.name) for spec in hidden_specs],
            value=None,
            label=messages.get_text("train.backbones.rest_label"),
            info=messages.get_text("train.backbones.rest_space" if is_space else "train.backbones.rest_hint"),
            allow_custom_value=not is_space,
            elem_id="train-backbone-rest",
        )


def _is_valid_backbone(name: object) -> bool:
    try:
        backbones.check_backbone_name(str(name))
    except ConfigError:
        return False
    return True


def list_backbone_cards() -> list[tuple[str, str]]:
    """Labels and names of the backbones in view; whether their weights are here is looked up anew."""
    return [(format_backbone_card(spec, "\n"), spec.name) for spec in backbones.BACKBONES.values() if spec.featured]


def format_backbone_card(spec: backbones.BackboneSpec, separator: str) -> str:
    """Title, size, and whether the weights are here, of a backbone."""
    location = weights.locate_weights(spec)
    message_key = "train.card.ready" if location.ready else "train.card.download"
    return (
        spec.title
        + separator
        + messages.get_text(message_key, millions=f"{spec.parameters / 1e6:.1f}", megabytes=f"{location.megabytes:.0f}")
    )
