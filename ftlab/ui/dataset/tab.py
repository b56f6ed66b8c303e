"""The Dataset tab: choose or upload images, and see what they are and which problems they have. Wiring of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.late_answers import LateFields, fill_untouched, repeat_overtaken
from ftlab.ui.dataset import audit, layout
from ftlab.ui.dataset.actions import DatasetActions
from ftlab.ui.dataset.layout import GalleryFields, HiddenFields, SourceFields, SummaryFields
from ftlab.ui.lesson import class_notices

_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "api_visibility": "private"}
_LOCATION_JS = """(sample, folder, sent, set, left, layouts, names) => {
  const place = ({upload: sent, tutorial: set})[sample] ?? folder;
  const choice = ['upload', 'tutorial', 'folder'].includes(sample) ? `${sample} ${place}` : sample;
  const lines = [left, layouts, names].map((values) => (values ?? {})[choice] ?? '');
  return [place, ...lines].join('\\n').replace(/\\n+$/, '');
}"""
"""Computes the location of a choice: the field of the chosen source, and what the browser remembers for it: the list of
excluded images, how the folders are read, and the encoding of the names in an archive.

The key of all is that of `data_choice.make_exclusion_key`.
"""

_LEAVE_WITHDRAWN_JS = f"""(sample, shown, withdrawn) =>
  shown.length && !shown.some(([, value]) => value === sample)
    ? ['{SAMPLE_SET_NAMES[0]}', sample] : [sample, withdrawn]
