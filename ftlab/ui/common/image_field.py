"""What the tabs share that take a picture and show heat over it: its field, the slider, what the browser does."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData

from ftlab.core import messages
from ftlab.ui.common.theme import STATIC

OPACITY = 0.6
"""Of the heat at first; the style sheet has the same."""
CHOICE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""
"""Of HTML with buttons that carry a number: tells which was pressed."""
SAVE = (STATIC / "overlay.js").read_text(encoding="utf-8")
"""Of HTML with heat over a picture: makes the download of both."""


def field(elem_id: str) -> gr.Image:
    """The field for a picture; what was sent reaches the handlers as a file."""
    made = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        height=300,
        label=messages.text("predict.image"),
        placeholder=messages.text("predict.image_hint"),
        buttons=["fullscreen"],
        elem_id=elem_id,
    )
    # Gradio would open the file to convert it, and answer a broken one with a box over everything.
    made.preprocess = as_sent  # type: ignore[method-assign]
    return made


def as_sent(payload: ImageData | None) -> str | None:
    """The uploaded file itself. Gradio has checked that it lies among the uploads."""
    return payload.path if payload else None


def opacity(elem_id: str, over: str) -> gr.Slider:
    """How much of the heat is seen in what has the identifier `over`; the browser blends it."""
    made = gr.Slider(
        0.0,
        1.0,
        value=OPACITY,
        step=0.05,
        label=messages.text("predict.opacity"),
        info=messages.text("predict.opacity_hint"),
        min_width=260,
        buttons=[],
        elem_id=elem_id,
    )
    blend = f"(share) => document.getElementById('{over}').style.setProperty('--heat', share)"
    made.change(None, made, None, js=blend)
    return made
