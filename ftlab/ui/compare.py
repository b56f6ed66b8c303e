"""The Compare tab: runs to tick, their curves over each other, what each came to and cost, what differs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ftlab import comparison, words
from ftlab.curves import curves
from ftlab.errors import FtlabError
from ftlab.runs import LIVE, Run
from ftlab.ui import compare_view as view
from ftlab.ui import live
from ftlab.ui.desk import Desk
from ftlab.ui.guard import Profile
from ftlab.ui.markup import Markup, empty, join, trouble
from ftlab.ui.train import TrainTab

AGAIN = 3.0
"""Seconds after which runs that are under way are looked at again."""
_QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(profile: Profile, train_tab: TrainTab, tab: gr.Tab) -> None:
    """Lay out the tab where the page stands, and wire it.

    Args:
        profile: what this server is for.
        train_tab: which runs the page may see.
        tab: this one; the runs are listed anew when it is opened.
    """
    ticked = gr.CheckboxGroup(
        [],
        label=words.text("compare.runs"),
        info=words.text("compare.runs_hint", most=comparison.MOST),
        elem_id="compare-runs",
    )
    shown = gr.HTML(nothing(), elem_id="compare-shown", apply_default_css=False)
    timer = gr.Timer(AGAIN, active=False)

    panel, store = Panel(profile), train_tab.run
    tab.select(panel.listed, [store, ticked], [ticked, shown, timer], **_QUICK)
    ticked.input(panel.shown, [store, ticked], [shown, timer], **_QUICK)
    timer.tick(panel.shown, [store, ticked], [shown, timer], **_QUICK)


class Panel:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.desk = Desk(profile)

    def listed(self, store: object, ticked: object) -> list[Any]:
        """The runs to choose from, with those that were ticked, else the two newest; and what is shown of them."""
        offered = self.desk.choices(store)
        names = [name for _, name in offered]
        kept = [name for name in _names(ticked) if name in names] or (names[:2] if len(names) > 1 else [])
        return [gr.CheckboxGroup(choices=offered, value=kept), *self.shown(store, kept)]

    def shown(self, store: object, ticked: object) -> list[Any]:
        """Curves, table and differences of the ticked runs, and whether to look again. Never raises."""
        allowed = self.desk.names(store)
        wanted = [name for name in allowed if name in _names(ticked)]
        if len(wanted) < 2:
            return [nothing(), gr.Timer(active=False)]
        if len(wanted) > comparison.MOST:
            return [trouble(words.text("compare.too_many", most=comparison.MOST)), gr.Timer(active=False)]
        try:
            made, live_ones = self._drawn([Run(self.desk.profile.runs / name) for name in wanted])
        except FtlabError as error:
            return [trouble(str(error)), gr.Timer(active=False)]
        return [made, gr.Timer(active=live_ones)]

    def _drawn(self, runs: list[Run]) -> tuple[Markup, bool]:
        histories = [live.watch(run).history() for run in runs]
        rows = [comparison.contender(run, history) for run, history in zip(runs, histories, strict=True)]
        parts = (
            view.overlaid(rows, [curves(history) for history in histories]),
            view.table(rows),
            view.differing(rows, comparison.differences([run.resolved() for run in runs])),
        )
        return join(parts), any(row.status in LIVE for row in rows)


def nothing() -> Markup:
    """What stands there while fewer than two runs are ticked."""
    return empty("compare.nothing", "compare.nothing_step")


def _names(ticked: object) -> list[str]:
    return [name for name in ticked if isinstance(name, str)] if isinstance(ticked, list) else []