"""
"""Returns the chosen source, or the first one where the chosen one is no longer offered; and which one was left last.
"""


@dataclass(frozen=True)
class DatasetTab:
    """Components of this tab that other tabs read.

    `data_choice.parse_source` takes their four values in this order, and validates them.

    Attributes:
        sample: name of a sample set, or `folder`, `upload` or `tutorial`.
        location: the typed path of a folder, the token of an upload, or the name of a tutorial's data set. Further
            lines name the list of excluded images, the layout and the encoding of the names in an archive
            (`data_choice.join_location`).
        val_share: fraction for validation.
        test_share: fraction for the test split.
    """

    sample: gr.Radio
    location: gr.Textbox
    val_share: gr.Slider
    test_share: gr.Slider


@dataclass(frozen=True)
class _Wiring:
    """Inputs and outputs that the events of the tab share.

    Attributes:
        actions: the handlers.
        choice: inputs of a scan: sample, location and both fractions.
        outputs: outputs of a scan, in the order of `DatasetActions.show_dataset`.
        location_event: arguments of an event that recomputes the location.
        scan_options: arguments of an event that scans.
    """

    actions: DatasetActions
    choice: list[Component]
    outputs: list[Any]
    location_event: dict[str, Any]
    scan_options: dict[str, Any]


def build_dataset_tab(profile: ServerProfile, tabs: gr.Tabs) -> DatasetTab:
    """Build the tab inside the page and connect its events.

    Args:
        profile: profile of this server.
        tabs: the tabs of the page; a button goes on to Train.

    Returns:
        The components that other tabs read.
    """
    with gr.Row(elem_classes="ftlab-split"):
        source = layout.build_source_column(profile)
        summary = layout.build_summary_column()
    gallery = layout.build_gallery()
    hidden = layout.build_hidden_fields()
    wiring = _plan_wiring(profile, source, summary, gallery, hidden)
    # Events in this order: the page counts them, and of two for one trigger the first is sent first.
    _connect_sources(wiring, source, hidden)
    _connect_shares_and_reload(wiring, source, hidden)
    exclusion_event = audit.build_audit_section(profile, wiring.choice, hidden.exclusion_names, summary.summary)
    exclusion_event.then(
        wiring.actions.show_dataset, wiring.choice, wiring.outputs, trigger_mode="always_last", **_QUEUED_EVENT
    )
    _connect_folder_browser(wiring, source)
    _connect_gallery(wiring, gallery, hidden)
    if not profile.is_local:
        _connect_handed_datasets(wiring, source)
    source.train_button.click(lambda: gr.Tabs(selected="train"), None, tabs, **_UNQUEUED_EVENT)
    return DatasetTab(source.sample, hidden.location, source.val_share, source.test_share)


def _plan_wiring(
    profile: ServerProfile, source: SourceFields, summary: SummaryFields, gallery: GalleryFields, hidden: HiddenFields
) -> _Wiring:
    """Return what the events have in common."""
    return _Wiring(
        actions=DatasetActions(profile),
        choice=[source.sample, hidden.location, source.val_share, source.test_share],
        outputs=[
            summary.summary,
            summary.problems,
            gallery.images_column,
            gallery.class_filter,
            gallery.split_filter,
            hidden.page,
            gallery.gallery,
            source.val_share,
            source.test_share,
            source.train_button,
            hidden.saved_choice,
            source.layout_menu,
            source.zip_names,
            hidden.answered_choice,
        ],
        # In the browser, before the server is asked: every handler then gets the one location that counts.
        location_event={
            "fn": None,
            "inputs": [
                source.sample,
                source.folder,
                hidden.upload_token,
                source.tutorial_menu,
                hidden.exclusion_names,
                hidden.layouts,
                hidden.name_encodings,
            ],
            "outputs": hidden.location,
            "js": _LOCATION_JS,
        },
        # Of several changes during a scan only the last is scanned next.
        scan_options={
            "show_progress_on": summary.summary,
            "concurrency_limit": 4,
            "trigger_mode": "always_last",
            "api_visibility": "private",
        },
    )


def _connect_sources(wiring: _Wiring, source: SourceFields, hidden: HiddenFields) -> None:
    """Connect the choice of a source, the scan of a folder, the upload and the tutorials."""
    actions, choice, outputs = wiring.actions, wiring.choice, wiring.outputs
    rescan_event = gr.on([source.scan_button.click, source.folder.submit], **wiring.location_event)
    rescan_event.then(actions.rescan_dataset, choice, outputs, **wiring.scan_options)
    sample_event = source.sample.input(**wiring.location_event)
    sample_event.then(actions.show_dataset, choice, outputs, **wiring.scan_options)
    source.folder.change(**wiring.location_event)
    # One at a time: they write to the disk, and the check of free space is that of one.
    upload_options = {**wiring.scan_options, "concurrency_limit": 1}
    upload_event = source.zip_field.upload(
        actions.receive_upload,
        [source.zip_field, hidden.upload_token, source.val_share, source.test_share],
        [hidden.upload_token, hidden.location, *outputs],
        **upload_options,
    )
    # The field is emptied, so that the same file can be sent again.
    upload_event.then(lambda: None, None, source.zip_field, **_UNQUEUED_EVENT)
    # `blur`: `input` comes twice for one choice, the second time with the upload that the first has replaced, and
    # `select` does not come for one that was made by the keyboard.
    source.zip_names.blur(
        actions.choose_name_encoding,
        [*choice, source.zip_names, hidden.name_encodings],
        [hidden.upload_token, hidden.location, hidden.name_encodings, *outputs],
        **upload_options,
    )
    layout_event = source.layout_menu.input(
        actions.choose_layout,
        [source.sample, hidden.location, source.layout_menu, hidden.layouts],
        [hidden.location, hidden.layouts],
        **_UNQUEUED_EVENT,
    )
    layout_event.then(actions.show_dataset, choice, outputs, **wiring.scan_options)
    tutorial_event = source.tutorial_menu.input(**wiring.location_event)
    tutorial_event.then(actions.show_dataset, choice, outputs, **wiring.scan_options)
    source.tutorial_menu.change(
        actions.choose_tutorial, source.tutorial_menu, [source.tutorial_info, source.fetch_button], **_UNQUEUED_EVENT
    )
    source.fetch_button.click(
        actions.fetch_tutorial,
        [source.tutorial_menu, source.val_share, source.test_share],
        [source.tutorial_menu, source.fetch_button, hidden.location, *outputs],
        **upload_options,
    )


def _connect_shares_and_reload(wiring: _Wiring, source: SourceFields, hidden: HiddenFields) -> None:
    """Connect the fractions, and restore the last choice when the page is loaded."""
    actions, choice, outputs = wiring.actions, wiring.choice, wiring.outputs
    # `change`, not `release`, which reports the slider only and not its number field.
    share_events = [source.val_share.change, source.test_share.change]
    gr.on(share_events, actions.show_dataset, choice, outputs, trigger_mode="always_last", **_QUEUED_EVENT)
    choice_ids = ["dataset-source", "dataset-browse", "dataset-send", "dataset-tutorials"]
    restore_event = fill_untouched(
        actions.restore_choice,
        [hidden.saved_choice, hidden.upload_token],
        [
            LateFields([source.sample, source.folder, hidden.location, source.tutorial_menu], choice_ids),
            LateFields([source.val_share], ["dataset-val-share"]),
            LateFields([source.test_share], ["dataset-test-share"]),
        ],
    )
    restore_event.then(
        actions.open_source_inputs, [source.sample, source.folder], _list_source_inputs(source), **_UNQUEUED_EVENT
    )
    restore_event.then(actions.show_dataset, choice, outputs, **wiring.scan_options)
    repeat_overtaken(
        hidden.answered_choice,
        actions.show_dataset,
        choice,
        outputs,
        wiring.scan_options,
    )


def _connect_folder_browser(wiring: _Wiring, source: SourceFields) -> None:
    """Connect the path field and the listing of sub-folders."""
    actions, folder, folder_listing = wiring.actions, source.folder, source.folder_listing
    source.sample.input(
        actions.open_source_inputs, [source.sample, folder], _list_source_inputs(source), **_UNQUEUED_EVENT
    )
    # `change`, not `input`, which reports typed letters only and not a pasted path.
    folder.change(actions.render_listing, folder, folder_listing, trigger_mode="always_last", **_UNQUEUED_EVENT)
    folder_listing.select(actions.pick_folder, None, [folder, folder_listing], **_UNQUEUED_EVENT)


def _connect_gallery(wiring: _Wiring, gallery: GalleryFields, hidden: HiddenFields) -> None:
    """Connect the filters and the button for the next page of images."""
    gallery_inputs = [*wiring.choice, gallery.class_filter, gallery.split_filter]
    gallery_outputs = [hidden.page, gallery.gallery]
    gr.on(
        [gallery.class_filter.input, gallery.split_filter.input],
        wiring.actions.show_first_page,
        gallery_inputs,
        gallery_outputs,
        trigger_mode="always_last",
        **_QUEUED_EVENT,
    )
    gallery.next_button.click(
        wiring.actions.show_next_page, [*gallery_inputs, hidden.page], gallery_outputs, **_QUEUED_EVENT
    )


def _connect_handed_datasets(wiring: _Wiring, source: SourceFields) -> None:
    """Offer what the teacher hands out: when the page is loaded, and while it is open."""
    shown_sources = gr.JSON([], visible=False, elem_id="dataset-offered")
    withdrawn_source = gr.Textbox(visible="hidden", elem_id="dataset-withdrawn")
    timer = gr.Timer(class_notices.REFRESH_SECONDS)
    for event in (_get_page().load, timer.tick):
        offer_event = event(
            wiring.actions.offer_sources, shown_sources, [source.sample, shown_sources], **_UNQUEUED_EVENT
        )
        # In the browser: whoever has chosen another source since the server was asked keeps that.
        offer_event.then(
            None,
            [source.sample, shown_sources, withdrawn_source],
            [source.sample, withdrawn_source],
            js=_LEAVE_WITHDRAWN_JS,
        )
    actions = wiring.actions
    withdrawn_source.change(
        actions.open_source_inputs, [source.sample, source.folder], _list_source_inputs(source), **_UNQUEUED_EVENT
    )
    leave_event = withdrawn_source.change(**wiring.location_event)
    leave_event.then(actions.show_dataset, wiring.choice, wiring.outputs, **wiring.scan_options)


def _list_source_inputs(source: SourceFields) -> list[Any]:
    """Return the outputs of `SourceActions.open_source_inputs`, in its order."""
    return [
        source.source_info,
        source.browse_column,
        source.folder_listing,
        source.upload_column,
        source.tutorial_column,
    ]


def _get_page() -> gr.Blocks:
    """Return the page that is being built."""
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
