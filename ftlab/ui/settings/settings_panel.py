"""The panel of all settings in the Train tab: groups by topic, and a search that hides what does not match.

The search runs in the browser and only hides: components stay in the page, so their values and events do too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import gradio as gr
from gradio.components import Component

from ftlab.config.train_config import FIELDS, FOLDED_GROUPS
from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.ui.common.theme import STATIC_DIR


def build_settings_panel(
    components: Mapping[str, Component], build_tools: Callable[[str], None], build_top: Callable[[], None]
) -> None:
    """Build the folded panel in the current Gradio context.

    Args:
        components: by name of the setting, not yet rendered; each goes into the group of its setting.
        build_tools: builds what stands below the settings of a group; called with the name of each group.
        build_top: builds what stands above all groups.
    """
    groups = {
        group: [name for name in components if FIELDS[name][0].group == group]
        for group in FOLDED_GROUPS
        if any(FIELDS[name][0].group == group for name in components)
    }
    with gr.Accordion(messages.get_text("train.all_settings.title"), open=False, elem_id="train-settings-panel"):
        build_top()
        gr.HTML(
            render_search({str(components[name].elem_id): name for names in groups.values() for name in names}),
            elem_id="train-search",
            apply_default_css=False,
            js_on_load=(STATIC_DIR / "settings_search.js").read_text(encoding="utf-8"),
        )
        for group, names in groups.items():
            with gr.Column(elem_id=f"train-theme-{group}", elem_classes="ftlab-group"):
                gr.HTML(
                    tag("h2", messages.get_text(f"theme.{group}")),
                    apply_default_css=False,
                    elem_id=f"settings-title-{group}",
                )
                with gr.Row(elem_classes="ftlab-fields"):
                    for name in names:
                        components[name].render()  # type: ignore[no-untyped-call]
                build_tools(group)


def render_search(setting_names: Mapping[str, str]) -> Markup:
    """Render the search field, its answer where nothing matches, and the style sheet that hides settings.

    Args:
        setting_names: names of the settings by element id; labels and hints are read from the page.

    Returns:
        HTML.
    """
    label = messages.get_text("train.all_settings.search")
    field = tag("input", type="search", placeholder=label, aria_label=label, autocomplete="off", spellcheck="false")
    nothing = tag("p", messages.get_text("train.all_settings.none"), hidden=True)
    return tag(
        "div",
        field,
        tag("div", nothing, role="status"),
        tag("style"),
        class_="ftlab-search",
        data_names=json.dumps(setting_names),
    )
