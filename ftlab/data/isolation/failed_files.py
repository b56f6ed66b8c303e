"""Files that ended the worker that decoded them: their errors, and a memory of them. No torch."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence

from ftlab.core.errors import ImageError
from ftlab.data.isolation.worker_main import ImageSource
from ftlab.data.isolation.worker_process import describe_source, get_file_seconds, get_memory_limit_megabytes

REMEMBERED_CODES = ("decoder_crashed", "decoder_memory")
"""Problems for which a file is not tried again. One that hung is: the disk may have been to blame."""
_MAX_REMEMBERED_FILES = 10_000

_FileKey = tuple[str, int, int]
"""Path, modification time and size."""


class FailedFiles:
    """Memory of files that ended a worker, so that they are not tried again until they change. Thread-safe."""

    def __init__(self) -> None:
        """Create an empty memory."""
        self._codes: OrderedDict[_FileKey, str] = OrderedDict()

    def add(self, source: ImageSource, code: str) -> ImageError:
        """Remember a file.

        Args:
            source: of the image.
            code: see `WorkerDied`.

        Returns:
            The file's error.
        """
        key = _get_file_key(source)
        if key and code in REMEMBERED_CODES:
            self._codes[key] = code
            while len(self._codes) > _MAX_REMEMBERED_FILES:
                self._codes.popitem(last=False)
        return make_failure(code, describe_source(source))

    def find(self, source: ImageSource) -> ImageError | None:
        """Return the error of a file that is remembered and has not changed since; None for any other."""
        key = _get_file_key(source) if self._codes else None
        code = self._codes.get(key) if key else None
        return make_failure(code, describe_source(source)) if code else None

    def take_unfailed(self, sources: Sequence[ImageSource]) -> Sequence[ImageSource]:
        """Return the sources before the next one that is remembered."""
        if self._codes:
            for index, source in enumerate(sources):
                if self.find(source) is not None:
                    return sources[:index]
        return sources


def make_failure(code: str, name: str) -> ImageError:
    """Return the error of a file that ended its worker.

    Args:
        code: see `WorkerDied`.
        name: of the file.
    """
    limits: dict[str, object] = {
        "decoder_hung": f"{get_file_seconds():g}",
        "decoder_memory": get_memory_limit_megabytes(),
    }
    return ImageError(code, file=name, **({"limit": limits[code]} if code in limits else {}))


def _get_file_key(source: ImageSource) -> _FileKey | None:
    """Return what tells a file and its content apart; None for a stream or a missing file."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        file_stat = os.stat(source)  # noqa: PTH116 - str or Path
    except OSError:
        return None
    return os.path.abspath(source), file_stat.st_mtime_ns, file_stat.st_size  # noqa: PTH100 - follows no link
