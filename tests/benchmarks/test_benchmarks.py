"""Benchmarks without a clock: rows, the page that keeps them, and that programs do what they say on a few pictures."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import __main__ as every
from benchmarks import against, against_maps, drawing, first_point, gpu, growth, photographs, process, row, table
from benchmarks.growth_data import ScanCost, TrainingCost
from benchmarks.row import Measurement
from ftlab.core import machine
from tests.support import drawn_images

PAGE = process.PROJECT_ROOT / "docs" / "benchmarks.md"
IDLE, BUSY = "2026-01-01; a machine; load before under 1", "2026-01-02; a machine; load before under 3"


def figure(what: str, value: float) -> Measurement:
    return Measurement(what, value, 2.0, True, "s", "3 rounds")


def page(*tables: str) -> str:
    text = "\n\n".join(tables)
    return f"# Above\n\n{table.BEGIN_MARKER}\n\n{text}\n\n{table.END_MARKER}\n\nBelow.\n"


def rows(capsys: pytest.CaptureFixture[str]) -> list[Measurement]:
    return [found for line in capsys.readouterr().out.splitlines() if (found := row.parse_measurement(line))]


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Drawn pictures of three colours in `train/` and `val/`."""
    for part in ("train", "val"):
        drawn_images.tiny(tmp_path / "halves" / part)
    return tmp_path / "halves"


def test_a_row_tells_whether_its_figure_keeps_to_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    row.report_at_most("a", 1.5, 2, "s", "once")
    row.report_at_most("b", 2.5, 2, "s", "once")
    row.report_at_least("c", 39.9, 40, "×", "once")
    row.report_at_least("d", 40.0, 40, "×", "once")
    found = rows(capsys)
    assert [one.is_within_bound for one in found] == [True, False, False, True]
    assert [one.markdown for one in found] == [
        "| a | ≤ 2 s | **1.5 s** | once |",
        "| b | ≤ 2 s | **2.5 s** ✗ | once |",
        "| c | ≥ 40 × | **39.9 ×** ✗ | once |",
        "| d | ≥ 40 × | **40 ×** | once |",
    ]


def test_a_row_may_have_no_bound_or_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    row.report_at_least("against another", 0.7, None, "×", "once")
    row.report_at_least("on a GPU", None, 8, "×", "no CUDA device")
    found = rows(capsys)
    assert all(one.is_within_bound for one in found)
    assert [one.markdown for one in found] == [
        "| against another | – | **0.7 ×** | once |",
        "| on a GPU | ≥ 8 × | not measured | no CUDA device |",
    ]


@pytest.mark.parametrize(
    "line", ["", "12 pictures", "[1]", '{"seconds": 3}', '{"row": {"what": "half"}}', '{"row": 3}']
)
def test_other_lines_of_a_program_are_no_rows(line: str) -> None:
    assert row.parse_measurement(line) is None


def test_rows_measured_anew_take_the_place_of_the_old_ones_and_all_others_stay() -> None:
    old = page(table.render_table(IDLE, [figure("a", 1), figure("b", 3), figure("c", 1)]))
    new = table.update_page(old, IDLE, [figure("b", 1.5), figure("d", 1)], replace_all=False)
    assert new == page(table.render_table(IDLE, [figure("a", 1), figure("b", 1.5), figure("c", 1), figure("d", 1)]))


def test_rows_that_another_state_of_the_machine_measured_stand_below_their_own_line() -> None:
    old = page(table.render_table(IDLE, [figure("a", 1), figure("b", 3)]))
    new = table.update_page(old, BUSY, [figure("b", 1.5)], replace_all=False)
    assert new == page(table.render_table(IDLE, [figure("a", 1)]), table.render_table(BUSY, [figure("b", 1.5)]))
    last = table.update_page(new, BUSY, [figure("a", 1.25)], replace_all=False)
    assert last == page(table.render_table(BUSY, [figure("b", 1.5), figure("a", 1.25)])), "a table without rows goes"


def test_two_measurements_share_a_table_where_the_machine_was_about_as_fast() -> None:
    lines = [f"{IDLE}; float32 GEMM {one} GFLOP/s with 1 thread and {both} GFLOP/s with 2 threads"
             for one, both in ((100, 190), (110, 200), (100, 90))]  # fmt: skip
    old = page(table.render_table(lines[0], [figure("a", 1)]))
    assert table.update_page(old, lines[1], [figure("b", 1)], replace_all=False) == page(
        table.render_table(lines[0], [figure("a", 1), figure("b", 1)])
    )
    assert table.update_page(old, lines[2], [figure("b", 1)], replace_all=False) == page(
        table.render_table(lines[0], [figure("a", 1)]), table.render_table(lines[2], [figure("b", 1)])
    )


