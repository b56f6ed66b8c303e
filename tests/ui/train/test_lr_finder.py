"""The section that finds a learning rate: what it says and what it draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs.jobs import lr_sweep
from ftlab.runs.jobs.lr_sweep import LrSweep
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice
from ftlab.ui.train import form, lr_finder
from ftlab.ui.train.actions import TrainActions
from tests.support.fabricated_sweep import make_sweep
from tests.support.people import acting_as

DATA = ["folder", "pictures", 0.15, 0.15]
"""What the Dataset tab's components say of the folder of the tests."""


@pytest.fixture
def desk(tmp_path: Path, tiny_folder: Path) -> TrainActions:
    """A local start whose data root holds `pictures`."""
    tiny_folder.rename(tmp_path / "pictures")
    return TrainActions(ServerProfile(tmp_path, tmp_path / "runs"))


@pytest.fixture
def widgets() -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form()


def found(desk: TrainActions, widgets: form.ConfigForm, **changed: object) -> tuple[str, float | None]:
    fields = form.get_field_values(TrainConfig()) | changed
    return lr_finder.find_learning_rate(desk, widgets, [*DATA, *fields.values(), None])


def test_the_drawing_has_the_losses_as_they_are_over_the_logarithm_of_the_rate() -> None:
    made = make_sweep()
    text = lr_finder.render_sweep(made)
    line = re.search(r'<polyline class="raw train" points="([^"]+)"', text)
    assert line is not None
    points = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
    assert [x for x, _ in points] == pytest.approx(np.log10(made.rates), abs=1e-3)
    assert [y for _, y in points] == pytest.approx(made.losses, abs=1e-3)
    assert f"at a learning rate of {made.suggest_learning_rate():g}" in text
    assert "10⁻⁶" in text
    assert text.count('class="best"') == 1


def test_without_a_suggestion_it_says_so_and_draws_no_mark() -> None:
    text = lr_finder.render_sweep(LrSweep([*np.geomspace(1e-6, 10, 50)], [1.0] * 50))
    assert "does not fall at any learning rate" in text
    assert 'class="best"' not in text


def test_what_stands_in_the_way_is_told_in_one_sentence(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Scan the pictures" in found(desk, widgets)[0]
    data_choice.scan_source(desk.parse_source(DATA))
    assert "The weights of ResNet-18 are not on this machine yet" in found(desk, widgets, backbone="resnet18")[0]
    assert "&quot;Epochs&quot; is 0" in found(desk, widgets, epochs=0)[0]
    with monkeypatch.context() as patch:
        patch.setattr(TrainActions, "find_active_run", lambda _desk: True)
        assert "when no training is running" in found(desk, widgets)[0]

    def fail(*_: object, **__: object) -> None:
        raise RunError("run.measure", cause="<b>no memory</b>")

    monkeypatch.setattr(lr_sweep, "run_lr_sweep", fail)
    text, suggestion = found(desk, widgets)
    assert "&lt;b&gt;no memory" in text
    assert suggestion is None
    monkeypatch.setattr(lr_sweep, "run_lr_sweep", lambda *_, **__: None)
    assert "when no training is running" in found(desk, widgets)[0]


@pytest.mark.usefixtures("desk")
def test_a_paused_class_searches_no_rate(
    widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        pytest.fail("it has begun")

    monkeypatch.setattr(lr_sweep, "run_lr_sweep", fail)
    LessonRules(tmp_path / "runs").change(is_paused=True)
    class_desk = TrainActions(ServerProfile(tmp_path, tmp_path / "runs", ProfileKind.CLASSROOM))
    student = Person(ProfileKind.CLASSROOM, Role.STUDENT, "a" * 32, "Ann")
    with acting_as(student):
        data_choice.scan_source(class_desk.parse_source(DATA))
        assert "paused" in found(class_desk, widgets)[0]


def test_it_asks_about_the_settings_of_the_form(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def find(*given: Any, **_: object) -> LrSweep:
        asked.extend(given)
        return make_sweep()

    data_choice.scan_source(desk.parse_source(DATA))
    monkeypatch.setattr(lr_sweep, "run_lr_sweep", find)
    _, suggestion = found(desk, widgets, mode="scratch", optimizer="sgd")
    assert suggestion == make_sweep().suggest_learning_rate()
    settings, folder = asked
    assert (settings.mode, settings.optimizer, Path(folder)) == ("scratch", "sgd", tmp_path / "pictures")
