"""The section that finds a learning rate: what it says, what it draws, and that one click takes the rate over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.data.samples import sample_sets
from ftlab.runs.jobs import lr_sweep, time_estimate
from ftlab.runs.jobs.lr_sweep import LrSweep
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.ui import build_app
from ftlab.ui.common import data_choice
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.train import form, lr_finder
from ftlab.ui.train.actions import TrainActions

DATA = ["folder", "pictures", 0.15, 0.15]
"""What the Dataset tab's components say of the folder of the tests."""


def sweep() -> LrSweep:
    where = np.linspace(-6, 1, 100)
    return LrSweep([*(10**where)], [*(2 - 1.5 / (1 + np.exp(-4 * (where + 3))))])


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
    made = sweep()
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
    assert "does not fall at any rate" in text
    assert 'class="best"' not in text


def test_what_stands_in_the_way_is_told_in_one_sentence(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Look at the pictures" in found(desk, widgets)[0]
    data_choice.scan_source(desk.parse_source(DATA))
    assert "The weights of ResNet-18 are not here yet" in found(desk, widgets, backbone="resnet18")[0]
    assert "&quot;Epochs&quot; is 0" in found(desk, widgets, epochs=0)[0]
    with monkeypatch.context() as patch:
        patch.setattr(TrainActions, "find_active_run", lambda desk: True)
        assert "when nothing else is training" in found(desk, widgets)[0]

    def fail(*_: object, **__: object) -> None:
        raise RunError("run.measure", cause="<b>no memory</b>")

    monkeypatch.setattr(lr_sweep, "run_lr_sweep", fail)
    text, suggestion = found(desk, widgets)
    assert "&lt;b&gt;no memory" in text
    assert suggestion is None
    monkeypatch.setattr(lr_sweep, "run_lr_sweep", lambda *_, **__: None)
    assert "when nothing else is training" in found(desk, widgets)[0]


def test_it_asks_about_the_settings_of_the_form(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def find(*given: Any, **_: object) -> LrSweep:
        asked.extend(given)
        return sweep()

    data_choice.scan_source(desk.parse_source(DATA))
    monkeypatch.setattr(lr_sweep, "run_lr_sweep", find)
    _, suggestion = found(desk, widgets, mode="scratch", optimizer="sgd")
    assert suggestion == sweep().suggest_learning_rate()
    settings, folder = asked
    assert (settings.mode, settings.optimizer, Path(folder)) == ("scratch", "sgd", tmp_path / "pictures")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import drawn

    from ftlab.ui import serve

    place = tmp_path_factory.mktemp("rates")
    drawn.tiny(place / "set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        patch.setattr(sample_sets, "ensure_sample_set", lambda name, **_: place / "set")
        patch.setattr(
            time_estimate, "find_known_estimate", lambda *_: TimeEstimate(seconds=12.0, images_per_second=190.0)
        )
        patch.setattr(lr_sweep, "run_lr_sweep", lambda *_, **__: sweep())
        profile = ServerProfile(place, place / "runs")
        demo = build_app(profile)
        _, url, _ = demo.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, **serve.build_launch_options(profile)
        )
        yield url
        demo.close(verbose=False)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_one_click_takes_the_rate_over(page: Page, url: str, screenshots: Path, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}?__theme={theme}")
    page.get_by_role("tab", name="Train").click()
    page.locator("#train-find > button").click()
    expect(page.locator("#train-find-use")).to_be_hidden()
    page.locator("#train-find-start").click()
    suggestion = f"{sweep().suggest_learning_rate():g}"
    expect(page.locator("#train-find-curve .said")).to_contain_text(suggestion)
    page.locator("#train-find-use").click()
    expect(page.locator("#train-rate input")).to_have_value(suggestion)
    expect(page.locator("#train-command textarea")).to_have_value(re.compile(f"--learning-rate {suggestion}"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#train-find").screenshot(path=screenshots / f"rates-{width}-{theme}.png")
