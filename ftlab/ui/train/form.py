"""Form of a training's settings: components from the configuration's fields, and a configuration from their values.

No setting is known by name here, except the backbone, which is shown as cards: label, hint, bounds, choices, unit and
place come from its field, so a new setting appears by itself. The components' own limits are a convenience:
`parse_config` checks everything again, in `TrainConfig`, because any program can send any value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.config import backbones, mode_defaults, old_settings, train_config
from ftlab.config.fields import format_flag, split_choices
from ftlab.config.train_config import FIELDS, FOLDED_GROUPS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.ui.settings import settings_panel
from ftlab.ui.train.form_fields import (
    FormComponent,
    build_backbone_cards,
    build_backbone_menu,
    build_component,
    format_switch,
    is_three_way,
)

SPACE_MAX_BATCH_SIZE = 64
"""Maximum batch size on a public Space, whose memory is shared by all visitors."""
SPACE_MAX_IMAGE_SIDE = 320
"""Maximum side of the input image in pixels on a public Space, for the same reason."""


def list_field_names(*, is_space: bool = False) -> list[str]:
    """Return the names of the settings in the form, in its order; a public Space has none of the group `machine`."""
    groups = ("model", *(group for group in FOLDED_GROUPS if not (is_space and group == "machine")))
    return [name for group in groups for name, (field_spec, _) in FIELDS.items() if field_spec.group == group]


def get_field_values(config: TrainConfig, *, is_space: bool = False) -> dict[str, Any]:
    """Return the values that the form shows of a configuration, by setting; what is left open shows its default."""
    resolved = train_config.fill_defaults(config)
    values = {name: getattr(resolved, name) for name in list_field_names(is_space=is_space)}
    values |= {name: list(split_choices(values[name])) for name in values if FIELDS[name][0].several}
    return {name: format_switch(value) if is_three_way(name) else value for name, value in values.items()}


def get_defaults(backbone: str, mode: str) -> dict[str, Any]:
    """Return the values, by setting, of the settings whose default depends on backbone and mode."""
    return mode_defaults.get_mode_defaults(backbone, mode)


def parse_config(
    values: Mapping[str, Any], *, is_space: bool = False, limit_minutes: float = 0.0, **data: Any
) -> TrainConfig:
    """Return the configuration of the components' values.

    A value that equals the default of backbone and mode becomes None again, so that the command stays short.

    Args:
        values: by setting; a missing or empty one takes its default.
        is_space: apply the limits of a public Space.
        limit_minutes: upper bound of the time limit in minutes, 0 for none.
        **data: settings of the group `data`.

    Returns:
        The configuration.

    Raises:
        ConfigError: a value is not allowed, or two contradict each other.
    """
    field_values = {
        name: _convert_value(name, value)
        for name, value in values.items()
        if name in list_field_names(is_space=is_space)
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
    default_values = mode_defaults.get_mode_defaults(backbone, mode)
    # Back to "chosen for you", so that the command stays short and a series can choose anew for each mode.
    field_values |= {name: None for name, value in default_values.items() if field_values.get(name) == value}
    config = TrainConfig(**field_values, **data)
    if is_space:
        _check_space_limits(config)
    if limit_minutes and not 0 < config.max_minutes <= limit_minutes:
        config = train_config.config_from_json(config.to_json() | {"max_minutes": limit_minutes})
    return config


def _check_space_limits(config: TrainConfig) -> None:
    """Raise a `ConfigError` if a configuration exceeds the limits of a public Space.

    Raises:
        ConfigError: the backbone is not one of the catalog, or batch or images are too large.
    """
    # Any timm model would be downloaded otherwise, and memory and disk are shared by all visitors.
    if config.backbone not in backbones.BACKBONES:
        raise ConfigError("config.backbone_space", name=config.backbone)
    if (train_config.fill_defaults(config).batch_size or 0) > SPACE_MAX_BATCH_SIZE:
        raise ConfigError(
            "config.bounds", name="--batch-size", value=config.batch_size, low=1, high=SPACE_MAX_BATCH_SIZE
        )
    if (config.image_size or 0) > SPACE_MAX_IMAGE_SIDE:
        raise ConfigError(
            "config.bounds", name="--image-size", value=config.image_size, low=32, high=SPACE_MAX_IMAGE_SIDE
        )


def format_error(error: FtlabError) -> str:
    """Return an error's message with the labels of the form in place of command-line flags."""
    # Errors name command-line flags; the form shows labels.
    flags = {format_flag(name): f'"{messages.get_text(f"setting.{name}.label")}"' for name in FIELDS}
    values = {key: flags.get(value, value) if isinstance(value, str) else value for key, value in error.values.items()}
    text = str(type(error)(error.code, **values))
    if error.code != "run.refused":
        return text
    # The sentence of another process, which has put the flags in already.
    return re.sub(r"--[a-z0-9-]+", lambda match: flags.get(match[0], match[0]), text)