def test_the_line_above_a_table_tells_the_speed_of_matrix_products() -> None:
    peaks = re.findall(r"(\d+) GFLOP/s with (\d+) thread", table.describe_machine())
    assert [int(count) for _, count in peaks] == sorted({1, machine.count_cpu_cores()})
    assert all(int(peak) > 0 for peak, _ in peaks)


def test_when_all_was_measured_nothing_old_stays() -> None:
    old = page(table.render_table(IDLE, [figure("a", 1)]), table.render_table(BUSY, [figure("no longer measured", 3)]))
    new = table.update_page(old, IDLE, [figure("a", 2)], replace_all=True)
    assert new == page(table.render_table(IDLE, [figure("a", 2)]))


def test_the_page_of_the_project_stays_as_it_is_where_nothing_was_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("| What was compared | Target |") >= 1
    assert table.update_page(text, IDLE, [], replace_all=False) == text


@pytest.fixture
def processes_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine is busy, two threads of a process wait for each other at each small operation."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[Measurement]]:
    """The rows that a program prints, run in this process with so many words."""

    def run(main: Callable[[], int | None], *words: str) -> list[Measurement]:
        monkeypatch.setattr(sys, "argv", ["program", *words])
        assert not main()
        return rows(capsys)

    return run


def test_programs_are_chosen_by_name_and_words_and_only_their_rows_are_written(
    told: Callable[..., list[Measurement]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(every, "RESULTS_PAGE", tmp_path / "page.md")
    before = page(table.render_table(IDLE, [figure("something else", 1)]))
    every.RESULTS_PAGE.write_text(before, encoding="utf-8")
    assert told(every.main, "folder", "--only", "gpu", "growth", "--having", "tuned", "--write") == []
    assert every.RESULTS_PAGE.read_text(encoding="utf-8") == before
    found = told(every.main, "folder", "--only", "gpu", "--having", "FOLDER", "--write")
    after = every.RESULTS_PAGE.read_text(encoding="utf-8")
    assert len(found) == 5
    assert all(one.markdown in after for one in (*found, figure("something else", 1)))


def test_programs_that_need_an_old_commit_are_left_out_by_name_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(every, "PROGRAMS", (("looking", "--against", "WORKTREE"),))
    monkeypatch.setattr(table, "describe_machine", lambda: IDLE)
    monkeypatch.setattr(sys, "argv", ["program", "folder"])
    assert not every.main()
    assert "need --against WORKTREE: looking" in capsys.readouterr().err


def test_without_a_card_nothing_is_measured_and_said_so(
    told: Callable[..., list[Measurement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = told(gpu.main, "no folder is looked at")
    assert [(one.wanted, one.most) for one in found] == [(0.95, False), (8, False), (2, False), (2, False), (15, True)]
    assert {one.figure for one in found} == {None}
    assert all("| not measured |" in one.markdown and "resnet50" in one.what for one in found[:-1])


@pytest.mark.usefixtures("processes_of_one_thread")
def test_ours_and_a_peer_train_the_same_backbone_on_the_same_pictures(
    told: Callable[..., list[Measurement]], halves: Path
) -> None:
    words = ["--mode", "full", "--random", "--backbone", "resnet18", "--batch-size", "8", "--side", "32"]
    (found,) = told(against.main, str(halves), *words, "--peer", "tuned", "--epochs", "1", "--rounds", "1")
    assert found.what == "Full fine-tuning of resnet18, whole process: speed relative to a well-tuned DataLoader loop"
    assert found.wanted is None
    assert found.figure is not None
    assert found.figure > 0
    assert found.seen.endswith("1 epochs, 1 rounds, batches of 8, random weights")


@pytest.mark.usefixtures("processes_of_one_thread")
def test_both_are_timed_until_the_first_epoch_with_an_accuracy_each_in_its_own_way(
    told: Callable[..., list[Measurement]], halves: Path
) -> None:
    words = ["--mode", "full", "--random", "--backbone", "resnet18", "--batch-size", "8", "--side", "32"]
    words += ["--peer", "tuned", "--epochs", "2", "--peer-epochs", "1", "--rounds", "1", "--until", "0"]
    (found,) = told(against.main, str(halves), *words)
    assert found.what.startswith("Full fine-tuning of resnet18, until validation accuracy 0: speed relative to")
    assert found.wanted is None
    assert found.figure is not None
    assert 0 < found.figure < 100


@pytest.mark.usefixtures("processes_of_one_thread")
def test_an_accuracy_that_nobody_reaches_gives_no_figure_and_says_who_failed(
    told: Callable[..., list[Measurement]], halves: Path
) -> None:
    words = ["--mode", "full", "--random", "--backbone", "resnet18", "--batch-size", "8", "--side", "32"]
    words += ["--peer", "tuned", "--epochs", "1", "--rounds", "1", "--until", "1.5"]
    (found,) = told(against.main, str(halves), *words)
    assert found.figure is None
    assert found.seen.startswith("ftlab and a well-tuned DataLoader loop did not reach 1.5; ")


def test_a_peer_whose_package_is_missing_is_a_row_that_tells_what_to_install(
    told: Callable[..., list[Measurement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(against.PEER_PACKAGES, "fastai", ("no_such_module", "fastai==2.8.12"))
    monkeypatch.setitem(against_maps.PEERS, "torchcam", ("torchcam", "no_such_module", "torchcam==0.5.0", None))
    found = [
        *told(against.main, "folder", "--peer", "fastai"),
        *told(against_maps.main, "folder", "--peer", "torchcam"),
    ]
    assert [one.figure for one in found] == [None, None]
    assert [one.seen for one in found] == [
        f"no_such_module is not installed; install it by: pip install {requirement}"
        for requirement in ("fastai==2.8.12", "torchcam==0.5.0")
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--random"],
        ["--compile", "--mode", "full"],
        ["--from-second", "--epochs", "1"],
        ["--compile", "--mode", "full", "--peer", "fastai"],
    ],
    ids=["random weights frozen", "a tutorial that compiles", "no second epoch", "fastai compiled"],
)
def test_comparisons_that_mean_nothing_are_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["against", "folder", *words])
    with pytest.raises(SystemExit):
        against.main()
    assert words[0] in capsys.readouterr().err


@pytest.mark.usefixtures("processes_of_one_thread")
def test_growth_counts_the_memory_of_each_process_and_draws(
    told: Callable[..., list[Measurement]], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = photographs.cut_photographs  # as many as are linked, and not a thousand
    monkeypatch.setattr(
        photographs, "cut_photographs", lambda *words, **named: cut(*words, **named | {"file_count": 200})
    )
    drawing_ = tmp_path / "growth.png"
    words = ["--counts", "200", "--processes", "2", "--draw", str(drawing_)]
    listed, tried, again, memory = told(growth.main, str(tiny_folder), *words)
    assert (listed.what, tried.what) == ("Listing of 200 files", "Verification of 200 files, first time")
    assert again.what == "Verification of 200 files that were verified before"
    assert memory.what.endswith("2 processes together")
    whole, one, other = map(int, re.findall(r"\d+(?= MB)|(?<=\()\d+|\d+(?=\))", memory.seen))
    assert abs(whole - one - other) <= 1
    assert min(one, other) > 300, "torch alone needs more"
    with Image.open(drawing_) as picture:
        assert picture.width > picture.height > 400


def test_the_same_figures_are_drawn_to_the_same_bytes_and_other_ones_to_others(tmp_path: Path) -> None:
    looks = {1000: ScanCost(0.01, 0.2, 0.02, 74), 10_000: ScanCost(0.07, 1.6, 0.2, 74)}
    alone = {1000: TrainingCost(5, 1.5, (979,)), 10_000: TrainingCost(17, 12, (1089,))}
    both = {
        count: TrainingCost(2 * one.seconds, 2 * one.feature_seconds, one.peak_megabytes * 2)
        for count, one in alone.items()
    }
    drawn_ = []
    for trainings in ({1: alone, 2: both}, {1: alone, 2: both}, {1: alone}):
        drawing.draw_growth(looks, trainings, tmp_path / "growth.svg")
        drawn_.append((tmp_path / "growth.svg").read_bytes())
    assert drawn_[0] == drawn_[1] != drawn_[2]


def test_a_program_that_fails_is_named_with_what_it_said() -> None:
    assert process.run_python(["-c", "print('first'); print('{\"a\": 1}')"])[0] == {"a": 1}
    with pytest.raises(RuntimeError, match=r"status 3\n(.|\n)*no such folder"):
        process.run_python(["-c", "import sys; print('no such folder', file=sys.stderr); sys.exit(3)"])


def test_the_first_point_of_a_spare_process_is_measured_against_a_new_one(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["first_point", str(tiny_folder), "--rounds", "1"])
    monkeypatch.setenv("FTLAB_HOME", "")  # restored afterwards
    monkeypatch.setattr(machine, "get_available_memory", lambda: 64 << 30)
    first_point.main()
    (measurement,) = rows(capsys)
    assert (measurement.wanted, measurement.most, measurement.unit) == (first_point.MAX_RATIO, True, "×")
    assert measurement.figure is not None
    assert 0 < measurement.figure < 10
