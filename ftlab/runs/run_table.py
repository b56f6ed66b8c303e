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
from ftlab.runs.events import Epoch, parse_event
from ftlab.runs.directory import Run

SORT_ORDERS = ("newest", "best", "largest")
STATUS_UNREADABLE = "unreadable"
"""Status of a run that is damaged: it is listed all the same, so that it can be deleted."""
_MAX_CACHED_ROWS = 4096


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        name: of its folder.
        title, notes: what a person wrote of it; empty for nothing.
        day, time_of_day: when it was begun, `2026-01-02` and `10:30`.
        data: the sample set, or the folder, file or list of the pictures.
        backbone: as the configuration names it.
        mode: frozen, full or scratch.
        best_accuracy, test_accuracy: as `comparison.Contender` has them.
        status: as `Run.status` has it, or `STATUS_UNREADABLE`.
        size_bytes: bytes of its files.
        source_run: name of the run whose weights it began with; empty for none.
        read_error: why it cannot be read; empty when it can.
    """

    name: str
    title: str
    notes: str
    day: str
    time_of_day: str
    data: str
    backbone: str
    mode: str
    best_accuracy: float | None
    test_accuracy: float | None
    status: str
    size_bytes: int
    source_run: str = ""
    read_error: str = ""

    @property
    def backbone_title(self) -> str:
        """The backbone's title for people."""
        return comparison.get_backbone_title(self.backbone)


def load_rows(root: Path, run_names: Iterable[str]) -> list[RunRow]:
    """The runs of these names below `root`, in their order; those that are gone by now are left out."""
    loaded_rows = (load_row(Run(root / run_name)) for run_name in run_names)
    return [run_row for run_row in loaded_rows if run_row is not None]


def load_row(run: Run) -> RunRow | None:
    """What there is to know of a run now; None when it is gone."""
    file_stamps = tuple((path, file_stat.st_size, file_stat.st_mtime_ns) for path, file_stat in file_io.iter_files(run.path))
    if not file_stamps and not run.path.is_dir():
        return None
    cached_row = _read_row_cached(run.path, file_stamps)
    # A process that lives, or is gone, leaves no trace by that; and an evaluation is judged by dates.
    return cached_row if cached_row.status not in run_store.ACTIVE_STATUSES else _read_row(run, file_stamps)


def find_successors(run_rows: Iterable[RunRow], name: str) -> list[RunRow]:
    """Runs that began with the weights of that one."""
    return [run_row for run_row in run_rows if run_row.source_run == name]


def filter_rows(run_rows: Sequence[RunRow], query: str) -> list[RunRow]:
    """Those in which all words of a search stand: in title, notes, pictures, backbone, mode, status or name. Case and
    accents make no difference."""
    query_words = normalize_text(query).split()
    return [run_row for run_row in run_rows if all(word in _build_search_text(run_row) for word in query_words)]


def sort_rows(run_rows: Sequence[RunRow], order: str) -> list[RunRow]:
    """In one of the orders of `SORT_ORDERS`; of two that are equal there, the newer one first."""
    sort_keys: dict[str, Callable[[RunRow], float]] = {
        "best": lambda run_row: -1.0 if run_row.best_accuracy is None else run_row.best_accuracy,
        "largest": lambda run_row: float(run_row.size_bytes),
    }
    newest_first = sorted(run_rows, key=lambda run_row: run_row.name, reverse=True)
    return sorted(newest_first, key=sort_keys[order], reverse=True) if order in sort_keys else newest_first


def normalize_text(text: str) -> str:
    """A text without case and accents."""
    characters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in characters if not unicodedata.combining(character))


@lru_cache(maxsize=_MAX_CACHED_ROWS)
def _build_search_text(run_row: RunRow) -> str:
    status_text = messages.get_text(f"status.short.{run_row.status}")
    texts = (run_row.title, run_row.notes, run_row.data, run_row.backbone_title, run_row.backbone, run_row.mode, run_row.status, status_text, run_row.name, run_row.day)
    return normalize_text("\n".join(texts))


@lru_cache(maxsize=_MAX_CACHED_ROWS)
def _read_row_cached(path: Path, file_stamps: tuple[tuple[str, int, int], ...]) -> RunRow:
    return _read_row(Run(path), file_stamps)


def _read_row(run: Run, file_stamps: tuple[tuple[str, int, int], ...]) -> RunRow:
    size_bytes = sum(size_bytes for _, size_bytes, _ in file_stamps)
    stamp, time_of_day, backbone, mode, _ = run.name.split("-", 4)
    day, time_of_day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}", f"{time_of_day[:2]}:{time_of_day[2:4]}"
    notes, data, source_run, best_accuracy, test_accuracy, status, read_error = run_notes.read_notes(run), "", "", None, None, STATUS_UNREADABLE, ""
    try:
        # As it stands there: a thousand configurations would be checked for a second.
        stored_config = run.read_json("config.json").get("config")
        if not isinstance(stored_config, dict):
            raise RunError("run.file", run=run.name, file="config.json")
        backbone, mode = str(stored_config.get("backbone", backbone)), str(stored_config.get("mode", mode))
        data = str(stored_config.get("sample") or stored_config.get("data") or "")
        source_run = _find_source_run(run, str(stored_config.get("init") or ""))
        best_accuracy, test_accuracy, status = _read_best_accuracy(run), comparison.read_test_accuracy(run), run.get_status()
    except (FtlabError, OSError) as error:
        read_error = str(error)
    return RunRow(
        name=run.name,
        title=notes.title,
        notes=notes.notes,
        day=day,
        time_of_day=time_of_day,
        data=data,
        backbone=backbone,
        mode=mode,
        best_accuracy=best_accuracy,
        test_accuracy=test_accuracy,
        status=status,
        size_bytes=size_bytes,
        source_run=source_run,
        read_error=read_error,
    )


def _find_source_run(run: Run, init: str) -> str:
    init_path = Path(init)
    return next((path.name for path in (init_path, init_path.parent) if init and run_store.is_run_name(path.name)), "")


def _read_best_accuracy(run: Run) -> float | None:
    """Validation accuracy of the best epoch. The end tells it; where there is none the epochs are looked through."""
    end_event = run.read_end_event()
    if end_event is not None:
        return end_event.best_val_accuracy
    best_accuracy = None
    try:
        with open(run.path / "metrics.jsonl", encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                event = parse_event(line) if line.startswith('{"event": "epoch"') else None
                if isinstance(event, Epoch) and event.best:
                    best_accuracy = event.val_accuracy
    except FileNotFoundError:
        return None
    return best_accuracy
