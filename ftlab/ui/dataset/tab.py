"""The Dataset tab: choose or send pictures, see at once what they are and what is amiss. Layout and wiring."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.data.sources import tutorial_datasets, zip_file
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state
from ftlab.ui.dataset import audit, tutorial_picker, view
from ftlab.ui.dataset.actions import DatasetActions, list_offered_sources, render_source_info

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
_LOCATION_JS = """(sample, folder, sent, set, left) => {
  const place = ({upload: sent, tutorial: set})[sample] ?? folder;
  const name = (left ?? {})[['upload', 'tutorial', 'folder'].includes(sample) ? `${sample} ${place}` : sample];
  return name ? `${place}\\n${name}` : place;
}"""
_FOLDER_CLICK_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-path]');
  if (button) trigger('select', {folder: button.dataset.path});
});
"""


@dataclass(frozen=True)
class DatasetTab:
    """What other tabs need of this one. `sources.choose` takes the four values, in this order, and checks them.

    Attributes:
        sample: `shapes`, `shortcut`, `location`, `upload`, or `tutorial`.
        location: path as typed where `sample` is `location`; name of what was sent where it is `upload`, of the data set
            where it is `tutorial`. A second line names what is left out of it (`sources.place`).
        val_share, test_share: fractions.
    """

    sample: gr.Radio
    location: gr.Textbox
    val_share: gr.Slider
    test_share: gr.Slider


