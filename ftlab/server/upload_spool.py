"""Temporary files of an upload while it arrives, so that none of them outlives its request.

Gradio writes an upload into temporary files and renames them once it is complete. It removes them for some errors only:
one that is cut in the middle, or whose parts have another name than it expects, stayed on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_request_files: ContextVar[list[Any] | None] = ContextVar("request_files", default=None)
"""Temporary files of the request that this task answers."""


@contextmanager
def remove_leftover_files() -> Iterator[None]:
    """Remove, at the end of the block, the temporary files of this request that were not renamed.

    Yields:
        Nothing.
    """
    files: list[Any] = []
    token = _request_files.set(files)
    try:
        yield
    finally:
        _request_files.reset(token)
        for file in files:
            with suppress(OSError):  # the system refuses to close or remove it: the sweep of old files does
                file.close()
                Path(file.name).unlink(missing_ok=True)


def get_request_files() -> list[Any] | None:
    """Return the list to which the parser of an upload appends its temporary files; None outside a request."""
    return _request_files.get()
