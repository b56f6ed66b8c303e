"""The Compare tab: runs to tick, their curves over each other, what each came to and cost, what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs import comparison
from ftlab.runs.curves import build_curves
from ftlab.runs.directory import ACTIVE_STATUSES, Run
from ftlab.runs.jobs import series
from ftlab.ui.common import run_status, run_status_view
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.compare import pair, view
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.train.tab import TrainTab

REFRESH_SECONDS = 3.0
"""Seconds after which runs that are under way are looked at again."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_compare_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab) -> gr.CheckboxGroup:
    """Lay out the tab where the page stands, and wire it.

    Returns:
        The runs that are ticked: another tab may tick them, by their names.

    Args:
        profile: what this server is for.
        train_tab: which runs the page may see.
        tab: this one; the runs are listed anew when it is opened.
    """
    with gr.Row(visible=not profile.is_space):
        with gr.Column(scale=3, min_width=300):
            gr.HTML(
                tag("p", messages.get_text("compare.series_hint"), class_="ftlab-about"),
                elem_id="compare-series-hint",
                apply_default_css=False,
            )
        with gr.Column(scale=1, min_width=280):
            series_button = gr.Button(messages.get_text("compare.series"), variant="primary", elem_id="compare-series")
    ticked_runs = gr.CheckboxGroup(
        [],
        label=messages.get_text("compare.runs"),
        info=messages.get_text("compare.runs_hint", most=comparison.MAX_COMPARED_RUNS),
        elem_id="compare-runs",
    )
    comparison_html = gr.HTML(render_empty_comparison(), elem_id="compare-shown", apply_default_css=False)
    timer = gr.Timer(REFRESH_SECONDS, active=False)
    follow = pair.build_pair_section(profile, train_tab.page_state, ticked_runs)

    actions, page_state = CompareActions(profile, train_tab.build_config), train_tab.page_state
    outputs = [ticked_runs, comparison_html, timer]
    follow(tab.select(actions.list_runs, [page_state, ticked_runs], outputs, **_UNQUEUED_EVENT))
    # Quick ticks come while the answer to the one before is under way: the last one counts.
    follow(
        ticked_runs.input(
            actions.render_comparison,
            [page_state, ticked_runs],
            [comparison_html, timer],
            trigger_mode="always_last",
            **_UNQUEUED_EVENT,
        )
    )
    follow(timer.tick(actions.refresh_runs, [page_state, ticked_runs], outputs, **_UNQUEUED_EVENT))
    series_button.click(
        actions.start_series,
        [page_state, ticked_runs, *train_tab.inputs],
        outputs,
        show_progress="hidden",
        api_visibility="private",
    )
    return ticked_runs


