"""Table of all runs: title, data, backbone, result and size on the disk of each; filtered and sorted. No torch.

Rows are cached until a file of the run has another size or date, so a thousand runs are listed at once; the first time
takes about a second.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePath

from ftlab.config import old_settings
from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.core import file_io, messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.runs import comparison, run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, parse_event
from ftlab.runs.liveness import ACTIVE_STATUSES

SORT_ORDERS = ("newest", "best", "largest")
STATUS_UNREADABLE = "unreadable"
"""Status of a damaged run: it is listed all the same, so that it can be deleted."""
_MAX_CACHED_ROWS = 4096
_UPLOAD_PATTERN = re.compile(r".*[/\\]visitors[/\\][0-9a-f]{32,}[/\\]?")
"""What comes before the name of an upload in its path, see `ftlab/ui/common/uploads.py`."""


@dataclass(frozen=True)
class RunRow:
    """One run in the table.

    Attributes:
        name: name of the run directory.
        title: title given by a person; empty for none.
        notes: notes written by a person; empty for none.
        day: date of the start, as `2026-01-02`.
        time_of_day: time of the start, as `10:30`.
        data: the sample set, or the folder, file or manifest of the images.
        backbone: name of the backbone in the configuration.
        mode: `frozen`, `full` or `scratch`.
        best_accuracy: validation accuracy of the best epoch, in [0, 1]; None before there is one.
        test_accuracy: as `comparison.read_test_accuracy` returns it.
        status: as `RunLiveness.get_status` returns it, or `STATUS_UNREADABLE`.
        size_bytes: total size of its files.
        source_run: name of the run from whose weights it was initialized; empty for none.
        read_error: why the run cannot be read; empty when it can.
        file_error: what else is wrong with its files, and what to do: its best weights are gone, or a setting is not
            known; empty for nothing.
        left_nothing: as `Run.left_nothing` returns it.
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
    file_error: str = ""
    left_nothing: bool = False

    @property
    def backbone_title(self) -> str:
        """The title of the backbone for people."""
        return comparison.get_backbone_title(self.backbone)


def describe_run(run: Run) -> str:
    """Return backbone, mode and images of a run for people; empty where its configuration cannot be read."""
    try:
        stored_config = old_settings.upgrade_settings(run.read_config_file()["config"])
        backbone, mode = str(stored_config["backbone"]), str(stored_config["mode"])
    except (FtlabError, KeyError):
        return ""
    data = _hide_upload_token(str(stored_config.get("sample") or stored_config.get("data") or ""))
    return messages.get_text(
        "status.about", backbone=comparison.get_backbone_title(backbone), mode=mode, data=format_data_name(data)
    )


def format_data_name(data: str) -> str:
    """Return a short name of a run's images: the title of the sample set, or the last part of the path."""
    if data in SAMPLE_SET_NAMES:
        return messages.get_text(f"sample.{data}.title")
    return PurePath(data).name or data or "–"


def list_data_names(runs: Iterable[Run]) -> list[str]:
    """Return the names of the images of runs: one for each set of images, or split of it, that is different.

    A `RunError` says that a configuration cannot be read.

    Args:
        runs: the runs. The images of one that was not scanned yet count as different where no other names them.

    Returns:
        Names for people; one may stand there twice, for two splits of one folder.
    """
    names: dict[str, str] = {}
    unscanned: dict[str, str] = {}
    for run in runs:
        config = run.load_config()
        data = _hide_upload_token(config.sample or config.data)
        try:
            names[str(run.read_json("split.json")["manifest"])] = format_data_name(data)
        except (RunError, KeyError):
            unscanned[data] = format_data_name(data)
    return [*names.values(), *(name for name in unscanned.values() if name not in names.values())]


def load_rows(root: Path, run_names: Iterable[str]) -> list[RunRow]:
    """Load the rows of runs.

    Args:
        root: folder of all runs.
        run_names: names of the runs.

    Returns:
        The rows in the order of the names, without the runs that do not exist any more.
    """
    loaded_rows = (load_row(Run(root / run_name)) for run_name in run_names)
    return [run_row for run_row in loaded_rows if run_row is not None]


def load_row(run: Run) -> RunRow | None:
    """Return the row of a run as it is now; None when the run does not exist any more."""
    # Dates belong to the key: `read_test_accuracy` judges an evaluation by them.
    file_stamps = tuple(
        (path, file_stat.st_size, file_stat.st_mtime_ns) for path, file_stat in file_io.iter_files(run.path)
    )
    if not file_stamps and not run.path.is_dir():
        return None
    cached_row = _read_row_cached(run.path, file_stamps, messages.current_language())
    # Whether a process lives cannot be seen from the files, so rows of active runs are never taken from the cache.
    return cached_row if cached_row.status not in ACTIVE_STATUSES else _read_row(run, file_stamps)


def find_successors(run_rows: Iterable[RunRow], name: str) -> list[RunRow]:
    """Return the runs that were initialized from the weights of a run.

    Args:
        run_rows: rows to search.
        name: name of the run.
    """
    return [run_row for run_row in run_rows if run_row.source_run == name]


