"""Starts with kept features: both sides run the same training, each with caches of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks import kept_start
from benchmarks.process import PROJECT_ROOT


def test_caches_are_kept_by_side_and_thrown_away_where_it_is_cold(tiny_folder: Path, tmp_path: Path) -> None:
    assert kept_start.time_training(tmp_path, tiny_folder, "tf_efficientnet_lite0", 1, PROJECT_ROOT) > 0
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("home")} == {"home_new"}
    assert (tmp_path / "home_new" / "features.sqlite").is_file()
    assert kept_start.get_home(tmp_path, tmp_path / "old") == tmp_path / "home_old"
