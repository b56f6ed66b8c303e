"""Components of the Dataset tab. Functions create them in the order in which the page counts their ids."""

from __future__ import annotations

import os
from dataclasses import dataclass

import gradio as gr

from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.data.sources import tutorial_datasets, zip_file
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.common.late_answers import build_answered_field
from ftlab.ui.dataset import audit, gallery_view, tutorial_picker
from ftlab.ui.dataset.source_actions import (
    list_encoding_choices,
    list_layout_choices,
    list_source_labels,
    render_source_info,
)

_FOLDER_CLICK_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-path]');
  if (button) trigger('select', {folder: button.dataset.path});
});
"""
"""Reports which folder of the listing was pressed, as a Gradio select event."""


@dataclass(frozen=True)
class SourceFields:
    """Left column: the choice of images, with a field for each kind of source, of which one is visible."""

    sample: gr.Radio
    browse_column: gr.Column
    folder: gr.Textbox
    folder_listing: gr.HTML
    scan_button: gr.Button
    upload_column: gr.Column
    zip_field: gr.File
    tutorial_column: gr.Column
    tutorial_menu: gr.Dropdown
    tutorial_info: gr.HTML
    fetch_button: gr.Button
    source_info: gr.HTML
    layout_menu: gr.Dropdown
    zip_names: gr.Dropdown
    val_share: gr.Slider
    test_share: gr.Slider
    train_button: gr.Button


@dataclass(frozen=True)
class SummaryFields:
    """Right column: what the scan found."""

    summary: gr.HTML
    problems: gr.HTML


@dataclass(frozen=True)
class GalleryFields:
    """Below both columns: the images, filtered by class and split."""

    images_column: gr.Column
    class_filter: gr.Dropdown
    split_filter: gr.Radio
    next_button: gr.Button
    gallery: gr.HTML


@dataclass(frozen=True)
class HiddenFields:
    """Invisible state of the tab.

    Attributes:
        page: page of the gallery, 0, 1 …
        location: second value of the choice, see `DatasetTab.location`.
        answered_choice: the choice whose scan is shown, see `late_answers.format_question`.
        saved_choice: the choice, kept in the browser for a reload.
        upload_token: token of the last upload, kept in the browser.
        exclusion_names: list of excluded images for each choice, kept in the browser.
        layouts: how folders are read for each choice, where it is not the default; kept in the browser.
        name_encodings: encoding of the names in each archive given by its path, where one was chosen; kept in the
            browser.
    """

    page: gr.Number
    location: gr.Textbox
    answered_choice: gr.Textbox
    saved_choice: gr.BrowserState
    upload_token: gr.BrowserState
    exclusion_names: gr.BrowserState
    layouts: gr.BrowserState
    name_encodings: gr.BrowserState


def build_source_column(profile: ServerProfile) -> SourceFields:
    """Build the left column.

    Args:
        profile: profile of this server, which decides the kinds of sources that are offered.

    Returns:
        Its components.
    """
    with gr.Column(scale=4, min_width=320):
        sample = gr.Radio(
            list_source_labels(profile),
            value=SAMPLE_SET_NAMES[0],
            label=messages.get_text("dataset.source"),
            info=messages.get_text("dataset.source_hint" if profile.data_root else "dataset.source_hint_closed"),
            elem_id="dataset-source",
            elem_classes="ftlab-choices",
        )
        browse_column, folder, folder_listing, scan_button = _build_folder_fields(profile)
        upload_column, zip_field = _build_upload_fields()
        tutorial_column, tutorial_menu, tutorial_info, fetch_button = _build_tutorial_fields(profile)
        source_info = gr.HTML(
            render_source_info(SAMPLE_SET_NAMES[0], profile), elem_id="dataset-about", apply_default_css=False
        )
        layout_menu, zip_names = _build_layout_menu(), _build_encoding_menu()
        val_share, test_share = _build_share_slider("val_share"), _build_share_slider("test_share")
        train_button = gr.Button(
            messages.get_text("dataset.go"), variant="primary", interactive=False, elem_id="dataset-go"
        )
    return SourceFields(
        sample,
        browse_column,
        folder,
        folder_listing,
        scan_button,
        upload_column,
        zip_field,
        tutorial_column,
        tutorial_menu,
        tutorial_info,
        fetch_button,
        source_info,
        layout_menu,
        zip_names,
        val_share,
        test_share,
        train_button,
    )


def _build_folder_fields(profile: ServerProfile) -> tuple[gr.Column, gr.Textbox, gr.HTML, gr.Button]:
    """Return column, path field, listing of sub-folders and scan button."""
    root = profile.start_folder
    with gr.Column(visible=False, elem_id="dataset-browse", elem_classes="ftlab-tight") as browse_column:
        folder = gr.Textbox(
            value=f"{root}{os.sep}" if root else "",
            label=messages.get_text("dataset.folder.label"),
            info=messages.get_text("dataset.folder.hint"),
            max_lines=1,
            visible=root is not None,
            elem_id="dataset-folder",
        )
        folder_listing = gr.HTML(elem_id="dataset-shelf", js_on_load=_FOLDER_CLICK_JS, apply_default_css=False)
        scan_button = gr.Button(messages.get_text("dataset.look"), elem_id="dataset-scan")
    return browse_column, folder, folder_listing, scan_button


def _build_upload_fields() -> tuple[gr.Column, gr.File]:
    """Return column and field for a zip."""
    with gr.Column(visible=False, elem_id="dataset-send", elem_classes="ftlab-tight") as upload_column:
        zip_field = gr.File(
            label=messages.get_text("dataset.send.label"),
            file_types=[*zip_file.ZIP_SUFFIXES],
            height=170,
            elem_id="dataset-zip",
        )
    return upload_column, zip_field


def _build_tutorial_fields(profile: ServerProfile) -> tuple[gr.Column, gr.Dropdown, gr.HTML, gr.Button]:
    """Return column, menu of data sets, description and download button."""
    tutorial_choices = tutorial_picker.list_dataset_choices(profile)
    # Where none is offered the column is never shown, but its components exist all the same.
    first_tutorial = tutorial_choices[0][1] if tutorial_choices else next(iter(tutorial_datasets.DATASETS))
    with gr.Column(visible=False, elem_id="dataset-tutorials", elem_classes="ftlab-tight") as tutorial_column:
        tutorial_menu = gr.Dropdown(
            tutorial_choices,
            value=first_tutorial if tutorial_choices else None,
            label=messages.get_text("dataset.tutorial.label"),
            info=messages.get_text("dataset.tutorial.hint" if profile.is_local else "dataset.tutorial.hint_closed"),
            elem_id="dataset-set",
        )
        tutorial_info = gr.HTML(
            tutorial_picker.render_dataset_info(first_tutorial), elem_id="dataset-terms", apply_default_css=False
        )
        fetch_button = gr.Button(tutorial_picker.format_button_text(first_tutorial), elem_id="dataset-get")
    return tutorial_column, tutorial_menu, tutorial_info, fetch_button


def _build_layout_menu() -> gr.Dropdown:
    """Return the menu of how folders are read, hidden until folders were scanned."""
    return gr.Dropdown(
        list_layout_choices(),
        value=FIELDS["layout"][1],
        label=messages.get_text("setting.layout.label"),
        info=messages.get_text("dataset.reading_hint"),
        visible=False,
        elem_id="dataset-layout",
    )


def _build_encoding_menu() -> gr.Dropdown:
    """Return the menu of the encoding of the names in an archive, hidden unless these do not say it."""
    return gr.Dropdown(
        list_encoding_choices(),
        value="",
        label=messages.get_text("dataset.names.label"),
        info=messages.get_text("dataset.names.hint"),
        visible=False,
        elem_id="dataset-zip-names",
    )


def _build_share_slider(name: str) -> gr.Slider:
    """Return the slider of a fraction, hidden until a scan finds that the layout leaves it open."""
    field_spec, default = FIELDS[name]
    return gr.Slider(
        field_spec.low or 0.0,
        field_spec.high or 1.0,
        value=default,
        step=field_spec.step,
        label=messages.get_text(f"setting.{name}.label"),
        info=messages.get_text(f"setting.{name}.hint"),
        visible=False,
        elem_id=f"dataset-{name.replace('_', '-')}",
    )


def build_summary_column() -> SummaryFields:
    """Return the components of the right column, newly built."""
    with gr.Column(scale=7, min_width=320):
        summary = gr.HTML(
            render_empty_state("dataset.reading", "dataset.reading_step"),
            min_height=180,
            elem_id="dataset-summary",
            apply_default_css=False,
        )
        problems = gr.HTML(elem_id="dataset-problems", apply_default_css=False)
    return SummaryFields(summary, problems)


def build_gallery() -> GalleryFields:
    """Return the components of the gallery with its filters, newly built."""
    with gr.Column(visible=False, elem_id="dataset-pictures") as images_column:
        with gr.Row(elem_classes="ftlab-toolbar"):
            class_filter = gr.Dropdown(
                [(messages.get_text("dataset.all_classes"), gallery_view.ALL_CHOICE)],
                value=gallery_view.ALL_CHOICE,
                label=messages.get_text("dataset.show_class"),
                info=messages.get_text("dataset.show_class_hint"),
                elem_id="dataset-class",
            )
            split_filter = gr.Radio(
                [(messages.get_text("dataset.all_splits"), gallery_view.ALL_CHOICE)],
                value=gallery_view.ALL_CHOICE,
                label=messages.get_text("dataset.show_split"),
                info=messages.get_text("dataset.show_split_hint"),
                elem_id="dataset-split",
            )
            next_button = gr.Button(
                messages.get_text("dataset.others"), elem_id="dataset-others", min_width=150, scale=0
            )
        gallery = gr.HTML(elem_id="dataset-gallery", apply_default_css=False)
    return GalleryFields(images_column, class_filter, split_filter, next_button, gallery)


def build_hidden_fields() -> HiddenFields:
    """Return the invisible state of the tab, newly built."""
    # The secret keeps the value readable after a restart: Gradio's default is a new random one at each start.
    return HiddenFields(
        page=gr.Number(0, visible=False, precision=0, elem_id="dataset-page"),
        location=gr.Textbox(visible="hidden", elem_id="dataset-place"),
        answered_choice=build_answered_field("dataset-answered"),
        saved_choice=gr.BrowserState({"sample": SAMPLE_SET_NAMES[0]}, storage_key="ftlab-pictures", secret="ftlab"),
        upload_token=gr.BrowserState("", storage_key="ftlab-upload", secret="ftlab"),
        exclusion_names=audit.create_exclusions_state(),
        layouts=gr.BrowserState({}, storage_key="ftlab-layouts", secret="ftlab"),
        name_encodings=gr.BrowserState({}, storage_key="ftlab-name-encodings", secret="ftlab"),
    )
