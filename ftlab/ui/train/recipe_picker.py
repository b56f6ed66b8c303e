"""Recipes and files of settings in the Train tab: either fills the form, which can then be changed."""

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
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk

LARGEST = 1 << 20
"""Bytes of a file of settings; a run's `config.json` has a few thousand."""
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_BUTTON: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""In the queue: what is told outside of it does not reach the page."""
_DOWNLOAD = "() => document.querySelector('#train-settings a, a#train-settings, #train-settings')?.click()"


@dataclass(frozen=True)
class Menu:
    """The components, which stand above the form and are wired when there is one."""

    recipe: gr.Dropdown
    about: gr.HTML
    load: gr.UploadButton
    save: gr.Button

    def wire(self, desk: Desk, widgets: form.Form, data: list[Any]) -> list[Any]:
        """Fill the form by a choice.

        Args:
            data: the components of the Dataset tab that `Desk.settings` takes; the last two are the shares.

        Returns:
            The events after which the form is filled.
        """
        filled = [*widgets.inputs(), widgets.pair, *data[2:4]]

        def choose(name: object) -> list[Any]:
            if not isinstance(name, str) or name not in recipes.TABLE:
                return [""] + [gr.skip()] * len(filled)
            row = recipes.get(name)
            return [about(row), *values(widgets, row.config())]

        def load(file: str | None) -> list[Any]:
            try:
                return [None, "", *values(widgets, read(Path(str(file))))]
            except FtlabError as error:
                gr.Warning(form.sentence(error))
                return [gr.skip()] * (2 + len(filled))

        def save(*given: Any) -> str | None:
            try:
                _, settings = desk.settings(widgets, given)
            except FtlabError as error:
                gr.Warning(form.sentence(error))
                return None
            return str(write(settings, open_server=desk.profile.space))

        ready = gr.DownloadButton(visible="hidden", elem_id="train-settings")
        # A download button gives the file it had before the click; so another one makes the file, and clicks it.
        saved = self.save.click(save, [*data, *widgets.inputs()], ready, **_BUTTON)
        saved.success(None, None, None, js=_DOWNLOAD)
        return [
            self.recipe.input(choose, self.recipe, [self.about, *filled], **_LIGHT),
            self.load.upload(load, self.load, [self.recipe, self.about, *filled], **_BUTTON),
        ]


def build() -> Menu:
    """Lay out the menu where the page stands."""
    recipe = gr.Dropdown(
        [(row.title, row.name) for row in recipes.TABLE.values()],
        value=None,
        label=messages.text("train.recipe.label"),
        info=messages.text("train.recipe.hint"),
        elem_id="train-recipe",
    )
    shown = gr.HTML(elem_id="train-recipe-about", apply_default_css=False)
    with gr.Row(elem_classes="ftlab-buttons"):
        load = gr.UploadButton(
            messages.text("train.recipe.load"), file_types=[".json"], size="sm", elem_id="train-load", min_width=120
        )
        save = gr.Button(messages.text("train.recipe.save"), size="sm", elem_id="train-keep", min_width=120)
    return Menu(recipe, shown, load, save)


def about(row: Recipe) -> Markup:
    """What a recipe teaches, what it should reach, and what starts it on a command line."""
    lines = [tag("p", row.teaches)]
    told = [messages.text("recipe.expect", expected=row.expected)] if row.expect else []
    if row.data:
        known = tutorial_datasets.get(row.data)
        key = "train.recipe.data_here" if tutorial_datasets.find(known) else "train.recipe.data"
        told.append(messages.text(key, title=known.title))
    if told:
        lines.append(tag("p", " ".join(told)))
    if row.source:
        away = {"href": row.page, "target": "_blank", "rel": "noopener noreferrer"}
        link = tag("a", row.source, **away) if row.page else row.source
        lines.append(tag("p", messages.text("train.recipe.source"), " ", link))
    lines.append(tag("code", row.command))
    return tag("div", *lines, class_="ftlab-about ftlab-recipe")


def values(widgets: form.Form, settings: TrainConfig) -> list[Any]:
    """What fills the form: for its inputs, its pair, and the shares of the Dataset tab."""
    if widgets.minutes and not 0 < settings.max_minutes <= widgets.minutes:
        settings = dataclasses.replace(settings, max_minutes=widgets.minutes)
    shown = form.shown(settings, widgets.space)
    row = backbones.TABLE.get(settings.backbone)
    rest = None if row and row.featured else settings.backbone
    shown["backbone"] = None if rest else settings.backbone
    pair = [settings.backbone, settings.mode]
    return [*(shown[name] for name in widgets.fields), rest, pair, settings.val_share, settings.test_share]


def read(file: Path) -> TrainConfig:
    """The settings in a file that was sent, without its pictures: those are chosen in the Dataset tab. The file is not
    kept.

    Raises:
        ConfigError: there are none in it, or they do not fit.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigError("config.file", file=file.name, cause=messages.text("train.recipe.large"))
        return dataclasses.replace(train_config.load(str(file)), data="", sample="", exclude="")
    except OSError as cause:
        raise ConfigError("config.file", file=file.name, cause=cause.strerror or cause) from cause
    finally:
        if file.resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            file.unlink(missing_ok=True)


def write(settings: TrainConfig, *, open_server: bool) -> Path:
    """A file of settings to be downloaded: as `--config` and a loading page read it.

    Args:
        open_server: the path of the pictures is nobody's business.
    """
    folder = Path(get_upload_folder()) / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    private: Sequence[str] = ("data", "sample", "exclude", "init") if open_server else ()
    shown = {name: value for name, value in settings.to_json().items() if name not in private}
    file = Path(tempfile.mkdtemp(dir=folder)) / "config.json"
    file.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return file
