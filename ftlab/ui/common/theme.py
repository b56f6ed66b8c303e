"""Look of the page: Gradio's theme in calm colours, the style sheets, and the header.

Only fonts that Gradio ships are named, so that the page loads nothing from other machines. Of these only the weights
400 and 700 are used: the files for the weights in between hold a handful of letters.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes import Base, colors, sizes
from gradio.themes.utils.fonts import LocalFont

from ftlab.core import messages
from ftlab.core.html import join_html, tag
from ftlab.reporting.html import PARTS_CSS_PATH
from ftlab.ui.language import switch
from ftlab.ui.presentation import buttons

STATIC_DIR = Path(__file__).parents[1] / "static"
"""Style sheets, scripts and icons."""

_INK_COLOR = colors.Color(
    c50="#f7f8fa",
    c100="#eff1f4",
    c200="#e1e5ea",
    c300="#cbd2da",
    c400="#98a2b0",
    c500="#626d79",
    c600="#4c5764",
    c700="#38424e",
    c800="#232b35",
    c900="#181e26",
    c950="#10151b",
    name="ink",
)
"""Neutral hue: text, borders, backgrounds."""
_SEA_COLOR = colors.Color(
    c50="#edf8f7",
    c100="#d3eeec",
    c200="#a8dcd8",
    c300="#72c3be",
    c400="#3fa49f",
    c500="#1f8681",
    c600="#146c69",
    c700="#115756",
    c800="#104645",
    c900="#0e3a3a",
    c950="#062222",
    name="sea",
)
"""Primary hue: buttons, sliders, what is selected."""


_PAGE_STYLE = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_800",
    "body_text_color_dark": "*neutral_100",
    "body_text_color_subdued": "*neutral_500",
    "body_text_color_subdued_dark": "*neutral_400",
    "background_fill_primary": "white",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary": "*neutral_50",
    "background_fill_secondary_dark": "*neutral_950",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "*neutral_800",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "loader_color": "*primary_600",
}
"""Colours of the page: `*primary_500` and the like name a shade of a hue, `_dark` is for the dark mode."""

_BLOCK_STYLE = {
    "block_background_fill": "white",
    "block_background_fill_dark": "*neutral_900",
    "block_border_color": "*neutral_200",
    "block_border_color_dark": "*neutral_800",
    "block_radius": "10px",
    "block_shadow": "none",
    "block_shadow_dark": "none",
    "block_title_text_weight": "600",
    "block_title_text_color": "*neutral_800",
    "block_title_text_color_dark": "*neutral_100",
    "block_info_text_size": "14px",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_label_text_color": "*neutral_500",
    "block_label_text_color_dark": "*neutral_400",
}
"""Frames, titles and hints of the components."""

_CHECKBOX_STYLE = {
    "checkbox_label_background_fill": "white",
    "checkbox_label_background_fill_dark": "*neutral_900",
    "checkbox_label_background_fill_selected": "*primary_50",
    "checkbox_label_background_fill_selected_dark": "*primary_950",
    "checkbox_label_border_color_selected": "*primary_500",
    "checkbox_label_border_color_selected_dark": "*primary_400",
    "checkbox_label_text_color_selected": "*primary_800",
    "checkbox_label_text_color_selected_dark": "*primary_200",
    "checkbox_background_color_selected": "*primary_600",
    "checkbox_background_color_selected_dark": "*primary_500",
    "checkbox_border_color_selected": "*primary_600",
    "checkbox_border_color_selected_dark": "*primary_500",
    "checkbox_label_border_width": "1px",
    "checkbox_label_border_width_dark": "1px",
    "checkbox_label_shadow": "none",
    "checkbox_label_border_color": "*neutral_200",
    "checkbox_label_border_color_dark": "*neutral_700",
}
"""Checkboxes and radio buttons, whose choices look like buttons."""

_INPUT_STYLE = {
    "input_border_width": "1px",
    "input_border_width_dark": "1px",
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_950",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "*neutral_700",
    "input_border_color_focus": "*primary_500",
    "input_border_color_focus_dark": "*primary_400",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 3px *primary_100",
    "input_shadow_focus_dark": "0 0 0 3px *primary_900",
}
"""Text fields and menus."""

_BUTTON_STYLE = {
    "button_border_width": "1px",
    "button_border_width_dark": "1px",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_dark": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_700",
    "button_primary_text_color": "white",
    "button_primary_border_color": "*primary_600",
    "button_primary_border_color_dark": "*primary_500",
    "button_secondary_background_fill": "white",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "*neutral_700",
    "button_secondary_text_color": "*neutral_800",
    "button_secondary_text_color_dark": "*neutral_100",
    "button_cancel_background_fill": "#c73a31",
    "button_cancel_background_fill_dark": "#c73a31",
    "button_cancel_background_fill_hover": "#a82f27",
    "button_cancel_background_fill_hover_dark": "#d9554c",
    "button_cancel_border_color": "#c73a31",
    "button_cancel_border_color_dark": "#c73a31",
    "button_cancel_text_color": "white",
    "button_cancel_text_color_dark": "white",
    "button_large_radius": "8px",
    "button_large_padding": "10px 18px",
    "button_medium_radius": "8px",
    "button_small_radius": "6px",
}
"""Buttons: primary, secondary, and `stop` (cancel)."""


def build_theme() -> Base:
    """Return the theme, with a light and a dark mode."""
    base_theme = Base(
        primary_hue=_SEA_COLOR,
        secondary_hue=_SEA_COLOR,
        neutral_hue=_INK_COLOR,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=(LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=(LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    )
    return base_theme.set(**_PAGE_STYLE, **_BLOCK_STYLE, **_CHECKBOX_STYLE, **_INPUT_STYLE, **_BUTTON_STYLE)


def list_style_sheets() -> list[Path]:
    """Return the style sheets of the reports' pieces and of the page.

    A tab adds its own by putting it into `static/`.
    """
    return [PARTS_CSS_PATH, *sorted(STATIC_DIR.glob("*.css"))]


def build_header(notice: str = "") -> gr.HTML:
    """Build the header: name, the steps in one line each, the presentation size, the languages, and a notice.

    Args:
        notice: a sentence about this machine, empty for none.

    Returns:
        The header.
    """
    steps = join_html(
        tag("li", tag("b", messages.get_text(f"page.step.{step}")), " ", messages.get_text(f"page.step.{step}_do"))
        for step in ("pictures", "train", "look")
    )
    title_html = tag(
        "div", tag("h1", messages.get_text("page.name")), tag("p", messages.get_text("page.what")), class_="ftlab-name"
    )
    notice_html = tag("p", notice, class_="ftlab-notice", role="status") if notice else ""
    return gr.HTML(
        tag(
            "header",
            title_html,
            tag("ol", steps, class_="ftlab-steps"),
            tag("div", buttons.render_size_button(), switch.render_switch(), class_="ftlab-tools"),
            notice_html,
            class_="ftlab-header",
        ),
        elem_id="page-header",
        js_on_load=switch.SWITCH_JS + (STATIC_DIR / "presentation.js").read_text(encoding="utf-8"),
        apply_default_css=False,
    )
