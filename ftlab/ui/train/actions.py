"""What the Train tab does, without its components: whose runs are shown, what starts, and what is said before.

What a page keeps (`store`, in the browser) is `{"run": name, "mine": [names]}`, with `"beside": [names]` once it set
runs side by side. It comes from outside and is checked like anything else: on a public Space it can open no run but one
whose whole name, with its 48 random bits, is known.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftlab.config import backbones
from ftlab.config.backbones import Backbone
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import Markup, join, tag
from ftlab.data.dataset.catalog import Catalog
from ftlab.models.pretrained import weights
from ftlab.reporting.plots import curves_figure
from ftlab.runs import run_store, trash
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, time_estimate
from ftlab.ui.common import data_choice, init_choice, run_status, run_status_view
from ftlab.ui.common.access import Profile
from ftlab.ui.common.data_choice import Source
from ftlab.ui.common.html import trouble
from ftlab.ui.common.run_status import Look
from ftlab.ui.train import form

LISTED = 50
"""Runs that the chooser offers, the newest first."""
AGAIN = 2.0
"""Seconds in which one listing serves every page."""


class Desk:
    """One a server: the folder of runs and who may do what in it."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._lock = threading.Lock()
        self._titles: dict[str, tuple[float, str]] = {}
        self._statuses: dict[str, str] = {}
        self._unmeasured: OrderedDict[tuple[Source, TrainConfig], str] = OrderedDict()

    # --- which run

    def every(self, store: object, binned: bool = False) -> list[str]:
        """All runs that this page may see, the newest first; or those `binned`."""
        there = trash.names(self.profile.runs) if binned else run_store.names(self.profile.runs)
        if self.profile.space:
            mine = _mine(store)
            there = [name for name in there if trash.own_name(name) in mine]
        return there

    def names(self, store: object) -> list[str]:
        """Runs that this page offers: the newest that it may see, and those that it looks at."""
        there, kept = self.every(store), store if isinstance(store, dict) else {}
        beside = kept.get("beside")
        own = [kept.get("run"), *(beside if isinstance(beside, list) else [])]
        return [*there[:LISTED], *(name for name in there[LISTED:] if name in own)]

    def run(self, store: object, name: object) -> Run:
        """The run of that name.

        Raises:
            RunError: this page may not see it, or it was deleted.
        """
        if isinstance(name, str) and name in self.every(store):
            return Run(self.profile.runs / name)
        if isinstance(name, str) and name in self.every(store, binned=True):
            raise RunError("run.binned", run=name)
        raise RunError("run.missing", run=name, folder=self.profile.runs)

    def ticked(self, store: object, given: object) -> list[str]:
        """Those of the runs that are ticked that this page may see, the oldest first: so a run keeps its number and its
        colour as others begin."""
        wanted = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
        return [name for name in reversed(self.names(store)) if name in wanted] if wanted else []

    def chosen(self, store: object) -> Run | None:
        """The run that this page looks at: its own, else, where there are no strangers, the one at work."""
        name = store.get("run") if isinstance(store, dict) else None
        if isinstance(name, str) and name in run_store.names(self.profile.runs):
            return Run(self.profile.runs / name)
        return None if self.profile.space else self.at_work()

    def at_work(self) -> Run | None:
        """The run that a process works on."""
        return next(iter(run_store.busy(self.profile.runs)), None)

    def look(self, store: object) -> Look:
        """What is to be seen of that run."""
        run = self.chosen(store)
        if run is not None:
            return run_status.watch(run).look()
        own = store.get("run") if isinstance(store, dict) else None
        if not isinstance(own, str) or not run_store.is_name(own):
            return run_status.nothing()
        return run_status.gone(own in self.every(store, binned=True))

    def remember(self, store: object, run: Run) -> dict[str, Any]:
        """What the page keeps once it looks at a run."""
        mine = [name for name in _mine(store) if name != run.name]
        return {"run": run.name, "mine": [run.name, *mine][:LISTED]}

    def beside(self, store: object, names: list[str]) -> dict[str, Any]:
        """What the page keeps once it sets these runs side by side."""
        return {**(store if isinstance(store, dict) else {}), "beside": names}

    def choices(self, store: object, look: Look | None = None) -> list[tuple[str, str]]:
        """(one line, name) of the runs to choose from; that of `look` tells what it tells, others what was true two
        seconds ago at most."""
        now, found = time.monotonic(), []
        for name in self.names(store):
            made, line = self._titles.get(name, (-AGAIN, ""))
            if now - made >= AGAIN or (look and name == look.run and look.status != self._statuses.get(name)):
                line = run_status_view.title(Run(self.profile.runs / name))
                self._titles[name] = (now, line)
                if look and name == look.run:
                    self._statuses[name] = look.status
            found.append((line, name))
        return found

    def picture(self, store: object, folder: Path) -> Path:
        """The curves of the page's run as a PNG file below `folder`. Raises `RunError` when there is no run."""
        run = self.chosen(store)
        if run is None:
            raise RunError("run.none")
        place = folder / "curves" / run.name
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{run.name}.png"
        curves_figure(run_status.watch(run).history(), run_status_view.title(run)).savefig(file, dpi=150)
        return file

    # --- start, stop, resume

    def start(self, settings: TrainConfig) -> Run:
        """Start a training. Raises `RunError` when one is under way on this machine, `ConfigError` when timm has no
        such model."""
        backbones.get(settings.backbone)  # no run is made for one that is not there
        with self._lock:
            self._free()
            return launch.start(settings, self.profile.runs)

    def resume(self, run: Run) -> Run:
        """Go on with a run that ended early. Raises `RunError` when that cannot be."""
        with self._lock:
            self._free()
            return launch.resume(run)

    def stop(self, run: Run, now: bool) -> None:
        """Ask a run to stop, or end its process `now`. Raises `RunError` when the system does not let go of it."""
        if now:
            launch.end(run)
        else:
            run.ask_stop()

    def _free(self) -> None:
        busy = self.at_work()
        if busy is not None:
            raise RunError(
                "run.other_busy_space" if self.profile.space else "run.other_busy", run=run_status_view.title(busy)
            )

    # --- before the start

    def source(self, given: Sequence[Any]) -> Source:
        """The pictures that the Dataset tab names: sample, folder, share for validation, share for test."""
        sample, folder, val_share, test_share = given
        return data_choice.choose(self.profile, sample, folder, val_share, test_share)

    def settings(self, widgets: form.Form, given: Sequence[Any]) -> tuple[Source, TrainConfig]:
        """Pictures and configuration of all inputs: the four of the Dataset tab, then the form's.

        Raises:
            FtlabError: one of them does not do; `form.sentence` says which.
        """
        source = self.source(given[:4])
        return source, init_choice.checked(self.profile, widgets.read(given[4:], **source.config()))

    def count(self, source: Source, settings: TrainConfig) -> None:
        """Count a sample set's pictures, and look a model of timm up; either takes seconds the first time.

        A folder is looked through only when the person asks for it in the Dataset tab: what is being typed may be
        the beginning of another one.

        Raises:
            ConfigError: timm has no such model.
        """
        backbones.get(settings.backbone)
        if source.folder is None:
            data_choice.scan(source)

    def measure(self, source: Source, settings: TrainConfig, wanted: Callable[[], bool]) -> None:
        """Measure how fast this machine trains so, unless that is known; takes seconds, and is given up when a
        training starts or `wanted` says no."""
        found = data_choice.known(source)
        catalog = data_choice.dealt(found, settings) if found else None
        if catalog is None or (source, settings) in self._unmeasured or self.at_work():
            return
        if backbones.known(settings.backbone) is None:  # `count` finds it first
            return
        if time_estimate.known(settings, *_images(catalog)) is None:
            try:
                time_estimate.measure(
                    settings, catalog.root, *_images(catalog), wanted=lambda: wanted() and not self.at_work()
                )
            except RunError as error:
                self._unmeasured[source, settings] = form.sentence(error)
                while len(self._unmeasured) > LISTED:
                    self._unmeasured.popitem(last=False)

    def facts(self, source: Source, settings: TrainConfig) -> Markup:
        """What is to be known before Start, as far as it is known at once."""
        row, mode = backbones.known(settings.backbone), settings.mode
        found = data_choice.known(source)
        catalog = data_choice.dealt(found, settings) if found else None
        where = _weights(row, mode) if row else messages.text("train.facts.looking_up")
        unknown = "train.facts.not_looked" if source.folder else "train.facts.counting"
        pictures, parameters = messages.text(unknown), messages.text("train.facts.unknown")
        span = messages.text("train.facts.unknown" if source.folder and not catalog else "train.facts.measuring")
        if catalog:
            train, val = _images(catalog)
            key = "train.facts.pictures_test" if catalog.layout == "test_as_val" else "train.facts.pictures"
            pictures = messages.text(key, classes=len(catalog.classes), train=train, val=val)
            if row:
                outputs = 1 if settings.head_kind == "logit" else len(catalog.classes)
                learning, total = backbones.count(row, outputs, mode, settings.head_hidden)
                key = "train.facts.parameters_part" if settings.unfreeze_from else "train.facts.parameters"
                parameters = messages.text(key, learning=_many(learning), total=_many(total))
            known = time_estimate.known(settings, train, val)
            if known:
                pace = f"{known.images_per_second:,.0f}"
                span = messages.text("train.facts.time", time=run_status_view.duration(known.seconds), pace=pace)
            elif (source, settings) in self._unmeasured:
                span = self._unmeasured[source, settings]
            elif self.at_work():
                span = messages.text("train.facts.time_busy")
        return _list(pictures=pictures, parameters=parameters, weights=where, time=span)

    def said_before(self, widgets: form.Form, given: Sequence[Any]) -> tuple[str, str]:
        """Facts or the one sentence that stands in their way, as HTML; and the command that Start runs."""
        try:
            source, settings = self.settings(widgets, given)
            return self.facts(source, settings), launch.shown(launch.command(settings, self.profile.runs))
        except FtlabError as error:
            return trouble(form.sentence(error)), ""