class CompareActions:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: ServerProfile, build_config: Callable[[Sequence[Any]], TrainConfig]) -> None:
        self.train_actions, self.build_config = TrainActions(profile), build_config

    def list_runs(self, page_state: object, ticked_runs: object) -> list[Any]:
        """The runs to choose from, with those that were ticked, else the two newest; and what is shown of them."""
        run_choices = self.train_actions.list_run_choices(page_state)
        names = [name for _, name in run_choices]
        running_series = self._get_running_series()
        if running_series is not None:
            ticked_runs = self._list_started_runs(running_series)
        kept_names = [name for name in _parse_run_names(ticked_runs) if name in names] or (
            names[:2] if not running_series and names[1:] else []
        )
        return [
            gr.CheckboxGroup(choices=run_choices, value=kept_names),
            *self.render_comparison(page_state, kept_names),
        ]

    def start_series(self, page_state: object, ticked_runs: object, *form_values: Any) -> list[Any]:
        """Train the form's settings in every mode, in turn."""
        try:
            if self.train_actions.profile.is_space:
                raise RunError("run.series_space")
            base_config, active_run = self.build_config(form_values), self.train_actions.find_active_run()
            backbones.get_backbone_spec(base_config.backbone)  # nothing begins for one that is not there
            if active_run is not None:
                raise RunError("run.other_busy", run=run_status_view.format_run_title(active_run))
            series.start_series(base_config, self.train_actions.profile.runs_dir)
        except FtlabError as error:
            gr.Warning(form.format_error(error))
            return [gr.skip()] * 3
        return [gr.skip(), render_empty_state("compare.begins", "compare.begins_step"), gr.Timer(active=True)]

    def refresh_runs(self, page_state: object, ticked_runs: object) -> list[Any]:
        """What `render_comparison` shows, of the series at work where there is one: its runs are ticked as they begin."""
        running_series = self._get_running_series()
        run_names = self._list_started_runs(running_series) if running_series else []
        if set(run_names) <= set(_parse_run_names(ticked_runs)):
            return [gr.skip(), *self.render_comparison(page_state, ticked_runs)]
        return [
            gr.CheckboxGroup(choices=self.train_actions.list_run_choices(page_state), value=run_names),
            *self.render_comparison(page_state, run_names),
        ]

    def render_comparison(self, page_state: object, ticked_runs: object) -> list[Any]:
        """Curves, table and differences of the ticked runs, and whether to look again. Never raises."""
        running_series = self._get_running_series()
        run_names = self.train_actions.filter_ticked_runs(page_state, ticked_runs)
        if len(run_names) < 2 and not (running_series and run_names):
            if running_series is not None:
                return [render_empty_state("compare.begins", "compare.begins_step"), gr.Timer(active=True)]
            return [join_html([self._render_series_progress(None), render_empty_comparison()]), gr.Timer(active=False)]
        if len(run_names) > comparison.MAX_COMPARED_RUNS:
            return [
                render_error(messages.get_text("compare.too_many", most=comparison.MAX_COMPARED_RUNS)),
                gr.Timer(active=False),
            ]
        try:
            comparison_html, any_live = self._render_runs(
                [Run(self.train_actions.profile.runs_dir / name) for name in run_names]
            )
        except FtlabError as error:
            return [render_error(messages.get_text("compare.unreadable", why=error)), gr.Timer(active=False)]
        return [
            join_html([self._render_series_progress(running_series), comparison_html]),
            gr.Timer(active=any_live or running_series is not None),
        ]

    def _get_running_series(self) -> series.TrainingSeries | None:
        """The one at work, where no strangers share the machine."""
        return (
            None
            if self.train_actions.profile.is_space
            else series.find_active_series(self.train_actions.profile.runs_dir)
        )

    def _list_started_runs(self, running_series: series.TrainingSeries) -> list[str]:
        """Its runs, without those that were deleted since."""
        return [name for name in running_series.runs if (self.train_actions.profile.runs_dir / name).is_dir()]

    def _render_series_progress(self, running_series: series.TrainingSeries | None) -> Markup:
        """How far the series is, or why it never began."""
        if running_series is None:
            reason = (
                ""
                if self.train_actions.profile.is_space
                else series.explain_failed_start(self.train_actions.profile.runs_dir)
            )
            return render_error(messages.get_text("compare.stillborn", why=reason)) if reason else Markup("")
        number = max(1, len(running_series.runs))
        mode = messages.get_text(f"choice.mode.{running_series.modes[number - 1]}")
        progress_text = messages.get_text("compare.stands", number=number, count=len(running_series.modes), mode=mode)
        return tag("p", progress_text, class_="ftlab-about")

    def _render_runs(self, runs: list[Run]) -> tuple[Markup, bool]:
        histories = [run_status.watch_run(run).read_history() for run in runs]
        summaries = [comparison.summarize_run(run, history) for run, history in zip(runs, histories, strict=True)]
        parts = [
            view.render_curves(summaries, [build_curves(history) for history in histories]),
            view.render_table(summaries),
        ]
        if len(runs) > 1:
            parts.append(
                view.render_differences(
                    summaries, comparison.find_differences([run.load_resolved_config() for run in runs])
                )
            )
        return join_html(parts), any(summary.status in ACTIVE_STATUSES for summary in summaries)


def render_empty_comparison() -> Markup:
    """What stands there while fewer than two runs are ticked."""
    return render_empty_state("compare.nothing", "compare.nothing_step")


def _parse_run_names(ticked_runs: object) -> list[str]:
    return [name for name in ticked_runs if isinstance(name, str)] if isinstance(ticked_runs, list) else []
