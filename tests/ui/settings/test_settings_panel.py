"""All settings lie in one panel, each in the group of its topic, and the search knows each by its name."""

from __future__ import annotations

import html
import json
import re

import gradio as gr

from ftlab.config.train_config import FIELDS, FOLDED_GROUPS
from ftlab.core import messages
from ftlab.ui.settings import settings_panel
from ftlab.ui.train import form


def test_one_closed_panel_holds_every_group_with_its_settings_and_its_tools() -> None:
    order: list[str] = []
    with gr.Blocks() as page:
        form.build_form(build_tools=lambda _form, group: order.append(group), build_top=lambda: order.append("top"))
    assert order == ["top", *FOLDED_GROUPS]
    parts = page.get_config_file()["components"]
    folds = [part["props"] for part in parts if part["type"] == "accordion"]
    assert [(fold["elem_id"], fold["open"]) for fold in folds] == [("train-settings-panel", False)]
    ids = [part["props"].get("elem_id") for part in parts]
    assert all(f"train-theme-{group}" in ids for group in FOLDED_GROUPS)


def test_a_group_without_settings_is_left_out() -> None:
    with gr.Blocks() as page:
        form.build_form(is_space=True)
    ids = [part["props"].get("elem_id") for part in page.get_config_file()["components"]]
    assert "train-theme-machine" not in ids
    assert "train-theme-end" in ids


def test_the_search_has_a_name_and_the_name_of_each_setting() -> None:
    search = settings_panel.render_search({"train-batch": "batch_size", "train-<b>": "odd"})
    assert messages.get_text("train.all_settings.search") in search
    names = re.search(r'data-names="([^"]*)"', search)
    assert names is not None
    assert json.loads(html.unescape(names[1])) == {"train-batch": "batch_size", "train-<b>": "odd"}


def test_terms_of_the_field_name_the_groups() -> None:
    for name, term in {
        "optimizer": "Optimizer",
        "schedule": "Learning rate schedule",
        "mixup": "Data augmentation",
        "weight_decay": "Regularization",
    }.items():
        assert messages.get_text(f"theme.{FIELDS[name][0].group}") == term
