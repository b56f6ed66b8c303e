"""The Compare tab: which runs can be ticked, and what is shown of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fabricated
import pytest

from ftlab import comparison
from ftlab.runs import Run
from ftlab.ui.compare import Panel
from ftlab.ui.guard import Profile


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Three that are over, the newest first."""
    root = tmp_path / "runs"
    made = [
        fabricated.make(root, [*fabricated.story(epochs=n), fabricated.ended()], mode=mode)
        for n, mode in ((2, "full"), (3, "frozen"), (4, "scratch"))
    ]
    return sorted(made, key=lambda run: run.name, reverse=True)


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    return Panel(Profile(tmp_path, tmp_path / "runs"))


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def test_the_two_newest_are_ticked_at_first_and_a_persons_choice_stays(panel: Panel, runs: list[Run]) -> None:
    names = [run.name for run in runs]
    chooser, shown, timer = panel.listed({}, [])
    assert [name for _, name in chooser.choices] == names
    assert chooser.value == names[:2]
    assert "Accuracy on validation" in text(shown)
    assert timer.active is False
    assert panel.listed({}, [names[2], names[0], "gone"])[0].value == [names[2], names[0]]


def test_curves_lie_over_each_other_and_a_table_says_what_each_came_to(panel: Panel, runs: list[Run]) -> None:
    shown, _ = panel.shown({}, [run.name for run in runs])
    for number in range(3):
        assert shown.count(f'class="dots run{number}"') == 2  # loss and accuracy
    assert all(run.name in shown for run in runs)
    assert "of 3.4 M" in text(shown) or " of " in text(shown)
    differing = text(shown).partition("In which settings they differ")[2]
    assert all(mode in differing for mode in ("Mode", "full", "frozen", "scratch"))


def test_points_are_epochs_and_values(panel: Panel, runs: list[Run]) -> None:
    shown, _ = panel.shown({}, [run.name for run in runs[:2]])
    history = runs[0].history()
    points = re.findall(r'class="dots run0" points="(.*?)"', shown)[1].split()
    assert [tuple(map(float, point.split(","))) for point in points] == [
        (pytest.approx(row.epoch), pytest.approx(row.val_accuracy, rel=1e-4)) for row in history.epochs
    ]


@pytest.mark.parametrize("ticked", [[], None, "x", ["../../etc", 7], 3])
def test_fewer_than_two_give_the_next_step(panel: Panel, runs: list[Run], ticked: Any) -> None:
    shown, timer = panel.shown({}, ticked)
    assert "Nothing to compare yet" in shown
    assert timer.active is False


def test_more_than_colours_are_refused(panel: Panel, tmp_path: Path) -> None:
    made = [fabricated.make(tmp_path / "runs", fabricated.story(epochs=1)) for _ in range(comparison.MOST + 1)]
    assert 'role="alert"' in panel.shown({}, [run.name for run in made])[0]


def test_on_a_space_only_a_visitors_own_runs_can_be_seen(tmp_path: Path, runs: list[Run]) -> None:
    space = Panel(Profile(None, tmp_path / "runs", space=True))
    names = [run.name for run in runs]
    assert "Nothing to compare yet" in space.shown({}, names)[0]
    mine = {"run": names[0], "mine": names[:2]}
    assert "Accuracy on validation" in space.shown(mine, names)[0]
    assert names[2] not in space.shown(mine, names)[0]


def test_a_run_that_cannot_be_read_is_named(panel: Panel, runs: list[Run]) -> None:
    (runs[0].path / "config.json").write_text("no", encoding="utf-8")
    shown, _ = panel.shown({}, [run.name for run in runs[:2]])
    assert 'role="alert"' in shown
    assert runs[0].name in shown
