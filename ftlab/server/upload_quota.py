"""Disk space that uploads may take."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import file_io

UPLOAD_QUOTA_BYTES = 4 << 30
"""Bytes of disk space that uploads and files unpacked from them may take, over all visitors."""
MAX_UPLOAD_BYTES = 256 << 20
"""Bytes of one upload request, all of its files together."""


@dataclass(frozen=True)
class UploadQuota:
    """Limits on uploads, and the folders that count towards them.

    Attributes:
        uploads_dir: folder of Gradio's uploads and cache; None: not counted.
        unpacked_dir: folder of files unpacked from uploads; None: not counted.
        quota_bytes: bytes that both folders may hold together.
        max_upload_bytes: bytes of one upload request.
    """

    uploads_dir: Path | None = None
    unpacked_dir: Path | None = None
    quota_bytes: int = UPLOAD_QUOTA_BYTES
    max_upload_bytes: int = MAX_UPLOAD_BYTES

    def find_refusal(self, content_length: str) -> tuple[int, str] | None:
        """Return status and message key of a refusal of an upload, None where there is space for it.

        Args:
            content_length: the request's header of that name, empty for none.

        Returns:
            HTTP status and key below `server.` in the messages, or None.
        """
        # Without a length (chunked transfer) the quota could only be checked once the disk is full.
        if not content_length.isdecimal():
            return 411, "length"
        if int(content_length) > self.max_upload_bytes:
            return 413, "large"
        # Measured at each upload, as Gradio removes its own files too.
        used_bytes = (sweep_uploads(self.uploads_dir) if self.uploads_dir else 0) + (
            file_io.get_folder_size(self.unpacked_dir) if self.unpacked_dir else 0
        )
        return (507, "full") if used_bytes + int(content_length) > self.quota_bytes else None


def sweep_uploads(folder: Path, *, min_age_seconds: float = 60.0) -> int:
    """Remove the empty temporary files that Gradio's file components leave behind, and measure the folder.

    Args:
        folder: Gradio's upload folder.
        min_age_seconds: age in seconds from which an empty file counts as left behind; a younger one may be in use.

    Returns:
        Bytes below the folder.
    """
    total_bytes, now = 0, time.time()
    for path, file_stat in file_io.iter_files(folder):
        if file_stat.st_size == 0 and Path(path).name.startswith("tmp") and now - file_stat.st_mtime > min_age_seconds:
            with suppress(OSError):  # gone in the meantime
                Path(path).unlink()
        total_bytes += file_stat.st_size
    return total_bytes
