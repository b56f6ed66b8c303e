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
from ftlab.core.html import Markup, isolated, tag
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images.thumbnails import uri
from ftlab.ui.common import data_choice
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk

if TYPE_CHECKING:
    from ftlab.data.images.decode import Pixels
    from ftlab.data.preview import Preview

SHOWN = 320
"""Pixels a side above which a picture is made smaller for the page."""
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(desk: Desk, widgets: form.Form, inputs: list[Any], tabs: gr.Tabs) -> None:
    """Lay out the folded section where the page stands; it follows the form.

    Args:
        inputs: components whose values `Desk.settings` takes; the first four are the Dataset tab's.
        tabs: of the page. Whoever comes from the Dataset tab may have looked at other pictures there.
    """
    with gr.Accordion(messages.text("preview.title"), open=False, elem_id="train-preview-fold") as fold:
        shown = gr.HTML(empty("preview.busy", "preview.busy_step"), elem_id="train-preview", apply_default_css=False)
        another = gr.Button(messages.text("preview.another"), elem_id="train-preview-another", size="sm")
    # The number of the picture; empty while it is folded, for then nothing is drawn.
    number = gr.Textbox("", visible="hidden", elem_id="train-preview-number")

    def draw(number: str, *given: Any) -> Any:
        return sheet(desk, widgets, number, given) if number else gr.skip()

    fold.expand(lambda: "0", None, number, **_LIGHT)
    fold.collapse(lambda: "", None, number, **_LIGHT)
    another.click(lambda number: str(int(number or 0) + 1), number, number, **_LIGHT)
    # Another mode brings another augmentation, which is no edit of a person's.
    changes = [*widgets.edits(), *(one.change for one in (number, widgets.fields["augment"], *inputs[:4], tabs))]
    gr.on(
        changes,
        draw,
        [number, *inputs],
        shown,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
        concurrency_id="preview",
        concurrency_limit=2,
    )


def sheet(desk: Desk, widgets: form.Form, number: str, given: Sequence[Any]) -> Markup:
    """A picture and its variants as HTML, or the one sentence that stands in the way."""
    from ftlab.data import preview  # imports torch: when it is asked for, not when the page starts

    try:
        source, settings = desk.settings(widgets, given)
        pictures = data_choice.known(source) if source.folder else data_choice.scan(source)
        if pictures is None:
            return empty("preview.none", "preview.none_step")
        pictures = data_choice.dealt(pictures, settings)
        place = int(number) if number.isdecimal() and len(number) < 10 else 0
        index = preview.spread(place, len(pictures.splits["train"]))
        return view(pictures, preview.preview(pictures, settings, index))
    except FtlabError as error:
        return trouble(form.sentence(error))


def view(pictures: Catalog, made: Preview) -> Markup:
    """The evaluation crop and the variants with their names; all text in it is escaped."""
    name, side = pictures.classes[made.item.label], made.evaluation.shape[0]
    evaluation = _figure(
        made.evaluation, messages.text("preview.evaluation"), messages.text("preview.alt_evaluation", name=name)
    )
    variants = [
        _figure(
            pixels, messages.text("preview.epoch", epoch=epoch), messages.text("preview.alt", name=name, epoch=epoch)
        )
        for epoch, pixels in enumerate(made.variants, 1)
    ]
    key = {0: "fresh", 1: "one_view"}.get(made.views, "views")
    return tag(
        "div",
        tag("div", evaluation, tag("div", *variants, class_="epochs"), class_="pictures"),
        tag("p", isolated(name), " · ", isolated(made.item.path), class_="file"),
        tag("p", messages.text(f"preview.{key}", views=made.views, side=side)),
        class_="ftlab-preview",
    )


def _figure(pixels: Pixels, name: str, alt: str) -> Markup:
    if pixels.shape[0] > SHOWN:
        from numpy import asarray

        pixels = asarray(Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BOX))
    picture = tag("img", src=uri(pixels, quality=90), alt=messages.one_line(alt), width="160", height="160")
    return tag("figure", picture, tag("figcaption", name))
