"""The web page: a header and the tabs in their order. The only package that imports gradio."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from ftlab.core import messages, private_folders
from ftlab.runs import run_quota, run_store
from ftlab.runs.jobs import priority
from ftlab.runs.queue import queue_limits
from ftlab.server.paths import get_default_uploads_dir, list_private_folders
from ftlab.server.profile import ServerProfile
from ftlab.ui import gradio_import

# Before the first import of gradio, which reads them then or when a component is created: no telemetry, an upload
# folder of ftlab's own, and statistics of the last 200 events only.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "200")
os.environ.setdefault("GRADIO_TEMP_DIR", str(get_default_uploads_dir()))
gradio_import.skip_type_stubs()

if TYPE_CHECKING:
    import gradio as gr


def build_app(profile: ServerProfile, notice: str = "") -> gr.Blocks:
    """Build the web page for a server profile.

    Args:
        profile: what this server may do.
        notice: a sentence about this machine for the header, empty for none.

    Returns:
        The page, not yet launched.
    """
    # Here and not at the start of the server, as a training inherits the environment of whoever starts it.
    private_folders.declare_private_folders(list_private_folders(profile.runs_dir))
    _declare_run_quota(profile)
    priority.declare_low_priority(is_low=not profile.is_local)
    return _build_page(profile, notice)


def _build_page(profile: ServerProfile, notice: str) -> gr.Blocks:
    """Build the page in the current language.

    Args:
        profile: see `build_app`.
        notice: see `build_app`.

    Returns:
        The page, not yet launched.
    """
    # Here, not above: `ftlab.ui.serve` parses its flags and refuses mistakes before it loads gradio.
    import gradio as gr

    from ftlab.ui.api.endpoints import register_endpoints
    from ftlab.ui.common import theme
    from ftlab.ui.compare import tab as compare_tab
    from ftlab.ui.dataset import tab as dataset_tab
    from ftlab.ui.inspect import tab as inspect_tab
    from ftlab.ui.language.switch import wire_switch
    from ftlab.ui.language.translated_page import TranslatedBlocks
    from ftlab.ui.lesson import class_notices
    from ftlab.ui.predict import tab as predict_tab
    from ftlab.ui.predict.answer_threads import AnswerThreads
    from ftlab.ui.runs import tab as runs_tab
    from ftlab.ui.train import tab as train_tab

    # Gradio's cached files: looked through every hour, deleted after a day.
    demo = TranslatedBlocks(
        partial(_build_page, profile, notice), title=messages.get_text("page.title"), delete_cache=(3600, 86400)
    )
    answer_threads = AnswerThreads(lambda: bool(run_store.find_active_runs(profile.runs_dir)))
    with demo:
        header = theme.build_header(notice)
        class_notices.build_identity(profile)
        # The order of components and events is visible to the page and to tests: ids are counted upwards.
        page_state = train_tab.create_page_state()
        with gr.Tabs(selected="dataset", elem_id="tabs") as tabs:
            with gr.Tab(messages.get_text("dataset.title"), id="dataset"):
                dataset = dataset_tab.build_dataset_tab(profile, tabs)
            with gr.Tab(messages.get_text("train.title"), id="train"):
                train = train_tab.build_train_tab(profile, dataset, tabs, page_state)
            with gr.Tab(messages.get_text("predict.title"), id="predict") as tab:
                predict_tab.build_predict_tab(profile, train, tab, answer_threads)
            with gr.Tab(messages.get_text("inspect.title"), id="inspect") as tab:
                inspect_tab.build_inspect_tab(profile, train, tab)
            with gr.Tab(messages.get_text("compare.title"), id="compare") as tab:
                ticked_runs = compare_tab.build_compare_tab(profile, train, tab)
            with gr.Tab(messages.get_text("shelf.title"), id="runs") as tab:
                runs_tab.build_runs_tab(profile, train, ticked_runs, tabs, tab)
        register_endpoints(profile, answer_threads)
        # Last: the numbers of the events before stay.
        images = [block for block in demo.blocks.values() if isinstance(block, gr.Image)]
        wire_switch(header, [*train.form_fields, *images])
    # Handlers share the CPU cores with the training; more than 64 waiting events are refused.
    # Nothing that is queued can be called past the queue.
    demo.queue(default_concurrency_limit=4, max_size=64, api_open=False)
    return demo


def _declare_run_quota(profile: ServerProfile) -> None:
    """Limit disk space and waiting runs of each person on a server for others; who is alone with it has no limit."""
    waiting = queue_limits.SPACE_WAITING_PER_PERSON if profile.is_space else queue_limits.WAITING_PER_PERSON
    running = queue_limits.read_limits().running_per_device
    queue_limits.declare_limits(queue_limits.QueueLimits(running, None if profile.is_local else waiting))
    if profile.is_local:
        run_quota.declare_run_quota(None, None)
    elif profile.is_space:
        run_quota.declare_run_quota(
            run_quota.SPACE_RUN_QUOTA_BYTES,
            run_quota.SPACE_ALL_RUNS_QUOTA_BYTES,
            run_quota.SPACE_VISITOR_RUNS_QUOTA_BYTES,
        )
    else:
        run_quota.declare_run_quota(
            run_quota.RUN_QUOTA_BYTES, run_quota.ALL_RUNS_QUOTA_BYTES, run_quota.VISITOR_RUNS_QUOTA_BYTES
        )