def filter_rows(run_rows: Sequence[RunRow], query: str) -> list[RunRow]:
    """Return the rows that contain all words of a query; case and accents make no difference.

    Args:
        run_rows: rows to search, in title, notes, data, backbone, mode, status, name and day.
        query: words separated by spaces; an empty query selects all rows.
    """
    query_words = normalize_text(query).split()
    build_text = partial(_build_search_text, language=messages.current_language())
    return [run_row for run_row in run_rows if all(word in build_text(run_row) for word in query_words)]


def sort_rows(run_rows: Sequence[RunRow], order: str) -> list[RunRow]:
    """Return the rows sorted; of two equal ones, the newer one first.

    Args:
        run_rows: rows to sort.
        order: one of `SORT_ORDERS`.
    """
    sort_keys: dict[str, Callable[[RunRow], float]] = {
        "best": lambda run_row: -1.0 if run_row.best_accuracy is None else run_row.best_accuracy,
        "largest": lambda run_row: float(run_row.size_bytes),
    }
    # Names begin with the start time. Sorting is stable, so the second sort keeps this order among equals.
    newest_first = sorted(run_rows, key=lambda run_row: run_row.name, reverse=True)
    return sorted(newest_first, key=sort_keys[order], reverse=True) if order in sort_keys else newest_first


def normalize_text(text: str) -> str:
    """Return a text without case and accents."""
    characters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in characters if not unicodedata.combining(character))


@lru_cache(maxsize=_MAX_CACHED_ROWS)
def _build_search_text(run_row: RunRow, language: str) -> str:  # noqa: ARG001 - a key of the cache
    """Return all searchable text of a row in the current language, normalized."""
    status_text = messages.get_text(f"status.short.{run_row.status}")
    texts = (
        run_row.title,
        run_row.notes,
        run_row.data,
        run_row.backbone_title,
        run_row.backbone,
        run_row.mode,
        run_row.status,
        status_text,
        run_row.name,
        run_row.day,
    )
    return normalize_text("\n".join(texts))


@lru_cache(maxsize=_MAX_CACHED_ROWS)
def _read_row_cached(
    path: Path,
    file_stamps: tuple[tuple[str, int, int], ...],
    language: str,  # noqa: ARG001 - a key of the cache
) -> RunRow:
    """Return the row of a run, cached by path, size in bytes and modification time (ns) of its files, and language."""
    return _read_row(Run(path), file_stamps)


def _read_row(run: Run, file_stamps: tuple[tuple[str, int, int], ...]) -> RunRow:
    """Return the row of a run as read from its files (see `_read_row_cached` for `file_stamps`)."""
    size_bytes = sum(size_bytes for _, size_bytes, _ in file_stamps)
    stamp, time_of_day, backbone, mode, _ = run.name.split("-", 4)
    day, time_of_day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}", f"{time_of_day[:2]}:{time_of_day[2:4]}"
    notes, best_accuracy, test_accuracy, status = run_notes.read_notes(run), None, None, STATUS_UNREADABLE
    data = source_run = read_error = file_error = ""
    left_nothing = False
    try:
        # The raw JSON: a setting that is not valid hides no run.
        best_accuracy, test_accuracy = _read_best_accuracy(run), comparison.read_test_accuracy(run)
        stored_config = old_settings.upgrade_settings(run.read_config_file()["config"])
        backbone, mode = str(stored_config.get("backbone", backbone)), str(stored_config.get("mode", mode))
        data = _hide_upload_token(str(stored_config.get("sample") or stored_config.get("data") or ""))
        source_run = _find_source_run(str(stored_config.get("init_from") or ""))
        status = run.liveness.get_status()
        file_error, left_nothing = _find_file_error(run, status), run.left_nothing()
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
        file_error=file_error,
        left_nothing=left_nothing,
    )


def _find_file_error(run: Run, status: str) -> str:
    """Return what is wrong with files of a readable run, as a sentence; empty for nothing.

    Args:
        run: the run.
        status: of the run; an active one may not have saved its weights yet.
    """
    if status in ACTIVE_STATUSES:
        return ""
    try:
        run.load_config()
    except RunError as error:
        return str(error)
    return str(run.find_lost_weights() or "")


def _hide_upload_token(data: str) -> str:
    """Return the data of a run without the secret name of an upload, by which anyone could read and remove it."""
    return _UPLOAD_PATTERN.sub("", data)


def _find_source_run(init: str) -> str:
    """Return the run name in the setting `init` (a run, or a weights file in one); empty where there is none."""
    init_path = Path(init)
    return next((path.name for path in (init_path, init_path.parent) if init and run_store.is_run_name(path.name)), "")


def _read_best_accuracy(run: Run) -> float | None:
    """Return the validation accuracy of the best epoch; None before there is one."""
    # The end event holds it. Only a run without one needs its whole log read.
    end_event = run.liveness.read_end_event()
    if end_event is not None:
        return end_event.best_val_accuracy
    best_accuracy = None
    try:
        with file_io.open_regular_file(run.path / "metrics.jsonl") as lines:
            for line in lines:
                # Most lines are steps: parsing only the epochs keeps a first listing of many runs fast.
                is_epoch = line.startswith(b'{"event": "epoch"')
                event = parse_event(line.decode("utf-8", "replace")) if is_epoch else None
                if isinstance(event, Epoch) and event.best:
                    best_accuracy = event.val_accuracy
    except OSError:
        return None
    return best_accuracy
