"""The form is derived from the configuration and gives it back."""

from __future__ import annotations

import dataclasses
from itertools import product

import gradio as gr
import pytest

from ftlab.config import backbones, mode_defaults, train_config
from ftlab.config.fields import FieldSpec
from ftlab.config.train_config import FIELDS, MODES, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.ui.train import form, form_fields
from tests.support.unusual_config import changed

# Pictures are chosen in another tab.
UNUSUAL = dataclasses.replace(
    changed(), data="", exclude="", val_share=0.15, test_share=0.15, layout="auto", zip_names=""
)


@pytest.fixture
def built() -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form()


def test_every_setting_has_a_widget_but_those_of_the_dataset_tab(built: form.ConfigForm) -> None:
    assert set(built.components) == {name for name, (spec, _) in FIELDS.items() if spec.group != "data"}


def test_every_widget_has_the_settings_label_and_hint(built: form.ConfigForm) -> None:
    for name, field in built.components.items():
        label = messages.get_text(f"setting.{name}.label")
        assert (field.label or "").startswith(label)
        assert getattr(field, "info", "") == messages.get_text(f"setting.{name}.hint")


def test_choices_are_the_settings(built: form.ConfigForm) -> None:
    for name, field in built.components.items():
        if FIELDS[name][0].choices:
            assert isinstance(field, gr.CheckboxGroup if FIELDS[name][0].several else gr.Radio)
            assert [value for _, value in field.choices] == list(FIELDS[name][0].choices)


def test_a_new_setting_becomes_a_widget_by_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "momentum", (FieldSpec("rates", low=0, high=0.95, step=0.05, unit="pixels"), 0.9))
    with gr.Blocks():
        field = form.build_form().components["momentum"]
    assert isinstance(field, gr.Slider)
    assert (field.minimum, field.maximum, field.step) == (0, 0.95, 0.05)
    assert field.label == "Momentum (pixels)"


@pytest.mark.parametrize("settings", [TrainConfig(), UNUSUAL], ids=["defaults", "unusual"])
def test_what_the_widgets_show_reads_back_as_the_same_configuration(settings: TrainConfig) -> None:
    assert form.parse_config(form.get_field_values(settings)) == settings


@pytest.mark.parametrize(("backbone", "mode"), list(product(backbones.BACKBONES, MODES)))
def test_the_defaults_of_backbone_and_mode_are_shown_and_mean_chosen_for_you(backbone: str, mode: str) -> None:
    settings = TrainConfig(backbone=backbone, mode=mode)
    shown = form.get_field_values(settings)
    assert {name: shown[name] for name in form.get_defaults(backbone, mode)} == mode_defaults.get_mode_defaults(
        backbone, mode
    )
    assert form.parse_config(shown) == settings
    assert train_config.config_to_argv(form.parse_config(shown)) == ["--backbone", backbone, "--mode", mode]


def test_the_command_of_the_form_says_what_was_changed_and_nothing_else() -> None:
    shown = form.get_field_values(TrainConfig()) | {"epochs": 12, "learning_rate": 0.002, "seed": 3}
    words = train_config.config_to_argv(form.parse_config(shown, sample="shapes"))
    assert words == [
        *("--sample", "shapes", "--backbone", backbones.DEFAULT_BACKBONE, "--mode", "frozen"),
        *("--epochs", "12", "--learning-rate", "0.002", "--seed", "3"),
    ]


def test_ticked_trackers_are_one_word_of_the_command(built: form.ConfigForm) -> None:
    assert form.parse_config({"trackers": []}) == TrainConfig()
    config = form.parse_config({"trackers": ["tensorboard", "trackio"]})
    assert config == TrainConfig(trackers="tensorboard,trackio")
    assert form.get_field_values(config)["trackers"] == ["tensorboard", "trackio"]
    labels = [label for label, _ in built.components["trackers"].choices]  # type: ignore[union-attr]
    assert labels == ["TensorBoard", "trackio", "W&B", "MLflow"]


def test_an_empty_field_is_chosen_for_you() -> None:
    shown = form.get_field_values(TrainConfig()) | {"epochs": None, "momentum": None, "torch_num_threads": None}
    assert form.parse_config(shown) == TrainConfig()


def test_numbers_may_come_as_the_page_sends_them() -> None:
    assert form.parse_config({"epochs": 12.0}).epochs == 12
    assert form.parse_config({"torch_num_threads": " 2 ", "num_workers": ""}) == TrainConfig(torch_num_threads=2)


