"""The Inspect tab: what a page may ask, and what a press gives."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ftlab.inference.predictor import Predictor
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.inspect.actions import InspectActions
from ftlab.ui.inspect.choices import FOLDER_CHOICE
from tests.support import known_evaluations
from tests.support.people import ANN, BEN, acting_as, give_to

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = (
    "scores",
    "results",
    "matrix",
    "classes",
    "calibrated",
    "downloads",
    "kind",
    "gallery",
    "others",
    "picked",
    "pair",
)
Choice = tuple[Any, Any, Any, Any, Any]


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return known_evaluations.run(tmp_path / "runs", tiny_folder)


@pytest.fixture
def desk(tmp_path: Path, run: Run) -> InspectActions:
    return InspectActions(ServerProfile(tmp_path, run.path.parent))


def shown(answer: list[Any]) -> dict[str, Any]:
    return dict(zip(PARTS, answer, strict=True))


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def event(**data: object) -> Any:
    return SimpleNamespace(_data=data)


def evaluated(desk: InspectActions, run: Run, split: str = "train", folder: str = "") -> tuple[Choice, dict[str, Any]]:
    """The choice, and what the page shows of it."""
    choice: Choice = ({}, run.name, "best", split, folder)
    return choice, shown(desk.evaluate(*choice, progress=lambda *_, **__: None))  # type: ignore[arg-type]


# What can be chosen


def test_runs_with_a_model_are_offered_and_the_pages_own_is_chosen_once(
    desk: InspectActions, run: Run, tiny_folder: Path
) -> None:
    known_evaluations.run(run.path.parent, tiny_folder, seed=None)
    chooser, split, noted, button = desk.list_models({}, None, None, {})
    assert [name for _, name in chooser.choices] == [run.name]
    assert (chooser.value, split.value, button.interactive) == (run.name, "test", True)
    assert [name for _, name in split.choices] == ["train", "val", "test", FOLDER_CHOICE]
    _, _, noted, _ = desk.list_models({"run": run.name}, None, None, {})
    assert noted == {"run": run.name}


def test_the_pictures_that_were_chosen_stay_while_the_model_does(desk: InspectActions, run: Run) -> None:
    assert desk.list_models({}, run.name, "train", {})[1].value == "train"
    assert desk.list_models({}, None, "train", {})[1].value == "test"


def test_without_a_model_the_next_step_is_told(tmp_path: Path) -> None:
    desk = InspectActions(ServerProfile(tmp_path, tmp_path / "none"))
    chooser, _, _, button = desk.list_models({}, None, None, {})
    assert (chooser.choices, chooser.value, button.interactive) == ([], None, False)
    assert "Train one in the Train tab" in text(shown(desk.show_results({}, None, "best", None, ""))["scores"])


def test_splits_without_pictures_are_not_offered(desk: InspectActions, run: Run) -> None:
    listed = run.read_json("split.json")
    listed["splits"]["test"] = {}
    run.write_json("split.json", listed)
    chooser = desk.list_splits({}, run.name, "test")
    assert [name for _, name in chooser.choices] == ["train", "val", FOLDER_CHOICE]
    assert chooser.value == "val"


def test_of_two_quick_choices_the_last_one_wins(
    desk: InspectActions, run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first comes after the answer to the second."""
    page: Any = SimpleNamespace(session_hash="page")
    other = known_evaluations.run(run.path.parent, tiny_folder).name
    read, second = Run.read_json, list[Any]()

    def overtaken(self: Run, name: str) -> Any:
        if self.name == run.name and not second:
            second.append(None)
            second.append(desk.list_splits({}, other, "train", request=page))
            second.append(desk.show_results({}, other, "best", "train", "", request=page))
        return read(self, name)

    monkeypatch.setattr(Run, "read_json", overtaken)
    assert desk.list_splits({}, run.name, "train", request=page) == gr.skip()
    assert second[1].value == "train"
    second.clear()
    assert desk.show_results({}, run.name, "best", "train", "", request=page) == [gr.skip()] * len(PARTS)
    assert "Nothing evaluated yet" in second[2][0]
    assert desk.list_splits({}, run.name, "train", request=page).value == "train", "asked for again, it is shown"


def test_an_evaluation_that_ends_after_another_run_was_chosen_is_not_shown_under_its_name(
    desk: InspectActions, run: Run, tiny_folder: Path
) -> None:
    page: Any = SimpleNamespace(session_hash="page")
    other = known_evaluations.run(run.path.parent, tiny_folder).name
    choice: Choice = ({}, run.name, "best", "train", "")

    def told(*_: Any, **__: Any) -> None:
        desk.show_results({}, other, "best", "train", "", request=page)

    late = desk.evaluate(*choice, progress=told, request=page)  # type: ignore[arg-type]
    assert late == [gr.skip()] * len(PARTS)
    assert "First guess right" in text(shown(desk.show_results(*choice, request=page))["scores"]), (
        "Results are saved in the run"
    )


