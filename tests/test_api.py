"""The Python API: its examples run as they stand in the guide, and its answers are those of the command line."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ftlab
from ftlab.data.samples import sample_sets
from ftlab.runs import run_store
from ftlab.runs.events import Ended, Epoch, Step
from tests.support import ROOT, drawn_images

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
SMALL: dict[str, Any] = {
    **{"backbone": "mobilenet_v2", "mode": "scratch", "image_size": 64, "epochs": 1, "batch_size": 8},
    **{"torch_num_threads": 1, "device": "cpu"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ftlab.Model, Path]:
    """A model and the folder it was trained on."""
    folder = tmp_path_factory.mktemp("api")
    images = drawn_images.tiny(folder / "pets")
    return ftlab.train(images, runs=folder / "runs", **SMALL), images


def test_the_examples_of_the_guide_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the download of weights, with smaller images, and with a sample set that is drawn in no time."""
    monkeypatch.chdir(tmp_path)
    images = drawn_images.tiny(tmp_path / "pets")
    monkeypatch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: images)
    train: Callable[..., ftlab.Model] = ftlab.train
    monkeypatch.setattr(ftlab, "train", lambda *data, **settings: train(*data, **{**settings, **SMALL}), raising=False)
    for example in EXAMPLES:
        exec(compile(example, "docs/api.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(EXAMPLES) == 5
    assert re.search(r"^(amber|blue|green): \d+\.\d%$", printed, re.MULTILINE)
    assert "epoch 1: validation accuracy" in printed
    assert (tmp_path / "evidence.png").is_file()


def test_the_package_loads_no_torch_until_something_is_asked_of_it() -> None:
    code = "import sys, ftlab; ftlab.train, ftlab.load; print({'torch', 'gradio', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = ftlab.tarin
    names = {name for name in dir(ftlab) if not name.startswith("_")}
    assert {"train", "load", "scan", "Model", "ConfigError", "DataError", "ImageError"} <= names
    assert all(hasattr(ftlab, name) for name in names)


def test_a_training_writes_a_run_and_gives_every_event(tmp_path: Path) -> None:
    events: list[Any] = []
    model = ftlab.train(drawn_images.tiny(tmp_path / "pets"), runs=tmp_path / "runs", on_event=events.append, **SMALL)
    assert [run_store.find_run(tmp_path / "runs", "latest").path] == [model.run.path]
    assert model.run.liveness.get_status() == "finished"
    assert [event for event in events if isinstance(event, Epoch)] == model.run.load_history().epochs
    assert isinstance(events[-1], Ended)


def test_a_run_keeps_absolute_paths_so_that_it_can_be_resumed_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_images.tiny(tmp_path / "pets")
    (tmp_path / "exclude.txt").write_text("blue/blue_1.jpg\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run = ftlab.train("pets", runs="runs", exclude=Path("exclude.txt"), **SMALL).run
    config = run.load_config()
    assert (config.data, config.exclude) == (str(tmp_path / "pets"), str(tmp_path / "exclude.txt"))


def test_an_exception_of_whoever_listens_stops_the_run(tmp_path: Path) -> None:
    def fail(event: Any) -> None:
        if isinstance(event, Epoch):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ftlab.train(drawn_images.tiny(tmp_path / "pets"), runs=tmp_path / "runs", on_event=fail, **SMALL)
    run = run_store.find_run(tmp_path / "runs", "latest")
    assert not run.liveness.is_active()
    assert run.liveness.get_status() == "stopped"


def test_ctrl_c_stops_at_the_next_step_and_what_was_learnt_is_kept(tmp_path: Path) -> None:
    def press(event: Any) -> None:
        if isinstance(event, Step) and event.step == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ftlab.train(drawn_images.tiny(tmp_path / "pets"), runs=tmp_path / "runs", on_event=press, **SMALL)
    assert signal.getsignal(signal.SIGINT) is before
    run = run_store.find_run(tmp_path / "runs", "latest")
    assert run.liveness.get_status() == "stopped"
    assert run.load_history().steps_done == 1
    assert run.last_checkpoint_path.is_file()


def test_the_callers_threads_random_numbers_and_gradient_mode_are_left_alone(tmp_path: Path) -> None:
    images = drawn_images.tiny(tmp_path / "pets")
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with torch.no_grad():
        ftlab.train(images, runs=tmp_path / "runs", **SMALL)
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == 3
    assert torch.equal(torch.rand(1), expected)
    torch.set_num_threads(threads)


def test_trackers_may_be_a_list_and_get_the_training(tmp_path: Path) -> None:
    model = ftlab.train(drawn_images.tiny(tmp_path / "pets"), runs=tmp_path / "runs", trackers=["tensorboard"], **SMALL)
    assert model.run.load_config().trackers == "tensorboard"
    assert [*model.run.path.glob("tensorboard/events.*")]
    assert [note.code for note in model.run.load_history().log_messages if "tracker" in note.code] == [
        "tracker_tensorboard"
    ]


def test_settings_may_be_paths_and_numbers_of_numpy(tmp_path: Path) -> None:
    config = ftlab.train(
        drawn_images.tiny(tmp_path / "pets"),
        runs=tmp_path / "runs",
        **{**SMALL, "image_size": np.int64(64), "learning_rate": np.float64(1e-3)},
    ).run.load_config()
    assert (config.image_size, config.learning_rate) == (64, 1e-3)


def test_probabilities_add_up_and_are_sorted(trained: tuple[ftlab.Model, Path]) -> None:
    model, images = trained
    predictions = model.predict(images / "blue" / "blue_1.jpg")
    assert {prediction.name for prediction in predictions} == set(model.class_names) == {"amber", "blue", "green"}
    probabilities = [prediction.probability for prediction in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert model.predict(images / "blue" / "blue_1.jpg", top=1) == predictions[:1]


def test_an_image_is_a_path_a_stream_a_picture_or_an_array(trained: tuple[ftlab.Model, Path]) -> None:
    model, images = trained
    path = images / "green" / "green_0.png"
    expected = model.predict(path)
    assert model.predict(str(path)) == expected
    with Path(path).open("rb") as stream:
        assert model.predict(stream) == expected
    with Image.open(path) as picture:
        assert model.predict(picture) == expected
        assert model.predict(np.asarray(picture)) == expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "YCbCr", "I", "1"])
def test_a_picture_of_any_mode_is_read(trained: tuple[ftlab.Model, Path], mode: str) -> None:
    """As its values are: one of 32 bits that holds 0 to 255 is not taken for a dark one."""
    model, images = trained
    with Image.open(images / "amber" / "amber_1.jpg") as file:
        picture = file.convert("L") if mode == "I" else file.convert("RGB")
    names = [one.name for one in model.predict(picture.convert(mode))]
    assert sorted(names) == sorted(model.class_names)
    if mode == "I":
        assert model.predict(picture.convert("I")) == model.predict(picture)


def test_a_photograph_is_turned_as_its_camera_was_held(trained: tuple[ftlab.Model, Path], tmp_path: Path) -> None:
    model, images = trained
    file, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6
    with Image.open(images / "amber" / "amber_1.jpg") as picture:
        picture.resize((90, 60)).save(file, exif=exif)
    with Image.open(file) as picture:
        given, read = model.explain(picture), model.explain(file)
    assert given.image.shape == read.image.shape == (90, 60, 3)
    assert np.array_equal(given.image, read.image)
    assert given.probability == read.probability


def test_a_map_is_that_of_the_class_that_was_asked_for(trained: tuple[ftlab.Model, Path], tmp_path: Path) -> None:
    model, images = trained
    path = images / "amber" / "amber_1.jpg"
    best = model.predict(path)[0]
    explanation = model.explain(path)
    assert explanation.name == best.name
    assert explanation.probability == pytest.approx(best.probability)
    height, width = explanation.heatmap.shape
    with Image.open(path) as picture:
        assert picture.size == (width, height)
    assert explanation.overlay.shape == explanation.image.shape == (height, width, 3)
    assert explanation.method == "grad_cam"
    with Image.open(explanation.save(tmp_path / "evidence.png")) as saved:
        assert np.array_equal(np.asarray(saved), explanation.overlay)
    other = next(name for name in model.class_names if name != best.name)
    assert model.explain(path, other, method="layer_cam").name == other


def test_a_model_is_loaded_by_path_by_name_and_as_the_latest(trained: tuple[ftlab.Model, Path]) -> None:
    model, images = trained
    path = images / "blue" / "blue_2.jpg"
    for loaded in (
        ftlab.load(model.run.path),
        ftlab.load(model.run.name, runs=model.run.path.parent),
        ftlab.load(runs=model.run.path.parent),
    ):
        assert loaded.predict(path) == model.predict(path)


@pytest.mark.usefixtures("trained")
def test_a_scan_tells_classes_splits_and_problems(tmp_path: Path) -> None:
    folder = drawn_images.tiny(tmp_path / "pets")
    (folder / "blue" / "broken.jpg").write_bytes(b"no image")
    catalog = ftlab.scan(folder, val_share=0.25, test_share=0.0)
    assert catalog.classes == ("amber", "blue", "green")
    assert {split: len(images) for split, images in catalog.splits.items()} == {"train": 18, "val": 6, "test": 0}
    assert [problem.file for problem in catalog.problems] == ["blue/broken.jpg"]


def test_a_sample_set_can_be_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = drawn_images.tiny(tmp_path / "pets")
    monkeypatch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: images)
    assert ftlab.scan(sample="shapes").classes == ("amber", "blue", "green")


def closed_stream() -> io.BytesIO:
    stream = io.BytesIO(b"pixels")
    stream.close()
    return stream


def closed_picture(images: Path) -> Image.Image:
    with Image.open(images / "blue" / "blue_1.jpg") as picture:
        return picture


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *_: ftlab.train(), "No pictures are chosen"),
        (lambda *_: ftlab.scan(""), "No pictures are chosen"),
        (lambda _, images: ftlab.train(images, epoch=1), 'no setting "epoch".*epochs'),
        (lambda _, images: ftlab.train(images / "nowhere"), "nowhere"),
        (lambda _, images: ftlab.scan(images / "nowhere"), "nowhere"),
        (lambda _, images: ftlab.load(images), "no run"),
        (lambda model, _images: ftlab.load("none", runs=model.run.path.parent), '"none"'),
        (lambda model, images: model.predict(images / "none.jpg"), "none.jpg"),
        (lambda model, _images: ftlab.load(model.run.path, weights="newest"), "best, last"),
        (lambda model, images: model.predict(images / "blue" / "blue_1.jpg", top=0), "top is 0"),
        (lambda model, images: model.predict(images), "not the path of a picture"),
        (lambda model, _images: model.predict(""), "not the path of a picture"),
        (lambda model, _images: model.predict(None), "not NoneType"),
        (lambda model, _images: model.predict(io.StringIO("pixels")), "not StringIO"),
        (lambda model, _images: model.predict(closed_stream()), "closed file"),
        (lambda model, _images: model.predict(np.zeros((3, 8, 8), np.uint8)), r"not uint8 \[3, 8, 8\]"),
        (lambda model, _images: model.predict(np.zeros((8, 8, 3))), "not float64"),
        (lambda model, _images: model.predict(np.zeros((0, 0, 3), np.uint8)), r"\[0, 0, 3\]"),
        (lambda model, _images: model.predict(Image.new("RGB", (0, 0))), r"\[0, 0\]"),
        (lambda model, images: model.predict(closed_picture(images)), "closed"),
        (lambda model, images: model.explain(images / "blue" / "blue_1.jpg").save("map.xyz"), "map.xyz"),
        (lambda model, images: model.explain(images / "blue" / "blue_1.jpg").save("none/map.png"), "none/map.png"),
        (lambda model, images: model.explain(images / "blue" / "blue_1.jpg", "red"), '"red"'),
        (lambda model, images: model.explain(images / "blue" / "blue_1.jpg", method="magic"), "grad_cam"),
        (lambda model, images: model.explain(images / "blue" / "blue_1.jpg", layer="nothing"), '"nothing"'),
    ],
)
def test_a_mistake_is_one_line(
    trained: tuple[ftlab.Model, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[ftlab.Model, Path], object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ftlab.FtlabError, match=message) as caught:
        call(*trained)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists(), "no run is left behind"


def test_onnxruntime_sends_nothing_and_leaves_no_identifier_of_the_machine(tmp_path: Path) -> None:
    folders = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "TMP", "TEMP", "LOCALAPPDATA")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import ftlab, onnxruntime"
    subprocess.run([sys.executable, "-c", code], env={**environment, **folders}, cwd=ROOT, check=True)
    assert list(tmp_path.rglob("*deviceid*")) + list(tmp_path.rglob("onnxruntime.db*")) == []
