"""The metadata of a repository's card."""

from __future__ import annotations

import pytest
import yaml  # type: ignore[import-untyped]

from ftlab.config.train_config import TrainConfig
from ftlab.evaluation.metrics import Proportion
from ftlab.export.hub.repository_card import build_front_matter
from ftlab.export.run_card import RunFacts
from tests.support.exported_models import make_source

pytestmark = pytest.mark.usefixtures("one_thread")


def read_metadata(**settings: str) -> dict[str, object]:
    config = TrainConfig(**{"mode": "full", **settings})  # type: ignore[arg-type]
    facts = RunFacts(config, config, "flowers", {}, {}, {"test": Proportion(9, 10)}, {})
    values: dict[str, object] = yaml.safe_load(build_front_matter(make_source(), facts).strip("-\n"))
    return values


def test_metadata_have_task_license_and_accuracy() -> None:
    metadata = read_metadata()
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("ftlab", "image-classification")
    assert metadata["license"] == "bsd-3-clause"
    assert "'value': 0.9" in str(metadata["model-index"])
    assert "0.5958 to 0.9821" in str(metadata["model-index"])


@pytest.mark.parametrize("settings", [{"mode": "scratch"}, {"init_from": "hf://me/other"}])
def test_weights_of_another_origin_have_no_license_of_the_backbone(settings: dict[str, str]) -> None:
    assert "license" not in read_metadata(**settings)
