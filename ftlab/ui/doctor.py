"""The doctor in the Dataset tab: examine the pictures, see what was found, leave a picture out with a click.

A process of its own looks at the pictures (`scan --deep`); its report is kept, so a second look is there at once. What
a page leaves out is a list that never changes (`data/excluding.py`): the name of it is the second line of the place
that the page asks about, and the browser remembers it for each choice. Nobody sees or changes what others left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab import words
from ftlab.data import excluding
from ftlab.data.catalog import Catalog
from ftlab.errors import FtlabError
from ftlab.inspection import findings
from ftlab.jobs import examination
from ftlab.ui import doctor_view as view
from ftlab.ui import live_view, sources
from ftlab.ui.guard import Profile
from ftlab.ui.markup import Markup, empty, join, tag, trouble
from ftlab.ui.sources import Source

MINUTE = 4000
"""Pictures that are examined in a minute, roughly, on two cores of a laptop."""
REMEMBERED = 50
"""Choices for which a browser remembers what is left out."""
_STATIC = Path(__file__).parent / "static"
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
    with gr.Accordion(words.text("doctor.title"), open=False, elem_id="dataset-doctor"):
        gr.HTML(tag("p", words.text("doctor.about"), class_="sub"), elem_id="doctor-about", apply_default_css=False)
        with gr.Row(elem_classes="ftlab-buttons"):
            start = gr.Button(words.text("doctor.examine"), interactive=False, elem_id="doctor-examine", min_width=120)
            stop = gr.Button(words.text("doctor.stop"), visible=False, elem_id="doctor-stop", min_width=90)
        status = gr.HTML(
            empty("doctor.nothing", "doctor.nothing_step"), elem_id="doctor-status", apply_default_css=False
        )
        script = (_STATIC / "doctor.js").read_text(encoding="utf-8")
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
        out = excluding.read(source.excluded or "")
        left = tag("p", words.text("doctor.excluded", count=f"{len(out):,}"), class_="ftlab-about") if out else ""
        if report is None:
            said = words.text(
                "doctor.ready_step", minute=MINUTE, count=sum(len(items) for items in catalog.splits.values())
            )
            ready = tag(
                "div",
                tag("p", words.text("doctor.ready"), class_="ftlab-empty-title"),
                tag("p", said),
                class_="ftlab-empty",
            )
            return _panel(join([ready, left]))
        told = tag("p", words.text("doctor.looked", count=f"{report.looked:,}", seconds=f"{report.seconds:.0f}"))
        return _panel(join([told, left]), view.findings(report, set(out)), view.landscape(report, set(out)), again=True)

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
        work = examination.examine(folder, [*shares, "--seed", str(sources.SEED)])
        try:
            for told in work:
                if told != before:
                    yield _busy(told)
                before = told
            if findings.known(catalog) is None:  # the files have changed since the page looked at them
                sources.scan(replace(source, excluded=None), fresh=True)
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
        out = set(excluding.read(source.excluded or ""))
        try:
            wanted = out - meant if asked.get("do") == "back" else out | meant
            excluding.without(catalog, wanted)  # type: ignore[arg-type]
            name = excluding.keep(wanted)
        except FtlabError as mistake:
            gr.Warning(str(mistake))
            return [gr.skip(), gr.skip()]
        first, _ = sources.parted(place)
        kept.pop(key := sources.key(sample, first), None)
        kept |= {key: name} if name else {}
        return [sources.place(first, name), dict(list(kept.items())[-REMEMBERED:])]

    def clean(self, left: object) -> dict[str, str]:
        """What a browser remembers, without lists that are not here any more."""
        return {key: name for key, name in _checked(left).items() if excluding.find(name)}

    def _chosen(self, sample: str, place: str, val: float, test: float) -> tuple[Source | None, Catalog | None]:
        """The source, and the catalogue of all its pictures, nothing left out, if it was looked at."""
        try:
            source = sources.choose(self.profile, sample, place, val, test)
            return source, sources.known(replace(source, excluded=None))
        except FtlabError:
            return None, None  # the summary says what is wrong


def _panel(
    said: Markup, found: Markup | str = "", drawn: Markup | str = "", *, ready: bool = True, again: bool = False
) -> list[Any]:
    start = gr.Button(words.text("doctor.again" if again else "doctor.examine"), interactive=ready)
    return [start, gr.Button(visible=False), said, found, drawn]


def _busy(told: dict[str, Any]) -> list[Any]:
    said, share = words.text("doctor.starting"), -1.0
    if told:
        done, total = int(told["done"]), max(1, int(told["total"]))
        said = words.text(f"doctor.stage_{told['stage']}", done=done, total=total)
        share = done / total if told["stage"] == "pictures" else -1.0
    frame = live_view.frame("waiting", words.text("doctor.title"), said, share)
    return [gr.Button(interactive=False), gr.Button(visible=True), frame, gr.skip(), gr.skip()]


def _checked(left: object) -> dict[str, str]:
    """What a browser sends is trusted no more than anything else."""
    sent = left.items() if isinstance(left, dict) else ()
    return {key: name for key, name in list(sent)[:REMEMBERED] if isinstance(key, str) and isinstance(name, str)}


def _page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "the tab is laid out inside a page"
    return page
