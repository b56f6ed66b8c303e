"""The form: each knob of the configuration becomes a widget, and the widgets' values a configuration again.

Nothing here knows a knob by name but the backbone, which is shown as cards: label, hint, bounds, choices, unit and
place come from the knob, so a new one appears by itself. The widgets' own limits are a convenience; `read` checks
everything again, in `TrainConfig`, because any program can send any value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ftlab.config import backbones, train_config
from ftlab.config.train_config import FOLDED, KNOBS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.models.pretrained import weights

IN_VIEW = ("main",)
PUBLIC_BATCH = 64
"""Largest batch that a visitor of a public Space may ask for: its memory is everybody's."""
PUBLIC_SIDE = 320
"""Largest side of the square that the network sees, for the same reason."""
SLIDER_STOPS = 200
"""A knob with more values than these between its bounds is typed, not slid."""

Field = gr.Radio | gr.Slider | gr.Number | gr.Textbox | gr.Dropdown


def names(space: bool = False) -> list[str]:
    """Knobs that have a widget here, in the order of the form; a public Space leaves out those of the machine."""
    groups = ("model", *IN_VIEW, *(group for group in FOLDED if not (space and group == "machine")))
    return [name for group in groups for name, (knob, _) in KNOBS.items() if knob.group == group]


def shown(settings: TrainConfig, space: bool = False) -> dict[str, Any]:
    """What the widgets show of a configuration: what is "chosen for you" shows what it comes to."""
    resolved = train_config.resolve(settings)
    return {name: getattr(resolved, name) for name in names(space)}


def defaults(backbone: str, mode: str) -> dict[str, Any]:
    """What the widgets that depend on backbone and mode show after a change of one of them."""
    return train_config.defaults(backbone, mode)


def read(values: Mapping[str, Any], *, space: bool = False, minutes: float = 0.0, **data: Any) -> TrainConfig:
    """The configuration that the widgets' values stand for.

    A value that is what would be chosen anyway becomes `None` again, so that the command stays short.

    Args:
        values: by knob; a knob that is left out, or whose field is empty, takes its default.
        space: whether limits for strangers hold.
        minutes: upper bound of the time limit, 0 for none.
        data: knobs of the group `data`.

    Raises:
        ConfigError: a value does not fit, or two contradict each other.
    """
    given = {name: _typed(name, value) for name, value in values.items() if name in names(space)}
    given = {name: value for name, value in given.items() if value is not None or train_config.optional(name)}
    backbone, mode = given.get("backbone", backbones.DEFAULT), given.get("mode", TrainConfig().mode)
    if mode not in train_config.MODES:
        raise ConfigError("config.choice", name="--mode", value=mode, choices=", ".join(train_config.MODES))
    chosen = train_config.defaults(backbone, mode)
    given |= {name: None for name, value in chosen.items() if given.get(name) == value}
    settings = TrainConfig(**given, **data)
    if space and settings.backbone not in backbones.TABLE:  # the memory and the disk are everybody's
        raise ConfigError("config.backbone_space", name=settings.backbone)
    if space and (train_config.resolve(settings).batch_size or 0) > PUBLIC_BATCH:
        raise ConfigError("config.bounds", name="--batch-size", value=settings.batch_size, low=1, high=PUBLIC_BATCH)
    if space and (settings.side or 0) > PUBLIC_SIDE:
        raise ConfigError("config.bounds", name="--side", value=settings.side, low=32, high=PUBLIC_SIDE)
    if minutes and not 0 < settings.max_minutes <= minutes:
        settings = train_config.from_json(settings.to_json() | {"max_minutes": minutes})
    return settings


def sentence(error: FtlabError) -> str:
    """An error's sentence with the names that stand in the form instead of the command line's flags."""
    flags = {train_config.flag(name): f'"{messages.text(f"knob.{name}.label")}"' for name in KNOBS}
    values = {key: flags.get(value, value) if isinstance(value, str) else value for key, value in error.values.items()}
    return str(type(error)(error.code, **values))