def test_no_number_field_starts_empty(built: form.ConfigForm) -> None:
    """An empty one turns to 0 when it is first shown (gradio 6.31)."""
    assert [
        name for name, field in built.components.items() if isinstance(field, gr.Number) and field.value is None
    ] == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, '"Epochs" is 0: it must lie between 1 and 10000.'),
        ({"epochs": 2.5}, '"Epochs" must be an integer, not 2.5.'),
        ({"learning_rate": float("nan")}, '"Learning rate" must be a number.'),
        ({"learning_rate": -1}, '"Learning rate" is -1.0: it must lie between 1e-08 and 100.0.'),
        ({"batch_size": "many"}, "\"Batch size\" must be an integer, not 'many'."),
        ({"seed": True}, '"Seed" must be an integer, not True.'),
        ({"optimizer": "magic"}, '"Optimizer" cannot be "magic". Choose one of: adamw, adam, sgd, rmsprop.'),
        (
            {"image_size": "224", "resize": "160"},
            '"Resize to" is 160, smaller than the image size of 224 pixels.',
        ),
        ({"augment": "none", "blur": 1.0}, '"Blur" augments the training pictures, but "Augmentation" none turns'),
        ({"mode": "half"}, '"Mode" cannot be "half". Choose one of: frozen, full, scratch.'),
        ({"trackers": ["trackio", "comet"]}, '"Experiment trackers" cannot be "comet". Choose one of: tensorboard,'),
        ({"mode": ["full"]}, '"Mode" cannot be "[\'full\']". Choose one of: frozen, full, scratch.'),
        ({"backbone": "alexnet9"}, 'There is no backbone "alexnet9".'),
    ],
)
def test_a_slip_is_told_in_one_sentence_with_the_name_that_stands_in_the_form(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        form.parse_config(form.get_field_values(TrainConfig()) | values)
    assert form.format_error(caught.value).startswith(sentence)
    assert "--" not in form.format_error(caught.value)


def test_a_public_space_shows_no_setting_of_the_machine_and_heeds_none() -> None:
    assert "threads" not in form.list_field_names(is_space=True)
    sent = {"torch_num_threads": 512, "device": "cuda", "trackers": ["wandb"]}
    assert form.parse_config(sent, is_space=True) == TrainConfig()


@pytest.mark.parametrize(("asked", "given"), [(0, 10), (5, 5), (600, 10), (None, 10)])
def test_the_time_limit_is_at_most_that_of_the_server(asked: float | None, given: float) -> None:
    assert form.parse_config({"max_minutes": asked}, is_space=True, limit_minutes=10).max_minutes == given


def test_a_visitors_batch_is_bounded() -> None:
    with pytest.raises(ConfigError):
        form.parse_config({"batch_size": 512}, is_space=True)
    assert form.parse_config({"batch_size": 512}).batch_size == 512


def test_backbones_without_a_card_are_folded_and_one_choice_counts(built: form.ConfigForm) -> None:
    cards = built.components["backbone"]
    assert isinstance(cards, gr.Radio)
    assert len(cards.choices) == 6
    assert [name for _, name in (*cards.choices, *built.backbone_menu.choices)] == list(backbones.BACKBONES)
    values = list(form.get_field_values(TrainConfig()).values())
    assert built.read_config([*values, None]).backbone == backbones.DEFAULT_BACKBONE
    assert built.read_config([*values, "vgg16"]).backbone == "vgg16"


def test_the_name_of_a_model_of_timm_may_be_typed_but_not_on_a_public_space(built: form.ConfigForm) -> None:
    values = list(form.get_field_values(TrainConfig()).values())
    assert built.backbone_menu.allow_custom_value
    assert built.read_config([*values, " timm/levit_128s "]).backbone == "timm/levit_128s"
    with gr.Blocks():
        space = form.build_form(is_space=True)
    assert not space.backbone_menu.allow_custom_value
    values = list(form.get_field_values(TrainConfig(), is_space=True).values())
    assert space.read_config([*values, "vgg16"]).backbone == "vgg16"
    with pytest.raises(ConfigError) as caught:
        space.read_config([*values, "timm/levit_128s"])
    assert caught.value.code == "config.backbone_space"


def test_a_card_says_whether_the_weights_are_here() -> None:
    here, away = (
        form_fields.format_backbone_card(backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE), " / "),
        form_fields.format_backbone_card(backbones.get_backbone_spec("resnet18"), " / "),
    )
    assert here == "EfficientNet-Lite0 / 3.4 M · ready"
    assert away == "ResNet-18 / 11.2 M · download 47 MB"