def _weights(row: Backbone, mode: str) -> str:
    """Where the weights are, and under which licence where that is not the usual one; and what the model lacks."""
    found = weights.locate(row)
    if mode == "scratch":
        said = [messages.text("train.facts.weights_none")]
    elif not row.weights:
        said = [messages.text("train.facts.weights_nowhere")]
    else:
        key = "train.facts.weights_here" if found.ready else "train.facts.weights_download"
        said = [messages.text(key, megabytes=f"{found.megabytes:.0f}")]
        if row.name not in backbones.TABLE and row.licence:
            said.append(messages.text("train.facts.licence", licence=row.licence))
    if not row.cam:
        said.append(messages.text("train.facts.no_map"))
    return " · ".join(said)


def _images(catalog: Catalog) -> tuple[int, int]:
    return len(catalog.splits["train"]), len(catalog.splits["val"])


def _mine(store: object) -> list[str]:
    mine = store.get("mine") if isinstance(store, dict) else None
    return [name for name in mine if isinstance(name, str)][:LISTED] if isinstance(mine, list) else []


def _list(**facts: str) -> Markup:
    rows = [
        tag("div", tag("dt", messages.text(f"train.facts.{key}_label")), tag("dd", text)) for key, text in facts.items()
    ]
    return tag("dl", join(rows), class_="ftlab-facts")


def _many(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
