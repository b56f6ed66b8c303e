"""The form follows the run that the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ftlab.server.profile import ServerProfile
from ftlab.ui.train import form
from ftlab.ui.train.actions import TrainActions
from ftlab.ui.train.run_settings import RunSettings
from tests.support import fabricated_runs


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    with gr.Blocks():
        page_state = gr.BrowserState({"run": None})
        actions = TrainActions(ServerProfile(tmp_path, tmp_path / "runs"))
        return RunSettings(actions, form.build_form(), page_state)


def read_values(settings: RunSettings, page_state: object) -> dict[str, Any]:
    """What the fields get, by their ids; `run` is the run whose settings they are."""
    names = ["run", *(component.elem_id for component in settings._form.list_inputs()), "pair"]
    return {
        str(name): update["value"]
        for name, update in zip(names, settings.list_updates(page_state), strict=True)
        if update is not None
    }


def test_every_field_gets_the_value_of_the_pages_run(settings: RunSettings, tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path / "runs", [], backbone="resnet18", mode="full", epochs=7, label_smoothing=0.2)
    values = read_values(settings, {"run": run.name})
    assert (values["run"], values["train-mode"], values["train-epochs"]) == (run.name, "full", 7)
    assert values["train-label-smoothing"] == 0.2
    assert values["pair"] == ["resnet18", "full"]
    assert "resnet18" in (values["train-backbone"], values["train-backbone-rest"])


def test_a_page_that_has_no_run_yet_follows_the_active_one(settings: RunSettings, tmp_path: Path) -> None:
    run = fabricated_runs.at_work(fabricated_runs.make(tmp_path / "runs", [fabricated_runs.started()], epochs=9))
    assert read_values(settings, {})["train-epochs"] == 9
    assert read_values(settings, None)["run"] == run.name


@pytest.mark.parametrize("page_state", [None, {}, {"run": "gone"}, {"run": 3}, "x"])
def test_without_a_run_the_form_stays_as_it_is(settings: RunSettings, page_state: object) -> None:
    assert read_values(settings, page_state) == {}


def test_a_run_whose_settings_cannot_be_read_leaves_the_form_as_it_is(settings: RunSettings, tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path / "runs", [])
    (run.path / "config.json").write_text("{")
    assert read_values(settings, {"run": run.name}) == {}
