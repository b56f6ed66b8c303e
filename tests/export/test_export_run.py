"""The export of a run: checked against the trained model, in its place only if it agrees, described beside."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ftlab.cli.main import main
from ftlab.core.errors import ExportError
from ftlab.data.images.decode import ImageArray
from ftlab.evaluation.datasets import load_split_dataset
from ftlab.export import formats, model_card
from ftlab.export.export_run import FailedCheckError, export_run
from ftlab.export.exported_answer import ExportedAnswer
from ftlab.export.formats import FORMATS, ExportFormat, ExportOptions
from ftlab.export.parity import ParityReport
from ftlab.inference.decision_rule import DecisionRule
from ftlab.runs.directory import Run
from tests.support import drawn_images
from tests.support.exported_models import NAMES, make_run, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

ONNX = FORMATS["onnx"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return make_run(folder, tmp_path_factory.mktemp("runs"))


def wrong_format(monkeypatch: pytest.MonkeyPatch, answer: Any) -> ExportFormat:
    """A format whose files answer something else."""

    def write_files(_source: object, folder: Path, _options: ExportOptions) -> None:
        (folder / "model.bin").write_bytes(b"wrong")

    module = SimpleNamespace(write_files=write_files, open_model=lambda _folder: answer)
    monkeypatch.setitem(sys.modules, "wrong_format", cast(ModuleType, module))
    return ExportFormat("wrong", "wrong_format", bound=1e-3)


def always_amber(_pixels: ImageArray) -> ExportedAnswer:
    return ExportedAnswer(np.array([1.0, 0.0, 0.0]))


def no_number(_pixels: ImageArray) -> ExportedAnswer:
    return ExportedAnswer(np.array([np.nan, 0.0, 0.0]))


def test_an_export_is_compared_on_the_validation_images_and_described(run: Run, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    result = export_run(run, ONNX, tmp_path / "out", ExportOptions(), progress=lambda *step: steps.append(step))
    report = result.report
    assert report is not None
    assert report.passed
    assert report.images == steps[-1][0] == steps[-1][1]
    assert report.images == len(load_split_dataset(run, "val").items)
    assert report.same_class == report.images
    assert report.largest_difference <= 5e-3
    assert report.largest_map_difference is not None
    assert min(report.milliseconds, report.own_milliseconds, report.megabytes) > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("model.onnx", "network.onnx", "model.json", "check.json", "README.md"),
    }
    described = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
    assert described["classes"] == list(NAMES)
    assert json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))["check"] == report.to_json()
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "3 classes:** amber, blue, green" in card
    assert f"| Validation pictures compared | {report.images} |" in card


def test_a_zip_has_the_same_files(run: Run, tmp_path: Path) -> None:
    export_run(run, ONNX, tmp_path / "out.zip", ExportOptions())
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert set(packed.namelist()) == {"model.onnx", "network.onnx", "model.json", "check.json", "README.md"}
    assert [path.name for path in tmp_path.iterdir() if path.name != "isolated"] == ["out.zip"]


@pytest.mark.parametrize("answer", [always_amber, no_number])
def test_a_failed_check_writes_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(FailedCheckError, match="not written: it differs from the trained model") as caught:
        export_run(run, wrong_format(monkeypatch, answer), tmp_path / "out", ExportOptions())
    assert not caught.value.report.passed
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name != "isolated"] == []


@pytest.mark.parametrize("class_index", range(len(NAMES)))
def test_a_failed_check_is_plain_json_whichever_class_it_finds(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_index: int
) -> None:
    answer = ExportedAnswer(np.eye(len(NAMES))[class_index])
    with pytest.raises(FailedCheckError) as caught:
        export_run(run, wrong_format(monkeypatch, lambda _pixels: answer), tmp_path / "out", ExportOptions())
    values = json.loads(json.dumps(caught.value.report.to_json()))
    assert values["changed_class"] <= values["images"] - values["same_class"]


def test_forced_files_say_that_their_check_failed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = wrong_format(monkeypatch, always_amber)
    result = export_run(run, wrong, tmp_path / "out", ExportOptions(), force=True)
    assert result.forced
    assert (tmp_path / "out" / "model.bin").read_bytes() == b"wrong"
    assert "## Check: failed" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))["forced"] is True


def test_force_changes_nothing_about_a_good_export(run: Run, tmp_path: Path) -> None:
    assert not export_run(run, ONNX, tmp_path / "out", ExportOptions(), force=True).forced
    assert "## Check: failed" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_without_a_check_the_card_says_so(run: Run, tmp_path: Path) -> None:
    result = export_run(run, ONNX, tmp_path / "out", ExportOptions(), check=False)
    assert result.report is None
    assert "was not compared" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["file.txt", "folder", "packed.zip"])
def test_nothing_is_overwritten(run: Run, tmp_path: Path, name: str) -> None:
    if name == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine", encoding="utf-8")
    else:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="exists already"):
        export_run(run, ONNX, tmp_path / name, ExportOptions())


def test_an_empty_folder_is_filled(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_run(run, ONNX, tmp_path / "out", ExportOptions(), check=False)
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_images_that_are_gone_leave_nothing_to_check_with(tmp_path: Path) -> None:
    folder = drawn_images.tiny(tmp_path / "tiny")
    run = make_run(folder, tmp_path / "runs")
    for path in folder.rglob("*.*"):
        path.unlink()
    with pytest.raises(ExportError, match="--no-check"):
        export_run(run, ONNX, tmp_path / "out", ExportOptions())


def test_a_missing_package_is_named_with_its_command(run: Run, tmp_path: Path) -> None:
    needy = replace(ONNX, name="needy", packages=("no_such_package",), extra="needy")
    with pytest.raises(
        ExportError, match=r"no_such_package, which is not installed.*pip install '(ftlab|\.)\[needy\]'"
    ):
        export_run(run, needy, tmp_path / "out", ExportOptions())


def test_the_command_of_a_missing_package_asks_no_index_for_ftlab(monkeypatch: pytest.MonkeyPatch) -> None:
    needy = replace(ONNX, name="needy", packages=("no_such_package",), extra="needy")

    def find_nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(formats, "distribution", find_nothing)
    assert needy.get_install_command() == "pip install '.[needy]'  # in ftlab's folder"
    monkeypatch.setattr(formats, "distribution", lambda _name: None)
    assert needy.get_install_command() == "pip install 'ftlab[needy]'"


@pytest.mark.parametrize(
    ("name", "options", "check", "message"),
    [
        ("pt2", ExportOptions(half_weights=True), True, "no float16"),
        ("space", ExportOptions(example_count=-1), True, "-1 is no number.*--examples"),
        ("pt2", ExportOptions(int8=True), True, "no int8.*another format: onnx"),
        ("onnx", ExportOptions(half_weights=True, int8=True), True, "--half or --int8"),
        ("onnx", ExportOptions(int8=True), False, "only the comparison says by how much"),
    ],
)
def test_what_a_format_cannot_store_is_refused_before_any_work(
    run: Run, tmp_path: Path, *, name: str, options: ExportOptions, check: bool, message: str
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        export_run(run, FORMATS[name], tmp_path / "out", options, check=check)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("same_class", "is_enough"), [(19, True), (18, False)])
def test_int8_is_refused_where_too_many_images_get_another_class(*, same_class: int, is_enough: bool) -> None:
    asked = ONNX.get_min_agreement(ExportOptions(int8=True))
    report = ParityReport(20, ONNX.get_bound(ExportOptions(int8=True)), 0.2, 0.1, same_class, 0, None, 1, 1)
    assert report.passed
    assert replace(report, min_agreement=asked).passed is is_enough
    assert ("Same most probable class", f"{same_class} / 20 (at least 95%)") in model_card.list_check_rows(
        replace(report, min_agreement=asked)
    )


def test_an_unknown_format_is_told_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match="onnx"):
        formats.get_format("tflite")


# A format that nothing here can run


@pytest.fixture
def read_folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The format `foreign`, whose structure is only read back: the folders that it was read from."""
    folders: list[Path] = []

    def write_files(_source: object, folder: Path, _options: ExportOptions) -> None:
        (folder / "model.bin").write_bytes(b"foreign")

    module = SimpleNamespace(write_files=write_files, open_model=folders.append)
    monkeypatch.setitem(sys.modules, "foreign_format", cast(ModuleType, module))
    monkeypatch.setitem(FORMATS, "foreign", ExportFormat("foreign", "foreign_format", bound=0.0, runs_here=False))
    return folders


