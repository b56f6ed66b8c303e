"""The trained model that an export is made of: it says by which weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.export.model_source import load_model_source
from ftlab.models import weights_file
from tests.support import drawn_images
from tests.support.short_trainings import CACHED, beginning, go


def test_it_names_the_weights_that_were_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = drawn_images.tiny(tmp_path / "tiny")
    run = beginning(folder, tmp_path / "runs", monkeypatch)(**CACHED)
    go(run)
    paths = {"best": run.best_weights_path, "last": run.last_checkpoint_path}
    checksums = {which: weights_file.read_checksum(path) for which, path in paths.items()}
    assert checksums["best"] != checksums["last"]
    for which, checksum in checksums.items():
        assert load_model_source(run, which).describe()["weights_sha256"] == checksum
    # A damaged checkpoint is passed over for the one before it.
    run.last_checkpoint_path.write_bytes(b"damaged")
    expected = weights_file.read_checksum(run.previous_checkpoint_path)
    assert load_model_source(run, "last").describe()["weights_sha256"] == expected
