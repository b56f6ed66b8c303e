"""Each file of a run, damaged in each way: the run stays in the list, and what cannot be used is said in one line.

The run is the one of `tests/test_old_runs.py`: it has weights, and nothing is trained here.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import FtlabError
from ftlab.data.dataset import catalog
from ftlab.evaluation import datasets
from ftlab.inference import decision_rule, load_model
from ftlab.models import run_checkpoint, weights_file
from ftlab.runs import run_notes, run_table
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Saved
from ftlab.runs.jobs import launch
from ftlab.server.profile import ServerProfile
from ftlab.training import setup
from ftlab.ui.common.run_status import RunWatcher
from ftlab.ui.predict.actions import PredictActions
from ftlab.ui.runs.actions import RunsActions
from ftlab.ui.train.actions import TrainActions
from tests.support import ROOT, fabricated_runs

OLD_RUN = ROOT / "tests" / "support" / "run_of_658560c"
NAME = "20261201-060008-timm.test_efficientnet.r160_in1k-scratch-8c68f533804d"
Damage = Callable[[Path], object]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run with every file, on which no process works."""
    path = tmp_path / "runs" / NAME
    shutil.copytree(OLD_RUN, path)
    log = path / "metrics.jsonl"
    log.write_text(log.read_text("utf-8").replace('"stopped"', '"finished"'), encoding="utf-8")
    run = Run(path)
    run_notes.write_notes(run, title="Mine", notes="two")
    run.liveness.set_owner(2**22 + 1)
    run.liveness.release_ownership()
    run.write_json("process.json", {**run.read_json("process.json"), "told": 0, "code": 0})
    run.log_path.write_text("the end\n", encoding="utf-8")
    checksum = weights_file.read_checksum(run.best_weights_path)
    decision_rule.write_decision(
        run, decision_rule.DecisionRule(checksum, temperature=2.0, threshold=0.1, pictures=9, right=6)
    )
    (run.path / "labels.csv").write_text("class,en\namber,Amber\n", encoding="utf-8")
    return run


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_loop(file: Path) -> None:
    """A file that cannot be opened, whoever asks."""
    file.unlink()
    file.symlink_to(file.name)


DAMAGES: dict[str, Damage] = {
    "gone": Path.unlink,
    "cut": cut,
    "folder": replace_by_folder,
    "loop": replace_by_loop,
    **{
        name: partial(lambda content, file: file.write_bytes(content), content)
        for name, content in {
            **{"empty": b"", "list": b"[1, 2]", "null": b"null", "pairs": b'["ab"]', "object": b"{}"},
            **{"bytes": b"\xff\xfe\x00\x81", "nested": b"[" * 100_000},
        }.items()
    },
}
JSON_FILES = ("config.json", "model.json", "split.json", "about.json", "process.json", "heartbeat", "decision.json")
WEIGHTS_FILES = ("config.json", "model.json", "best.safetensors", "decision.json", "labels.csv")
"""Files of which each may matter to a prediction."""
OTHER_FILES = ("metrics.jsonl", "best.safetensors", "last/state.safetensors", "worker.log", "labels.csv")


def set_value(*path_and_value: Any) -> Damage:
    *path, key, value = path_and_value

    def change(file: Path) -> None:
        content = entry = json.loads(file.read_text("utf-8"))
        for name in path:
            entry = entry[name]
        entry[key] = value
        file.write_text(json.dumps(content), encoding="utf-8")

    return change


def set_event_value(kind: str, key: str, value: object) -> Damage:
    def change(file: Path) -> None:
        events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        lines = [json.dumps({**event, **({key: value} if event["event"] == kind else {})}) for event in events]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return change


WRONG_VALUES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "config.json": (
        *(("config", "text"), ("config", {}), ("config", "epochs", "three"), ("config", "backbone", 7)),
        *(("config", "data", [1]), ("config", "mode", "warm"), ("config", "added_later", 1)),
        *(("resolved", "text"), ("resolved", []), ("resolved", "added_later", 1), ("preprocessing", [])),
    ),
    "model.json": (
        *(("classes", 7), ("classes", [1, 2, 3]), ("row", 7), ("row", "width", "x"), ("row", "source", "other")),
        *(("head", []), ("head", "kind", "x"), ("head", "hidden", "x"), ("names", [1]), ("names", {"a": 3})),
        *(("preprocessing", 3), ("preprocessing", "side", "x"), ("preprocessing", "added_later", 1)),
        *(("preprocessing", "mean", "x"), ("preprocessing", "value_ranges", {"gray16": 5})),
    ),
    "split.json": (
        *(("splits", []), ("splits", "val", 7), ("classes", 7), ("root", 7), ("sizes", "x"), ("problems", [1])),
        *(("splits", "val", {"amber": [1]}), ("splits", "val", {"amber": {"a.png": "x"}})),
    ),
    "decision.json": (
        *(("temperature", "x"), ("temperature", None), ("temperature", 0), ("temperature", float("nan"))),
        *(("threshold", [1]), ("weights", 7), ("pictures", "x"), ("added_later", 1)),
    ),
    "about.json": (("title", 7), ("notes", [1])),
    "process.json": tuple((key, value) for key in ("told", "since", "log", "code") for value in ("x", -1e9)),
    "heartbeat": (("step", "x"), ("memory", float("inf"))),
}
WRONG_EVENT_VALUES: tuple[tuple[str, str, object], ...] = (
    *(("ended", "best_val_accuracy", "high"), ("ended", "reason", 7), ("ended", "reason", "added_later")),
    *(("ended", "seconds", "x"), ("epoch", "val_accuracy", "x"), ("epoch", "epoch", "x"), ("epoch", "step", None)),
    *(("epoch", "time", 1e300), ("epoch", "val_loss", "x"), ("started", "epochs", "x"), ("started", "time", None)),
    *(("step", "step", "x"), ("note", "values", [1])),
)


