"""What the Runs tab does, without its components: which runs a page sees, and what it may do with them.

What a page keeps (`picked`, in it) is `{"names": [names], "most": rows that are shown}`. It comes from outside, and is
looked up each time among the runs that the page may see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from ftlab.runs import run_notes, comparison, run_table, trash
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs.run_table import Row
from ftlab.runs.directory import Run
from ftlab.ui.runs import view
from ftlab.ui.train.actions import Desk
from ftlab.ui.common.access import Profile
from ftlab.core.html import Markup, join, tag
from ftlab.ui.common.html import empty, trouble

OF = ("runs", "bin")
"""What can be listed."""
STEP = 100
"""Rows that are shown, and that each press shows more."""
AGAIN = 2.0
"""Seconds in which a page that is searched is not looked through again."""
_PANEL = 11
"""Components that show what was picked."""


class Keeper:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: Profile) -> None:
        self.profile, self.desk = profile, Desk(profile)
        self._seen: dict[tuple[bool, tuple[str, ...]], tuple[float, list[Row]]] = {}

    # --- the table

    def opened(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """All of the tab, as it is now."""
        self._seen.clear()
        return self._all(store, search, sort, of, picked)

    def turned(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """The runs, or the bin: nothing is picked there yet."""
        return self._all(store, search, sort, of, {})

    def listed(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """Totals, table and what is picked. Runs that a search hides stay picked."""
        every, binned = self._rows(store), self._rows(store, binned=True)
        among = binned if of == "bin" else every
        names, most = _picked(picked)
        there = {row.name for row in among}
        wanted = search if isinstance(search, str) else ""
        shown = run_table.arranged(run_table.found(among, wanted), str(sort))
        found = messages.text("shelf.found", found=f"{len(shown):,}", count=f"{len(among):,}") if wanted.strip() else None
        totals = view.totals(every, binned, found, self.profile.space)
        names = [name for name in names if name in there]
        kept = {"names": names, "most": most}
        if not shown:
            key = "bin_nothing" if of == "bin" else "nothing"
            key = "none_found" if among else key
            return [totals, empty(f"shelf.{key}", f"shelf.{key}_step"), kept]
        return [totals, view.table(shown, names, most, STEP), kept]

    def pressed(
        self, store: object, search: object, sort: object, of: object, picked: object, event: gr.EventData
    ) -> list[Any]:
        """A run is pressed or ticked, or more rows are wanted."""
        told = event._data if isinstance(event._data, dict) else {}
        names, most = _picked(picked)
        name, add = told.get("run"), told.get("add")
        if told.get("more"):
            more = {"names": names, "most": most + STEP}
            return [*self.listed(store, search, sort, of, more), *_skipped(_PANEL)]
        others = [one for one in names if one != name]
        if isinstance(name, str):
            names = [name] if add is None else [*others, name] if add else others
        kept = {"names": names, "most": most}
        if isinstance(name, str) and name not in self.desk.every(store, of == "bin"):
            error = RunError("run.gone", run=name)
            self._seen.clear()
            return self._all(store, search, sort, of, kept, trouble(str(error)))
        return [gr.skip(), gr.skip(), kept, *self._panel(store, of, kept)]

    def _all(
        self, store: object, search: object, sort: object, of: object, picked: object, said: Markup | str = ""
    ) -> list[Any]:
        listing = self.listed(store, search, sort, of, picked)
        return [*listing, *self._panel(store, of, listing[2], said)]

    def _rows(self, store: object, binned: bool = False) -> list[Row]:
        names = tuple(self.desk.every(store, binned))
        now = time.monotonic()
        made, rows = self._seen.get((binned, names), (-AGAIN, []))
        if now - made < AGAIN:
            return rows
        root = trash.folder(self.profile.runs) if binned else self.profile.runs
        rows = run_table.rows(root, names)
        if len(self._seen) > 8:
            self._seen.clear()
        self._seen[binned, names] = time.monotonic(), rows
        return rows

    # --- what is picked

    def _panel(self, store: object, of: object, picked: object, said: Markup | str = "") -> list[Any]:
        """What is told of the runs that are picked and what can be done with them."""
        binned, (names, _) = of == "bin", _picked(picked)
        among = self._rows(store, binned)
        rows = [row for row in among if row.name in names]
        alone = rows[0] if len(rows) == 1 else None
        told = self._told(store, alone, among) if alone else view.several(rows) if rows else view.nobody(binned)
        mine = alone is not None and not binned
        trained = alone is not None and mine and Run(self.profile.runs / alone.name).best.is_file()
        return [
            join([said, told]),
            gr.Column(visible=mine),
            alone.title if alone else "",
            alone.notes if alone else "",
            gr.Button(visible=trained),
            gr.Button(visible=trained),
            gr.Button(visible=not binned and 2 <= len(rows) <= comparison.MOST),
            gr.Button(visible=bool(rows) and not binned),
            gr.Button(visible=bool(rows) and binned),
            gr.Button(visible=binned and bool(among) and not self.profile.space),
            gr.Column(visible=False),
        ]

    def _told(self, store: object, row: Row, among: list[Row]) -> Markup:
        origin = ""
        if row.begun_from:
            names = {False: self.desk.every(store), True: self.desk.every(store, binned=True)}
            where = next((place for place, there in names.items() if row.begun_from in there), None)
            origin = {False: "shelf.begun_from", True: "shelf.begun_from_binned", None: "shelf.begun_from_gone"}[where]
        return view.one(row, origin, run_table.successors(among, row.name))

    def save(
        self, store: object, search: object, sort: object, of: object, picked: object, title: object, notes: object
    ) -> list[Any]:
        """Title and notes of the one that is picked: for the listing and what is told of it."""
        names, _ = _picked(picked)
        try:
            run = self.desk.run(store, names[0] if len(names) == 1 else None)
            run_notes.write(run, title=_text(title), notes=_text(notes))
        except FtlabError as error:
            gr.Warning(str(error))
            return _skipped(4)
        gr.Info(messages.text("shelf.saved"), duration=2)
        shown = self.opened(store, search, sort, of, picked)
        return shown[:4]

    # --- the bin

    def delete(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """Put what is picked into the bin."""
        return self._moved(store, search, sort, of, picked, "deleted")

    def restore(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """Bring what is picked back."""
        return self._moved(store, search, sort, of, picked, "restored")

    def _moved(self, store: object, search: object, sort: object, of: object, picked: object, how: str) -> list[Any]:
        names, most = _picked(picked)
        away = how == "deleted"
        root = self.profile.runs if away else trash.folder(self.profile.runs)
        mine = self.desk.every(store, binned=not away)
        try:
            gone = [name for name in names if name not in mine]
            if gone:
                raise RunError("run.gone", run=gone[0])
            several = [Run(root / name) for name in names]
            moved = trash.discard(several) if away else trash.restore(several)
        except FtlabError as error:
            self._seen.clear()
            return self._all(store, search, sort, of, picked, trouble(str(error)))
        self._seen.clear()
        key = "shelf.deleted_one" if away and len(moved) == 1 else f"shelf.{how}"
        said = tag("p", messages.text(key, count=len(moved)), class_="ftlab-good", role="status")
        return self._all(store, search, sort, of, {"names": [], "most": most}, said)

    def ask(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """What would be lost and freed, and the question: for the button, the section and its sentence."""
        rows = self._rows(store, binned=True)
        key = "shelf.empty_sure_one" if len(rows) == 1 else "shelf.empty_sure"
        warning = messages.text(key, count=len(rows), size=messages.size(sum(row.size for row in rows)))
        return [gr.Button(visible=False), gr.Column(visible=bool(rows)), trouble(warning)]

    def keep(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """Nothing is removed: for the button and the section."""
        return [gr.Button(visible=True), gr.Column(visible=False)]

    def empty(self, store: object, search: object, sort: object, of: object, picked: object) -> list[Any]:
        """Remove for good what is in the bin."""
        try:
            if self.profile.space:
                raise RunError("run.bin_space")
            freed = messages.size(trash.empty(self.profile.runs))
            said = tag("p", messages.text("shelf.emptied", size=freed), class_="ftlab-good", role="status")
        except FtlabError as error:
            said = trouble(str(error))
        self._seen.clear()
        return self._all(store, search, sort, of, {}, said)

    # --- other tabs

    def opener(self, tab: str) -> Callable[[object, object], list[Any]]:
        """A handler that makes the picked run the page's own and turns to a tab: for the store and the tabs."""

        def opened(store: object, picked: object) -> list[Any]:
            names, _ = _picked(picked)
            try:
                run = self.desk.run(store, names[0] if len(names) == 1 else None)
            except FtlabError as error:
                gr.Warning(str(error))
                return _skipped(2)
            return [self.desk.remember(store, run), gr.Tabs(selected=tab)]

        return opened

    def compare(self, store: object, picked: object) -> list[Any]:
        """Tick what is picked in the Compare tab, and turn to it: for the store, the ticks and the tabs."""
        names, _ = _picked(picked)
        mine = self.desk.every(store)
        kept = self.desk.beside(store, [name for name in names if name in mine][: comparison.MOST])
        ticks = gr.CheckboxGroup(choices=self.desk.choices(kept), value=kept["beside"])
        return [kept, ticks, gr.Tabs(selected="compare")]


def _picked(picked: object) -> tuple[list[str], int]:
    """The names and the number of rows of what a page keeps."""
    told = picked if isinstance(picked, dict) else {}
    names, most = told.get("names"), told.get("most")
    kept = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return list(dict.fromkeys(kept)), most if isinstance(most, int) and most > STEP else STEP


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _skipped(count: int) -> list[Any]:
    return [gr.skip()] * count
