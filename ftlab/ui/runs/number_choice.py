"""The choice of how an export stores its numbers: float32, float16 or int8."""

from __future__ import annotations

import gradio as gr

from ftlab.core import messages
from ftlab.export.formats import ExportFormat


def build_number_choice(export_format: ExportFormat) -> gr.Radio:
    """Build the choice of how numbers are stored, or an update of it; hidden where a format has only one way.

    Args:
        export_format: the chosen format.

    Returns:
        The component, for the page or as an update.
    """
    names = ["float32"]
    names += ["float16"] if export_format.has_half_weights else []
    names += ["int8"] if export_format.has_int8 else []
    return gr.Radio(
        [(messages.get_text(f"export.{name}"), name) for name in names],
        value="float32",
        label=messages.get_text("export.numbers"),
        info=messages.get_text("export.numbers_hint"),
        visible=len(names) > 1,
        elem_id="export-numbers",
    )
