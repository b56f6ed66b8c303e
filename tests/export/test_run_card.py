"""What a model card says of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import load_run_catalog
from ftlab.evaluation.metrics import Proportion
from ftlab.export import run_card
from ftlab.export.run_card import RunFacts, collect_run_facts, describe_run, format_training_command
from tests.support import drawn_images
from tests.support.exported_models import make_run

pytestmark = pytest.mark.usefixtures("one_thread")


def make_facts(config: TrainConfig, **proportions: Proportion) -> RunFacts:
    return RunFacts(config, config, "flowers", {"a|b": {"train": 3, "val": 1, "test": 0}}, {}, proportions, {})


def test_the_command_names_what_was_chosen_and_no_folder() -> None:
    config = TrainConfig(
        data="/home/me/flowers", mode="full", epochs=3, nesterov=False, exclude="/home/me/bad.csv", init_from="/x/y.pth"
    )
    command = format_training_command(make_facts(config))
    assert command.startswith(f"python -m ftlab train --data flowers --backbone {config.backbone} --mode full")
    assert "--epochs 3" in command
    assert "--no-nesterov" in command
    assert "/home" not in command
    assert "/x" not in command


def test_the_command_stays_on_one_line_whatever_the_folder_is_called() -> None:
    facts = replace(make_facts(TrainConfig()), data_name="flowers\n```\n# heading")
    assert "\n" not in format_training_command(facts)
    assert "\n```" not in describe_run(facts)


def test_an_accuracy_has_its_interval() -> None:
    text = describe_run(make_facts(TrainConfig(), test=Proportion(20, 20)))
    assert "| test | 100.0% | 83.9% to 100.0% | 20 of 20 | – | – |" in text


def test_names_of_classes_are_no_markup() -> None:
    assert r"| a\|b | 3 | 1 | 0 |" in describe_run(make_facts(TrainConfig()))


def test_without_any_measurement_there_is_no_table_of_metrics() -> None:
    assert "## Metrics" not in describe_run(make_facts(TrainConfig()))


def test_a_run_is_evaluated_on_request_only(tmp_path: Path) -> None:
    run = make_run(drawn_images.tiny(tmp_path / "tiny"), tmp_path / "runs")
    run_catalog = load_run_catalog(run)
    assert collect_run_facts(run, run_catalog).evaluations == {}
    facts = collect_run_facts(run, run_catalog, evaluates=True)
    assert facts.proportions["val"].n == sum(counts["val"] for counts in facts.image_counts.values())
    assert collect_run_facts(run, run_catalog).evaluations.keys() == {"val"}
    assert run_card.describe_metrics(facts).count("| val |") == 1
