"""The image field and the opacity slider of heatmaps, with their scripts; for all tabs that explain an image."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.inference.heat_script import HEAT_DRAWING_PATH
from ftlab.ui.common.theme import STATIC_DIR

DEFAULT_OPACITY = 0.6
"""Initial opacity of the heatmap; the style sheet has the same."""
SELECT_BUTTON_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""
"""Script for HTML with numbered buttons: reports which was pressed, as a Gradio select event."""
HEAT_JS = "".join(path.read_text(encoding="utf-8") for path in (HEAT_DRAWING_PATH, STATIC_DIR / "heat.js"))
"""Script for HTML with a heatmap over an image: draws the heatmap, and downloads it alone or blended."""


_SHOW_WITHOUT_CAMERA_JS = "element.classList.toggle('is-needed', !window.isSecureContext);"
"""Browsers give only pages of this machine, and those by HTTPS, the camera."""


def build_image_field(elem_id: str) -> gr.Image:
    """Build the field for an image.

    Args:
        elem_id: HTML id of the field.

    Returns:
        The field; handlers receive the path of the uploaded file.
    """
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
    gr.HTML(
        tag("p", messages.get_text("predict.no_camera"), class_="ftlab-about"),
        js_on_load=_SHOW_WITHOUT_CAMERA_JS,
        elem_id=f"{elem_id}-no-camera",
        elem_classes="ftlab-no-camera",
        apply_default_css=False,
    )
    # Gradio would decode the file itself, and report a broken one in a modal box instead of the tab's own line.
    image.preprocess = get_uploaded_path  # type: ignore[method-assign]
    return image


def get_uploaded_path(payload: ImageData | None) -> str | None:
    """Return the path of the uploaded file. Gradio has checked that it lies among the uploads."""
    return payload.path if payload else None


def build_opacity_slider(elem_id: str, target_id: str) -> gr.Slider:
    """Build the slider for the opacity of a heatmap; the browser blends, without the server.

    Args:
        elem_id: HTML id of the slider.
        target_id: HTML id of the element that shows the heatmap.

    Returns:
        The slider.
    """
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
