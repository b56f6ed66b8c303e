"""The doctor in the Dataset tab: examine the pictures, see what was found, leave a picture out with a click.

A process of its own looks at the pictures (`scan --deep`); its report is kept, so a second look is there at once. What
a page leaves out is a list that never changes (`data/dataset/exclusions.py`): the name of it is the second line of the place
that the page asks about, and the browser remembers it for each choice. Nobody sees or changes what others left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.audit import findings
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.core.html import Markup, join, tag
from ftlab.data.dataset import exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.runs.jobs import audit_job
from ftlab.ui.common import data_choice, run_status_view
from ftlab.ui.common.access import Profile
from ftlab.ui.common.data_choice import Source
from ftlab.ui.common.html import empty, trouble
from ftlab.ui.common.theme import STATIC
from ftlab.ui.dataset import audit_view

MINUTE = 4000
"""Pictures that are examined in a minute, roughly, on two cores of a laptop."""
REMEMBERED = 50
"""Choices for which a browser remembers what is left out."""
_LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def remembered() -> gr.BrowserState:
    """What the page keeps in the browser: `{"folder /home/…": name of the list of what is left out of it}`."""
    return gr.BrowserState({}, storage_key="ftlab-left-out", secret="ftlab")


def build(profile: Profile, choice: list[Any], left: gr.BrowserState, summary: gr.HTML) -> Any:
    """Lay out the folded section where the page stands.

    Args:
        profile: of this server.
        choice: the components of sample, place and shares.
        left: as `remembered` makes it.
        summary: changes whenever other pictures were looked at.

    Returns:
        The event after which `place` names another list, so that the tab must look again.
    """
    doctor = Doctor(profile)
    with gr.Accordion(messages.text("doctor.title"), open=False, elem_id="dataset-doctor"):
        gr.HTML(tag("p", messages.text("doctor.about"), class_="sub"), elem_id="doctor-about", apply_default_css=False)
        with gr.Row(elem_classes="ftlab-buttons"):
            start = gr.Button(
                messages.text("doctor.examine"), interactive=False, elem_id="doctor-examine", min_width=120
            )
            stop = gr.Button(messages.text("doctor.stop"), visible=False, elem_id="doctor-stop", min_width=90)
        status = gr.HTML(
            empty("doctor.nothing", "doctor.nothing_step"), elem_id="doctor-status", apply_default_css=False
        )
        script = (STATIC / "doctor.js").read_text(encoding="utf-8")
        found = gr.HTML(elem_id="doctor-found", js_on_load=script, apply_default_css=False)
        drawn = gr.HTML(elem_id="doctor-map", js_on_load=script, apply_default_css=False)
    panel = [start, stop, status, found, drawn]
    summary.change(doctor.show, choice, panel, trigger_mode="always_last", **_LIGHT)
    examining = start.click(
        doctor.examine,
        choice,
        panel,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="doctor",
        concurrency_limit=1,
    )
    stop.click(doctor.stopped, choice, panel, cancels=[examining], **_LIGHT)
    _page().load(doctor.clean, left, left, **_LIGHT)
    # Queued, so that a refusal is shown.
    clicked: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
    return found.select(doctor.decide, [*choice, left], [choice[1], left], **clicked)


class Doctor:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def show(self, sample: str, place: str, val: float, test: float) -> list[Any]:
        """What is known of the chosen pictures: for Examine, Stop, status, findings and map."""
        source, catalog = self._chosen(sample, place, val, test)
        if source is None or catalog is None:
            return _panel(empty("doctor.nothing", "doctor.nothing_step"), ready=False)
        report = findings.known(catalog)
        out = exclusions.read(source.excluded or "")
        left = tag("p", messages.text("doctor.excluded", count=f"{len(out):,}"), class_="ftlab-about") if out else ""
        if report is None:
            said = messages.text(
                "doctor.ready_step", minute=MINUTE, count=sum(len(items) for items in catalog.splits.values())
            )
            ready = tag(
                "div",
                tag("p", messages.text("doctor.ready"), class_="ftlab-empty-title"),
                tag("p", said),
                class_="ftlab-empty",
            )
            return _panel(join([ready, left]))
        told = tag("p", messages.text("doctor.looked", count=f"{report.looked:,}", seconds=f"{report.seconds:.0f}"))
        return _panel(
            join([told, left]),
            audit_view.findings(report, set(out)),
            audit_view.landscape(report, set(out)),
            again=True,
        )

    def examine(self, sample: str, place: str, val: float, test: float) -> Iterator[list[Any]]:
        """Have the chosen pictures examined: how far it is, at last what was found."""
        source, catalog = self._chosen(sample, place, val, test)
        if source is None or catalog is None:
            yield _panel(empty("doctor.nothing", "doctor.nothing_step"), ready=False)
            return
        folder = source.folder or catalog.root
        shares = ["--val-share", repr(source.val_share), "--test-share", repr(source.test_share)]
        yield _busy({})
        before: dict[str, Any] = {}
        work = audit_job.examine(folder, [*shares, "--seed", str(data_choice.SEED)])
        try:
            for told in work:
                if told != before:
                    yield _busy(told)
                before = told
            if findings.known(catalog) is None:  # the files have changed since the page looked at them
                data_choice.scan(replace(source, excluded=None), fresh=True)
        except FtlabError as mistake:
            yield _panel(trouble(str(mistake)))
            return
        finally:
            work.close()  # type: ignore[attr-defined]
        yield self.show(sample, place, val, test)

    def stopped(self, sample: str, place: str, val: float, test: float) -> list[Any]:
        """Stop was pressed: what was known before, or that nothing is."""
        shown = self.show(sample, place, val, test)
        _, catalog = self._chosen(sample, place, val, test)
        if catalog is not None and findings.known(catalog) is None:
            shown[2] = empty("doctor.stopped", "doctor.stopped_step")
        return shown

    def decide(self, sample: str, place: str, val: float, test: float, left: object, event: gr.EventData) -> list[Any]:
        """A picture, or all of a kind, is left out or taken back: for place and `left`."""
        asked, kept = event._data if isinstance(event._data, dict) else {}, _checked(left)
        source, catalog = self._chosen(sample, place, val, test)
        report = findings.known(catalog) if catalog is not None else None
        if source is None or report is None:
            return [gr.skip(), gr.skip()]
        meant = {path for one in report.of(str(asked.get("kind"))) for path in one.leave}
        pictures = {one.path for each in report.findings for one in each.pictures}
        meant |= pictures & {str(asked.get("picture"))}
        out = set(exclusions.read(source.excluded or ""))
        try:
            wanted = out - meant if asked.get("do") == "back" else out | meant
            exclusions.without(catalog, wanted)  # type: ignore[arg-type]
            name = exclusions.keep(wanted)
        except FtlabError as mistake:
            gr.Warning(str(mistake))
            return [gr.skip(), gr.skip()]
        first, _ = data_choice.parted(place)
        kept.pop(key := data_choice.key(sample, first), None)
        kept |= {key: name} if name else {}
        return [data_choice.place(first, name), dict(list(kept.items())[-REMEMBERED:])]

    def clean(self, left: object) -> dict[str, str]:
        """What a browser remembers, without lists that are not here any more."""
        return {key: name for key, name in _checked(left).items() if exclusions.find(name)}

    def _chosen(self, sample: str, place: str, val: float, test: float) -> tuple[Source | None, Catalog | None]:
        """The source, and the catalogue of all its pictures, nothing left out, if it was looked at."""
        try:
            source = data_choice.choose(self.profile, sample, place, val, test)
            return source, data_choice.known(replace(source, excluded=None))
        except FtlabError:
            return None, None  # the summary says what is wrong


def _panel(
    said: Markup, found: Markup | str = "", drawn: Markup | str = "", *, ready: bool = True, again: bool = False
) -> list[Any]:
    start = gr.Button(messages.text("doctor.again" if again else "doctor.examine"), interactive=ready)
    return [start, gr.Button(visible=False), said, found, drawn]


def _busy(told: dict[str, Any]) -> list[Any]:
    said, share = messages.text("doctor.starting"), -1.0
    if told:
        done, total = int(told["done"]), max(1, int(told["total"]))
        said = messages.text(f"doctor.stage_{told['stage']}", done=done, total=total)
        share = done / total if told["stage"] == "pictures" else -1.0
    frame = run_status_view.frame("waiting", messages.text("doctor.title"), said, share)
    return [gr.Button(interactive=False), gr.Button(visible=True), frame, gr.skip(), gr.skip()]


def _checked(left: object) -> dict[str, str]:
    """What a browser sends is trusted no more than anything else."""
    sent = left.items() if isinstance(left, dict) else ()
    return {key: name for key, name in list(sent)[:REMEMBERED] if isinstance(key, str) and isinstance(name, str)}


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
