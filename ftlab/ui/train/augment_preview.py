"""What the training will see of a picture, on the Train tab: nine epochs of it beside the evaluation crop.

Nothing is computed while it is folded. What it shows comes from the form as it stands and from the same functions as
the training's own pictures (`data/preview.py`).
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
from ftlab.data.images.thumbnails import encode_data_uri
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions

if TYPE_CHECKING:
    from ftlab.data.images.decode import ImageArray
    from ftlab.data.preview import AugmentPreview

MAX_IMAGE_SIDE_PX = 320
"""Pixels a side above which a picture is made smaller for the page."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_preview_section(
    actions: TrainActions, config_form: form.ConfigForm, inputs: list[Any], tabs: gr.Tabs
) -> None:
    """Lay out the folded section where the page stands; it follows the form.

    Args:
        inputs: components whose values `TrainActions.settings` takes; the first four are the Dataset tab's.
        tabs: of the page. Whoever comes from the Dataset tab may have looked at other pictures there.
    """
    with gr.Accordion(messages.get_text("preview.title"), open=False, elem_id="train-preview-fold") as accordion:
        preview_html = gr.HTML(
            render_empty_state("preview.busy", "preview.busy_step"), elem_id="train-preview", apply_default_css=False
        )
        next_button = gr.Button(messages.get_text("preview.another"), elem_id="train-preview-another", size="sm")
    # The number of the picture; empty while it is folded, for then nothing is drawn.
    image_number = gr.Textbox("", visible="hidden", elem_id="train-preview-number")

    def update_preview(image_number: str, *input_values: Any) -> Any:
        return render_preview(actions, config_form, image_number, input_values) if image_number else gr.skip()

    accordion.expand(lambda: "0", None, image_number, **_UNQUEUED_EVENT)
    accordion.collapse(lambda: "", None, image_number, **_UNQUEUED_EVENT)
    next_button.click(
        lambda image_number: str(int(image_number or 0) + 1), image_number, image_number, **_UNQUEUED_EVENT
    )
    # Another mode brings another augmentation, which is no edit of a person's.
    change_events = [
        *config_form.list_edit_events(),
        *(component.change for component in (image_number, config_form.components["augment"], *inputs[:4], tabs)),
    ]
    gr.on(
        change_events,
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
    """A picture and its variants as HTML, or the one sentence that stands in the way."""
    from ftlab.data import preview  # imports torch: when it is asked for, not when the page starts

    try:
        source, config = actions.parse_inputs(config_form, input_values)
        catalog = data_choice.find_scanned_catalog(source) if source.folder else data_choice.scan_source(source)
        if catalog is None:
            return render_empty_state("preview.none", "preview.none_step")
        catalog = data_choice.resplit_catalog(catalog, config)
        position = int(image_number) if image_number.isdecimal() and len(image_number) < 10 else 0
        index = preview.spread_index(position, len(catalog.splits["train"]))
        return render_preview_images(catalog, preview.make_preview(catalog, config, index))
    except FtlabError as error:
        return render_error(form.format_error(error))


def render_preview_images(catalog: Catalog, preview_images: AugmentPreview) -> Markup:
    """The evaluation crop and the variants with their names; all text in it is escaped."""
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
    views_key = {0: "fresh", 1: "one_view"}.get(preview_images.view_count, "views")
    return tag(
        "div",
        tag("div", evaluation_tag, tag("div", *variant_tags, class_="epochs"), class_="pictures"),
        tag("p", isolate_text(class_name), " · ", isolate_text(preview_images.item.path), class_="file"),
        tag("p", messages.get_text(f"preview.{views_key}", views=preview_images.view_count, side=side)),
        class_="ftlab-preview",
    )


def _render_image(pixels: ImageArray, caption: str, alt: str) -> Markup:
    if pixels.shape[0] > MAX_IMAGE_SIDE_PX:
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
