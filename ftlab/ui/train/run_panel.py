"""Components and events of the selected run's panel in the Train tab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.runs.directory import Run
from ftlab.server.people.rights import RunAction
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events, run_status
from ftlab.ui.common.late_answers import LateFields, fill_untouched
from ftlab.ui.common.page_events import get_download_folder
from ftlab.ui.common.stop_script import read_stop_script
from ftlab.ui.common.theme import STATIC_DIR
from ftlab.ui.lesson import class_notices
from ftlab.ui.train import form, preflight
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.train.panel_updates import IDLE_REFRESH_SECONDS, refresh_panel

# What ticks is not queued: a queued event waits behind long ones. What shows a message must be queued, because outside
# the queue a message does not reach the page.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_QUEUED_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
_DOWNLOAD_JS = "() => document.querySelector('#train-file a, a#train-file, #train-file')?.click()"


@dataclass(frozen=True)
class RunView:
    """Visible components of the panel.

    Attributes:
        start_button: starts a training with the form's values.
        stop_button: requests a stop, or terminates a process that does not react.
        resume_button: resumes a run that ended early.
        facts: what Start would do: images, parameters, weights and time.
        head: state, progress and figures.
        stop_notice: why the run could not be asked to stop.
        result_row: what can be done with a run that has weights; contains the next two.
        predict_button: opens the Predict tab.
        save_button: downloads the curves.
        curves: loss, accuracy and learning rate.
        run_menu: selects another run.
        log: events as text.
    """

    start_button: gr.Button
    stop_button: gr.Button
    resume_button: gr.Button
    facts: gr.HTML
    head: gr.HTML
    stop_notice: gr.HTML
    result_row: gr.Row
    predict_button: gr.Button
    save_button: gr.Button
    curves: gr.HTML
    run_menu: gr.Dropdown
    log: gr.HTML


@dataclass(frozen=True)
class RunPanel:
    """All components of the panel.

    Attributes:
        page_state: see `ftlab.ui.train.visible_runs`.
        view: visible components.
        timer: refreshes the panel.
        status_text: status of the run, hidden; other sections follow its changes.
        shown_marks: marks of the parts that the page shows, hidden.
    """

    page_state: gr.BrowserState
    view: RunView
    timer: gr.Timer
    status_text: gr.Textbox
    shown_marks: gr.JSON

    def list_outputs(self) -> list[Any]:
        """Return the components that `refresh_panel` updates, in its order."""
        view = self.view
        return [
            self.page_state,
            view.head,
            view.stop_notice,
            view.curves,
            view.log,
            view.start_button,
            view.stop_button,
            view.resume_button,
            view.result_row,
            view.predict_button,
            view.run_menu,
            self.timer,
            self.status_text,
            self.shown_marks,
        ]

    def wire_events(self, actions: TrainActions, tabs: gr.Tabs) -> Any:
        """Register the events of the panel, except Start.

        Args:
            actions: handlers of the tab.
            tabs: tabs of the page.

        Returns:
            The event by which a person chooses another run.
        """
        self._wire_refresh(actions, tabs)
        choose_event = self._wire_buttons(actions)
        self.view.predict_button.click(lambda: gr.Tabs(selected="predict"), None, tabs, **_UNQUEUED_EVENT)
        self._wire_curves_download(actions)
        return choose_event

    def _wire_refresh(self, actions: TrainActions, tabs: gr.Tabs) -> None:
        def reopen_train_tab(page_state: object) -> list[Any]:
            run_name = page_state.get("run") if isinstance(page_state, dict) else None
            is_live = bool(run_name) and actions.take_snapshot(page_state).is_live
            return [{"__type__": "update", "selected": "train"} if is_live else None]

        # After a reload, a page whose run is active shows it instead of the first tab, unless somebody works there.
        fill_untouched(reopen_train_tab, [self.page_state], [LateFields([tabs], ["tabs"])])
        self.timer.tick(
            lambda page_state, shown_marks: refresh_panel(actions, page_state, shown_marks),
            [self.page_state, self.shown_marks],
            self.list_outputs(),
            **_UNQUEUED_EVENT,
        )
        # A page that was just loaded shows nothing yet: no marks, so all parts are sent.
        get_page().load(
            lambda page_state: refresh_panel(actions, page_state, {}),
            self.page_state,
            self.list_outputs(),
            **_UNQUEUED_EVENT,
        )

    def _wire_buttons(self, actions: TrainActions) -> Any:
        """Register Stop, Resume, and the menu of runs.

        Args:
            actions: handlers of the tab.

        Returns:
            The event of the menu.
        """
        outputs = self.list_outputs()

        def resume_training(page_state: object) -> list[Any]:
            run = actions.get_selected_run(page_state)
            try:
                if run is not None:
                    actions.check_may(RunAction.RESUME, run)
                    announce_queued_start(actions, actions.resume_training(run))
            except FtlabError as error:
                page_events.show_warning(form.format_error(error))
            return refresh_panel(actions, page_state, {})

        def choose_run(run_name: object, page_state: object) -> list[Any]:
            if not isinstance(run_name, str) or run_name not in actions.list_offered_runs(page_state):
                return [gr.skip()] * len(outputs)
            new_state = actions.select_run(page_state, Run(actions.profile.runs_dir / run_name))
            return refresh_panel(actions, new_state, {}, save_state=True)

        # By a route of its own, see `ftlab.server.stop_route`: the queue may be full.
        stop_event = self.view.stop_button.click(
            None, self.shown_marks, self.view.stop_notice, js=read_stop_script(), show_progress="hidden"
        )
        stop_event.then(
            lambda page_state, shown_marks: refresh_panel(actions, page_state, shown_marks),
            [self.page_state, self.shown_marks],
            outputs,
            **_UNQUEUED_EVENT,
        )
        self.view.resume_button.click(resume_training, self.page_state, outputs, **_QUEUED_EVENT)
        return self.view.run_menu.input(choose_run, [self.view.run_menu, self.page_state], outputs, **_UNQUEUED_EVENT)

    def _wire_curves_download(self, actions: TrainActions) -> None:
        # Rendered though not displayed: the script must find it.
        download_button = gr.DownloadButton(visible="hidden", elem_id="train-file")

        def save_curves(page_state: object) -> Any:
            try:
                return str(actions.save_curves_image(page_state, get_download_folder(actions.profile)))
            except FtlabError as error:
                page_events.show_warning(error)
                return None

        # A download button gives the file that it had before the click. So another button makes the file and, on
        # success, clicks the hidden one.
        save_event = self.view.save_button.click(save_curves, self.page_state, download_button, **_QUEUED_EVENT)
        save_event.success(None, None, None, js=_DOWNLOAD_JS)


def build_run_view(profile: ServerProfile) -> RunView:
    """Return the visible components, built in a column of the current Gradio context."""
    empty_snapshot = run_status.build_empty_snapshot()
    with gr.Column(scale=7, min_width=340, elem_classes="ftlab-live"):
        class_notices.build_lesson_notice(profile)
        start_button, stop_button, resume_button = _build_process_buttons()
        facts = preflight.build_facts()
        head = gr.HTML(empty_snapshot.head_html, elem_id="train-progress", apply_default_css=False)
        stop_notice = gr.HTML("", elem_id="train-stop-notice", apply_default_css=False)
        with gr.Row(visible=False, elem_classes="ftlab-buttons") as result_row:
            predict_button = gr.Button(
                messages.get_text("train.go"), variant="primary", elem_id="train-go", scale=2, min_width=160
            )
            save_button = gr.Button(messages.get_text("train.save"), elem_id="train-save", scale=1, min_width=120)
        curves = gr.HTML(
            empty_snapshot.curves_html,
            elem_id="train-curves",
            apply_default_css=False,
            js_on_load=(STATIC_DIR / "live.js").read_text(encoding="utf-8"),
        )
        run_menu = gr.Dropdown(
            [],
            value=None,
            label=messages.get_text("train.runs"),
            info=messages.get_text("train.runs_space" if profile.is_space else "train.runs_hint"),
            elem_id="train-runs",
            visible=False,
        )
        with gr.Accordion(messages.get_text("train.log"), open=True, elem_id="train-log-fold"):
            log = gr.HTML(empty_snapshot.log_html, elem_id="train-log", apply_default_css=False)
    return RunView(
        start_button,
        stop_button,
        resume_button,
        facts,
        head,
        stop_notice,
        result_row,
        predict_button,
        save_button,
        curves,
        run_menu,
        log,
    )


def _build_process_buttons() -> tuple[gr.Button, gr.Button, gr.Button]:
    """Return Start, Stop and Resume, built in a row."""
    with gr.Row(elem_classes=["ftlab-buttons", "ftlab-process"]):
        start_button = gr.Button(
            messages.get_text("train.start"), variant="primary", elem_id="train-start", min_width=90
        )
        stop_button = gr.Button(messages.get_text("train.stop"), elem_id="train-stop", interactive=False, min_width=90)
        resume_button = gr.Button(
            messages.get_text("train.resume"), elem_id="train-resume", interactive=False, min_width=90
        )
    return start_button, stop_button, resume_button


def build_run_panel(view: RunView, page_state: gr.BrowserState) -> RunPanel:
    """Add the hidden components; the events are registered by `RunPanel.wire_events`.

    Args:
        view: the visible components.
        page_state: as `tab.create_page_state` returns it.

    Returns:
        The panel.
    """
    timer = gr.Timer(IDLE_REFRESH_SECONDS)
    shown_marks = gr.JSON({}, visible=False, elem_id="train-seen")
    status_text = gr.Textbox(visible="hidden", elem_id="train-phase")
    return RunPanel(page_state, view, timer, status_text, shown_marks)


def announce_queued_start(actions: TrainActions, run: Run) -> None:
    """Say on the page that a run waits in the queue, if it does.

    Args:
        actions: handlers of the tab.
        run: the run that was started or resumed.
    """
    notice = actions.describe_queued_start(run)
    if notice:
        page_events.show_notice(notice)


def get_page() -> gr.Blocks:
    """Return the page in whose context the tab is built."""
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
