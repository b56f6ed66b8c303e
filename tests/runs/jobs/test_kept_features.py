"""Whether features of an earlier run can be used again, as far as settings and listings tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import kv_cache
from ftlab.runs.directory import Run
from ftlab.runs.jobs import kept_features
from tests.support import fabricated_runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A frozen run that has computed the features of the images `abc`."""
    kv_cache.get_feature_file().parent.mkdir(parents=True, exist_ok=True)
    kv_cache.get_feature_file().touch()
    run = fabricated_runs.make(tmp_path / "runs", [*fabricated_runs.story(), fabricated_runs.ended()])
    run.write_json("split.json", {"manifest": "abc"})
    return run


def is_kept(run: Run, fingerprint: str = "abc", **settings: Any) -> bool:
    config = TrainConfig(**{"sample": "shapes", **settings})
    return kept_features.has_kept_features(config, fingerprint, run.path.parent)


@pytest.mark.parametrize("settings", [{}, {"epochs": 3}, {"learning_rate": 0.5}, {"head_hidden": 64}])
def test_another_head_or_learning_rate_uses_the_features_again(run: Run, settings: dict[str, Any]) -> None:
    assert is_kept(run, **settings)


@pytest.mark.parametrize(
    "settings", [{"backbone": "resnet18"}, {"mode": "full"}, {"image_size": 96}, {"seed": 5}, {"features": "fresh"}]
)
def test_what_features_depend_on_needs_new_ones(run: Run, settings: dict[str, Any]) -> None:
    assert not is_kept(run, **settings)


def test_other_images_an_empty_cache_and_a_run_without_an_epoch_leave_none(run: Run) -> None:
    assert not is_kept(run, "xyz")
    run.best_weights_path.unlink()
    assert not is_kept(run)
    run.best_weights_path.touch()
    kv_cache.get_feature_file().unlink()
    assert not is_kept(run)