def check_page(run: Run) -> None:
    """Everything that the page asks of a run in its ticks and lists: an exception there would be invisible."""
    profile = ServerProfile(run.path.parent.parent, run.path.parent)
    (row,) = run_table.load_rows(run.path.parent, [NAME])
    assert row.name == NAME
    outputs = RunsActions(profile).open_tab({}, "", "best", "runs", {"names": [NAME]})
    assert NAME in outputs[1]
    snapshot = RunWatcher(run).take_snapshot()
    assert "Error" not in snapshot.head_html
    assert "cannot be shown" not in snapshot.head_html
    assert [name for _, name in TrainActions(profile).list_run_choices({})] == [NAME]
    PredictActions(profile).list_models({"run": NAME}, NAME, {})


def collect_errors(run: Run, file: str) -> dict[str, str]:
    """What predict, evaluate and resume say, by command; nothing where they work or do not read the file."""
    errors = {}
    # What a scan would find today, were the file of the split gone: an image fewer.
    recorded = catalog.catalog_from_json(json.loads((OLD_RUN / "split.json").read_text("utf-8")))
    other_scan = replace(recorded, splits={**recorded.splits, "train": recorded.splits["train"][1:]})
    resume_split = partial(setup.load_catalog, TrainConfig(), run, Accelerator(cpu=True), other_scan)
    attempts: dict[str, Callable[[], object]] = {
        "predict": lambda: load_model.load_predictor(run) if file in WEIGHTS_FILES else None,
        "evaluate": lambda: (
            load_model.load_predictor(run) if file in WEIGHTS_FILES else None,
            datasets.load_split_dataset(run, "val"),
        ),
        "resume": lambda: (
            run.load_config(),
            run.load_resolved_config(),
            resume_split() if file == "split.json" else None,
            run_checkpoint.load_newest_checkpoint(run, dict) if file.startswith("last/") else None,
        ),
    }
    for command, attempt in attempts.items():
        try:
            attempt()
        except FtlabError as error:
            errors[command] = str(error)
    assert all("\n" not in line and NAME in line for line in errors.values())
    return errors


NEEDED_BY = {
    "config.json": {"resume"},
    "model.json": {"predict", "evaluate"},
    "split.json": {"evaluate", "resume"},
    "best.safetensors": {"predict", "evaluate"},
    "decision.json": {"predict", "evaluate"},
    "labels.csv": {"predict", "evaluate"},
    "last/state.safetensors": {"resume"},
}
NEEDED_IF_THERE = ("decision.json", "labels.csv", "last/state.safetensors")
"""Files that a run may lack."""
REMEDY = r"[Cc]opy .* back from a backup|Restore the original|Save it again|must look like"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [*JSON_FILES, *OTHER_FILES])
def test_a_damaged_file_hides_no_run_and_stops_only_what_needs_it(run: Run, file: str, damage: str) -> None:
    DAMAGES[damage](run.path / file)
    check_page(run)
    errors = collect_errors(run, file)
    is_lacking = damage == "gone" and file in NEEDED_IF_THERE
    # A table that was cut may be a table still; a folder of that name is none.
    if file == "labels.csv" and damage not in ("bytes", "empty"):
        assert set(errors) <= NEEDED_BY[file]
    else:
        assert set(errors) == (set() if is_lacking else NEEDED_BY.get(file, set()))
    assert all(re.search(REMEDY, line) for line in errors.values())


def test_a_split_that_is_gone_is_drawn_again_if_it_comes_out_the_same(run: Run) -> None:
    recorded = catalog.load_run_catalog(run)
    (run.path / "split.json").unlink()
    setup.load_catalog(run.load_config(), run, Accelerator(cpu=True), recorded)
    assert catalog.load_run_catalog(run) == recorded


@pytest.mark.parametrize(
    ("file", "change"), [(file, change) for file, changes in WRONG_VALUES.items() for change in changes]
)
def test_a_wrong_value_does_no_more(run: Run, file: str, change: tuple[Any, ...]) -> None:
    set_value(*change)(run.path / file)
    check_page(run)
    assert set(collect_errors(run, file)) <= NEEDED_BY.get(file, set())


