"""Which trainings have a record of their backbone, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.models.pretrained import backbone_records

CONFIG = TrainConfig(data="x", mode="frozen")


def test_a_record_is_found_for_the_training_that_left_it() -> None:
    key = backbone_records.compute_record_key(CONFIG, "images")
    assert key is not None
    assert not backbone_records.has_records()
    backbone_records.put_record(key, b"record")
    assert backbone_records.has_records()
    assert backbone_records.find_record(key) == b"record"
    assert backbone_records.is_recorded(replace(CONFIG, learning_rate=0.1, batch_size=4, epochs=3), "images")
    assert not backbone_records.is_recorded(CONFIG, "other images")


@pytest.mark.parametrize(
    "changes",
    [{"mode": "full"}, {"init_from": "x.pt"}, {"head_init": "imagenet"}, {"backbone": "mobilenet_v2"}],
    ids=str,
)
def test_a_training_that_needs_its_backbone_or_whose_weights_are_not_here_has_no_key(changes: dict[str, Any]) -> None:
    assert backbone_records.compute_record_key(replace(CONFIG, **changes), "images") is None


def test_varied_views_belong_to_their_seed_and_settings() -> None:
    keys = {
        backbone_records.compute_record_key(replace(CONFIG, **changes), "images")
        for changes in ({}, {"seed": 1, "head_seed": 0}, {"cached_views": 4}, {"rotate": 20.0})
    }
    assert len(keys) == 4
    without_views = replace(CONFIG, augment="none")
    assert backbone_records.compute_record_key(without_views, "x") == backbone_records.compute_record_key(
        replace(without_views, seed=1, head_seed=0), "x"
    )
