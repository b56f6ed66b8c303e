"""All runs in a table: what each is called, is made of, came to and takes on the disk; searched and sorted. No torch.

Of a run nothing is read a second time until one of its files has another size or date, so a thousand are looked through
at once; the first time takes about a second.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ftlab.runs import run_notes, comparison, run_store
from ftlab.core import file_io, messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs.events import Epoch, from_line
from ftlab.runs.directory import Run

SORTS = ("newest", "best", "largest")
UNREADABLE = "unreadable"
"""Status of a run that is damaged: it is listed all the same, so that it can be deleted."""
_KEPT = 4096


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        name: of its folder.
        title, notes: what a person wrote of it; empty for nothing.
        day, clock: when it was begun, `2026-01-02` and `10:30`.
        data: the sample set, or the folder, file or list of the pictures.
        backbone: as the configuration names it.
        mode: frozen, full or scratch.
        best, test: as `comparison.Contender` has them.
        status: as `Run.status` has it, or `UNREADABLE`.
        size: bytes of its files.
        begun_from: name of the run whose weights it began with; empty for none.
        trouble: why it cannot be read; empty when it can.
    """

    name: str
    title: str
    notes: str
    day: str
    clock: str
    data: str
    backbone: str
    mode: str
    best: float | None
    test: float | None
    status: str
    size: int
    begun_from: str = ""
    trouble: str = ""

    @property
    def model(self) -> str:
        """The backbone's title for people."""
        return comparison.titled(self.backbone)


def rows(root: Path, names: Iterable[str]) -> list[Row]:
    """The runs of these names below `root`, in their order; those that are gone by now are left out."""
    made = (row(Run(root / name)) for name in names)
    return [one for one in made if one is not None]


def row(run: Run) -> Row | None:
    """What there is to know of a run now; None when it is gone."""
    traces = tuple((path, facts.st_size, facts.st_mtime_ns) for path, facts in file_io.files(run.path))
    if not traces and not run.path.is_dir():
        return None
    kept = _told(run.path, traces)
    # A process that lives, or is gone, leaves no trace by that; and an evaluation is judged by dates.
    return kept if kept.status not in run_store.LIVE else _read(run, traces)


def successors(among: Iterable[Row], name: str) -> list[Row]:
    """Runs that began with the weights of that one."""
    return [one for one in among if one.begun_from == name]


def found(among: Sequence[Row], search: str) -> list[Row]:
    """Those in which all words of a search stand: in title, notes, pictures, backbone, mode, status or name. Case and
    accents make no difference."""
    wanted = plain(search).split()
    return [one for one in among if all(word in _searched(one) for word in wanted)]


def arranged(among: Sequence[Row], by: str) -> list[Row]:
    """In one of the orders of `SORTS`; of two that are equal there, the newer one first."""
    keys: dict[str, Callable[[Row], float]] = {
        "best": lambda one: -1.0 if one.best is None else one.best,
        "largest": lambda one: float(one.size),
    }
    newest = sorted(among, key=lambda one: one.name, reverse=True)
    return sorted(newest, key=keys[by], reverse=True) if by in keys else newest


def plain(text: str) -> str:
    """A text without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in parts if not unicodedata.combining(one))


@lru_cache(maxsize=_KEPT)
def _searched(one: Row) -> str:
    state = messages.text(f"status.short.{one.status}")
    texts = (one.title, one.notes, one.data, one.model, one.backbone, one.mode, one.status, state, one.name, one.day)
    return plain("\n".join(texts))


@lru_cache(maxsize=_KEPT)
def _told(path: Path, traces: tuple[tuple[str, int, int], ...]) -> Row:
    return _read(Run(path), traces)


def _read(run: Run, traces: tuple[tuple[str, int, int], ...]) -> Row:
    size = sum(size for _, size, _ in traces)
    stamp, clock, backbone, mode, _ = run.name.split("-", 4)
    day, clock = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}", f"{clock[:2]}:{clock[2:4]}"
    own, data, origin, best, test, status, trouble = run_notes.read(run), "", "", None, None, UNREADABLE, ""
    try:
        # As it stands there: a thousand configurations would be checked for a second.
        stored = run.read("config.json").get("config")
        if not isinstance(stored, dict):
            raise RunError("run.file", run=run.name, file="config.json")
        backbone, mode = str(stored.get("backbone", backbone)), str(stored.get("mode", mode))
        data = str(stored.get("sample") or stored.get("data") or "")
        origin = _origin(run, str(stored.get("init") or ""))
        best, test, status = _best(run), comparison.tested(run), run.status()
    except (FtlabError, OSError) as mistake:
        trouble = str(mistake)
    return Row(
        name=run.name,
        title=own.title,
        notes=own.notes,
        day=day,
        clock=clock,
        data=data,
        backbone=backbone,
        mode=mode,
        best=best,
        test=test,
        status=status,
        size=size,
        begun_from=origin,
        trouble=trouble,
    )


def _origin(run: Run, init: str) -> str:
    place = Path(init)
    return next((one.name for one in (place, place.parent) if init and run_store.is_name(one.name)), "")


def _best(run: Run) -> float | None:
    """Validation accuracy of the best epoch. The end tells it; where there is none the epochs are looked through."""
    ended = run.ended()
    if ended is not None:
        return ended.best_val_accuracy
    best = None
    try:
        with open(run.path / "metrics.jsonl", encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                event = from_line(line) if line.startswith('{"event": "epoch"') else None
                if isinstance(event, Epoch) and event.best:
                    best = event.val_accuracy
    except FileNotFoundError:
        return None
    return best
