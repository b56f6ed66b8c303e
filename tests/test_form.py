"""The form is derived from the configuration and gives it back."""

from __future__ import annotations

import dataclasses
from itertools import product

import gradio as gr
import pytest
from unusual import changed

from ftlab.config import backbones, train_config
from ftlab.config.fields import Knob
from ftlab.config.train_config import KNOBS, MODES, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.ui.train import form

# Pictures are chosen in another tab.
UNUSUAL = dataclasses.replace(changed(), data="", exclude="", val_share=0.15, test_share=0.15)


@pytest.fixture
def built() -> form.Form:
    with gr.Blocks():
        return form.build()


def test_every_knob_has_a_widget_but_those_of_the_dataset_tab(built: form.Form) -> None:
    assert set(built.fields) == {name for name, (knob, _) in KNOBS.items() if knob.group != "data"}


def test_every_widget_has_the_knobs_label_and_hint(built: form.Form) -> None:
    for name, field in built.fields.items():
        label = messages.text(f"knob.{name}.label")
        assert (field.label or "").startswith(label)
        assert getattr(field, "info", "") == messages.text(f"knob.{name}.hint")


def test_choices_are_the_knobs(built: form.Form) -> None:
    for name, field in built.fields.items():
        if KNOBS[name][0].choices:
            assert isinstance(field, gr.Radio)
            assert [value for _, value in field.choices] == list(KNOBS[name][0].choices)


def test_a_new_knob_becomes_a_widget_by_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOBS, "momentum", (Knob("rates", low=0, high=0.95, step=0.05, unit="parts"), 0.9))
    with gr.Blocks():
        field = form.build().fields["momentum"]
    assert isinstance(field, gr.Slider)
    assert (field.minimum, field.maximum, field.step) == (0, 0.95, 0.05)
    assert field.label == "Momentum (parts)"


@pytest.mark.parametrize("settings", [TrainConfig(), UNUSUAL], ids=["defaults", "unusual"])
def test_what_the_widgets_show_reads_back_as_the_same_configuration(settings: TrainConfig) -> None:
    assert form.read(form.shown(settings)) == settings


@pytest.mark.parametrize(("backbone", "mode"), list(product(backbones.TABLE, MODES)))
def test_the_defaults_of_backbone_and_mode_are_shown_and_mean_chosen_for_you(backbone: str, mode: str) -> None:
    settings = TrainConfig(backbone=backbone, mode=mode)
    shown = form.shown(settings)
    assert {name: shown[name] for name in form.defaults(backbone, mode)} == train_config.defaults(backbone, mode)
    assert form.read(shown) == settings
    assert train_config.argv(form.read(shown)) == ["--backbone", backbone, "--mode", mode]


def test_the_command_of_the_form_says_what_was_changed_and_nothing_else() -> None:
    shown = form.shown(TrainConfig()) | {"epochs": 12, "learning_rate": 0.002, "seed": 3}
    words = train_config.argv(form.read(shown, sample="shapes"))
    assert words == [
        *("--sample", "shapes", "--backbone", backbones.DEFAULT, "--mode", "frozen"),
        *("--epochs", "12", "--learning-rate", "0.002", "--seed", "3"),
    ]


def test_an_empty_field_is_chosen_for_you() -> None:
    shown = form.shown(TrainConfig()) | {"epochs": None, "momentum": None, "threads": None}
    assert form.read(shown) == TrainConfig()


def test_numbers_may_come_as_the_page_sends_them() -> None:
    assert form.read({"epochs": 12.0}).epochs == 12
    assert form.read({"threads": " 2 ", "workers": ""}) == TrainConfig(threads=2)


def test_no_number_field_starts_empty(built: form.Form) -> None:
    """An empty one turns to 0 when it is first shown (gradio 6.31)."""
    assert [name for name, field in built.fields.items() if isinstance(field, gr.Number) and field.value is None] == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, '"Epochs" is 0: it must lie between 1 and 10000.'),
        ({"epochs": 2.5}, '"Epochs" must be a whole number, not 2.5.'),
        ({"learning_rate": float("nan")}, '"Learning rate" must be a number.'),
        ({"learning_rate": -1}, '"Learning rate" is -1.0: it must lie between 1e-08 and 100.0.'),
        ({"batch_size": "many"}, "\"Batch size\" must be a whole number, not 'many'."),
        ({"seed": True}, '"Seed" must be a whole number, not True.'),
        ({"optimizer": "magic"}, '"Optimizer" cannot be "magic". Choose one of: adamw, adam, sgd, rmsprop.'),
        ({"side": "224", "resize": "160"}, '"Resized to" is 160, less than the 224 pixels that the network sees.'),
        ({"augment": "none", "blur": 1.0}, '"Blur" varies the training pictures, and "Augmentation" none leaves'),
        ({"mode": "half"}, '"Mode" cannot be "half". Choose one of: frozen, full, scratch.'),
        ({"mode": ["full"]}, '"Mode" cannot be "[\'full\']". Choose one of: frozen, full, scratch.'),
        ({"backbone": "alexnet9"}, 'There is no backbone "alexnet9".'),
    ],
)
def test_a_slip_is_told_in_one_sentence_with_the_name_that_stands_in_the_form(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        form.read(form.shown(TrainConfig()) | values)
    assert form.sentence(caught.value).startswith(sentence)
    assert "--" not in form.sentence(caught.value)


def test_a_public_space_shows_no_knob_of_the_machine_and_heeds_none() -> None:
    assert "threads" not in form.names(space=True)
    assert form.read({"threads": 512, "device": "cuda"}, space=True) == TrainConfig()


@pytest.mark.parametrize(("asked", "given"), [(0, 10), (5, 5), (600, 10), (None, 10)])
def test_the_time_limit_is_at_most_that_of_the_server(asked: float | None, given: float) -> None:
    assert form.read({"max_minutes": asked}, space=True, minutes=10).max_minutes == given


def test_a_visitors_batch_is_bounded() -> None:
    with pytest.raises(ConfigError):
        form.read({"batch_size": 512}, space=True)
    assert form.read({"batch_size": 512}).batch_size == 512


def test_backbones_without_a_card_are_folded_and_one_choice_counts(built: form.Form) -> None:
    cards = built.fields["backbone"]
    assert isinstance(cards, gr.Radio)
    assert len(cards.choices) == 6
    assert [name for _, name in (*cards.choices, *built.rest.choices)] == list(backbones.TABLE)
    values = list(form.shown(TrainConfig()).values())
    assert built.read([*values, None]).backbone == backbones.DEFAULT
    assert built.read([*values, "vgg16"]).backbone == "vgg16"


def test_the_name_of_a_model_of_timm_may_be_typed_but_not_on_a_public_space(built: form.Form) -> None:
    values = list(form.shown(TrainConfig()).values())
    assert built.rest.allow_custom_value
    assert built.read([*values, " timm/levit_128s "]).backbone == "timm/levit_128s"
    with gr.Blocks():
        space = form.build(space=True)
    assert not space.rest.allow_custom_value
    values = list(form.shown(TrainConfig(), space=True).values())
    assert space.read([*values, "vgg16"]).backbone == "vgg16"
    with pytest.raises(ConfigError) as caught:
        space.read([*values, "timm/levit_128s"])
    assert caught.value.code == "config.backbone_space"


def test_a_card_says_whether_the_weights_are_here() -> None:
    here, away = form.card(backbones.get(backbones.DEFAULT), " / "), form.card(backbones.get("resnet18"), " / ")
    assert here == "EfficientNet-Lite0 / 3.4 M · ready"
    assert away == "ResNet-18 / 11.2 M · download 47 MB"
