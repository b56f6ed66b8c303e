"""The Runs tab: what a page sees of the runs, and what it may do with them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ftlab.runs import run_notes, run_store, trash
from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.compare import tab as compare_tab
from ftlab.ui.predict.actions import PredictActions
from ftlab.ui.runs import listing
from ftlab.ui.runs.actions import RunsActions
from ftlab.ui.train import visible_runs
from ftlab.ui.train.actions import TrainActions
from tests.support import fabricated_runs, staged_jobs
from tests.support.fabricated_runs import make_with_notes
from tests.support.hostile_text import EVIL
from tests.support.people import ANN, BEN, acting_as, give_to
from tests.support.staged_jobs import Stage

pytestmark = pytest.mark.usefixtures("nothing_scanned")

PARTS = (
    *("totals", "table", "picked"),
    *("said", "form", "title", "notes", "share", "predict", "inspect", "compare", "delete", "restore", "empty", "sure"),
    *("export", "export_status", "export_download", "export_force"),
    *("push", "push_access", "push_repository", "push_start", "push_status"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def tab(tmp_path: Path, root: Path) -> RunsActions:
    return RunsActions(ServerProfile(tmp_path, root))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What toasts said."""
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda message, **_: said.append(message))
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", markup)).strip()


def shown(answer: list[Any]) -> dict[str, Any]:
    return dict(zip(PARTS, answer, strict=True))


def opened(
    tab: RunsActions, picked: object = None, of: str = "runs", search: str = "", store: object = None
) -> dict[str, Any]:
    return shown(tab.open_tab(store or {}, search, "newest", of, picked))


def those(*several: Run) -> dict[str, Any]:
    return {"names": [run.name for run in several]}


def names(table: str) -> list[str]:
    return re.findall(r'<tr data-run="(.*?)"', table)


def seen(part: Any) -> bool:
    return bool(part.visible)


# The table


def test_without_runs_the_next_step_is_told(tab: RunsActions) -> None:
    told = opened(tab)
    assert "Press Start in the Train tab" in text(told["table"])
    assert "0 runs" in text(told["totals"])


def test_every_run_is_listed_with_what_it_takes_on_the_disk(tab: RunsActions, root: Path) -> None:
    run, bare = make_with_notes(root, "First try", "a note\nmore"), make_with_notes(root, mode="full")
    run.best_weights_path.write_bytes(b"x" * 7_000_000)
    told = opened(tab)
    assert set(names(told["table"])) == {run.name, bare.name}
    assert "Shapes, full" in text(told["table"]), "what has no title is named by images and mode"
    for said in ("First try", "a note", "Shapes", "EfficientNet-Lite0", "frozen", "93.8 %", "finished", "7.0 MB"):
        assert said in text(told["table"])
    assert "more" not in text(told["table"])
    assert "2 runs, 7.0 MB" in text(told["totals"])
    assert "The bin is empty" in text(told["totals"])


def test_a_search_leaves_those_in_which_all_words_stand(tab: RunsActions, root: Path) -> None:
    run, _ = make_with_notes(root, "Käfer"), make_with_notes(root, "Wespe")
    told = opened(tab, search="KAFER")
    assert names(told["table"]) == [run.name]
    assert "1 of 2 match" in text(told["totals"])
    assert "No run contains all of these words" in text(opened(tab, search="kafer wespe")["table"])


