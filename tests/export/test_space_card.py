"""The metadata of a Space."""

from __future__ import annotations

import dataclasses
import sys
from importlib import metadata

import pytest
import yaml  # type: ignore[import-untyped]

from ftlab.config.train_config import TrainConfig
from ftlab.export import space_card
from ftlab.export.run_card import RunFacts
from tests.support.exported_models import make_source

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(mode="full")
FACTS = RunFacts(CONFIG, CONFIG, "flowers", {}, {}, {}, {})


def read_metadata(space_sdk: str, facts: RunFacts = FACTS) -> dict[str, object]:
    opening, yaml_text, blank = space_card.build_front_matter(make_source(), facts, space_sdk).split("---\n")
    assert (opening, blank) == ("", "\n")
    values: dict[str, object] = yaml.safe_load(yaml_text)
    return values


def test_a_space_of_gradio_has_the_version_that_wrote_it() -> None:
    values = read_metadata("gradio")
    assert (values["sdk"], values["sdk_version"], values["app_file"]) == (
        "gradio",
        metadata.version("gradio"),
        "app.py",
    )
    # A number such as 3.10 would lose its zero.
    assert values["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (values["title"], values["license"]) == ("a model", "bsd-3-clause")


def test_a_static_space_has_a_page_and_no_version() -> None:
    values = read_metadata("static")
    assert (values["sdk"], values["app_file"]) == ("static", "index.html")
    assert not {"sdk_version", "python_version"} & set(values)
    assert space_card.describe_use("static") == ""


def test_weights_from_scratch_have_no_license() -> None:
    scratch = dataclasses.replace(CONFIG, mode="scratch")
    assert "license" not in read_metadata("static", dataclasses.replace(FACTS, config=scratch))
