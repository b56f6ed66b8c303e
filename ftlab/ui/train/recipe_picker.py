"""Recipes and configuration files in the Train tab: either fills the form, which can then be edited."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.config import backbones, recipes, train_config
from ftlab.config.recipes import Recipe
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, FtlabError
from ftlab.core.html import Markup, tag
from ftlab.data.sources import tutorial_datasets
from ftlab.ui.common import page_events
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

MAX_CONFIG_FILE_BYTES = 1 << 20
"""Maximum size of an uploaded configuration file in bytes; a run's `config.json` has a few thousand."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Queued, because a message that is shown outside the queue does not reach the page."""
_DOWNLOAD_JS = "() => document.querySelector('#train-settings a, a#train-settings, #train-settings')?.click()"


@dataclass(frozen=True)
class RecipeMenu:
    """Components that fill the form. Their events are registered when the form has been built.

    Attributes:
        recipe_menu: chooses a recipe.
        recipe_info: describes the chosen one.
        load_button: uploads a configuration file; not yet rendered.
        save_button: downloads the form's values as one; not yet rendered.
    """

    recipe_menu: gr.Dropdown
    recipe_info: gr.HTML
    load_button: gr.UploadButton
    save_button: gr.Button

    def render_file_buttons(self) -> None:
        """Render the buttons that load and save a file, in the current Gradio context."""
        with gr.Row(elem_classes="ftlab-buttons"):
            self.load_button.render()  # type: ignore[no-untyped-call]
            self.save_button.render()  # type: ignore[no-untyped-call]

    def wire_events(self, actions: TrainActions, config_form: form.ConfigForm, data: list[Any]) -> list[Any]:
        """Register events that fill the form from a recipe or a file, and that save it to a file.

        Args:
            actions: handlers of the tab.
            config_form: the form.
            data: components of the Dataset tab whose values `TrainActions.parse_inputs` takes; the last two are the
                shares.

        Returns:
            Events after which the form is filled.
        """
        form_outputs = [*config_form.list_inputs(), config_form.defaults_pair, *data[2:4]]

        def choose_recipe(recipe_name: object) -> list[Any]:
            if not isinstance(recipe_name, str) or recipe_name not in recipes.RECIPES:
                return [""] + [gr.skip()] * len(form_outputs)
            recipe = recipes.get_recipe(recipe_name)
            return [render_recipe(recipe), *list_form_values(config_form, recipe.build_config())]

        def load_config(config_path: str | None) -> list[Any]:
            try:
                return [None, "", *list_form_values(config_form, read_config_file(Path(str(config_path))))]
            except FtlabError as error:
                page_events.show_warning(form.format_error(error))
                return [gr.skip()] * (2 + len(form_outputs))

        def save_config(*input_values: Any) -> str | None:
            try:
                _, config = actions.parse_inputs(config_form, input_values)
            except FtlabError as error:
                page_events.show_warning(form.format_error(error))
                return None
            return str(write_config_file(config, is_public=actions.profile.is_space))

        # Rendered though not displayed: the script must find it.
        download_button = gr.DownloadButton(visible="hidden", elem_id="train-settings")
        # A download button gives the file that it had before the click. So another button makes the file and, on
        # success, clicks the hidden one.
        save_event = self.save_button.click(
            save_config, [*data, *config_form.list_inputs()], download_button, **_QUEUED_EVENT
        )
        save_event.success(None, None, None, js=_DOWNLOAD_JS)
        return [
            self.recipe_menu.input(
                choose_recipe, self.recipe_menu, [self.recipe_info, *form_outputs], **_UNQUEUED_EVENT
            ),
            self.load_button.upload(
                load_config, self.load_button, [self.recipe_menu, self.recipe_info, *form_outputs], **_QUEUED_EVENT
            ),
        ]


def build_recipe_menu() -> RecipeMenu:
    """Return the components; menu and description are built in the current Gradio context."""
    recipe_menu = gr.Dropdown(
        [(recipe.title, recipe.name) for recipe in recipes.RECIPES.values()],
        value=None,
        label=messages.get_text("train.recipe.label"),
        info=messages.get_text("train.recipe.hint"),
        elem_id="train-recipe",
    )
    recipe_info = gr.HTML(elem_id="train-recipe-about", apply_default_css=False)
    options: dict[str, Any] = {"size": "sm", "min_width": 120, "render": False}
    load_button = gr.UploadButton(
        messages.get_text("train.recipe.load"), file_types=[".json"], elem_id="train-load", **options
    )
    save_button = gr.Button(messages.get_text("train.recipe.save"), elem_id="train-keep", **options)
    return RecipeMenu(recipe_menu, recipe_info, load_button, save_button)