def _convert_value(name: str, value: Any) -> Any:
    """Convert a component's value to the type of its setting.

    Args:
        name: name of the setting.
        value: as the page sent it.

    Returns:
        The value; None for an empty field; unchanged if it has a wrong type, which `TrainConfig` refuses.

    Raises:
        ConfigError: the number is not finite, or not whole where it must be.
    """
    if FIELDS[name][0].several and isinstance(value, list):
        value = ",".join(map(str, value))
    if value is None or (isinstance(value, str) and not value.strip() and "" not in FIELDS[name][0].choices):
        return None
    field_type = train_config.get_field_type(name)
    if field_type is bool:
        return old_settings.upgrade_value(name, value)
    if field_type is not str and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:  # `TrainConfig` refuses it with a message that names the type
            return value
    if field_type is str or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if not math.isfinite(value):
        raise ConfigError("config.number", name=format_flag(name))
    if field_type is int and value != int(value):
        raise ConfigError("config.whole", name=format_flag(name), value=value)
    return field_type(value)


@dataclass(frozen=True)
class ConfigForm:
    """Components of the form.

    Attributes:
        components: by setting, in the order of `list_field_names`.
        backbone_menu: menu of the backbones without a card, in which the name of any timm model can be typed too.
        defaults_pair: backbone and mode whose defaults were put into the fields; hidden.
        is_space: as for `parse_config`.
        limit_minutes: as for `parse_config`.
    """

    components: dict[str, FormComponent]
    backbone_menu: gr.Dropdown
    defaults_pair: gr.JSON
    is_space: bool
    limit_minutes: float

    def list_inputs(self) -> list[FormComponent]:
        """Return the components whose values `collect_values` takes, in its order."""
        return [*self.components.values(), self.backbone_menu]

    def collect_values(self, input_values: Sequence[Any]) -> dict[str, Any]:
        """Return the components' values by setting; a backbone selected in the menu replaces that of the cards."""
        # The last input is the menu of backbones, which is no setting of its own.
        values = dict(zip(self.components, input_values, strict=False))
        menu_value = input_values[len(self.components)]
        if isinstance(menu_value, str) and menu_value.strip():
            values["backbone"] = menu_value.strip()
        return values

    def read_config(self, input_values: Sequence[Any], **data: Any) -> TrainConfig:
        """Return the configuration of the components' values; fails as `parse_config` does."""
        return parse_config(
            self.collect_values(input_values), is_space=self.is_space, limit_minutes=self.limit_minutes, **data
        )

    def list_dependent_fields(self) -> list[str]:
        """Return the names of the settings whose default depends on backbone and mode."""
        default_values = get_defaults(backbones.DEFAULT_BACKBONE, TrainConfig().mode)
        return [name for name in self.components if name in default_values]

    def list_edit_events(self) -> list[Any]:
        """Return the events of a person's edits; a field that the program fills sends none of them."""
        # The reset button of a slider, and pasting into a text field, send a `change` event but no `input`.
        return [
            component.change if isinstance(component, gr.Slider | gr.Textbox) else component.input
            for component in self.list_inputs()
        ]

    def wire_defaults(self) -> Any:
        """Register that a change of backbone or mode puts their defaults into the fields.

        Returns:
            The event after which the fields are filled.
        """
        event_options: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        components = [self.components["backbone"], self.components["mode"], self.backbone_menu]
        outputs = [self.components[backbone_name] for backbone_name in self.list_dependent_fields()]

        def apply_defaults(filled_pair: object, *input_values: Any) -> list[Any]:
            values = self.collect_values(input_values)
            pair = [values["backbone"], values["mode"]]
            # The page sends an event of one choice more than once, and late: what was typed since must stay.
            if pair == filled_pair or pair[1] not in train_config.MODES or not _is_valid_backbone(pair[0]):
                return [gr.skip()] * (1 + len(outputs))
            default_values = get_defaults(*pair)
            return [pair, *(default_values[name] for name in self.list_dependent_fields())]

        # Cards and menu are one choice: selecting in one clears the other.
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


def build_form(
    *,
    is_space: bool = False,
    limit_minutes: float = 0.0,
    build_tools: Callable[[ConfigForm, str], None] = lambda _form, _group: None,
    build_top: Callable[[], None] = lambda: None,
) -> ConfigForm:
    """Build the form in the current Gradio context: backbone and mode, and a folded panel of all settings.

    Args:
        is_space: apply the limits of a public Space.
        limit_minutes: upper bound of the time limit in minutes, 0 for none.
        build_tools: builds what stands below the settings of a group, given the form and the name of the group.
        build_top: builds what stands above the groups in the panel.

    Returns:
        Its components.
    """
    config = TrainConfig(max_minutes=limit_minutes)
    values = get_field_values(config, is_space=is_space)
    components: dict[str, FormComponent] = {"backbone": build_backbone_cards()}
    backbone_menu = build_backbone_menu(is_space=is_space)
    # In the order of `list_field_names`, not that of the page: the inputs' values are assigned by position.
    components = {name: components.get(name) or build_component(name, value) for name, value in values.items()}
    for name, component in components.items():
        if FIELDS[name][0].group == "model" and name != "backbone":
            component.render()  # type: ignore[no-untyped-call]
    defaults_pair = gr.JSON([config.backbone, config.mode], visible=False, elem_id="train-pair")
    config_form = ConfigForm(components, backbone_menu, defaults_pair, is_space, limit_minutes)
    settings_panel.build_settings_panel(components, lambda group: build_tools(config_form, group), build_top)
    return config_form


def _is_valid_backbone(name: object) -> bool:
    try:
        backbones.check_backbone_name(str(name))
    except ConfigError:
        return False
    return True
