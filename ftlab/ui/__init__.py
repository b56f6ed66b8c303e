"""The page: a header and the tabs in their order. The only room that knows gradio."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ftlab.core import messages, user_dirs
from ftlab.ui.common.access import Profile

# Read by gradio when it is imported, or when a component is made: no telemetry, uploads of our own, short statistics.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "200")
os.environ.setdefault("GRADIO_TEMP_DIR", str(user_dirs.home() / "uploads"))

if TYPE_CHECKING:
    import gradio as gr


def build_app(profile: Profile, notice: str = "") -> gr.Blocks:
    """The page for a profile.

    Args:
        profile: what this server is for.
        notice: a sentence about this machine for the header, empty for none.
    """
    import gradio as gr

    from ftlab.ui.common import theme
    from ftlab.ui.compare import tab as compare_tab
    from ftlab.ui.dataset import tab as dataset_tab
    from ftlab.ui.inspect import tab as inspect_tab
    from ftlab.ui.predict import tab as predict_tab
    from ftlab.ui.runs import tab as runs_tab
    from ftlab.ui.train import tab as train_tab

    with gr.Blocks(title=messages.text("page.title"), delete_cache=(3600, 86400)) as demo:
        theme.header(notice)
        run = train_tab.remembered()
        with gr.Tabs(selected="dataset", elem_id="tabs") as tabs:
            with gr.Tab(messages.text("dataset.title"), id="dataset"):
                data = dataset_tab.build(profile, tabs)
            with gr.Tab(messages.text("train.title"), id="train"):
                training = train_tab.build(profile, data, tabs, run)
            with gr.Tab(messages.text("predict.title"), id="predict") as tab:
                predict_tab.build(profile, training, tab)
            with gr.Tab(messages.text("inspect.title"), id="inspect") as tab:
                inspect_tab.build(profile, training, tab)
            with gr.Tab(messages.text("compare.title"), id="compare") as tab:
                ticked = compare_tab.build(profile, training, tab)
            with gr.Tab(messages.text("shelf.title"), id="runs") as tab:
                runs_tab.build(profile, training, ticked, tabs, tab)
    demo.queue(default_concurrency_limit=4, max_size=64)
    return demo