@pytest.mark.parametrize("change", WRONG_EVENT_VALUES)
def test_an_event_with_a_wrong_value_is_passed_over(run: Run, change: tuple[str, str, object]) -> None:
    set_event_value(*change)(run.path / "metrics.jsonl")
    check_page(run)


def finish(root: Path, *, is_complete: bool = True) -> Run:
    """A finished run of four epochs, or of two and an early stop, as its process left it."""
    epoch_count = 4 if is_complete else 2
    last_state = Saved(what="last", epoch=epoch_count + 1, step=10 * epoch_count)
    run = fabricated_runs.make(root, [*fabricated_runs.story(epoch_count), last_state])
    run.liveness.set_owner(2**22 + 1)
    run.write_json("process.json", {**run.read_json("process.json"), "told": 0})
    run.liveness.release_ownership()
    run.append_event(fabricated_runs.ended("finished" if is_complete else "early"))
    return run


def cut_log(run: Run, byte_count: int) -> None:
    log = run.path / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-byte_count])


@pytest.mark.parametrize("kept_chars", [1, 10, 17, 40, 50, 56, 100, -1])
def test_a_finished_run_stays_finished_when_its_last_line_is_cut(tmp_path: Path, kept_chars: int) -> None:
    run = finish(tmp_path)
    line = fabricated_runs.ended().to_line()
    cut_log(run, len(line[kept_chars:]) + 1)
    assert run.liveness.get_status() == "finished"
    end_event = run.liveness.read_end_event()
    assert end_event is not None
    assert (end_event.best_epoch, end_event.best_val_accuracy) == (2, 0.9375)
    snapshot = RunWatcher(run).take_snapshot()
    assert (snapshot.status, snapshot.state) == ("finished", "finished")
    with pytest.raises(FtlabError, match="is finished"):
        launch.resume_training(run)


def test_so_does_one_whose_last_line_is_gone_or_that_stopped_early(tmp_path: Path) -> None:
    gone, early = finish(tmp_path), finish(tmp_path, is_complete=False)
    cut_log(gone, len(fabricated_runs.ended().to_line()) + 1)
    cut_log(early, 100)
    assert not isinstance(gone.read_last_event(), Ended)
    assert [run.liveness.get_status() for run in (gone, early)] == ["finished", "finished"]


def test_one_that_was_killed_before_its_end_can_still_be_resumed(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story(epochs=3))
    run.liveness.set_owner(2**22 + 1)
    assert run.liveness.get_status() == "died"
    cut_log(run, 20)
    assert run.liveness.get_status() == "died"


def test_a_run_whose_best_weights_are_gone_says_so_everywhere(
    run: Run, say: Callable[..., tuple[int, str, str]]
) -> None:
    root = run.path.parent
    run.best_weights_path.unlink()
    for command in (("predict", NAME, root / "no.png"), ("evaluate", NAME)):
        status, _, log = say(*command, "--runs", root)
        assert status == 2
        assert "best.safetensors, are gone" in log
        assert "backup" in log
        assert log.count("\n") == 1
    status, output, log = say("runs", "--json", "--runs", root)
    assert status == 0
    assert "best.safetensors" in json.loads(output)["problem"]
    assert "best.safetensors" in log
    panel = str(RunsActions(ServerProfile(root.parent, root)).open_tab({}, "", "newest", "runs", {"names": [NAME]})[3])
    assert "are gone" in panel
    snapshot = RunWatcher(run).take_snapshot()
    assert "are gone" in snapshot.head_html
    assert "Try it in Predict" not in snapshot.head_html
    assert not snapshot.has_model


def test_a_run_that_has_no_weights_yet_is_not_said_to_have_lost_them(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, [fabricated_runs.started()])
    with pytest.raises(FtlabError, match="no saved weights yet"):
        load_model.load_predictor(run)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_command_line_lists_a_run_without_its_configuration(
    run: Run, say: Callable[..., tuple[int, str, str]], damage: str
) -> None:
    DAMAGES[damage](run.path / "config.json")
    status, output, log = say("runs", "--runs", run.path.parent)
    assert status == 0
    assert NAME in output
    assert "33.3%" in output
    assert log.count("\n") == 1
    assert "config.json is missing or damaged. Copy it back" in log


def test_a_setting_of_a_newer_version_is_named_with_a_remedy(
    run: Run, say: Callable[..., tuple[int, str, str]]
) -> None:
    set_value("config", "added_later", 1)(run.path / "config.json")
    status, output, log = say("runs", "--runs", run.path.parent)
    assert status == 0
    assert "finished" in output
    assert '"added_later"' in log
    assert "update ftlab" in log
    log_path = run.path / "metrics.jsonl"
    log_path.write_text(log_path.read_text("utf-8").replace('"finished"', '"stopped"'), encoding="utf-8")
    with pytest.raises(FtlabError, match="update ftlab"):
        launch.resume_training(run)
