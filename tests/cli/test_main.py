"""The command line: what each command prints, and how a mistake is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ftlab.cli import main
from ftlab.cli.parsing import config_flags
from ftlab.config import backbones
from ftlab.core import machine
from ftlab.inference import decision_rule, faithfulness, network_answers
from ftlab.inference.load_model import load_predictor
from ftlab.inference.predictor import Predictor
from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.cluster import address
from ftlab.runs.jobs import launch
from tests.support import drawn_images, fabricated_runs, staged_jobs
from tests.support.json_lines import lines
from tests.support.staged_jobs import DEAF, Stage

FTLAB = [sys.executable, "-m", "ftlab"]
SMALL = ["--image-size", "96", "--resize", "96", "--torch-num-threads", "1"]
"""A fifth of the pixels: colours are told apart in it, and each command takes a fifth of the time."""

pytestmark = pytest.mark.usefixtures("one_thread")


# One training, by a process of its own, for all that follows


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of the runs, and what the training of the only one in it said."""
    root = tmp_path_factory.mktemp("trained") / "runs"
    command = [
        *FTLAB,
        "train",
        "--data",
        str(pictures),
        "--epochs",
        "12",
        *SMALL,
        "--runs",
        str(root),
        "--json",
    ]
    return root, subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def root(trained: tuple[Path, object]) -> Path:
    return trained[0]


def test_a_training_says_its_end_on_standard_output_and_its_way_on_standard_error(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, done = trained
    assert done.returncode == 0, done.stderr
    (end,) = lines(done.stdout)
    run = run_store.find_run(root, "latest")
    assert (end["run"], end["path"]) == (run.name, str(run.path))
    assert (end["reason"], end["epoch"], end["message"]) == ("finished", 12, None)
    assert end["best_val_accuracy"] >= 2 / 3
    assert end["best_epoch"] >= 1
    assert end["seconds"] > 0
    told = done.stderr.splitlines()
    assert len([line for line in told if line.startswith("Epoch")]) == 13
    assert str(run.path) in told[0]
    assert "warn" not in done.stderr.lower()
    assert run.liveness.get_status() == "finished"
    assert not (run.path / "pid").exists()


@pytest.mark.parametrize(("split", "count"), [("train", 18), ("val", 3), ("test", 3)])
def test_evaluate(say: Any, root: Path, split: str, count: int) -> None:
    status, out, err = say("evaluate", "latest", "--split", split, "--runs", root, "--json")
    assert (status, err) == (0, "")
    (score,) = lines(out)
    assert (score["pictures"], score["which"], score["n"], score["skipped"]) == (split, "best", count, [])
    assert 2 / 3 <= score["top1"] <= score["top5"] == 1
    low, high = score["top1_interval"]
    assert low < score["top1"] <= high
    best = run_store.find_run(root, "latest").load_history().best_epoch
    assert best is not None
    if split == "val":
        assert score["top1"] == best.val_accuracy
        assert score["loss"] == pytest.approx(best.val_loss, rel=1e-3)  # folded, its convolutions round otherwise
    status, out, _ = say("evaluate", "latest", "--split", split, "--runs", root)
    assert f"{count} pictures" in out
    assert "95 % interval" in out
    assert "top-5" not in out, "with three classes it says nothing"


def test_evaluate_tells_of_best_and_last_and_writes_the_files_of_each(say: Any, root: Path, tmp_path: Path) -> None:
    status, out, err = say("evaluate", "latest", "--which", "both", "--out", tmp_path / "out", "--runs", root, "--json")
    assert (status, err) == (0, "")
    assert [(line["which"], line["out"]) for line in lines(out)] == [
        (which, str(tmp_path / "out" / f"test-{which}")) for which in ("best", "last")
    ]
    for which in ("best", "last"):
        names = {file.name for file in (tmp_path / "out" / f"test-{which}").iterdir()}
        assert {"report.html", "pictures.csv", "confusion.png", "reliability.png"} <= names


def test_evaluate_takes_a_new_folder_and_tells_what_is_left_out(
    say: Any, root: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "blue", tmp_path / "new" / "blue")
    shutil.copytree(pictures / "green", tmp_path / "new" / "moss")
    (tmp_path / "new" / "blue" / "blue_1.jpg").write_bytes(b"")
    (tmp_path / "new" / "blue" / "film.mov").write_bytes(b"x")
    status, out, err = say("evaluate", "latest", "--folder", tmp_path / "new", "--runs", root)
    assert ".mov 1" in err
    assert status == 0
    assert "7 pictures" in out
    assert "blue/blue_1.jpg: The file is empty." in out
    assert "moss (8)" in out


def test_predict_marks_what_the_model_is_unsure_of_and_rejects_it_if_asked_to(
    say: Any, root: Path, pictures: Path
) -> None:
    run, file = run_store.find_run(root, "latest"), pictures / "blue" / "blue_1.jpg"
    kept = run.path / decision_rule.DECISION_FILENAME
    before = kept.read_bytes() if kept.exists() else None
    try:
        for threshold, none in ((0.0, False), (1.1, True)):
            decision_rule.write_decision(
                run,
                decision_rule.DecisionRule(weights_file.read_checksum(run.best_weights_path), 1.0, threshold, 50, 40),
            )
            os.utime(kept, ns=(1, 1 + round(threshold)))
            (told,) = lines(say("predict", "latest", file, "--runs", root, "--json")[1])
            assert told["none_of_these"] is none
            for flags, mark in (((), "\tunsure (below 110.0 %)"), (("--reject",), "\tnone of these")):
                out = say("predict", "latest", file, "--runs", root, *flags)[1]
                assert out.rstrip().endswith(mark) is none
                assert "blue" in out
    finally:
        kept.unlink()
        if before is not None:
            kept.write_bytes(before)


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "latest", "gone.jpg"),
        ("explain", "latest", "gone.jpg", "--out", "a.png"),
        ("evaluate", "latest", "--folder", "gone"),
    ],
)
def test_what_does_not_exist_is_told_before_torch_is_loaded(root: Path, command: tuple[str, ...]) -> None:
    program = "import sys; from ftlab.cli.main import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    words = [sys.executable, "-c", program, *command, "--runs", str(root)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["2", "False"]
    assert "gone" in done.stderr


