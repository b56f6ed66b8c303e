"""Updates of the selected run's panel: state, curves and log, buttons, and the menu of runs.

No state of a run is kept in the page: every second it asks `VisibleRuns.take_snapshot`, which reads the run directory,
and is sent the parts that changed. So a reload, a second page and a restarted server show the run as it is.
"""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from ftlab.core import messages
from ftlab.ui.common import run_status
from ftlab.ui.common.run_status import RunSnapshot
from ftlab.ui.train.visible_runs import VisibleRuns

LIVE_REFRESH_SECONDS, IDLE_REFRESH_SECONDS = 1.0, 4.0
"""Seconds between two refreshes of a page: while its run is active, and otherwise."""


_BUTTON_UPDATE_COUNT = 5
"""Number of updates that `_build_button_updates` returns."""


def refresh_panel(
    visible_runs: VisibleRuns, page_state: object, shown_marks: object, *, save_state: bool = False
) -> list[Any]:
    """Compute updates for the panel's components: those parts that differ from `shown_marks`. Never raises.

    Args:
        visible_runs: runs of the server.
        page_state: see `ftlab.ui.train.visible_runs`.
        shown_marks: marks of the parts that the page shows.
        save_state: the page state changed and is to be written to the browser.

    Returns:
        Updates in the order of `RunPanel.list_outputs`.
    """
    try:
        snapshot = visible_runs.take_snapshot(page_state)
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        # A page without a run of its own has found the active one: from now on it keeps that.
        if snapshot.run_name and snapshot.run_name != run_name:
            page_state, save_state = (
                {**(page_state if isinstance(page_state, dict) else {}), "run": snapshot.run_name},
                True,
            )
        choices = visible_runs.list_run_choices(page_state, snapshot)
    except Exception as cause:  # an error of a timer's tick would be invisible on the page
        logging.getLogger(__name__).exception("the runs cannot be shown")
        snapshot, choices = run_status.build_error_snapshot("", cause), []
    return _build_panel_updates(
        snapshot, choices, page_state if save_state else None, shown_marks if isinstance(shown_marks, dict) else {}
    )


def _build_panel_updates(
    snapshot: RunSnapshot, choices: list[tuple[str, str]], page_state: object, shown_marks: dict[str, Any]
) -> list[Any]:
    """Return updates for `RunPanel.list_outputs`; a part is sent only where its mark differs from the shown one."""
    marks = {
        "run": snapshot.run_name,
        **snapshot.digest_parts(),
        "runs": run_status.digest_text(repr(choices)),
        "live": snapshot.is_live,
        "stop": snapshot.stop_action,
    }
    changed = {key: marks[key] != shown_marks.get(key) for key in marks}
    skip = gr.skip()
    buttons_changed = changed["buttons"] or changed["run"]
    button_updates = _build_button_updates(snapshot) if buttons_changed else [skip] * _BUTTON_UPDATE_COUNT
    return [
        skip if page_state is None else page_state,
        snapshot.head_html if changed["head"] else skip,
        # What was said about an attempt to stop holds until the state of the run changes.
        "" if buttons_changed else skip,
        snapshot.curves_html if changed["curves"] else skip,
        snapshot.log_html if changed["log"] else skip,
        *button_updates,
        gr.Dropdown(choices=choices, value=snapshot.run_name or None, visible=bool(choices))
        if changed["runs"] or changed["run"]
        else skip,
        # Only when it changes: a new value restarts the timer.
        gr.Timer(value=LIVE_REFRESH_SECONDS if snapshot.is_live else IDLE_REFRESH_SECONDS) if changed["live"] else skip,
        snapshot.status if buttons_changed else skip,
        marks if any(changed.values()) else skip,
    ]


def _build_button_updates(snapshot: RunSnapshot) -> list[Any]:
    """Return the updates of the buttons start, stop and resume, and for a trained model of their row and of Predict."""
    return [
        gr.Button(interactive=snapshot.allows_start),
        _build_stop_button(snapshot),
        gr.Button(interactive=snapshot.is_resumable),
        gr.Row(visible=snapshot.has_model and not snapshot.is_live),
        # What is no better than untrained can be tried, but is not what to do next.
        gr.Button(variant="primary" if snapshot.has_improved else "secondary"),
    ]


def _build_stop_button(snapshot: RunSnapshot) -> gr.Button:
    by_force = snapshot.stop_action == "end"
    label = messages.get_text("train.end" if by_force else "train.stop")
    return gr.Button(label, variant="stop" if by_force else "secondary", interactive=bool(snapshot.stop_action))
