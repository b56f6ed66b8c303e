"""Recipes and files of settings on the page: what they fill the form with, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect
from unusual import changed

from ftlab.config import recipes as known
from ftlab.config import train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.data.samples import sample_sets
from ftlab.runs.jobs import time_estimate
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.ui import build_app, serve
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.train import form, recipe_picker

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
    assert filled(widgets(space=True), TrainConfig(threads=7)).threads is None


def test_about_a_recipe_stands_what_it_teaches_where_it_is_from_and_its_command() -> None:
    told = recipe_picker.render_recipe(known.get_recipe("hotdog-finetune"))
    assert "2,000 pictures" in told
    assert "0.939" in told
    assert 'href="https://d2l.ai/' in told
    assert "train --recipe hotdog-finetune</code>" in told
    assert "fetched in the Dataset tab" in told


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


# In a browser


@pytest.fixture
def url(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(sample_sets, "ensure_sample_set", lambda name, **_: tiny_folder)
    monkeypatch.setattr(
        time_estimate, "find_known_estimate", lambda *_: TimeEstimate(seconds=12.0, images_per_second=190.0)
    )
    profile = ServerProfile(tmp_path, tmp_path / "runs")
    demo = build_app(profile)
    _, url, _ = demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, **serve.build_launch_options(profile))
    yield url
    demo.close(verbose=False)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_recipe_is_chosen_changed_saved_and_loaded(
    page: Page, url: str, screenshots: Path, tmp_path: Path, width: int, theme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}?__theme={theme}")
    page.get_by_role("tab", name="Train").click()
    choose(page, "Cats and dogs: two phases")
    expect(page.locator("#train-recipe-about")).to_contain_text("0.983")
    expect(page.locator("#train-epochs input")).to_have_value("20")
    page.locator("#train-epochs input").fill("12")
    page.locator("#train-epochs input").press("Tab")
    wait_for(page, "--epochs 12")
    with page.expect_download() as download:
        page.locator("#train-keep").click()
    kept = tmp_path / "config.json"
    download.value.save_as(kept)
    assert json.loads(kept.read_text())["epochs"] == 12
    choose(page, "Quick: the best of a minute")
    wait_for(page, "--head-init imagenet")
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load").click()
    chooser.value.set_files(kept)
    wait_for(page, "--epochs 12")
    wait_for(page, "--unfreeze-from features.12.conv.1")
    expect(page.locator("#train-recipe input")).to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".ftlab-form").screenshot(path=screenshots / f"recipes-{width}-{theme}.png")
    kept.write_text('{"epochs": -3}', encoding="utf-8")
    with page.expect_file_chooser() as chooser:
        page.locator("#train-load").click()
    chooser.value.set_files(kept)
    expect(page.get_by_text("“Epochs” is -3").or_(page.get_by_text('"Epochs" is -3')).first).to_be_visible()
    expect(page.locator("#train-epochs input")).to_have_value("12")


def choose(page: Page, title: str) -> None:
    page.locator("#train-recipe input").click()
    page.get_by_role("option", name=title).click()


def wait_for(page: Page, words: str) -> None:
    """Until the command that is shown has these words."""
    page.wait_for_function(
        "words => document.querySelector('#train-command textarea').value.includes(words)", arg=words, timeout=20_000
    )