def _typed(name: str, value: Any) -> Any:
    """A widget's value as the knob's type; an empty field is None."""
    if value is None or (isinstance(value, str) and not value.strip() and "" not in KNOBS[name][0].choices):
        return None
    wanted = train_config.kind(name)
    if wanted is not str and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:  # `TrainConfig` says what it must be
            return value
    if wanted is str or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if not math.isfinite(value):
        raise ConfigError("config.number", name=train_config.flag(name))
    if wanted is int and value != int(value):
        raise ConfigError("config.whole", name=train_config.flag(name), value=value)
    return wanted(value)


@dataclass(frozen=True)
class Form:
    """The widgets.

    Attributes:
        fields: by knob, in the order of `names`.
        rest: menu of the backbones that have no card, where the name of one of timm's can be typed too.
        pair: backbone and mode whose defaults were put into the fields; hidden.
        space, minutes: limits, as `read` takes them.
    """

    fields: dict[str, Field]
    rest: gr.Dropdown
    pair: gr.JSON
    space: bool
    minutes: float

    def inputs(self) -> list[Field]:
        """Components whose values `values` takes, in its order."""
        return [*self.fields.values(), self.rest]

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The widgets' values by knob."""
        values = dict(zip(self.fields, given, strict=False))
        rest = given[len(self.fields)]
        if isinstance(rest, str) and rest.strip():
            values["backbone"] = rest.strip()
        return values

    def read(self, given: Sequence[Any], **data: Any) -> TrainConfig:
        """The configuration of the widgets' values. Raises `ConfigError` as `read` does."""
        return read(self.values(given), space=self.space, minutes=self.minutes, **data)

    def dependents(self) -> list[str]:
        """Knobs whose default depends on backbone and mode."""
        chosen = defaults(backbones.DEFAULT, TrainConfig().mode)
        return [name for name in self.fields if name in chosen]

    def edits(self) -> list[Any]:
        """Events of a person changing a field; what this program puts into fields is none."""
        # A slider's reset button, and text that is pasted into a field, tell of a change, not of an input.
        return [one.change if isinstance(one, gr.Slider | gr.Textbox) else one.input for one in self.inputs()]

    def wire(self) -> Any:
        """A change of backbone or mode puts the defaults of the pair into the fields.

        Returns:
            The event after which they stand there.
        """
        light: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        changing = [self.fields["backbone"], self.fields["mode"], self.rest]
        outputs = [self.fields[name] for name in self.dependents()]

        def apply(filled: object, *given: Any) -> list[Any]:
            values = self.values(given)
            pair = [values["backbone"], values["mode"]]
            # The page tells of one choice more than once, and late: what was typed since must stay.
            if pair == filled or pair[1] not in train_config.MODES or not _possible(pair[0]):
                return [gr.skip()] * (1 + len(outputs))
            chosen = defaults(*pair)
            return [pair, *(chosen[name] for name in self.dependents())]

        # A card and the menu are one choice: taking one lets go of the other.
        self.fields["backbone"].input(lambda: None, None, self.rest, **light)
        self.rest.input(lambda name: None if name else gr.skip(), self.rest, self.fields["backbone"], **light)
        told = [one.input for one in changing]
        inputs, filled = [self.pair, *self.inputs()], [self.pair, *outputs]
        return gr.on(told, apply, inputs, filled, trigger_mode="always_last", **light)


