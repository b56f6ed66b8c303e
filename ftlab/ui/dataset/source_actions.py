"""Event handlers for choosing a source: restore the last choice, show the fields of a source, find a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr

from ftlab.config.name_encodings import NAME_ENCODINGS
from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.core.html import Markup, tag
from ftlab.data.dataset import exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.sources import archive, locate, tutorial_datasets
from ftlab.server.paths import resolve_inside
from ftlab.server.people.lesson_rules import HANDED_PREFIX, HandedDataset, LessonRules
from ftlab.server.profile import ServerProfile
from ftlab.server.upload_quota import MAX_UPLOAD_BYTES
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.common.page_events import get_event_data, get_person
from ftlab.ui.dataset import audit, folder_browser, tutorial_picker, view


class SourceActions:
    """Event handlers for choosing a source."""

    def __init__(self, profile: ServerProfile) -> None:
        """Store the profile of the server."""
        self.profile = profile

    def restore_choice(self, saved_choice: object, upload_token: object = "") -> list[Any]:
        """Restore the choice that the browser saved, as far as it is still valid.

        Args:
            saved_choice: last output of a scan; it may hold anything.
            upload_token: token of the last upload.

        Returns:
            Sample, folder, location, tutorial menu, both fractions; None for what stays as it is.
        """
        choice = saved_choice if isinstance(saved_choice, dict) else {}
        sample = choice.get("sample")
        folder, list_name, layout, zip_names = data_choice.split_location(choice.get("folder"))
        if sample not in list_offered_sources(self.profile):
            # Saved by another version, or on a server that offered other sources.
            return [None] * 6
        typed_folder = folder if sample == data_choice.FOLDER_SOURCE else ""
        tutorial_name = folder if sample == data_choice.TUTORIAL_SOURCE and folder in tutorial_datasets.DATASETS else ""
        source_id = str(upload_token or "") if sample == data_choice.UPLOAD_SOURCE else tutorial_name or typed_folder
        list_name = list_name if exclusions.find_exclusion_list(list_name) else ""
        return [
            sample,
            typed_folder or None,
            data_choice.join_location(source_id, list_name, layout, zip_names),
            tutorial_name or None,
            data_choice.clamp_share("val_share", choice.get("val")),
            data_choice.clamp_share("test_share", choice.get("test")),
        ]

    def offer_sources(self, shown_sources: object) -> list[Any]:
        """Return the choices of sources, where they are others than a page shows: what a teacher hands out changes.

        Args:
            shown_sources: labels and values that the page shows.

        Returns:
            Menu of sources, whose value stays, and its labels and values.
        """
        choices = list_source_labels(self.profile)
        new_sources = [list(choice) for choice in choices]
        if new_sources == shown_sources:
            return [gr.skip()] * 2
        return [gr.Radio(choices=choices), new_sources]

    def choose_layout(self, sample: str, location: str, layout: str, layouts: object) -> list[Any]:
        """Read the folders of a choice in another way, and remember that for this choice.

        Args:
            sample: as in `DataSource`.
            location: see `DatasetTab`.
            layout: how its folders are to be read.
            layouts: layout by choice, as the browser keeps it; it may hold anything.

        Returns:
            Location and `layouts`.
        """
        source_id, list_name, _, zip_names = data_choice.split_location(location)
        chosen = data_choice.validate_layout(layout)
        remembered = chosen if chosen != data_choice.DEFAULT_LAYOUT else ""
        new_location = data_choice.join_location(source_id, list_name, chosen, zip_names)
        return [new_location, remember_choice(layouts, data_choice.make_exclusion_key(sample, source_id), remembered)]

    def open_source_inputs(self, sample: str, folder: str) -> list[Any]:
        """Show the fields that belong to the chosen kind of source.

        Args:
            sample: as in `DataSource`.
            folder: path as typed.

        Returns:
            Description, folder column, listing, upload column, tutorial column.
        """
        shows_browser = sample == data_choice.FOLDER_SOURCE and self.profile.data_root is not None
        return [
            render_source_info(sample, self.profile),
            gr.Column(visible=shows_browser),
            self.render_listing(folder) if shows_browser else "",
            gr.Column(visible=sample == data_choice.UPLOAD_SOURCE),
            gr.Column(visible=sample == data_choice.TUTORIAL_SOURCE),
        ]

    def render_listing(self, typed_path: str) -> Markup:
        """Return the listing of the sub-folders that the typed path could become."""
        root = self.profile.data_root
        if root is None:
            return Markup("")
        start_path = f"{self.profile.start_folder}{os.sep}"
        try:
            return view.render_listing(folder_browser.list_folder(root, str(typed_path or start_path)), root)
        except FtlabError:  # the scan reports the error; the listing offers a way on
            return view.render_listing(folder_browser.list_folder(root, start_path), root)

    def pick_folder(self, event: gr.EventData) -> list[Any]:
        """Return path field and listing after a folder, zip or list of the listing was pressed."""
        root, path = self.profile.data_root, str(get_event_data(event).get("folder", ""))
        if root is None:
            return [gr.skip(), ""]
        try:
            if locate.is_dataset_file(resolve_inside(root, path)):
                return [path, self.render_listing(path)]
            # With a separator: the entries of the folder itself, not those that begin with its name.
            listing = folder_browser.list_folder(root, path + os.sep)
        except FtlabError:
            return [gr.skip(), self.render_listing("")]
        return [f"{Path(listing.folder)}{os.sep}", view.render_listing(listing, root)]


def remember_choice(values: object, choice_key: str, value: str) -> dict[str, str]:
    """Return what the browser remembers by choice, with a new value for one; the oldest are dropped.

    Args:
        values: as the browser keeps them; they may be anything.
        choice_key: see `data_choice.make_exclusion_key`.
        value: of the choice; empty: nothing to remember.
    """
    entries = values.items() if isinstance(values, dict) else ()
    remembered = {key: name for key, name in entries if isinstance(key, str) and isinstance(name, str)}
    # Removed and added again: the latest choice is last.
    remembered.pop(choice_key, None)
    remembered |= {choice_key: value} if value else {}
    return dict(list(remembered.items())[-audit.MAX_REMEMBERED_CHOICES :])


def list_offered_sources(profile: ServerProfile) -> list[str]:
    """Return the kinds of sources that this server offers."""
    tutorial_sources = [data_choice.TUTORIAL_SOURCE] if tutorial_picker.list_offered_datasets(profile) else []
    own_sources = (
        [data_choice.FOLDER_SOURCE, data_choice.UPLOAD_SOURCE] if profile.data_root else [data_choice.UPLOAD_SOURCE]
    )
    handed_sources = [entry.source for entry in list_handed_datasets(profile)]
    return [*SAMPLE_SET_NAMES, *handed_sources, *tutorial_sources, *own_sources]


def list_handed_datasets(profile: ServerProfile) -> tuple[HandedDataset, ...]:
    """Return the data sets that the teacher of a class hands to all."""
    return () if profile.is_local else LessonRules(profile.runs_dir).read().handed


def list_source_labels(profile: ServerProfile) -> list[tuple[str, str]]:
    """Return label and value of each kind of source that this server offers."""
    titles = {entry.source: entry.title for entry in list_handed_datasets(profile)}
    sources = list_offered_sources(profile)
    return [(titles.get(name) or messages.get_text(f"dataset.choice.{name}"), name) for name in sources]


def list_layout_choices() -> list[tuple[str, str]]:
    """Return the choices of the menu of how folders are read: label and value."""
    return [(messages.get_text(f"dataset.reading_choice.{name}"), name) for name in FIELDS["layout"][0].choices]


def list_encoding_choices() -> list[tuple[str, str]]:
    """Return the choices of the menu of encodings of names in archives: label and value."""
    encodings = sorted((messages.get_text(f"dataset.names.{name}"), name) for name in NAME_ENCODINGS)
    return [(messages.get_text("dataset.names.detect"), ""), *encodings]


def find_chosen_encoding(profile: ServerProfile, sample: str, location: str) -> str | None:
    """Return the encoding of names that was chosen for an archive, "" to detect it; None for an upload that is gone.

    Args:
        profile: profile of this server.
        sample: as in `DataSource`.
        location: see `DatasetTab`.
    """
    source_id, _, _, zip_names = data_choice.split_location(location)
    if sample != data_choice.UPLOAD_SOURCE:
        return zip_names
    try:
        return uploads.read_chosen_encoding(uploads.find_upload(source_id, get_person(profile)))
    except DataError:
        return None


def build_names_menu(profile: ServerProfile, source: DataSource, catalog: Catalog | None = None) -> gr.Dropdown:
    """Return the menu of encodings, shown where the names in an archive do not say theirs or one was chosen.

    Args:
        profile: profile of this server: others read its own archives as it detects.
        source: the choice of images.
        catalog: of its scan; None: it failed, so that another encoding may be the remedy.
    """
    if catalog is not None:
        is_needed = any(problem.code == "zip_names" for problem in catalog.problems)
    else:
        is_needed = source.folder is not None and (
            archive.is_archive(source.folder) or uploads.is_zip_kept(source.folder)
        )
    is_offered = source.sample == data_choice.UPLOAD_SOURCE or profile.is_local
    is_visible = is_offered and (is_needed or bool(source.zip_names))
    return gr.Dropdown(list_encoding_choices(), value=source.zip_names, visible=is_visible)


def show_message(message: Markup) -> list[Any]:
    """Return the outputs of a scan for a message only; what the person chose and typed stays."""
    # `gr.skip()` leaves a component as it is.
    hidden_column, hidden_menus = gr.Column(visible=False), [gr.Dropdown(visible=False) for _ in range(2)]
    button = gr.Button(interactive=False)
    return [
        message,
        "",
        hidden_column,
        gr.skip(),
        gr.skip(),
        0,
        "",
        gr.skip(),
        gr.skip(),
        button,
        gr.skip(),
        *hidden_menus,
        gr.skip(),
    ]


def render_source_info(sample: str, profile: ServerProfile) -> Markup:
    """Render what a sample set is good for, or how a source is used.

    Args:
        sample: as in `DataSource`.
        profile: profile of this server, which decides how long an upload is kept.

    Returns:
        One paragraph; nothing of a source that there is not.
    """
    own_sources = (data_choice.FOLDER_SOURCE, data_choice.UPLOAD_SOURCE, data_choice.TUTORIAL_SOURCE)
    if sample.startswith(HANDED_PREFIX):
        return tag("p", messages.get_text("lesson.handed_about"), class_="ftlab-about")
    if sample not in (*SAMPLE_SET_NAMES, *own_sources):
        return Markup("")
    hours = uploads.get_retention_seconds(profile) / 3600
    # 48 hours and more are easier to read in days.
    unit = "hours" if hours < 48 else "days"
    retention = messages.get_text(f"dataset.send.{unit}", count=f"{hours if hours < 48 else hours / 24:.0f}")
    message = messages.get_text(f"dataset.about.{sample}", lasts=retention, limit=MAX_UPLOAD_BYTES >> 20)
    return tag("p", message, class_="ftlab-about")
