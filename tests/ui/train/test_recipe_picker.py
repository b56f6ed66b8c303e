"""Recipes and files of settings on the page: what they fill the form with, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gradio as gr
import pytest

from ftlab.config import recipes as known
from ftlab.config import train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.ui.train import form, recipe_picker
from tests.support.unusual_config import changed

pytestmark = pytest.mark.usefixtures("nothing_scanned")


def widgets(*, space: bool = False, minutes: float = 0.0) -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form(is_space=space, limit_minutes=minutes)


def filled(fields: form.ConfigForm, settings: TrainConfig) -> TrainConfig:
    """The configuration that the form stands for once these settings were put into it."""
    *inputs, _, val_share, test_share = recipe_picker.list_form_values(fields, settings)
    return fields.read_config(inputs, val_share=val_share, test_share=test_share)


@pytest.mark.parametrize("name", known.RECIPES)
def test_a_recipe_fills_the_form_with_all_that_it_says(name: str) -> None:
    settings = known.get_recipe(name).build_config()
    stood_for = filled(widgets(), settings)
    assert train_config.fill_defaults(stood_for) == train_config.fill_defaults(settings)


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121", "timm/levit_128s"])
def test_a_backbone_without_a_card_goes_into_the_menu_below(backbone: str) -> None:
    settings = TrainConfig(backbone=backbone, mode="full", epochs=3)
    assert filled(widgets(), settings) == settings


def test_on_a_space_the_limits_of_time_hold_and_the_machine_is_left_out() -> None:
    settings = known.get_recipe("best").build_config()
    assert filled(widgets(space=True, minutes=10), settings).max_minutes == 10
    assert filled(widgets(space=True), TrainConfig(torch_num_threads=7)).torch_num_threads is None


def test_about_a_recipe_stands_what_it_teaches_where_it_is_from_and_its_command() -> None:
    told = recipe_picker.render_recipe(known.get_recipe("hotdog-finetune"))
    assert "2,000 pictures" in told
    assert "0.939" in told
    assert 'href="https://d2l.ai/' in told
    assert "train --recipe hotdog-finetune</code>" in told
    assert "download in the Dataset tab" in told


# Files


@pytest.mark.parametrize("settings", [TrainConfig(sample="shapes"), changed()], ids=["untouched", "unusual"])
def test_settings_that_were_saved_are_loaded_again_but_for_the_pictures(settings: TrainConfig) -> None:
    file = recipe_picker.write_config_file(settings, is_public=False)
    assert recipe_picker.read_config_file(file) == dataclasses.replace(settings, data="", sample="", exclude="")
    assert not file.exists(), "what was sent is not kept"


def test_a_file_from_a_space_tells_nothing_of_its_folders() -> None:
    text = recipe_picker.write_config_file(
        dataclasses.replace(changed(), data="/home/somebody", exclude="/home/somebody/out"), is_public=True
    ).read_text()
    assert "somebody" not in text
    assert "other.pth" not in text
    assert json.loads(text)["epochs"] == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "config.json"),
        ("[]", "not a JSON object"),
        ('{"epochs": -3}', "--epochs"),
        ('{"moment": 1}', "moment"),
        (" " * recipe_picker.MAX_CONFIG_FILE_BYTES + "{}", "too large"),
    ],
)
def test_a_file_that_does_not_do_is_refused_in_one_sentence(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        recipe_picker.read_config_file(file)
    assert file.exists(), "a file of one's own is left alone"