def build(*, space: bool = False, minutes: float = 0.0) -> Form:
    """Lay out the form where the page stands."""
    settings = TrainConfig(max_minutes=minutes)
    values = shown(settings, space)
    fields: dict[str, Field] = {"backbone": _cards()}
    rest = _rest(space)
    model = [name for name in values if KNOBS[name][0].group == "model" and name not in fields]
    fields |= {name: widget(name, values[name]) for name in model}
    with gr.Row(elem_classes="ftlab-fields"):
        fields |= {name: widget(name, values[name]) for name in values if KNOBS[name][0].group in IN_VIEW}
    for theme in FOLDED:
        inside = [name for name in values if KNOBS[name][0].group == theme]
        if not inside:
            continue
        with (
            gr.Accordion(
                messages.text(f"theme.{theme}"), open=False, elem_id=f"train-theme-{theme}", elem_classes="ftlab-theme"
            ),
            gr.Row(elem_classes="ftlab-fields"),
        ):
            fields |= {name: widget(name, values[name]) for name in inside}
    pair = gr.JSON([settings.backbone, settings.mode], visible=False, elem_id="train-pair")
    return Form({name: fields[name] for name in values}, rest, pair, space, minutes)


def widget(name: str, value: Any) -> Field:
    """The widget of a knob, from what the configuration knows of it."""
    knob, _ = KNOBS[name]
    label = messages.text(f"knob.{name}.label")
    unit = f" ({knob.unit})" if knob.unit and knob.unit not in label else ""
    about: dict[str, Any] = {
        "label": label + unit,
        "info": messages.text(f"knob.{name}.hint"),
        "value": value,
        "elem_id": _ids.get(name, f"train-{name.replace('_', '-')}"),
        "min_width": 200 if knob.group in FOLDED else 130,
        "interactive": True,
    }
    if knob.choices:
        choices = [(_choice(name, choice), choice) for choice in knob.choices]
        return gr.Radio(choices, elem_classes="ftlab-choice", **about)
    if train_config.kind(name) is str or value is None:
        # A gr.Number that is empty turns to 0 when it is first shown (gradio 6.31).
        return gr.Textbox(
            placeholder=messages.text("train.chosen") if train_config.optional(name) else None, max_lines=1, **about
        )
    low, high, step = knob.low, knob.high, knob.step
    few = low is not None and high is not None and step is not None and (high - low) / step <= SLIDER_STOPS
    if few and not train_config.optional(name):
        return gr.Slider(low or 0.0, high or 0.0, step=step, **about)
    # Bounds are not given to the field: Gradio would answer a slip with an error box over the whole page.
    return gr.Number(step=knob.step or 1e-4, placeholder=messages.text("train.chosen"), **about)


_ids = {"batch_size": "train-batch", "learning_rate": "train-rate"}


def _choice(name: str, value: str) -> str:
    try:
        return messages.text(f"choice.{name}.{value}")
    except KeyError:  # a choice without words of its own stands for itself
        return value


def _cards() -> gr.Radio:
    return gr.Radio(
        cards(),
        value=backbones.DEFAULT,
        label=messages.text("knob.backbone.label"),
        info=messages.text("knob.backbone.hint"),
        elem_id="train-backbone",
        elem_classes="ftlab-cards",
        interactive=True,
    )


def _rest(space: bool) -> gr.Dropdown:
    folded = [row for row in backbones.TABLE.values() if not row.featured]
    with gr.Accordion(messages.text("train.backbones.rest", count=len(folded)), open=False):
        return gr.Dropdown(
            [(card(row, " · "), row.name) for row in folded],
            value=None,
            label=messages.text("train.backbones.rest_label"),
            info=messages.text("train.backbones.rest_space" if space else "train.backbones.rest_hint"),
            allow_custom_value=not space,
            elem_id="train-backbone-rest",
        )


def _possible(name: object) -> bool:
    try:
        backbones.check(str(name))
    except ConfigError:
        return False
    return True


def cards() -> list[tuple[str, str]]:
    """Labels and names of the backbones in view; whether their weights are here is looked up anew."""
    return [(card(row, "\n"), row.name) for row in backbones.TABLE.values() if row.featured]


def card(row: backbones.Backbone, between: str) -> str:
    """Title, size, and whether the weights are here, of a backbone."""
    found = weights.locate(row)
    key = "train.card.ready" if found.ready else "train.card.download"
    return (
        row.title
        + between
        + messages.text(key, millions=f"{row.parameters / 1e6:.1f}", megabytes=f"{found.megabytes:.0f}")
    )