def test_more_than_a_screen_of_them_is_shown_on_demand(
    tab: RunsActions, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS_PER_PAGE", 2)
    for _ in range(5):
        make_with_notes(root)
    told = opened(tab)
    assert len(names(told["table"])) == 2
    assert "Show 2 more" in text(told["table"])
    told = press(tab, told["picked"], more=True)
    assert len(names(told["table"])) == 4
    assert "Show 1 more" in text(told["table"])
    assert len(names(press(tab, told["picked"], more=True)["table"])) == 5


def press(tab: RunsActions, picked: object, of: str = "runs", store: object = None, **data: object) -> dict[str, Any]:
    event: Any = SimpleNamespace(_data=data)
    return shown(tab.handle_press(store or {}, "", "newest", of, picked, event))


def test_what_a_person_writes_is_text_wherever_it_is_shown(tab: RunsActions, root: Path) -> None:
    run, other = make_with_notes(root, EVIL[:80], EVIL), make_with_notes(root, EVIL[:80])
    for told in (opened(tab, those(run)), opened(tab, those(run, other)), opened(tab, of="bin")):
        assert all(
            "<img" not in part for part in told.values() if isinstance(part, str) and part not in (EVIL, EVIL[:80])
        )
    assert "&lt;img" in opened(tab)["table"]


# What is picked


def test_a_press_picks_one_and_a_tick_adds(tab: RunsActions, root: Path) -> None:
    one, two = make_with_notes(root, "One"), make_with_notes(root, "Two")
    told = press(tab, {}, run=one.name)
    assert (told["title"], seen(told["form"]), seen(told["delete"]), seen(told["compare"])) == (
        "One",
        True,
        True,
        False,
    )
    told = press(tab, told["picked"], run=two.name, add=True)
    assert "2 runs selected" in text(told["said"])
    assert (seen(told["form"]), seen(told["compare"])) == (False, True)
    told = press(tab, told["picked"], run=one.name, add=False)
    assert (told["title"], told["picked"]["names"]) == ("Two", [two.name])


def test_only_a_run_with_a_model_can_be_tried(tab: RunsActions, root: Path) -> None:
    run = make_with_notes(root)
    assert seen(opened(tab, those(run))["predict"])
    run.best_weights_path.unlink()
    assert not seen(opened(tab, those(run))["predict"])


def test_those_that_left_nothing_are_selected_by_one_press_and_deleted(tab: RunsActions, root: Path) -> None:
    good = make_with_notes(root, "good")
    assert "without a model" not in text(opened(tab)["totals"])
    failed = [fabricated_runs.make(root, [fabricated_runs.ended("failed")]).name for _ in range(2)]
    tab.forget_rows()
    assert "Select the 2 that ended without a model" in text(opened(tab)["totals"])
    assert "without a model" not in text(opened(tab, of="bin")["totals"])
    told = press(tab, {}, useless=True)
    assert sorted(told["picked"]["names"]) == sorted(failed)
    assert seen(told["delete"])
    tab.delete_runs({}, "", "newest", "runs", told["picked"])
    assert run_store.list_run_names(root) == [good.name]


def test_title_and_notes_are_saved_and_every_list_has_them(tab: RunsActions, root: Path, told: list[str]) -> None:
    run = make_with_notes(root)
    answer = tab.save_notes({}, "", "newest", "runs", those(run), "My title", "one\ntwo")
    assert run_notes.read_notes(run) == run_notes.RunNotes("My title", "one\ntwo")
    assert "My title" in text(answer[1])
    assert TrainActions(tab.profile).list_run_choices({})[0][0].startswith("My title · ")
    assert tab.save_notes({}, "", "newest", "runs", those(run), "x" * 81, "") == [gr.skip()] * 4
    assert told[0] == "Saved."
    assert "at most 80" in told[1]
    assert run_notes.read_notes(run).title == "My title"


def test_where_a_run_began_and_who_began_with_it_is_told(tab: RunsActions, root: Path) -> None:
    first = make_with_notes(root, "First")
    later = make_with_notes(root, "Later", init_from=str(first.path))
    assert "1 started from its weights: Later" in text(opened(tab, those(first))["said"])
    assert f"Started from the weights of {first.name}." in text(opened(tab, those(later))["said"])
    trash.discard_runs([first])
    assert "which is in the bin" in text(opened(tab, those(later))["said"])
    trash.empty_trash(root)
    assert "which no longer exists here" in text(opened(tab, those(later))["said"])


def test_a_damaged_run_can_be_looked_at_and_deleted(tab: RunsActions, root: Path) -> None:
    run = make_with_notes(root)
    (run.path / "config.json").write_text("no", encoding="utf-8")
    assert "config.json is missing or damaged" in text(opened(tab, those(run))["said"])
    assert names(shown(tab.delete_runs({}, "", "newest", "runs", those(run)))["table"]) == []


@pytest.mark.parametrize("picked", [None, "x", {"names": 3, "most": "y"}, {"names": ["../../etc", 7]}, {"most": -5}])
def test_what_a_page_makes_up_picks_nothing(tab: RunsActions, root: Path, picked: Any) -> None:
    make_with_notes(root)
    told = opened(tab, picked)
    assert told["picked"] == {"names": [], "most": listing.ROWS_PER_PAGE}
    assert not seen(told["delete"])


# The bin


def test_a_run_is_deleted_and_brought_back(tab: RunsActions, root: Path) -> None:
    run, kept = make_with_notes(root, "Away"), make_with_notes(root, "Stays")
    told = shown(tab.delete_runs({}, "", "newest", "runs", those(run)))
    assert "It is in the bin" in text(told["said"])
    assert names(told["table"]) == [kept.name]
    assert "In the bin: 1" in text(told["totals"])
    told = opened(tab, those(run), of="bin")
    assert names(told["table"]) == [run.name]
    assert (seen(told["form"]), seen(told["restore"]), seen(told["delete"]), seen(told["empty"])) == (
        False,
        True,
        False,
        True,
    )
    told = shown(tab.restore_runs({}, "", "newest", "bin", those(run)))
    assert "Restored runs: 1" in text(told["said"])
    assert set(run_store.list_run_names(root)) == {run.name, kept.name}


def test_a_run_at_work_is_not_deleted(tab: RunsActions, root: Path, stage: Stage) -> None:
    run = stage.start(root)
    staged_jobs.until(lambda: run.read_events()[0])
    told = shown(tab.delete_runs({}, "", "newest", "runs", those(run)))
    assert "Stop it first, then delete it" in text(told["said"])
    assert run_store.list_run_names(root) == [run.name]


def test_emptying_asks_first_and_says_what_is_freed(tab: RunsActions, root: Path) -> None:
    run = make_with_notes(root)
    run.best_weights_path.write_bytes(b"x" * 3_000_000)
    trash.discard_runs([run])
    button, sure, warning = tab.ask_empty_trash({}, "", "newest", "bin", {})
    assert (seen(button), seen(sure)) == (False, True)
    assert "1 run would be gone for good, and 3.0 MB freed" in text(warning)
    assert trash.list_trashed_names(root) == [run.name]
    assert [seen(part) for part in tab.cancel_empty_trash({}, "", "newest", "bin", {})] == [True, False]
    told = shown(tab.empty_trash({}, "", "newest", "bin", {}))
    assert "3.0 MB freed" in text(told["said"])
    assert trash.list_trashed_names(root) == []


def test_a_run_that_is_gone_meanwhile_is_told_in_a_line(tab: RunsActions, root: Path) -> None:
    run = make_with_notes(root)
    picked = opened(tab, those(run))["picked"]
    shutil.rmtree(run.path)
    assert "no longer exists here" in text(press(tab, picked, run=run.name)["said"])
    assert "no longer exists here" in text(shown(tab.delete_runs({}, "", "newest", "runs", picked))["said"])


# Other tabs


def test_a_deleted_run_breaks_no_other_tab(tab: RunsActions, tmp_path: Path, root: Path) -> None:
    run, other = make_with_notes(root), make_with_notes(root)
    trash.discard_runs([run])
    store = {"run": run.name}
    desk = TrainActions(tab.profile)
    assert "That run is in the bin" in text(desk.take_snapshot(store).head_html)
    said = PredictActions(tab.profile).predict(store, run.name, str(tmp_path / "x.png"))[0]
    assert "in the bin" in text(said)
    panel = compare_tab.CompareActions(tab.profile, lambda _: pytest.fail("nothing is started"))
    assert "Nothing to compare yet" in text(panel.render_comparison({}, [run.name, other.name])[0])
    assert panel.list_runs({}, [run.name, other.name])[0].value == [other.name]
    trash.empty_trash(root)
    assert "no longer exists here" in text(desk.take_snapshot(store).head_html)


def test_a_series_that_names_a_deleted_run_is_still_shown(
    tab: RunsActions, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftlab.runs.jobs import series

    run, other = make_with_notes(root), make_with_notes(root)
    at_work = series.TrainingSeries((run.name, other.name), series.SERIES_MODES)
    monkeypatch.setattr(series, "find_active_series", lambda _: at_work)
    trash.discard_runs([run])
    panel = compare_tab.CompareActions(tab.profile, lambda _: pytest.fail("nothing is started"))
    assert panel.list_runs({}, [])[0].value == [other.name]
    chooser, said, _ = panel.refresh_runs({}, [])
    assert chooser.value == [other.name]
    assert "Training 2 of 3" in text(said)
    assert panel.refresh_runs({}, [other.name])[0] == gr.skip()


def test_an_old_run_is_opened_and_compared_though_lists_offer_the_newest(
    tab: RunsActions, root: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visible_runs, "MAX_LISTED_RUNS", 1)
    several = [make_with_notes(root) for _ in range(3)]
    old = min(several, key=lambda run: run.name)
    assert [name for _, name in tab.train_actions.list_run_choices({})] == run_store.list_run_names(root)[:1]
    store, tabs = tab.make_open_handler("predict")({}, those(old))
    assert (store["run"], tabs.selected) == (old.name, "predict")
    assert old.name in tab.train_actions.list_offered_runs(store)
    store, ticks, tabs = tab.compare_runs({}, those(*several))
    assert tabs.selected == "compare"
    assert set(ticks.value) == {name for _, name in ticks.choices} == {run.name for run in several}
    assert tab.make_open_handler("train")({}, {"names": ["gone"]}) == [gr.skip()] * 2
    assert "no run" in told[0]


def test_visitors_of_a_space_see_and_change_their_own_runs_only(root: Path, told: list[str]) -> None:
    space = RunsActions(ServerProfile(None, root, ProfileKind.SPACE))
    mine, other = give_to(make_with_notes(root, "Mine"), ANN), give_to(make_with_notes(root, "Theirs"), BEN)
    store = {"run": other.name}
    with acting_as(ANN):
        seen_now = shown(space.open_tab(store, "", "newest", "runs", those(mine, other)))
        assert names(seen_now["table"]) == [mine.name]
        assert text(seen_now["totals"]) == "Your runs: 1"
        seen_now = shown(space.delete_runs(store, "", "newest", "runs", those(other)))
        assert "no longer exists here" in text(seen_now["said"])
        assert space.save_notes(store, "", "newest", "runs", those(other), "x", "y") == [gr.skip()] * 4
        assert "no run" in told[0]
        assert run_notes.read_notes(other).title == "Theirs"
        trash.discard_runs([other])
        space.delete_runs(store, "", "newest", "runs", those(mine))
        seen_now = shown(space.open_tab(store, "", "newest", "bin", those(mine, other)))
        assert names(seen_now["table"]) == [mine.name]
        space.restore_runs(store, "", "newest", "bin", those(mine, other))
        assert run_store.list_run_names(root) == []
        assert "freed" in text(shown(space.empty_trash(store, "", "newest", "bin", {}))["said"])
    assert trash.list_trashed_names(root) == [other.name], "what others deleted is theirs to restore"


def test_a_shared_run_is_looked_at_by_all_and_changed_by_its_owner_only(root: Path, told: list[str]) -> None:
    space = RunsActions(ServerProfile(None, root, ProfileKind.SPACE))
    run = give_to(make_with_notes(root, "Ann's"), ANN)
    run_notes.write_notes(run, is_shared=True)
    with acting_as(BEN):
        assert names(shown(space.open_tab({}, "", "newest", "runs", {}))["table"]) == [run.name]
        assert space.save_notes({}, "", "newest", "runs", those(run), "Mine now", "") == [gr.skip()] * 4
        assert "somebody else" in told[0]
        assert "somebody else" in text(shown(space.delete_runs({}, "", "newest", "runs", those(run)))["said"])
    assert run_notes.read_notes(run).title == "Ann's"