def test_a_server_that_looks_into_no_folder_offers_none(tmp_path: Path, run: Run) -> None:
    desk = InspectActions(ServerProfile(None, tmp_path / "runs"))
    assert FOLDER_CHOICE not in [name for _, name in desk.list_splits({}, run.name).choices]
    _, parts = evaluated(desk, run, FOLDER_CHOICE, str(tmp_path))
    assert "This server does not read folders" in text(parts["scores"])


def test_a_folder_outside_the_allowed_one_is_refused(tmp_path: Path, tiny_folder: Path, run: Run) -> None:
    desk = InspectActions(ServerProfile(tmp_path / "runs", tmp_path / "runs"))
    _, parts = evaluated(desk, run, FOLDER_CHOICE, str(tiny_folder))
    assert "is outside" in text(parts["scores"])
    assert parts["results"].visible is False


def test_on_a_space_only_a_visitors_own_run_can_be_asked(tmp_path: Path, run: Run) -> None:
    desk = InspectActions(ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE))
    give_to(run, ANN)
    with acting_as(BEN):
        assert desk.list_models({}, run.name, None, {})[0].choices == []
        choice, parts = evaluated(desk, run)
        assert "There is no run" in text(parts["scores"])
        for asked in (desk.select_kind(*choice, "hits")[0], desk.explain_image(*choice, event(index=0))):
            assert "There is no run" in text(asked)
        run_notes.write_notes(run, is_shared=True)
        desk = InspectActions(desk.profile)
        assert "somebody else" in text(evaluated(desk, run)[1]["scores"]), "what is shared is looked at, not changed"
    with acting_as(ANN):
        assert desk.list_models({}, None, None, {})[0].value == run.name


@pytest.mark.parametrize("typed", ["", "  ", "ROOT", "ROOT/"])
def test_the_whole_root_is_not_looked_through(desk: InspectActions, run: Run, tmp_path: Path, typed: str) -> None:
    typed = typed.replace("ROOT", str(tmp_path))
    assert "No folder is given yet" in text(evaluated(desk, run, FOLDER_CHOICE, typed)[1]["scores"])
    before = shown(desk.show_results({}, run.name, "best", FOLDER_CHOICE, typed))["scores"]
    assert "one sub-folder per class" in text(before)


@pytest.mark.parametrize("model", ["../../etc", "", 7, ["x"]])
def test_a_run_that_is_not_offered_is_refused(desk: InspectActions, model: Any) -> None:
    said = shown(desk.evaluate({}, model, "best", "test", "", progress=lambda *_, **__: None))  # type: ignore[arg-type]
    assert "There is no run" in text(said["scores"])


# What is shown


def test_nothing_is_shown_until_it_was_evaluated_and_then_at_once(
    desk: InspectActions, run: Run, tmp_path: Path
) -> None:
    choice: Choice = ({}, run.name, "best", "train", "")
    assert "Nothing evaluated yet" in shown(desk.show_results(*choice))["scores"]
    _, parts = evaluated(desk, run)
    assert parts["results"].visible is True
    assert "95 % interval" in text(parts["scores"])
    assert parts["matrix"].count("data-true") >= 3
    again = shown(InspectActions(ServerProfile(tmp_path, tmp_path / "runs")).show_results(*choice))
    assert again["scores"] == parts["scores"]
    assert again["matrix"] == parts["matrix"]


def test_a_confusion_shows_its_pictures_and_those_of_no_other(desk: InspectActions, run: Run) -> None:
    choice, parts = evaluated(desk, run)
    cells = re.findall(r'data-true="(\d)" data-predicted="(\d)" aria-label="[^"]*: (\d+) ', parts["matrix"])
    assert sum(int(count) for *_, count in cells) == sum(
        map(len, run.read_json("split.json")["splits"]["train"].values())
    )
    for true, predicted, count in cells:
        gallery, _, picked, pair, kind = desk.select_cell(*choice, event(true=int(true), predicted=int(predicted)))
        assert gallery.count("data-index") == int(count)
        assert picked == {"true": int(true), "predicted": int(predicted), "page": 0}
        assert (pair, kind.value) == ("", None)
        names = set(re.findall(r'title="(\w+)/', gallery))
        assert names == {known_evaluations.NAMES[int(true)]}


def test_a_confusion_that_does_not_exist_shows_mistakes(desk: InspectActions, run: Run) -> None:
    choice, _ = evaluated(desk, run)
    cells: list[dict[str, object]] = [{"true": 9, "predicted": 0}, {"true": -1, "predicted": 1}, {"true": "x"}, {}]
    for cell in cells:
        assert "Most confident mistakes" in text(desk.select_cell(*choice, event(**cell))[0]), cell


