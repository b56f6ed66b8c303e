"""The Compare tab: which runs can be ticked, and what is shown of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.runs import comparison, run_table
from ftlab.runs.directory import Run
from ftlab.runs.jobs import series
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.compare.tab import CompareActions
from tests.support import fabricated_runs
from tests.support.people import ANN, BEN, acting_as, give_to


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three that are over, the newest first."""
    root = tmp_path / "runs"
    made = [
        fabricated_runs.make(root, [*fabricated_runs.story(epochs=n), fabricated_runs.ended()], mode=mode)
        for n, mode in ((2, "full"), (3, "frozen"), (4, "scratch"))
    ]
    return sorted(made, key=lambda run: run.name, reverse=True)


@pytest.fixture
def panel(tmp_path: Path) -> CompareActions:
    return CompareActions(ServerProfile(tmp_path, tmp_path / "runs"), settings)


def settings(_given: object) -> TrainConfig:
    return TrainConfig(sample="shapes", epochs=1)


def held(timer: Any) -> bool:
    return bool(timer.active)


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def test_the_two_newest_are_ticked_at_first_and_a_persons_choice_stays(panel: CompareActions, runs: list[Run]) -> None:
    names = [run.name for run in runs]
    chooser, shown, timer = panel.list_runs({}, [])
    assert [name for _, name in chooser.choices] == names
    assert chooser.value == names[:2]
    assert "Validation accuracy" in text(shown)
    assert timer.active is False
    assert panel.list_runs({}, [names[2], names[0], "gone"])[0].value == [names[2], names[0]]


def test_curves_lie_over_each_other_and_a_table_says_what_each_came_to(panel: CompareActions, runs: list[Run]) -> None:
    shown, _ = panel.render_comparison({}, [run.name for run in runs])
    for number in range(3):
        assert shown.count(f'class="dots run{number}"') == 2  # loss and accuracy
    assert all(run.name in shown for run in runs)
    assert "of 3.4 M" in text(shown) or " of " in text(shown)
    differing = text(shown).partition("Settings that differ")[2]
    assert all(mode in differing for mode in ("Mode", "full", "frozen", "scratch"))


def test_points_are_epochs_and_values(panel: CompareActions, runs: list[Run]) -> None:
    shown, _ = panel.render_comparison({}, [run.name for run in runs[:2]])
    history = runs[1].load_history()  # the older one comes first
    points = re.findall(r'class="dots run0" points="(.*?)"', shown)[1].split()
    shown_points = [tuple(map(float, point.split(","))) for point in points]
    assert [epoch for epoch, _ in shown_points] == pytest.approx([row.epoch for row in history.epochs])
    assert [accuracy for _, accuracy in shown_points] == pytest.approx(
        [row.val_accuracy for row in history.epochs], rel=1e-4
    )


def test_runs_on_different_images_are_overlaid_with_a_warning(
    panel: CompareActions, runs: list[Run], tmp_path: Path
) -> None:
    names = [run.name for run in runs]
    assert "not validated on the same pictures" not in panel.render_comparison({}, names)[0]
    story = [*fabricated_runs.story(), fabricated_runs.ended()]
    other = fabricated_runs.make(tmp_path / "runs", story, sample="", data="/data/bees")
    shown = text(panel.render_comparison({}, [other.name, names[0]])[0])
    assert "These runs were not validated on the same pictures" in shown
    assert "bees" in shown
    assert "Shapes" in shown


def test_another_split_of_the_same_images_counts_as_different(runs: list[Run]) -> None:
    for run, fingerprint in zip(runs, ("a", "a", "b"), strict=True):
        run.write_json("split.json", {"manifest": fingerprint})
    assert run_table.list_data_names(runs[:2]) == ["Shapes"]
    assert run_table.list_data_names(runs) == ["Shapes", "Shapes"]


def test_runs_that_left_nothing_are_neither_offered_nor_drawn(
    panel: CompareActions, runs: list[Run], tmp_path: Path
) -> None:
    failed = fabricated_runs.make(tmp_path / "runs", [fabricated_runs.ended("failed")])
    chooser, _, _ = panel.list_runs({}, [failed.name])
    assert failed.name not in [name for _, name in chooser.choices]
    assert failed.name not in chooser.value
    shown, _ = panel.render_comparison({}, [failed.name, *(run.name for run in runs)])
    assert failed.name not in shown


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("ticked", [[], None, "x", ["../../etc", 7], 3])
def test_fewer_than_two_give_the_next_step(panel: CompareActions, ticked: Any) -> None:
    shown, timer = panel.render_comparison({}, ticked)
    assert "Nothing to compare yet" in shown
    assert timer.active is False