@pytest.mark.parametrize("check", [True, False])
def test_what_cannot_run_here_is_read_back_and_says_that_it_was_not_compared(
    run: Run, tmp_path: Path, read_folders: list[Path], *, check: bool
) -> None:
    result = export_run(run, FORMATS["foreign"], tmp_path / "out", ExportOptions(), check=check)
    assert len(read_folders) == check
    assert (result.report, result.forced, result.structure_only) == (None, False, check)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("was **not run here**" in card) == check
    assert ("This export was not compared with the trained model." in card) == (not check)
    values = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert values == {
        **{"format": "foreign", "numbers": "float32"},
        **{"forced": False, "check": None, "structure_only": check},
    }


@pytest.mark.usefixtures("read_folders")
def test_the_command_prints_no_table_for_what_cannot_run_here(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--runs", str(run.path.parent), "--format", "foreign"]
    assert main(["export", run.name, *flags, "--out", str(out := tmp_path / "out")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"foreign written to {out}. It was not run here: only its structure and metadata were read back."
    assert main(["export", run.name, *flags, "--out", str(out := tmp_path / "second"), "--no-check"]) == 0
    assert capsys.readouterr().out == f"foreign written to {out}, not checked.\n"
    assert main(["export", run.name, *flags, "--out", str(out := tmp_path / "third.zip"), "--json"]) == 0
    printed_values = json.loads(capsys.readouterr().out)
    assert printed_values == {"out": str(out), "check": None, "forced": False, "structure_only": True}


# The command


def test_the_command_prints_the_table_of_the_check(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--runs", str(run.path.parent), "--format", "onnx"]
    assert main(["export", run.name, *flags, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "Largest difference of a probability (allowed: 0.005)" in printed
    assert printed.endswith(f"onnx written to {tmp_path / 'out'}.\n")
    assert main(["export", run.name, *flags, "--out", str(tmp_path / "second"), "--half", "--json"]) == 0
    printed_values = json.loads(capsys.readouterr().out)
    assert printed_values["check"]["passed"] is True
    assert printed_values["out"] == str(tmp_path / "second")


def test_the_command_measures_int8_and_says_what_is_asked_of_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--runs", str(run.path.parent), "--format", "onnx", "--out", str(tmp_path / "out")]
    main(["export", run.name, *flags, "--int8", "--json", "--force"])
    check = json.loads(capsys.readouterr().out)["check"]
    assert (check["bound"], check["min_agreement"]) == (0.2, 0.95)
    written = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert (written["numbers"], written["check"]) == ("int8", check)
    assert "exported as `onnx` (int8)" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_the_command_ends_with_status_2_after_a_failed_check(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "wrong", wrong_format(monkeypatch, always_amber))
    flags = ["--runs", str(run.path.parent), "--format", "wrong", "--out", str(tmp_path / "out")]
    assert main(["export", run.name, *flags]) == 2
    told = capsys.readouterr()
    assert "Other class despite a clear lead" in told.out
    assert len(told.err.splitlines()) == 1
    assert "add --force" in told.err


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_export_to_the_same_place_that_was_faster_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out_path = tmp_path / "place" / name

    def answer_late(_pixels: ImageArray) -> ExportedAnswer:
        if name == "out.zip":
            out_path.write_bytes(b"faster")
        else:
            out_path.mkdir(exist_ok=True)
            (out_path / "faster").touch()
        return ExportedAnswer(np.array([1.0, 0.0, 0.0]))

    with pytest.raises(ExportError, match="exists"):
        export_run(run, wrong_format(monkeypatch, answer_late), out_path, ExportOptions(), force=True)
    assert [path.name for path in out_path.parent.iterdir()] == [name]
    assert out_path.read_bytes() == b"faster" if name == "out.zip" else (out_path / "faster").exists()


def test_what_a_killed_export_left_goes_with_the_next_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "place" / f"out.folder.{2**22 + 1}-1.part" / "files").mkdir(parents=True)
    export_run(run, FORMATS["safetensors"], tmp_path / "place" / "out", ExportOptions(), check=False)
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["out"]


@pytest.mark.parametrize(("threshold", "told"), [(0.4, "Unsure:** below a probability of 40.0%"), (0.0, "never")])
def test_the_card_says_below_which_probability_the_model_is_unsure(threshold: float, told: str) -> None:
    source = make_source()
    source.predictor.decision = DecisionRule("", 1.0, threshold, 9, 8)
    assert told in model_card.build_model_card(source, ONNX, None, forced=False)
