"""The copy of a run in another place: always complete, of one moment, and sent only as far as it has changed. No torch.

`<place>/<run name>/`
    copy.json           the files of the run: for each its hash and its size; replaced last
    files/<sha256>      their contents, each once

A copy that is interrupted leaves the previous one: `copy.json` names only what has arrived.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.copies import remote_folder
from ftlab.runs.copies.remote_folder import RemoteFolder
from ftlab.runs.directory import Run

COPIED_FILES = (
    "config.json", "about.json", "split.json", "metrics.jsonl", "model.json", "start.safetensors", "best.safetensors",
    "decision.json", "labels.csv", "last/state.safetensors",
)  # fmt: skip
"""What a run needs to be resumed and to predict, relative to the run directory; besides, the weights of kept epochs."""
_LIST_NAME = "copy.json"
_CONTENT_FOLDER = "files"
_FORMAT_VERSION = 1
_KEPT_EPOCH = re.compile(r"epochs/\d+\.safetensors")


def take_snapshot(run: Run, folder: Path) -> None:
    """Keep the files of a run as they are now, while nobody writes them; by links where the disk has them.

    Each file of a run is replaced as a whole, so that a link keeps its content; only the events grow, and are copied.

    Args:
        run: the run.
        folder: for the files; on the disk of the run.

    Raises:
        OSError: a file cannot be linked or copied.
    """  # noqa: DOC502
    kept_epochs = sorted(run.epoch_weights_folder.glob("*.safetensors"))
    names = [*COPIED_FILES, *(path.relative_to(run.path).as_posix() for path in kept_epochs)]
    for name in filter(lambda name: (run.path / name).is_file(), names):
        source, target = run.path / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".safetensors":
            _link_or_copy(source, target)
        else:
            shutil.copyfile(source, target)


def send_snapshot(folder: Path, run_name: str, place: str) -> None:
    """Bring the copy of a run to the state of a snapshot.

    Args:
        folder: of `take_snapshot`.
        run_name: name of the run.
        place: path or address of the folder of copies.

    Raises:
        RunError: the place does not take it; the copy there is the previous one.
    """  # noqa: DOC502
    remote = RemoteFolder(_join_place(place, run_name))
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    entries = {name: {"sha256": _hash_file(path), "bytes": path.stat().st_size} for name, path in paths.items()}
    present = remote.list_names(_CONTENT_FOLDER)
    for name, path in paths.items():
        digest = str(entries[name]["sha256"])
        if digest not in present:
            remote.put_file(path, f"{_CONTENT_FOLDER}/{digest}")
            present.add(digest)
    content = json.dumps({"version": _FORMAT_VERSION, "run": run_name, "files": entries}, indent=1).encode()
    remote.replace_bytes(_LIST_NAME, content)
    for digest in present - {str(entry["sha256"]) for entry in entries.values()}:
        remote.remove_file(f"{_CONTENT_FOLDER}/{digest}")


def is_copy(place: str) -> bool:
    """Return whether a place names the copy of a run: any address, or a folder that holds one. No network is asked."""
    try:
        return remote_folder.is_address(place) or (Path(place) / _LIST_NAME).is_file()
    except (OSError, ValueError):  # no path of this system: it may be the name of a run all the same
        return False


def fetch_copy(address: str, root: Path | str) -> Run:
    """Bring the copy of a run back as a run directory.

    Args:
        address: of the copy, with the name of the run at its end.
        root: folder of the runs.

    Returns:
        The run, with every file checked by its hash.

    Raises:
        RunError: there is no copy, a file is missing or damaged, the disk is too small, or a run of that name exists.
    """
    remote = RemoteFolder(address)
    name = PurePosixPath(remote.place.rstrip("/")).name
    run = Run(Path(root) / name)
    if not run_store.is_run_name(name):
        raise RunError("copy.none", place=remote.place)
    if run.path.exists():
        raise RunError("copy.exists", run=name, folder=root)
    entries = _read_entries(remote)
    Path(root).mkdir(parents=True, exist_ok=True)
    file_io.remove_stale_parts_of(run.path)
    needed_bytes, free_bytes = sum(entry["bytes"] for entry in entries.values()), file_io.get_free_bytes(Path(root))
    if needed_bytes > free_bytes:
        sizes = {"needed": f"{needed_bytes / 1e6:,.0f}", "free": f"{free_bytes / 1e6:,.0f}"}
        raise RunError("run.space", folder=root, **sizes)
    with run.translate_write_errors(), file_io.private_folder(run.path) as folder:
        for file_name, entry in entries.items():
            target = folder / file_name
            target.parent.mkdir(parents=True, exist_ok=True)
            remote.get_file(f"{_CONTENT_FOLDER}/{entry['sha256']}", target)
            if _hash_file(target) != entry["sha256"]:
                raise RunError("copy.damaged", place=remote.place, file=file_name)
        # The run appears as a whole: a listing never shows half of it.
        file_io.move_path(folder, run.path)
    return run


def _read_entries(remote: RemoteFolder) -> dict[str, dict[str, Any]]:
    """Return hash and size of the files of a copy by their names.

    Args:
        remote: folder of the copy.

    Raises:
        RunError: there is no copy, or its list is damaged, or names a file that no run has.
    """
    content = remote.read_bytes(_LIST_NAME)
    if content is None:
        raise RunError("copy.none", place=remote.place)
    try:
        values = json.loads(content)
        entries: dict[str, dict[str, Any]] = values["files"]
        is_valid = values["version"] == _FORMAT_VERSION and all(map(_is_valid_entry, entries, entries.values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        is_valid = False
    if not is_valid or "config.json" not in entries:
        raise RunError("copy.damaged", place=remote.place, file=_LIST_NAME)
    return entries


def _is_valid_entry(name: str, entry: dict[str, Any]) -> bool:
    """Return whether an entry is one of a run's files: whoever writes to a bucket must not write elsewhere here.

    A `ValueError`, `KeyError` or `TypeError` says that it has another form.

    Args:
        name: of the file.
        entry: its hash and its size.
    """
    is_run_file = name in COPIED_FILES or _KEPT_EPOCH.fullmatch(name) is not None
    is_digest = len(bytes.fromhex(entry["sha256"])) == hashlib.sha256().digest_size
    return is_run_file and is_digest and isinstance(entry["bytes"], int)


def _join_place(place: str, name: str) -> str:
    """Return the place of a run's copy."""
    return f"{place.rstrip('/')}/{name}"


def _link_or_copy(source: Path, target: Path) -> None:
    """Link a file, or copy it where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