def test_more_pictures_than_a_page_holds_are_turned(
    desk: InspectActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftlab.ui.inspect import view

    monkeypatch.setattr(view, "IMAGES_PER_PAGE", 4)
    choice, _ = evaluated(desk, run)
    gallery, button, picked, _ = desk.select_kind(*choice, "random")
    assert button.visible is True
    seen = re.findall(r'data-index="(\d+)"', gallery)
    total = sum(map(len, run.read_json("split.json")["splits"]["train"].values()))
    while len(seen) < total:
        gallery, _, picked, _ = desk.show_next_page(*choice, picked)
        seen += re.findall(r'data-index="(\d+)"', gallery)
    assert sorted(map(int, seen)) == list(range(total))


def test_a_picture_shows_the_evidence_for_what_it_is_and_for_what_it_was_named(desk: InspectActions, run: Run) -> None:
    choice, _ = evaluated(desk, run)
    gallery = desk.select_kind(*choice, "mistakes")[0]
    index = int(re.findall(r'data-index="(\d+)"', gallery)[0])
    pair = desk.explain_image(*choice, event(index=index))
    said = text(pair)
    assert "the true class" in said
    assert "the predicted class" in said
    assert len(re.findall(r'class="under"', pair)) == 2
    hit = int(re.findall(r'data-index="(\d+)"', desk.select_kind(*choice, "hits")[0])[0])
    assert "the second most probable class" in text(desk.explain_image(*choice, event(index=hit)))
    for wrong in (-1, 99, None, "0"):
        assert desk.explain_image(*choice, event(index=wrong)) == ""


def test_the_first_press_prepares_the_model_for_those_that_follow(
    desk: InspectActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []
    monkeypatch.setattr(Predictor, "prepare_graph", lambda model: prepared.append(model.title))
    choice, _ = evaluated(desk, run)
    assert not prepared
    desk.explain_image(*choice, event(index=0))
    assert len(prepared) == 1


def test_pictures_that_are_gone_are_told_and_the_figures_stay(
    desk: InspectActions, run: Run, tiny_folder: Path
) -> None:
    choice, before = evaluated(desk, run)
    shutil.move(tiny_folder, tiny_folder.with_name("elsewhere"))
    after = shown(desk.show_results(*choice))
    assert after["matrix"] == before["matrix"]
    assert "no longer in their place" in text(after["scores"])
    assert "<img" not in after["gallery"]
    said = desk.explain_image(*choice, event(index=0))
    assert "The file does not exist" in text(said)
    assert str(tiny_folder) not in said, "where it was is nobody's business"


def test_a_list_of_names_that_cannot_be_read_is_told(desk: InspectActions, run: Run) -> None:
    choice, _ = evaluated(desk, run)
    (run.path / "labels.csv").write_text("nothing\n", encoding="utf-8")
    again = evaluated(desk, run)[1]["scores"]
    for said in (again, desk.select_kind(*choice, "hits")[0], shown(desk.show_results(*choice))["scores"]):
        assert "labels.csv" in text(said)


def test_damaged_pictures_are_left_out_and_named(desk: InspectActions, run: Run, tiny_folder: Path) -> None:
    file = next(iter(run.read_json("split.json")["splits"]["train"]["blue"]))
    (tiny_folder / file).write_bytes(b"")
    said = text(evaluated(desk, run)[1]["scores"])
    assert f"not counted: 1 {file} The file is empty." in said


def test_a_new_folder_is_evaluated(desk: InspectActions, run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "green", tmp_path / "new" / "green")
    shutil.copytree(tiny_folder / "blue", tmp_path / "new" / "<sky>")
    _, parts = evaluated(desk, run, FOLDER_CHOICE, str(tmp_path / "new"))
    assert "&lt;sky&gt; (8)" in parts["scores"]
    assert "Pictures 8" in text(parts["scores"])


def test_classes_have_their_names_in_the_pages_language_and_the_tables_their_own(
    desk: InspectActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    (run.path / "labels.csv").write_text("class,zh\nblue,蓝\n", encoding="utf-8")
    choice, parts = evaluated(desk, run)
    assert "蓝" in parts["matrix"]
    file = desk.export_file(*choice, event(file="table"))
    assert file is not None
    table = Path(file).read_text(encoding="utf-8-sig")
    assert "蓝" not in table
    assert len(list(csv.reader(io.StringIO(table)))) == 1 + sum(
        map(len, run.read_json("split.json")["splits"]["train"].values())
    )


def test_a_file_that_is_not_offered_is_not_given(desk: InspectActions, run: Run) -> None:
    choice, _ = evaluated(desk, run)
    assert desk.export_file(*choice, event(file="../config.json")) is None
    made = desk.export_file(*choice, event(file="report"))
    assert made is not None
    assert Path(made).read_text(encoding="utf-8").startswith("<!doctype html>")
