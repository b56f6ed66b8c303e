"""Disk space that uploads may take."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ftlab.server.upload_quota import sweep_uploads


def test_empty_files_that_gradio_leaves_behind_are_swept_and_others_counted(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    left, new, kept = tmp_path / "tmpold", tmp_path / "tmpnew", tmp_path / "ab" / "picture.jpg"
    left.touch()
    new.touch()
    kept.write_bytes(b"x" * 321)
    os.utime(left, (time.time() - 3600,) * 2)
    assert sweep_uploads(tmp_path) == 321
    assert [left.exists(), new.exists(), kept.exists()] == [False, True, True]
