"""What the tabs share that take a picture and show heat over it: its field, the slider, what the browser does."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData

from ftlab.core import messages
from ftlab.ui.common.theme import STATIC_DIR

DEFAULT_OPACITY = 0.6
"""Of the heat at first; the style sheet has the same."""
SELECT_BUTTON_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""
"""Of HTML with buttons that carry a number: tells which was pressed."""
SAVE_OVERLAY_JS = (STATIC_DIR / "overlay.js").read_text(encoding="utf-8")
"""Of HTML with heat over a picture: makes the download of both."""


def build_image_field(elem_id: str) -> gr.Image:
    """The field for a picture; what was sent reaches the handlers as a file."""
    image = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        height=300,
        label=messages.get_text("predict.image"),
        placeholder=messages.get_text("predict.image_hint"),
        buttons=["fullscreen"],
        elem_id=elem_id,
    )
    # Gradio would open the file to convert it, and answer a broken one with a box over everything.
    image.preprocess = get_uploaded_path  # type: ignore[method-assign]
    return image


def get_uploaded_path(payload: ImageData | None) -> str | None:
    """The uploaded file itself. Gradio has checked that it lies among the uploads."""
    return payload.path if payload else None


def build_opacity_slider(elem_id: str, target_id: str) -> gr.Slider:
    """How much of the heat is seen in what has the identifier `target_id`; the browser blends it."""
    slider = gr.Slider(
        0.0,
        1.0,
        value=DEFAULT_OPACITY,
        step=0.05,
        label=messages.get_text("predict.opacity"),
        info=messages.get_text("predict.opacity_hint"),
        min_width=260,
        buttons=[],
        elem_id=elem_id,
    )
    blend_js = f"(share) => document.getElementById('{target_id}').style.setProperty('--heat', share)"
    slider.change(None, slider, None, js=blend_js)
    return slider
