"""The Compare tab: runs to tick, their curves over each other, what each came to and cost, what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import Markup, join, tag
from ftlab.runs import comparison
from ftlab.runs.curves import curves
from ftlab.runs.directory import LIVE, Run
from ftlab.runs.jobs import series
from ftlab.ui.common import run_status, run_status_view
from ftlab.ui.common.access import Profile
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.compare import pair, view
from ftlab.ui.train import form
from ftlab.ui.train.actions import Desk
from ftlab.ui.train.tab import TrainTab

AGAIN = 3.0
"""Seconds after which runs that are under way are looked at again."""
_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(profile: Profile, train_tab: TrainTab, tab: gr.Tab) -> gr.CheckboxGroup:
    """Lay out the tab where the page stands, and wire it.

    Returns:
        The runs that are ticked: another tab may tick them, by their names.

    Args:
        profile: what this server is for.
        train_tab: which runs the page may see.
        tab: this one; the runs are listed anew when it is opened.
    """
    with gr.Row(visible=not profile.space):
        with gr.Column(scale=3, min_width=300):
            gr.HTML(
                tag("p", messages.text("compare.series_hint"), class_="ftlab-about"),
                elem_id="compare-series-hint",
                apply_default_css=False,
            )
        with gr.Column(scale=1, min_width=280):
            every = gr.Button(messages.text("compare.series"), variant="primary", elem_id="compare-series")
    ticked = gr.CheckboxGroup(
        [],
        label=messages.text("compare.runs"),
        info=messages.text("compare.runs_hint", most=comparison.MOST),
        elem_id="compare-runs",
    )
    shown = gr.HTML(nothing(), elem_id="compare-shown", apply_default_css=False)
    timer = gr.Timer(AGAIN, active=False)
    follow = pair.build(profile, train_tab.run, ticked)

    panel, store = Panel(profile, train_tab.settings), train_tab.run
    seen = [ticked, shown, timer]
    follow(tab.select(panel.listed, [store, ticked], seen, **_QUICK))
    # Quick ticks come while the answer to the one before is under way: the last one counts.
    follow(ticked.input(panel.shown, [store, ticked], [shown, timer], trigger_mode="always_last", **_QUICK))
    follow(timer.tick(panel.again, [store, ticked], seen, **_QUICK))
    every.click(panel.start, [store, ticked, *train_tab.inputs], seen, show_progress="hidden", api_visibility="private")
    return ticked


class Panel:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile, settings: Callable[[Sequence[Any]], TrainConfig]) -> None:
        self.desk, self.settings = Desk(profile), settings

    def listed(self, store: object, ticked: object) -> list[Any]:
        """The runs to choose from, with those that were ticked, else the two newest; and what is shown of them."""
        offered = self.desk.choices(store)
        names = [name for _, name in offered]
        at_work = self._series()
        if at_work is not None:
            ticked = self._begun(at_work)
        kept = [name for name in _names(ticked) if name in names] or (names[:2] if not at_work and names[1:] else [])
        return [gr.CheckboxGroup(choices=offered, value=kept), *self.shown(store, kept)]

    def start(self, store: object, ticked: object, *given: Any) -> list[Any]:
        """Train the form's settings in every mode, in turn."""
        try:
            if self.desk.profile.space:
                raise RunError("run.series_space")
            base, busy = self.settings(given), self.desk.at_work()
            backbones.get(base.backbone)  # nothing begins for one that is not there
            if busy is not None:
                raise RunError("run.other_busy", run=run_status_view.title(busy))
            series.start(base, self.desk.profile.runs)
        except FtlabError as error:
            gr.Warning(form.sentence(error))
            return [gr.skip()] * 3
        return [gr.skip(), empty("compare.begins", "compare.begins_step"), gr.Timer(active=True)]

    def again(self, store: object, ticked: object) -> list[Any]:
        """What `shown` shows, of the series at work where there is one: its runs are ticked as they begin."""
        at_work = self._series()
        wanted = self._begun(at_work) if at_work else []
        if set(wanted) <= set(_names(ticked)):
            return [gr.skip(), *self.shown(store, ticked)]
        return [gr.CheckboxGroup(choices=self.desk.choices(store), value=wanted), *self.shown(store, wanted)]

    def shown(self, store: object, ticked: object) -> list[Any]:
        """Curves, table and differences of the ticked runs, and whether to look again. Never raises."""
        at_work = self._series()
        wanted = self.desk.ticked(store, ticked)
        if len(wanted) < 2 and not (at_work and wanted):
            if at_work is not None:
                return [empty("compare.begins", "compare.begins_step"), gr.Timer(active=True)]
            return [join([self._stands(None), nothing()]), gr.Timer(active=False)]
        if len(wanted) > comparison.MOST:
            return [trouble(messages.text("compare.too_many", most=comparison.MOST)), gr.Timer(active=False)]
        try:
            made, live_ones = self._drawn([Run(self.desk.profile.runs / name) for name in wanted])
        except FtlabError as error:
            return [trouble(messages.text("compare.unreadable", why=error)), gr.Timer(active=False)]
        return [join([self._stands(at_work), made]), gr.Timer(active=live_ones or at_work is not None)]

    def _series(self) -> series.Series | None:
        """The one at work, where no strangers share the machine."""
        return None if self.desk.profile.space else series.newest(self.desk.profile.runs)

    def _begun(self, at_work: series.Series) -> list[str]:
        """Its runs, without those that were deleted since."""
        return [name for name in at_work.runs if (self.desk.profile.runs / name).is_dir()]

    def _stands(self, at_work: series.Series | None) -> Markup:
        """How far the series is, or why it never began."""
        if at_work is None:
            why = "" if self.desk.profile.space else series.stillborn(self.desk.profile.runs)
            return trouble(messages.text("compare.stillborn", why=why)) if why else Markup("")
        number = max(1, len(at_work.runs))
        mode = messages.text(f"choice.mode.{at_work.modes[number - 1]}")
        said = messages.text("compare.stands", number=number, count=len(at_work.modes), mode=mode)
        return tag("p", said, class_="ftlab-about")

    def _drawn(self, runs: list[Run]) -> tuple[Markup, bool]:
        histories = [run_status.watch(run).history() for run in runs]
        rows = [comparison.contender(run, history) for run, history in zip(runs, histories, strict=True)]
        parts = [view.overlaid(rows, [curves(history) for history in histories]), view.table(rows)]
        if len(runs) > 1:
            parts.append(view.differing(rows, comparison.differences([run.resolved() for run in runs])))
        return join(parts), any(row.status in LIVE for row in rows)


def nothing() -> Markup:
    """What stands there while fewer than two runs are ticked."""
    return empty("compare.nothing", "compare.nothing_step")


def _names(ticked: object) -> list[str]:
    return [name for name in ticked if isinstance(name, str)] if isinstance(ticked, list) else []
