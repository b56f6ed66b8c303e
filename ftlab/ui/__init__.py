"""The page: a header and the tabs in their order. The only room that knows gradio."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ftlab import places, words
from ftlab.ui.guard import Profile

# Read by gradio when it is imported, or when a component is made: no telemetry, uploads of our own, short statistics.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "200")
os.environ.setdefault("GRADIO_TEMP_DIR", str(places.home() / "uploads"))

if TYPE_CHECKING:
    import gradio as gr


def build_app(profile: Profile, notice: str = "") -> gr.Blocks:
    """The page for a profile.

    Args:
        profile: what this server is for.
        notice: a sentence about this machine for the header, empty for none.
    """
    import gradio as gr

    from ftlab.ui import compare, dataset, inspect, predict, shelf, theme, train

    with gr.Blocks(title=words.text("page.title"), delete_cache=(3600, 86400)) as demo:
        theme.header(notice)
        run = train.remembered()
        with gr.Tabs(selected="dataset", elem_id="tabs") as tabs:
            with gr.Tab(words.text("dataset.title"), id="dataset"):
                data = dataset.build(profile, tabs)
            with gr.Tab(words.text("train.title"), id="train"):
                training = train.build(profile, data, tabs, run)
            with gr.Tab(words.text("predict.title"), id="predict") as tab:
                predict.build(profile, training, tab)
            with gr.Tab(words.text("inspect.title"), id="inspect") as tab:
                inspect.build(profile, training, tab)
            with gr.Tab(words.text("compare.title"), id="compare") as tab:
                ticked = compare.build(profile, training, tab)
            with gr.Tab(words.text("shelf.title"), id="runs") as tab:
                shelf.build(profile, training, ticked, tabs, tab)
    demo.queue(default_concurrency_limit=4, max_size=64)
    return demo