def build_dataset_tab(profile: ServerProfile, tabs: gr.Tabs) -> DatasetTab:
    """Lay out the tab where the page stands, and wire it."""
    root = profile.data_root
    source_names = list_offered_sources(profile)
    with gr.Row(elem_classes="ftlab-split"):
        with gr.Column(scale=4, min_width=320):
            sample = gr.Radio(
                [(messages.get_text(f"dataset.choice.{source_name}"), source_name) for source_name in source_names],
                value=SAMPLE_SET_NAMES[0],
                label=messages.get_text("dataset.source"),
                info=messages.get_text("dataset.source_hint" if root else "dataset.source_hint_closed"),
                elem_id="dataset-source",
                elem_classes="ftlab-choices",
            )
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
            with gr.Column(visible=False, elem_id="dataset-send", elem_classes="ftlab-tight") as upload_column:
                zip_field = gr.File(
                    label=messages.get_text("dataset.send.label"),
                    file_types=[*zip_file.ZIP_SUFFIXES],
                    height=170,
                    elem_id="dataset-zip",
                )
            tutorial_choices = tutorial_picker.list_dataset_choices(profile)
            first_tutorial = tutorial_choices[0][1] if tutorial_choices else next(iter(tutorial_datasets.DATASETS))
            with gr.Column(visible=False, elem_id="dataset-tutorials", elem_classes="ftlab-tight") as tutorial_column:
                tutorial_menu = gr.Dropdown(
                    tutorial_choices,
                    value=first_tutorial if tutorial_choices else None,
                    label=messages.get_text("dataset.tutorial.label"),
                    info=messages.get_text(
                        "dataset.tutorial.hint" if profile.is_local else "dataset.tutorial.hint_closed"
                    ),
                    elem_id="dataset-set",
                )
                tutorial_info = gr.HTML(
                    tutorial_picker.render_dataset_info(first_tutorial),
                    elem_id="dataset-terms",
                    apply_default_css=False,
                )
                fetch_button = gr.Button(tutorial_picker.format_button_text(first_tutorial), elem_id="dataset-get")
            source_info = gr.HTML(
                render_source_info(SAMPLE_SET_NAMES[0], profile), elem_id="dataset-about", apply_default_css=False
            )
            val_share, test_share = _build_share_slider("val_share"), _build_share_slider("test_share")
            train_button = gr.Button(
                messages.get_text("dataset.go"), variant="primary", interactive=False, elem_id="dataset-go"
            )
        with gr.Column(scale=7, min_width=320):
            summary = gr.HTML(
                render_empty_state("dataset.reading", "dataset.reading_step"),
                min_height=180,
                elem_id="dataset-summary",
                apply_default_css=False,
            )
            problems = gr.HTML(elem_id="dataset-problems", apply_default_css=False)
    with gr.Column(visible=False, elem_id="dataset-pictures") as images_column:
        with gr.Row(elem_classes="ftlab-toolbar"):
            class_filter = gr.Dropdown(
                [(messages.get_text("dataset.all_classes"), view.ALL_CHOICE)],
                value=view.ALL_CHOICE,
                label=messages.get_text("dataset.show_class"),
                info=messages.get_text("dataset.show_class_hint"),
                elem_id="dataset-class",
            )
            split_filter = gr.Radio(
                [(messages.get_text("dataset.all_splits"), view.ALL_CHOICE)],
                value=view.ALL_CHOICE,
                label=messages.get_text("dataset.show_split"),
                info=messages.get_text("dataset.show_split_hint"),
                elem_id="dataset-split",
            )
            next_button = gr.Button(
                messages.get_text("dataset.others"), elem_id="dataset-others", min_width=150, scale=0
            )
        gallery = gr.HTML(elem_id="dataset-gallery", apply_default_css=False)
    page = gr.Number(0, visible=False, precision=0, elem_id="dataset-page")
    location = gr.Textbox(visible="hidden", elem_id="dataset-place")
    saved_choice = gr.BrowserState({"sample": SAMPLE_SET_NAMES[0]}, storage_key="ftlab-pictures", secret="ftlab")
    upload_token = gr.BrowserState("", storage_key="ftlab-upload", secret="ftlab")
    exclusion_names = audit.create_exclusions_state()

    actions = DatasetActions(profile)
    choice = [sample, location, val_share, test_share]
    outputs = [
        summary,
        problems,
        images_column,
        class_filter,
        split_filter,
        page,
        gallery,
        val_share,
        test_share,
        train_button,
        saved_choice,
    ]
    scan_options: dict[str, Any] = {"show_progress_on": summary, "concurrency_limit": 4, "trigger_mode": "always_last"}
    # Which field counts is settled in the browser, before the server is asked.
    location_event: dict[str, Any] = {
        "fn": None,
        "inputs": [sample, folder, upload_token, tutorial_menu, exclusion_names],
        "outputs": location,
        "js": _LOCATION_JS,
    }
    rescan_event = gr.on([scan_button.click, folder.submit], **location_event)
    rescan_event.then(actions.rescan_dataset, choice, outputs, api_name="scan", **scan_options)
    sample_event = sample.input(**location_event)
    sample_event.then(actions.show_dataset, choice, outputs, api_visibility="private", **scan_options)
    folder.change(**location_event)
    upload_options = {**scan_options, "concurrency_limit": 1}
    upload_event = zip_field.upload(
        actions.receive_upload,
        [zip_field, upload_token, val_share, test_share],
        [upload_token, location, *outputs],
        api_visibility="private",
        **upload_options,
    )
    upload_event.then(lambda: None, None, zip_field, **_UNQUEUED_EVENT)
    tutorial_event = tutorial_menu.input(**location_event)
    tutorial_event.then(actions.show_dataset, choice, outputs, api_visibility="private", **scan_options)
    tutorial_menu.change(actions.choose_tutorial, tutorial_menu, [tutorial_info, fetch_button], **_UNQUEUED_EVENT)
    fetch_outputs = [tutorial_menu, fetch_button, location, *outputs]
    fetch_button.click(
        actions.fetch_tutorial,
        [tutorial_menu, val_share, test_share],
        fetch_outputs,
        api_visibility="private",
        **upload_options,
    )
    # `release` tells of the slider only, not of its number field
    share_events = [val_share.change, test_share.change]
    gr.on(share_events, actions.show_dataset, choice, outputs, trigger_mode="always_last", **_QUEUED_EVENT)
    source_inputs = [source_info, browse_column, folder_listing, upload_column, tutorial_column]
    restore_outputs = [sample, folder, location, val_share, test_share, *source_inputs, tutorial_menu]
    restore_event = _get_page().load(
        actions.restore_choice, [saved_choice, upload_token], restore_outputs, **_UNQUEUED_EVENT
    )
    restore_event.then(actions.show_dataset, choice, outputs, api_visibility="private", **scan_options)

    exclusion_event = audit.build_audit_section(profile, choice, exclusion_names, summary)
    exclusion_event.then(actions.show_dataset, choice, outputs, trigger_mode="always_last", **_QUEUED_EVENT)

    sample.input(actions.open_source_inputs, [sample, folder], source_inputs, **_UNQUEUED_EVENT)
    # `input` tells of typed letters only, not of a pasted path
    folder.change(actions.render_listing, folder, folder_listing, trigger_mode="always_last", **_UNQUEUED_EVENT)
    folder_listing.select(actions.pick_folder, None, [folder, folder_listing], **_UNQUEUED_EVENT)

    gallery_inputs = [*choice, class_filter, split_filter]
    gr.on(
        [class_filter.input, split_filter.input],
        actions.show_first_page,
        gallery_inputs,
        [page, gallery],
        trigger_mode="always_last",
        **_QUEUED_EVENT,
    )
    next_button.click(actions.show_next_page, [*gallery_inputs, page], [page, gallery], **_QUEUED_EVENT)
    train_button.click(lambda: gr.Tabs(selected="train"), None, tabs, **_UNQUEUED_EVENT)
    return DatasetTab(sample, location, val_share, test_share)


def _build_share_slider(name: str) -> gr.Slider:
    field_spec, default = FIELDS[name]
    return gr.Slider(
        field_spec.low or 0.0,
        field_spec.high or 1.0,
        value=default,
        step=field_spec.step,
        label=messages.get_text(f"knob.{name}.label"),
        info=messages.get_text(f"knob.{name}.hint"),
        visible=False,
        elem_id=f"dataset-{name.replace('_', '-')}",
    )


def _get_page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
