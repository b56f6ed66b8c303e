"""Layout, events and handlers of the Compare tab: curves of several runs in one plot, results, costs, differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.runs import comparison, run_table
from ftlab.runs.curves import build_curves
from ftlab.runs.directory import Run
from ftlab.runs.jobs import series
from ftlab.runs.liveness import ACTIVE_STATUSES
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events, run_status
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.compare import pair, view
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.train.tab import TrainTab

REFRESH_SECONDS = 3.0
"""Seconds between two refreshes while a compared run is active."""
# Not in the queue: answered at once, also while long events wait there.
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_compare_tab(profile: ServerProfile, train_tab: TrainTab, tab: gr.Tab) -> gr.CheckboxGroup:
    """Build the components of the tab in the current Gradio context, and register its events.

    Args:
        profile: what this server is for.
        train_tab: its page state says which runs the page may see; a series starts with its form.
        tab: this tab; the runs are listed anew each time it is selected.

    Returns:
        The checkboxes of the runs; another tab may tick them, by the names of the runs.
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
    # Inactive: `render_comparison` starts it while a run is active.
    timer = gr.Timer(REFRESH_SECONDS, active=False)
    follow = pair.build_pair_section(profile, train_tab.page_state, ticked_runs)

    actions, page_state = CompareActions(profile, train_tab.build_config), train_tab.page_state
    outputs = [ticked_runs, comparison_html, timer]
    # `follow` adds the pair section's update after each event, so it has the ticks that this event has set.
    follow(tab.select(actions.list_runs, [page_state, ticked_runs], outputs, **_UNQUEUED_EVENT))
    # Ticks come faster than answers: only the answer to the last one counts.
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
    """Event handlers of the Compare tab. One instance per server: it holds the profile and no state of any visitor."""

    def __init__(self, profile: ServerProfile, build_config: Callable[[Sequence[Any]], TrainConfig]) -> None:
        """Create the handlers of a server.

        Args:
            profile: what this server is for.
            build_config: as `TrainTab.build_config`.
        """
        self.train_actions, self.build_config = TrainActions(profile), build_config

    def list_runs(self, page_state: object, ticked_runs: object) -> list[Any]:
        """List the runs; those of an active series, else those ticked before, else the two newest are ticked.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            ticked_runs: names of the ticked runs.

        Returns:
            Updates of checkboxes, comparison and timer.
        """
        run_choices = self.train_actions.list_comparable_choices(page_state)
        names = [name for _, name in run_choices]
        running_series = self._get_running_series()
        if running_series is not None:  # also after a reload, where nothing is ticked
            ticked_runs = self._list_started_runs(running_series)
        kept_names = [name for name in _parse_run_names(ticked_runs) if name in names] or (
            names[:2] if not running_series and names[1:] else []
        )
        return [
            gr.CheckboxGroup(choices=run_choices, value=kept_names),
            *self.render_comparison(page_state, kept_names),
        ]

    def start_series(self, _page_state: object, _ticked_runs: object, *form_values: Any) -> list[Any]:
        """Start trainings of the form's settings in every mode, one after the other.

        Args:
            *form_values: as `TrainTab.build_config` takes them, after two inputs that are not used.

        Returns:
            Updates of checkboxes, comparison and timer; none if the series cannot start.
        """
        try:
            self.train_actions.start_series(self.build_config(form_values))
        except FtlabError as error:
            page_events.show_warning(form.format_error(error))
            return [gr.skip()] * 3
        return [gr.skip(), render_empty_state("compare.begins", "compare.begins_step"), gr.Timer(active=True)]

    def refresh_runs(self, page_state: object, ticked_runs: object) -> list[Any]:
        """Refresh the comparison; the runs of an active series are ticked as they start.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            ticked_runs: names of the ticked runs.

        Returns:
            Updates of checkboxes, comparison and timer.
        """
        running_series = self._get_running_series()
        run_names = self._list_started_runs(running_series) if running_series else []
        if set(run_names) <= set(_parse_run_names(ticked_runs)):
            return [gr.skip(), *self.render_comparison(page_state, ticked_runs)]
        return [
            gr.CheckboxGroup(choices=self.train_actions.list_comparable_choices(page_state), value=run_names),
            *self.render_comparison(page_state, run_names),
        ]

    def render_comparison(self, page_state: object, ticked_runs: object) -> list[Any]:
        """Render curves, table and differences of the ticked runs. Never raises.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            ticked_runs: names of the ticked runs.

        Returns:
            Updates of comparison and timer; the timer runs while a run or a series is active.
        """
        running_series = self._get_running_series()
        run_names = [
            name
            for name in self.train_actions.filter_ticked_runs(page_state, ticked_runs)
            if not Run(self.train_actions.profile.runs_dir / name).left_nothing()
        ]
        # A series is shown from its first run on; otherwise a comparison takes two.
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
        """Return the active series; None where its runs are nothing that this person may see."""
        running_series = series.find_active_series(self.train_actions.profile.runs_dir)
        if running_series is None or self.train_actions.get_person().leads:
            return running_series
        visible_names = self.train_actions.list_visible_runs()
        return running_series if any(name in visible_names for name in running_series.runs) else None

    def _list_started_runs(self, running_series: series.TrainingSeries) -> list[str]:
        """Return the names of a series' runs that were not deleted since."""
        return [name for name in running_series.runs if (self.train_actions.profile.runs_dir / name).is_dir()]

    def _render_series_progress(self, running_series: series.TrainingSeries | None) -> Markup:
        """Return how far a series is, or why the last one failed to start, as HTML."""
        if running_series is None:
            # Of the last series, whoever has started it: its output may name what is theirs.
            reason = (
                series.explain_failed_start(self.train_actions.profile.runs_dir)
                if self.train_actions.get_person().leads
                else ""
            )
            return render_error(messages.get_text("compare.stillborn", why=reason)) if reason else Markup("")
        number = max(1, len(running_series.runs))  # none has started yet: the first is about to
        mode = messages.get_text(f"choice.mode.{running_series.modes[number - 1]}")
        progress_text = messages.get_text("compare.stands", number=number, count=len(running_series.modes), mode=mode)
        return tag("p", progress_text, class_="ftlab-about")

    def _render_runs(self, runs: list[Run]) -> tuple[Markup, bool]:
        """Return the comparison as HTML, and whether one of the runs is active."""
        histories = [run_status.watch_run(run).read_history() for run in runs]
        summaries = [comparison.summarize_run(run, history) for run, history in zip(runs, histories, strict=True)]
        parts = [
            view.render_curves(summaries, [build_curves(history) for history in histories]),
            view.render_table(summaries),
        ]
        if len(runs) > 1:
            parts.insert(0, view.render_data_warning(run_table.list_data_names(runs)))
            parts.append(
                view.render_differences(
                    summaries, comparison.find_differences([run.load_resolved_config() for run in runs])
                )
            )
        return join_html(parts), any(summary.status in ACTIVE_STATUSES for summary in summaries)


def render_empty_comparison() -> Markup:
    """Return what is shown while fewer than two runs are ticked."""
    return render_empty_state("compare.nothing", "compare.nothing_step")


def _parse_run_names(ticked_runs: object) -> list[str]:
    """Return the run names in what the page sent."""
    return [name for name in ticked_runs if isinstance(name, str)] if isinstance(ticked_runs, list) else []
