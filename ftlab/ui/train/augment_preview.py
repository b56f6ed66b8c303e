"""Augmentation preview of the Train tab: one training image in nine epochs, next to its evaluation crop.

Nothing is computed while the section is folded. Its content follows from the current values of the form, by the same
functions that prepare the images of a training (`data/preview.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images.data_uri import encode_data_uri
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.data.images.decode import ImageArray
    from ftlab.data.preview import AugmentPreview

MAX_IMAGE_SIDE_PX = 320
"""Side in pixels above which an image is downscaled for the page."""
# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_preview_section(
    actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any], tabs: gr.Tabs
) -> None:
    """Build the folded section in the current Gradio context, and register its events.

    Args:
        actions: handlers of the tab.
        config_form: the form; the preview follows its changes.
        inputs: components whose values `TrainActions.parse_inputs` takes; the first four are the Dataset tab's.
        tabs: tabs of the page: on a return from the Dataset tab, the data may be other images.
    """
    with gr.Accordion(messages.get_text("preview.title"), open=False, elem_id="train-preview-fold") as accordion:
        preview_html = gr.HTML(
            render_empty_state("preview.busy", "preview.busy_step"), elem_id="train-preview", apply_default_css=False
        )
        next_button = gr.Button(messages.get_text("preview.another"), elem_id="train-preview-another", size="sm")
    # Number of the image; empty while the section is folded, so that nothing is computed.
    image_number = gr.Textbox("", visible="hidden", elem_id="train-preview-number")
    # Counts the changes of the form while the section is open.
    change_count = gr.Textbox("0", visible="hidden", elem_id="train-preview-changes")

    def update_preview(image_number: str, *input_values: Any) -> Any:
        return render_preview(actions, config_form, image_number, input_values) if image_number else gr.skip()

    accordion.expand(lambda: "0", None, image_number, **_UNQUEUED_EVENT)
    accordion.collapse(lambda: "", None, image_number, **_UNQUEUED_EVENT)
    next_button.click(
        lambda image_number: str(int(image_number or 0) + 1), image_number, image_number, **_UNQUEUED_EVENT
    )
    # A change of the mode changes the default augmentation, which is no edit of a person.
    edit_events = [
        *config_form.list_edit_events(),
        *(component.change for component in (config_form.components["augment"], *inputs[:4], tabs)),
    ]
    # Counted by the browser: a recipe changes a dozen fields, and each request would carry the whole form.
    gr.on(
        edit_events,
        None,
        [image_number, change_count],
        change_count,
        js="(number, count) => number ? String(Number(count) + 1) : count",
        trigger_mode="multiple",
        **_UNQUEUED_EVENT,
    )
    gr.on(
        [image_number.change, change_count.change],
        update_preview,
        [image_number, *inputs],
        preview_html,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
        concurrency_id="preview",
        concurrency_limit=2,
    )


def render_preview(
    actions: TrainActions, config_form: form.ConfigForm, image_number: str, input_values: Sequence[Any]
) -> Markup:
    """Render an image and its augmented variants, or the error that prevents it.

    Args:
        actions: handlers of the tab.
        config_form: the form.
        image_number: number of the image, in decimal digits; others than that give the first image.
        input_values: as `TrainActions.parse_inputs` takes them.

    Returns:
        HTML.
    """
    from ftlab.data import preview  # imports torch: only on the first use, so that the page starts at once

    try:
        source, config = actions.parse_inputs(config_form, input_values)
        catalog = data_choice.find_scanned_catalog(source) if source.folder else data_choice.scan_source(source)
        if catalog is None:
            return render_empty_state("preview.none", "preview.none_step")
        catalog = data_choice.resplit_catalog(catalog, config)
        # Any program can send any text, and `int` refuses very long numbers.
        position = int(image_number) if image_number.isdecimal() and len(image_number) < 10 else 0
        index = preview.spread_index(position, len(catalog.splits["train"]))
        return render_preview_images(catalog, preview.make_preview(catalog, config, index))
    except FtlabError as error:
        return render_error(form.format_error(error))


def render_preview_images(catalog: Catalog, preview_images: AugmentPreview) -> Markup:
    """Render the evaluation crop and the variants with their captions; all text in it is escaped.

    Args:
        catalog: for the names of the classes.
        preview_images: uint8 [side, side, 3] RGB arrays, see `AugmentPreview`.

    Returns:
        HTML.
    """
    class_name, side = catalog.classes[preview_images.item.label], preview_images.eval_image.shape[0]
    evaluation_tag = _render_image(
        preview_images.eval_image,
        messages.get_text("preview.evaluation"),
        messages.get_text("preview.alt_evaluation", name=class_name),
    )
    variant_tags = [
        _render_image(
            pixels,
            messages.get_text("preview.epoch", epoch=epoch),
            messages.get_text("preview.alt", name=class_name, epoch=epoch),
        )
        for epoch, pixels in enumerate(preview_images.epoch_images, 1)
    ]
    later_tags = (
        [tag("p", messages.get_text("preview.later_fresh", epoch=preview_images.last_cached_epoch + 1))]
        if preview_images.last_cached_epoch
        else []
    )
    views_key = {0: "fresh", 1: "one_view"}.get(preview_images.view_count, "views")
    return tag(
        "div",
        tag("div", evaluation_tag, tag("div", *variant_tags, class_="epochs"), class_="pictures"),
        tag("p", isolate_text(class_name), " · ", isolate_text(preview_images.item.path), class_="file"),
        tag("p", messages.get_text(f"preview.{views_key}", views=preview_images.view_count, side=side)),
        *later_tags,
        class_="ftlab-preview",
    )


def _render_image(pixels: ImageArray, caption: str, alt: str) -> Markup:
    """Return an image, uint8 [side, side, 3] RGB, as a figure with its caption."""
    if pixels.shape[0] > MAX_IMAGE_SIDE_PX:
        # Ten data URIs in one answer: full-size images would be megabytes.
        from numpy import asarray

        pixels = asarray(Image.fromarray(pixels).resize((MAX_IMAGE_SIDE_PX, MAX_IMAGE_SIDE_PX), Image.Resampling.BOX))
    image_tag = tag(
        "img",
        src=encode_data_uri(pixels, quality=90),
        alt=messages.escape_control_chars(alt),
        width="160",
        height="160",
    )
    return tag("figure", image_tag, tag("figcaption", caption))