def render_recipe(recipe: Recipe) -> Markup:
    """Return a recipe's description as HTML: its lesson, expected result, data, source and command."""
    lines = [tag("p", recipe.lesson)]
    sentences = [messages.get_text("recipe.expect", expected=recipe.expected_text)] if recipe.expect else []
    if recipe.data:
        dataset = tutorial_datasets.get_dataset(recipe.data)
        message_key = "train.recipe.data_here" if tutorial_datasets.find_image_folder(dataset) else "train.recipe.data"
        sentences.append(messages.get_text(message_key, title=dataset.title))
    if sentences:
        lines.append(tag("p", " ".join(sentences)))
    if recipe.source:
        link_attributes = {"href": recipe.page, "target": "_blank", "rel": "noopener noreferrer"}
        link = tag("a", recipe.source, **link_attributes) if recipe.page else recipe.source
        lines.append(tag("p", messages.get_text("train.recipe.source"), " ", link))
    lines.append(tag("code", recipe.command))
    return tag("div", *lines, class_="ftlab-about ftlab-recipe")


def list_form_values(config_form: form.ConfigForm, config: TrainConfig) -> list[Any]:
    """List the values that fill the form with a configuration.

    Args:
        config_form: the form.
        config: the configuration.

    Returns:
        Values for `ConfigForm.list_inputs`, for `ConfigForm.defaults_pair`, and for both shares of the Dataset tab.
    """
    # On a Space the field shows the limit that will hold; 0 minutes means no limit.
    if config_form.limit_minutes and not 0 < config.max_minutes <= config_form.limit_minutes:
        config = dataclasses.replace(config, max_minutes=config_form.limit_minutes)
    field_values = form.get_field_values(config, is_space=config_form.is_space)
    spec = backbones.BACKBONES.get(config.backbone)
    # Featured backbones have a card; all others, those of timm included, stand in the menu.
    menu_value = None if spec and spec.featured else config.backbone
    # Card and menu are one choice: the other one is cleared.
    field_values["backbone"] = None if menu_value else config.backbone
    defaults_pair = [config.backbone, config.mode]
    return [
        *(field_values[name] for name in config_form.components),
        menu_value,
        defaults_pair,
        config.val_share,
        config.test_share,
    ]


def read_config_file(config_path: Path) -> TrainConfig:
    """Read a configuration file, without its data, which is chosen in the Dataset tab; an uploaded file is deleted.

    Args:
        config_path: path of the file.

    Returns:
        The configuration.

    Raises:
        ConfigError: the file is too large, cannot be read, or its values are not allowed.
    """
    try:
        if config_path.stat().st_size > MAX_CONFIG_FILE_BYTES:
            raise ConfigError("config.file", file=config_path.name, cause=messages.get_text("train.recipe.large"))
        return dataclasses.replace(train_config.load_config(str(config_path)), data="", sample="", exclude="")
    except OSError as cause:
        raise ConfigError("config.file", file=config_path.name, cause=cause.strerror or cause) from cause
    finally:
        # A file outside the uploads folder is not ours to delete.
        if config_path.resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            config_path.unlink(missing_ok=True)


def write_config_file(config: TrainConfig, *, is_public: bool) -> Path:
    """Write a configuration file for download, as `--config` and the page read it.

    Args:
        config: the configuration.
        is_public: leave out paths of this machine.

    Returns:
        Path of the file, in a new folder below the uploads folder.
    """
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    private_fields: Sequence[str] = ("data", "sample", "exclude", "init_from") if is_public else ()
    public_fields = {name: value for name, value in config.to_json().items() if name not in private_fields}
    # A folder each: the browser takes the name of the file, and two visitors must not share one.
    config_path = Path(tempfile.mkdtemp(prefix="settings-", dir=folder)) / "config.json"
    config_path.write_text(json.dumps(public_fields, indent=1) + "\n", encoding="utf-8")
    return config_path
