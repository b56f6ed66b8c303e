"""One picture through two runs, in the Compare tab: which two, what is shown of both, and what goes wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.compare.pair_actions import LIKELIEST_CLASS, PairActions
from tests.support import known_evaluations

pytestmark = pytest.mark.usefixtures("one_thread")
OFFERED = ("whole", "waits", "asking", "which", "first", "second", "noted")
SEEN = ("said", "left", "right", "choosing", "classes")


@pytest.fixture
def runs(tmp_path: Path, tiny_folder: Path) -> list[Run]:
    """Two that know amber, blue and green, and one that knows blue and grey."""
    made = [known_evaluations.run(tmp_path / "runs", tiny_folder, seed) for seed in (1, 2)]
    other = tmp_path / "other"
    shutil.copytree(tiny_folder / "blue", other / "blue")
    shutil.copytree(tiny_folder / "amber", other / "grey")
    return [*sorted(made, key=lambda run: run.name), known_evaluations.run(tmp_path / "runs", other, 3)]


@pytest.fixture
def panel(tmp_path: Path) -> PairActions:
    return PairActions(ServerProfile(tmp_path, tmp_path / "runs"))


@pytest.fixture
def file(tiny_folder: Path) -> str:
    return str(tiny_folder / "green" / "green_1.jpg")


def names(runs: list[Run]) -> list[str]:
    """As the page numbers them."""
    return sorted(run.name for run in runs)


def offered(
    panel: PairActions, ticked: list[str], first: Any = None, second: Any = None, noted: Any = None
) -> dict[str, Any]:
    return dict(zip(OFFERED, panel.offer_models({}, ticked, first, second, noted), strict=True))


def look(
    panel: PairActions, one: Run, other: Run, file: str | None, name: str = LIKELIEST_CLASS, **more: Any
) -> dict[str, Any]:
    given = panel.compare_predictions({}, [one.name, other.name], one.name, other.name, file, "grad_cam", name, **more)
    return dict(zip(SEEN, given, strict=True))


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def evidence(side: str) -> str:
    """Of which class a side shows the map."""
    found = re.search(r'class="caption">[^<]*<b>(.*?)</b>', side)
    assert found
    return found[1]


def pressed(side: str) -> list[str]:
    return re.findall(r'aria-pressed="true"><span class="name">(.*?)</span>', side)


# --- which two


def test_of_two_ticked_runs_both_are_asked_and_nothing_is_to_choose(panel: PairActions, runs: list[Run]) -> None:
    shown = offered(panel, names(runs)[:2])
    assert shown["whole"].visible
    assert shown["asking"].visible
    assert not shown["which"].visible
    assert (shown["first"].value, shown["second"].value) == tuple(names(runs)[:2])


def test_of_three_a_person_chooses_two_and_the_choice_stays(panel: PairActions, runs: list[Run]) -> None:
    one, two, three = names(runs)
    shown = offered(panel, [one, two, three], three, one)
    assert shown["which"].visible
    assert [name for _, name in shown["first"].choices] == [one, two, three]
    assert [line[:1] for line, _ in shown["first"].choices] == ["1", "2", "3"]
    assert (shown["first"].value, shown["second"].value) == (three, one)
    assert (offered(panel, [one, two], three, one)["first"].value) == two, "the second one's choice stays"
    again = panel.offer_models({}, [one, two, three], three, one, shown["noted"])
    assert again == [gr.skip()] * len(OFFERED), "where nothing is new, nothing is taken back"


def test_a_run_without_weights_is_waited_for(
    panel: PairActions, runs: list[Run], tmp_path: Path, tiny_folder: Path
) -> None:
    young = known_evaluations.run(tmp_path / "runs", tiny_folder, seed=None)
    shown = offered(panel, [runs[0].name, young.name])
    assert (shown["whole"].visible, shown["asking"].visible) == (True, False)
    assert "When a second one has saved its best weights" in shown["waits"].value
    known_evaluations.keep(young, 4)
    assert offered(panel, [runs[0].name, young.name], noted=shown["noted"])["asking"].visible


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("ticked", [[], None, "x", ["../../etc", 7], 3])
def test_with_fewer_than_two_ticked_there_is_no_such_section(panel: PairActions, ticked: Any) -> None:
    assert not offered(panel, ticked)["whole"].visible


def test_on_a_space_only_a_visitors_own_runs_are_asked(tmp_path: Path, runs: list[Run], file: str) -> None:
    space = PairActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE))
    assert not offered(space, names(runs))["whole"].visible
    assert "<img" not in look(space, runs[0], runs[1], file)["left"]


# --- what both say


def test_each_has_its_classes_and_its_map_and_one_line_says_whether_they_agree(
    panel: PairActions, runs: list[Run], file: str
) -> None:
    shown = look(panel, runs[0], runs[1], file)
    for number, side in enumerate((shown["left"], shown["right"])):
        assert text(side).startswith(f"{number + 1} · MobileNetV2")
        assert f"run{number}" in side
        assert 'class="under"' in side
        assert [evidence(side)] == pressed(side)
    agree = evidence(shown["left"]) == evidence(shown["right"])
    assert text(shown["said"]).startswith("Both say" if agree else "They disagree: run 1 says")
    assert shown["choosing"].visible
    assert [name for _, name in shown["classes"].choices] == [LIKELIEST_CLASS, "amber", "blue", "green"]


@pytest.mark.parametrize("name", ["amber", "blue", "green"])
def test_a_class_that_is_chosen_is_looked_for_in_both(
    panel: PairActions, runs: list[Run], file: str, name: str
) -> None:
    shown = look(panel, runs[0], runs[1], file, name)
    assert evidence(shown["left"]) == evidence(shown["right"]) == name
    assert shown["classes"].value == name


def test_of_different_classes_each_keeps_its_own(panel: PairActions, runs: list[Run], file: str) -> None:
    one, _, other = runs
    likeliest = evidence(look(panel, one, other, file)["left"])
    shown = look(panel, one, other, file, "grey")
    assert (evidence(shown["left"]), evidence(shown["right"])) == (likeliest, "grey")
    lines = [line for line, _ in shown["classes"].choices]
    assert lines[1] == "blue"
    assert f"grey (only in run {1 + (other.name > one.name)})" in lines


def test_pressing_a_bar_looks_for_that_class_in_both(panel: PairActions, runs: list[Run], file: str) -> None:
    one, other, _ = runs

    def press(handler: Callable[..., list[Any]], index: object) -> dict[str, Any]:
        event = SimpleNamespace(_data={"index": index})
        given = handler({}, names(runs), one.name, other.name, file, "layer_cam", event)
        return dict(zip(SEEN, given, strict=True))

    for handler in (panel.make_press_handler(0), panel.make_press_handler(1)):
        shown = press(handler, 2)
        assert evidence(shown["left"]) == evidence(shown["right"]) == "green"
        assert shown["classes"].value == "green"
    for wrong in (-1, 99, None, "0"):
        assert press(panel.make_press_handler(0), wrong)["classes"].value == LIKELIEST_CLASS


def test_an_answer_that_was_overtaken_is_not_given(
    panel: PairActions, runs: list[Run], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page: Any = SimpleNamespace(session_hash="one page")
    real: Callable[..., Any] = panel.load_predictor
    second = list[Any]()

    def slow(model: object) -> Any:
        if not second:
            second.append(None)
            second.append(look(panel, runs[0], runs[1], file, "blue", request=page))
        return real(model)

    monkeypatch.setattr(panel, "load_predictor", slow)
    assert list(look(panel, runs[0], runs[1], file, "amber", request=page).values()) == [gr.skip()] * len(SEEN)
    assert evidence(second[1]["left"]) == "blue"


# --- what goes wrong


def test_without_a_picture_the_next_step_is_told(panel: PairActions, runs: list[Run]) -> None:
    shown = look(panel, runs[0], runs[1], None)
    assert "No picture yet" in shown["said"]
    assert (shown["left"], shown["right"], shown["choosing"].visible) == ("", "", False)


def test_a_bad_picture_is_told_in_one_line(panel: PairActions, runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "<b>bad.jpg").write_bytes(b"")
    shown = look(panel, runs[0], runs[1], str(tmp_path / "secret" / "<b>bad.jpg"))
    assert text(shown["said"]) == "&lt;b&gt;bad.jpg : The file is empty. Copy or download it again."
    assert "secret" not in shown["said"]


def test_a_run_that_is_deleted_meanwhile_is_told_and_the_other_still_answers(
    panel: PairActions, runs: list[Run], file: str
) -> None:
    look(panel, runs[0], runs[1], file)
    shutil.rmtree(runs[1].path)
    shown = look(panel, runs[0], runs[1], file)
    assert 'class="under"' in shown["left"]
    assert 'role="alert"' in shown["right"]
    assert runs[1].name in shown["right"]
    assert "<img" not in shown["right"]


def test_damaged_weights_are_told_on_their_side(panel: PairActions, runs: list[Run], file: str) -> None:
    runs[0].best_weights_path.write_bytes(b"no weights")
    shown = look(panel, runs[0], runs[1], file)
    assert 'role="alert"' in shown["left"]
    assert 'class="under"' in shown["right"]


def test_the_same_model_twice_is_no_pair(panel: PairActions, runs: list[Run], file: str) -> None:
    assert "Both models are the same" in look(panel, runs[0], runs[0], file)["said"]