def test_predict_prints_a_line_a_file(say: Any, root: Path, pictures: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    status, out, err = say(
        "predict", "latest", pictures / "blue", bad, pictures / "green" / "green_0.png", "--runs", root, "--json"
    )
    told = lines(out)
    assert status == 0
    assert [line["file"] for line in told] == [
        *(str(p) for p in sorted((pictures / "blue").iterdir())),
        str(pictures / "green" / "green_0.png"),
    ]
    for line in told:
        assert {"file", "top"} <= line.keys()
        assert [one.keys() for one in line["top"]] == [{"class", "probability"}] * 3
        assert sum(one["probability"] for one in line["top"]) == pytest.approx(1)
    right = [line["top"][0]["class"] == Path(line["file"]).parent.name for line in told]
    assert sum(right) >= 7
    assert len(err.splitlines()) == 1
    assert err.startswith(f"ftlab: {bad}: The content is not a picture")

    status, out, _ = say("predict", "latest", pictures / "blue", "--runs", root, "--top", 1)
    assert status == 0
    assert all(row.count("\t") == 1 and "blue" in row for row in out.splitlines())


def test_predict_on_a_cluster_keeps_what_ray_prints_out_of_the_answers(
    say: Any, root: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftlab.inference import batch_predict
    from ftlab.inference.cluster import cluster_predict

    def predict_files(run: Any, files: list[Path], k: int) -> Iterator[Any]:
        for answer in batch_predict.predict_files(load_predictor(run), files, k):
            print("(raylet) Raylet is terminated.")
            yield answer

    monkeypatch.setattr(address, "find_spec", lambda _name: object())
    monkeypatch.delenv(address.CLUSTER_ENV, raising=False)
    monkeypatch.setattr(cluster_predict, "predict_files", predict_files)
    words = ("predict", "latest", pictures / "blue", "--runs", root, "--top", 1)
    status, out, err = say(*words, "--cluster", "auto")
    assert (status, out) == say(*words)[:2]
    assert "Raylet is terminated" in err


def test_predict_on_a_cluster_refuses_shards(
    say: Any, root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "find_spec", lambda _name: object())
    monkeypatch.delenv(address.CLUSTER_ENV, raising=False)
    assert say("shard", pictures, tmp_path / "shards")[0] == 0
    status, out, err = say("predict", "latest", tmp_path / "shards", "--runs", root, "--cluster", "auto")
    assert (status, out) == (2, "")
    assert err.endswith("Leave --cluster out for shards.\n")


def test_predict_from_elsewhere_names_the_command_that_submits_it(
    say: Any, root: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "find_spec", lambda _name: object())
    monkeypatch.delenv(address.CLUSTER_ENV, raising=False)
    status, out, err = say("predict", "latest", pictures, "--runs", root, "--cluster", "http://head:8265")
    assert (status, out) == (2, "")
    assert "ray job submit --address http://head:8265 -- python -m ftlab predict" in err


@pytest.mark.usefixtures("faulty_decoder")
def test_predict_goes_on_where_a_file_makes_the_decoder_crash(
    say: Any, root: Path, pictures: Path, tmp_path: Path
) -> None:
    crashing = shutil.copy(pictures / "blue" / "blue_1.jpg", tmp_path / "aborts.jpg")
    status, out, err = say("predict", "latest", crashing, pictures / "blue" / "blue_0.png", "--runs", root, "--json")
    assert status == 0
    assert [line["file"] for line in lines(out)] == [str(pictures / "blue" / "blue_0.png")]
    assert len(err.splitlines()) == 1
    assert err.startswith(f"ftlab: {crashing}: It made the image decoder crash.")
    status, out, err = say("explain", "latest", crashing, "--out", tmp_path / "x.png", "--runs", root)
    assert (status, out) == (2, "")
    assert "It made the image decoder crash." in err


def test_predict_with_nothing_but_bad_files_is_a_mistake(say: Any, root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    assert say("predict", "latest", tmp_path / "bad.jpg", "--runs", root)[:2] == (2, "")
    assert say("explain", "latest", tmp_path / "bad.jpg", "--out", "x.png", "--runs", root)[:2] == (2, "")


def test_the_untrained_default_predicts_too(say: Any, pictures: Path) -> None:
    status, out, _ = say("predict", "default", pictures / "blue" / "blue_0.png", "--json")
    assert status == 0
    assert len(lines(out)[0]["top"]) == 5


def test_explain_writes_a_figure(say: Any, root: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "figure.png"
    file = pictures / "blue" / "blue_1.jpg"
    status, told, err = say("explain", "latest", file, "--class", "green", "--out", out, "--runs", root, "--json")
    assert (status, err) == (0, "")
    (line,) = lines(told)
    assert (line["file"], line["class"], line["out"]) == (str(file), "green", str(out))
    assert isinstance(line["evidence"], bool)
    with Image.open(out) as figure:
        assert figure.size == (1440, 432)
        assert len(np.unique(np.asarray(figure))) > 50


def test_explain_tells_what_is_asked_beyond_the_map(
    say: Any, root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faithfulness, "MASK_STEPS", 4)  # what is told is the same after fewer
    file, out = min((pictures / "green").iterdir()), tmp_path / "green.png"
    more = ("--method", "layer_cam", "--layer", "blocks.3", "--before", "--score")
    given = ("explain", "latest", file, "--class", "green", "--out", out, "--runs", root, *more)
    status, told, _ = say(*given, "--json")
    assert status == 0
    (line,) = lines(told)
    assert (line["method"], line["layer"], line["class"]) == ("layer_cam", "blocks.3", "green")
    assert line["before"] == {"kind": "same"}  # the run is frozen
    assert line["score"] is None or line["score"]["shuffles"] == 9
    status, told, _ = say(*given)
    assert status == 0
    assert "The backbone was frozen" in told
    assert ("The map means something" in told) or ("no better than a random one" in told) or ("nothing to test" in told)


def test_explain_sets_two_models_side_by_side(say: Any, root: Path, pictures: Path, tmp_path: Path) -> None:
    file, out = pictures / "blue" / "blue_1.jpg", tmp_path / "both.png"
    given = ("explain", "latest", file, "--against", "default", "--out", out, "--runs", root)
    status, told, err = say(*given, "--json")
    assert (status, err) == (0, "")
    (line,) = lines(told)
    assert (line["agree"], line["class"], line["out"]) == (False, "blue", str(out))
    trained, untrained = line["models"]
    assert (len(trained["top"]), len(untrained["top"])) == (3, 5)
    assert untrained["class"] == untrained["top"][0]["class"]
    with Image.open(out) as figure:
        assert figure.size == (1440, 792)
        assert len(np.unique(np.asarray(figure))) > 50
    assert "They have no class in common: the first says blue" in say(*given)[1]


def test_explain_many_into_a_folder_without_losing_any(say: Any, root: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(pictures / "blue" / "blue_1.jpg", tmp_path / "in" / name / "same.jpg")
    for out, folder in (("folder", "folder"), ("folder.png", "folder"), ("v1.2", "v1.2")):
        status, told, _ = say(
            "explain", "latest", tmp_path / "in", "--class", "blue", "--out", tmp_path / out, "--runs", root
        )
        assert status == 0
        assert told.splitlines()[2] == f"All of them, to be sorted in a browser: {tmp_path / folder / 'index.html'}"
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == ["index.html", "same-2-blue.jpg", "same-blue.jpg"]


def test_explain_writes_a_page_of_many_with_their_classes_by_folder(
    say: Any, root: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "green").mkdir(parents=True)
    for name in ("a.jpg", "green/b.jpg"):
        shutil.copy(pictures / "blue" / "blue_1.jpg", tmp_path / "in" / name)
    given = ("explain", "latest", tmp_path / "in", "--out", tmp_path / "out", "--runs", root, "--json")
    status, told, _ = say(*given)
    assert status == 0
    assert [Path(line["out"]).name for line in lines(told)] == ["a-blue.jpg", "b-blue.jpg"]  # a line for each picture
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    first, second = json.loads(page.split('id="pictures">')[1].split("</script>")[0])
    assert (first["overlay"], first["source"], first["truth"], first["mistake"]) == (
        "a-blue.jpg",
        "../in/a.jpg",
        "",
        False,
    )
    assert (second["source"], second["truth"], second["mistake"]) == ("../in/green/b.jpg", "green", True)
    assert first["scores"][0][0] == "blue"
    assert sum(value for _, value in first["scores"]) == pytest.approx(1, abs=1e-4)
    with Image.open(tmp_path / "out" / "a-blue.jpg") as overlay:
        assert overlay.size == (first["width"], first["height"])


def test_explain_writes_figures_of_many_where_they_are_asked_for(
    say: Any, root: Path, pictures: Path, tmp_path: Path
) -> None:
    files = sorted((pictures / "blue").iterdir())[:2]
    for number, more in enumerate((["--figures"], ["--before"])):
        assert say("explain", "latest", *files, "--out", tmp_path / str(number), "--runs", root, *more)[0] == 0
        figures = sorted((tmp_path / str(number)).iterdir())
        assert [figure.name for figure in figures] == [f"{file.stem}-blue.png" for file in files]
        with Image.open(figures[0]) as figure:
            assert figure.size == (1440, 432)


def test_an_interrupted_explain_leaves_a_page_of_what_is_there(
    say: Any, root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((pictures / "blue").iterdir())[:3]
    predict_and_explain = Predictor.predict_and_explain

    def interrupt(model: Predictor, file: Path, *arguments: Any, **options: Any) -> Any:
        if file == files[2]:
            raise KeyboardInterrupt
        return predict_and_explain(model, file, *arguments, **options)

    monkeypatch.setattr(Predictor, "predict_and_explain", interrupt)
    with suppress(KeyboardInterrupt):
        say("explain", "latest", *files, "--out", tmp_path / "out", "--runs", root)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert [files[0].name in page, files[1].name in page, files[2].name in page] == [True, True, False]


def test_explain_gives_many_on_all_cores_in_order_and_goes_on_after_a_bad_one(
    say: Any, root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, file in enumerate(sorted(pictures.glob("*/*"))[:5]):
        shutil.copy(file, tmp_path / f"{number}{file.suffix}")
    (tmp_path / "2b.jpg").write_bytes(b"not a picture")
    monkeypatch.setattr(Predictor, "prepare_graph", lambda _: None)  # another engine has other last digits
    given = ("explain", "latest", *sorted(tmp_path.iterdir()), "--runs", root, "--json")
    told = {}
    for threshold, name in ((100, "one"), (3, "threads")):
        monkeypatch.setattr(network_answers, "MIN_GRAPH_IMAGES", threshold)
        status, out, err = say(*given, "--out", tmp_path / name)
        assert status == 0
        assert err.startswith(f"ftlab: {tmp_path / '2b.jpg'}: ")
        assert len(err.splitlines()) == 1
        told[name] = out.replace(str(tmp_path / name), "")
    assert told["one"] == told["threads"]
    assert [Path(line["file"]).stem for line in lines(told["one"])] == ["0", "1", "2", "3", "4"]
    figures = sorted(path.name for path in (tmp_path / "one").glob("*.jpg"))
    assert len(figures) == 5
    assert figures == sorted(path.name for path in (tmp_path / "threads").glob("*.jpg"))
    for figure in figures:
        with Image.open(tmp_path / "one" / figure) as one, Image.open(tmp_path / "threads" / figure) as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))


def test_explain_writes_overlays_alone(say: Any, root: Path, pictures: Path, tmp_path: Path) -> None:
    file = pictures / "blue" / "blue_1.jpg"
    given = ("explain", "latest", file, "--class", "green", "--runs", root, "--overlays")
    assert say(*given, "--out", tmp_path / "folder")[0] == 0
    assert say(*given, "--out", tmp_path / "one.png", "--opacity", "0")[0] == 0
    with (
        Image.open(file) as picture,
        Image.open(tmp_path / "folder" / "blue_1-green.jpg") as overlay,
        Image.open(tmp_path / "one.png") as plain,
    ):
        assert overlay.size == picture.size
        assert np.array_equal(np.asarray(plain), np.asarray(picture.convert("RGB")))


def test_explain_builds_a_graph_for_many_and_never_for_one(
    say: Any, root: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Predictor, "prepare_graph", lambda model: asked.append(model.title))
    monkeypatch.setattr(network_answers, "MIN_GRAPH_IMAGES", 3)
    for count, builds in ((1, 0), (2, 0), (3, 1)):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            shutil.copy(pictures / "blue" / "blue_1.jpg", folder / f"{number}.jpg")
        assert say("explain", "latest", folder, "--out", tmp_path / "out", "--runs", root)[0] == 0
        assert len(asked) == builds


def test_runs_lists_the_newest_first_and_a_damaged_one_hides_no_other(say: Any, root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    damaged = copy / "20990101-000000-resnet18-full-00000000000a"
    damaged.mkdir()
    fabricated_runs.make(copy, fabricated_runs.story(), mode="full")
    status, out, err = say("runs", "--runs", copy, "--json")
    assert status == 0
    unreadable, newest, trained = lines(out)
    assert (unreadable["run"], unreadable["status"], unreadable["backbone"]) == (damaged.name, "unreadable", "resnet18")
    assert unreadable["problem"].startswith(f"Run {damaged.name}: config.json is missing or damaged.")
    assert (newest["mode"], newest["data"], newest["best_val_accuracy"]) == ("full", "shapes", 0.9375)
    assert (trained["status"], trained["backbone"], trained["mode"]) == (
        "finished",
        backbones.DEFAULT_BACKBONE,
        "frozen",
    )
    assert trained["best_val_accuracy"] >= 2 / 3
    assert {"run", "status", "backbone", "mode", "data", "best_epoch", "best_val_accuracy", "cause"} <= trained.keys()
    assert (trained["cause"], newest["status"]) == (None, "died")
    assert "the cause is unknown" in newest["cause"]
    assert damaged.name in err
    assert len(err.splitlines()) == 1
    table = say("runs", "--runs", copy)[1]
    assert trained["run"] in table
    assert "died: Ended without a message" in table
    assert "No runs" in say("runs", "--runs", tmp_path / "none")[1]
    assert say("runs", "--runs", tmp_path / "none", "--json")[:2] == (0, "")


def test_a_run_that_does_not_listen_is_ended_now(
    say: Any, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 0.3)
    run = stage.start(tmp_path, DEAF)
    staged_jobs.until(lambda: run.read_events()[0])
    later = machine.read_awake_clock() + 200
    monkeypatch.setattr(machine, "read_awake_clock", lambda: later)
    assert lines(say("runs", "--runs", tmp_path, "--json")[1])[0]["status"] == "hanging"
    assert "still training" in say("resume", "latest", "--runs", tmp_path)[2]
    status, out, _ = say("stop", "latest", "--runs", tmp_path)
    assert status == 0
    assert re.search(r"no sign of life for \d+ s\. If it does not stop, add --now", out)
    status, out, _ = say("stop", "latest", "--runs", tmp_path, "--now")
    assert (status, "was ended" in out) == (0, True)
    assert run.liveness.get_status() == "stopped"
    status, _, err = say("stop", "latest", "--runs", tmp_path, "--now")
    assert (status, "nothing to stop" in err) == (2, True)


def until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stop_and_resume(say: Any, pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    long = [
        *FTLAB,
        "train",
        "--data",
        str(pictures),
        "--epochs",
        "10000",
        *SMALL,
        "--runs",
        str(root),
        "--json",
    ]
    with subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(
            lambda: run_store.list_run_names(root) and run_store.find_run(root, "latest").load_history().steps, process
        )
        run = run_store.find_run(root, "latest")
        assert lines(say("runs", "--runs", root, "--json")[1])[0]["status"] == "running"
        status, _, err = say("resume", "latest", "--runs", root)
        assert (status, "still training" in err) == (2, True)
        status, out, _ = say("stop", "latest", "--runs", root, "--json")
        assert (status, lines(out)) == (0, [{"run": run.name, "stop": "asked"}])
        out, err = process.communicate()
        assert process.returncode == 0, err
    (end,) = lines(out)
    assert end["reason"] == "stopped"
    assert 0 < run.load_history().steps_done < 50_000
    assert run.liveness.get_status() == "stopped"

    reached = run.load_history().steps_done
    again = [*FTLAB, "resume", run.name, "--runs", str(root), "--json"]
    with subprocess.Popen(again, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: run.load_history().steps_done > reached, process)
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)  # as Ctrl+C does
        out, err = process.communicate()
        assert process.returncode == (0 if os.name == "nt" else 130), err
    assert lines(out)[0]["reason"] == "stopped"
    assert f"Resuming from step {reached}" in err
    assert "Traceback" not in err
    epochs = [epoch.epoch for epoch in run.load_history().epochs]
    assert epochs == list(range(len(epochs)))


def test_a_runs_own_file_repeats_it(root: Path) -> None:
    run = run_store.find_run(root, "latest")
    assert (
        config_flags.build_config(main.build_parser().parse_args(["train", "--config", str(run.path / "config.json")]))
        == run.load_config()
    )


# Mistakes


MISTAKES = [
    ("train --backbone resnet19 --data TINY", "resnet19"),
    ("train --mode froze --data TINY", "frozen, full, scratch"),
    ("train --data TINY/none", "TINY/none"),
    ("train --data TINY/amber/amber_0.png", "is a file"),
    ("train --data TINY --epochs 0", "--epochs is 0"),
    ("train --data TINY --epochs many", "--epochs"),
    ("train --data TINY --learning-rate nan", "--learning-rate"),
    ("train --data TINY --sample shapes", "not both"),
    ("train --data TINY --val-share 0.5 --test-share 0.5", "too few pictures"),
    ("train --data TINY --colour red", "--colour"),
    ("train --data TINY --config none.json", "none.json"),
    ("train", "--data DIR"),
    ("scan TINY/none", "TINY/none"),
    ("scan TINY --val-share nan", "--val-share"),
    ("scan TINY --val-share 0.5 --test-share 0.5", "too few pictures"),
    ("scan", "DIR"),
    ("resume 2020", "2020"),
    ("resume latest", "finished"),
    ("stop 2020", "2020"),
    ("stop latest", "nothing to stop"),
    ("evaluate 2020", "2020"),
    ("evaluate ../latest", "../latest"),
    ("evaluate latest --split all", "all"),
    ("evaluate latest --which first", "first"),
    ("evaluate latest --folder none", "none"),
    ("evaluate latest --folder EMPTY", "EMPTY"),
    ("predict 2020 TINY", "2020"),
    ("predict latest TINY/none.jpg", "TINY/none.jpg"),
    ("predict latest EMPTY", "EMPTY"),
    ("predict latest TINY --top 0", "--top is 0"),
    ("predict latest TINY --cluster ray://head:10001", "http://head:8265"),
    ("explain latest TINY --class grey --out x.png", "amber, blue, green"),
    ("explain latest TINY --against latest --class grey --out x.png", "amber, blue, green"),
    ("explain latest TINY --against 2020 --out x.png", "2020"),
    ("explain latest TINY --against latest --before --out x.png", "--before"),
    ("explain latest TINY --opacity 60 --out x.png", "--opacity is 60"),
    ("explain latest TINY/amber/amber_0.png --out x.exe", "x.exe"),
    ("explain latest TINY/amber/amber_0.png --out TINY/amber/amber_0.png/x.png", "x.png"),
    ("explain latest TINY", "--out"),
    ("explain latest TINY --overlays --before --out x", "--overlays"),
    ("explain latest TINY --overlays --figures --out x", "--overlays"),
    ("explain latest TINY/amber/amber_0.png --overlays --out x.pdf", "x.pdf"),
    ("explain latest TINY --layer blocks --out x --method best", "best"),
    ("compare latest", "Choose two to 6"),
    ("compare latest 2020", "2020"),
    ("series", "--data"),
    ("explain latest TINY --layer head --out x", "blocks.5"),
    ("measure --config none.json", "none.json"),
    ("fly", "fly"),
]


@pytest.mark.parametrize(("command", "named"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_with_status_two(
    say: Any, root: Path, pictures: Path, tmp_path: Path, command: str, named: str
) -> None:
    (tmp_path / "empty").mkdir()
    words = [word.replace("TINY", str(pictures)).replace("EMPTY", str(tmp_path / "empty")) for word in command.split()]
    known = command.split(" ")[0] in (
        "train",
        "runs",
        "stop",
        "resume",
        "evaluate",
        "predict",
        "explain",
        "compare",
        "series",
        "compare",
        "series",
    )
    before = sorted(root.iterdir())
    status, out, err = say(*words, *(("--runs", root) if known else ()))
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("ftlab")
    assert named.replace("TINY", str(pictures)).replace("EMPTY", str(tmp_path / "empty")) in err
    assert sorted(root.iterdir()) == before, "a mistake leaves no run behind"


def test_a_folder_that_cannot_be_learnt_is_the_runs_last_word(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("blue", "green"):
        shutil.rmtree(tiny_folder / name)
    status, out, err = say("train", "--data", tiny_folder, "--runs", tmp_path / "runs", "--json")
    assert (status, out) == (2, "")
    run = run_store.find_run(tmp_path / "runs", "latest")
    assert run.liveness.get_status() == "failed"
    ended = run.liveness.read_end_event()
    assert ended is not None
    assert err.splitlines()[-1] == f"ftlab: {ended.message}"
    assert "Only one class" in str(ended.message)


def test_a_class_with_one_picture_leaves_nothing_to_validate_on(say: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "few" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "few" / name / "x.png")
    status, _, err = say("train", "--data", tmp_path / "few", "--runs", tmp_path / "runs")
    assert status == 2
    assert "too few pictures" in err


def test_a_bug_has_a_traceback_and_status_one() -> None:
    code = "\n".join(
        [
            "from ftlab.cli import main",
            "from ftlab.cli.commands import runs",
            "runs.runs = lambda options: 1 / 0",
            "main.main(['runs'])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise there")
def test_a_reader_who_has_seen_enough_is_no_bug(tiny_folder: Path) -> None:
    with subprocess.Popen(
        [*FTLAB, "scan", str(tiny_folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