def test_more_than_colours_are_refused(panel: CompareActions, tmp_path: Path) -> None:
    made = [
        fabricated_runs.make(tmp_path / "runs", fabricated_runs.story(epochs=1))
        for _ in range(comparison.MAX_COMPARED_RUNS + 1)
    ]
    assert 'role="alert"' in panel.render_comparison({}, [run.name for run in made])[0]


def test_on_a_space_only_a_visitors_own_runs_can_be_seen(tmp_path: Path, runs: list[Run]) -> None:
    space = CompareActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE), settings)
    names = [run.name for run in runs]
    for run in runs[:2]:
        give_to(run, ANN)
    with acting_as(BEN):
        assert "Nothing to compare yet" in space.render_comparison({"run": names[0]}, names)[0]
    with acting_as(ANN):
        assert "Validation accuracy" in space.render_comparison({}, names)[0]
        assert names[2] not in space.render_comparison({}, names)[0]


def test_a_run_that_cannot_be_read_is_named(panel: CompareActions, runs: list[Run]) -> None:
    (runs[0].path / "config.json").write_text("no", encoding="utf-8")
    shown, _ = panel.render_comparison({}, [run.name for run in runs[:2]])
    assert 'role="alert"' in shown
    assert runs[0].name in shown
    assert "Deselect it" in shown


# --- one button for every mode


def at_work(root: Path, *names: str) -> None:
    """A series whose process is this one."""
    me = psutil.Process()
    told = {"runs": names, "modes": series.SERIES_MODES, "pid": me.pid, "created": machine.get_process_start_time(me)}
    root.mkdir(exist_ok=True)
    (root / "series-20990101-000000-00000000.json").write_text(json.dumps(told), encoding="utf-8")


def test_runs_of_a_series_are_ticked_as_they_begin(panel: CompareActions, runs: list[Run], tmp_path: Path) -> None:
    one, two = runs[1].name, runs[2].name
    at_work(tmp_path / "runs")
    said, timer = panel.refresh_runs({}, [])[1:]
    assert "Starting the first of three trainings" in text(said)
    assert held(timer)
    at_work(tmp_path / "runs", one)
    ticked, said, timer = panel.refresh_runs({}, [])
    assert ticked.value == [one]
    assert "Training 1 of 3: " in text(said)
    at_work(tmp_path / "runs", one, two)
    ticked, said, timer = panel.refresh_runs({}, [one])
    assert ticked.value == [one, two]
    assert 'class="dots run1"' in said
    assert held(timer)
    assert panel.list_runs({}, [])[0].value == [one, two], "a page that is opened later sees the same"


def test_the_button_starts_the_series_and_is_refused_while_one_is_at_work(
    panel: CompareActions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[TrainConfig, str]] = []
    with monkeypatch.context() as patch:
        patch.setattr(series, "start_series", lambda base, _root, owner, **_: begun.append((base, owner)))
        _, said, timer = panel.start_series({}, [], "the form")
    assert begun == [(settings(None), "")], "it belongs to the person at this machine"
    assert held(timer)
    assert "Starting" in text(said)
    at_work(tmp_path / "runs")
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", warned.append)
    assert panel.start_series({}, [], "the form") == [gr.skip()] * 3
    assert "series of trainings is running" in warned[0]


def test_why_a_series_never_began_is_told_beside_what_else_is_there(
    panel: CompareActions, runs: list[Run], tmp_path: Path
) -> None:
    told = {"runs": [], "modes": series.SERIES_MODES, "pid": 0, "created": 0.0}
    file = tmp_path / "runs" / "series-20990101-000000-00000000.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    file.with_suffix(".log").write_text("ftlab: There is no folder <x>.\n", encoding="utf-8")
    why = "The series ended before its first training started. There is no folder &lt;x&gt;."
    said, timer = panel.refresh_runs({}, [])[1:]
    assert why in said
    assert "Nothing to compare yet" in said
    assert not held(timer)
    said = panel.render_comparison({}, [run.name for run in runs])[0]
    assert why in said
    assert "Validation accuracy" in said
    space = CompareActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE), settings)
    assert why not in space.render_comparison({}, [])[0], "what others do on a Space is nobody's business"


def test_on_a_space_there_is_no_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = CompareActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE), settings)
    at_work(tmp_path / "runs")
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", warned.append)
    assert space.start_series({}, []) == [gr.skip()] * 3
    assert "public Space" in warned[0]
    assert "Nothing to compare yet" in space.refresh_runs({}, [])[1]
