"""A Space: its files, its answers without ftlab, and its page as a process of its own."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gradio_client
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from benchmarks import format_round_trip
from benchmarks.format_round_trip import RoundTrip
from ftlab.core.errors import ExportError
from ftlab.data.dataset.catalog import load_run_catalog
from ftlab.data.images.decode import read_image
from ftlab.data.images.decode_options import DecodeOptions, ValueRange, ValueRanges
from ftlab.data.transforms import preprocess
from ftlab.export import formats
from ftlab.export.export_run import export_run
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.space_format import space_files
from ftlab.inference import heatmap
from ftlab.runs.directory import Run
from tests.support import ROOT, drawn_images
from tests.support.exported_models import (
    SIZES,
    check_answers,
    check_half_weights,
    draw_image,
    make_run,
    make_source,
)

pytestmark = pytest.mark.usefixtures("one_thread")

FILES = {"app.py", "check.json", "model.json", "model.onnx", "model.py", "README.md", "requirements.txt"}
START_SECONDS = 60


@pytest.fixture(scope="module")
def source() -> ModelSource:
    source = make_source(temperature=1.7)
    source.predictor.display_names = {"amber": {"en": "Amber", "zh": "琥珀"}, "blue": {"zh": "蓝"}}
    return source


@pytest.fixture(scope="module")
def space(source: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    space_files.write_files(source, folder, ExportOptions())
    return folder


@pytest.fixture(scope="module")
def code(space: Path) -> Any:
    return space_files.load_code(space)


def save(path: Path, pixels: npt.NDArray[Any]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_images_of_every_shape_get_the_answers_of_the_model(source: ModelSource, space: Path) -> None:
    check_answers(source, space_files.open_model(space), bound=5e-3, map_bound=0.05)
    assert not list(space.rglob("__pycache__"))


def test_float16_weights_halve_the_model(tmp_path: Path) -> None:
    check_half_weights(space_files, make_source(), tmp_path, "model.onnx", (5e-3, 2e-2))


def test_the_packages_are_those_that_the_files_import_with_the_versions_that_wrote_them(space: Path) -> None:
    lines = (space / "requirements.txt").read_text().splitlines()
    assert lines == [f"{name}=={version(name)}" for name in ("gradio", "numpy", "onnxruntime", "pillow")]
    code_text = (space / "model.py").read_text() + (space / "app.py").read_text()
    imported = set(re.findall(r"^(?:import|from) (\w+)", code_text, re.MULTILINE)) - sys.stdlib_module_names
    assert imported == {"gradio", "model", "numpy", "onnxruntime", "PIL"}


def test_the_code_is_short_and_as_clean_as_ftlabs_own(space: Path) -> None:
    for name in ("app.py", "model.py"):
        assert len((space / name).read_text().splitlines()) <= 175
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), "."]
    subprocess.run([*ruff, "check", *options], check=True, cwd=space)
    subprocess.run([*ruff, "format", "--check", *options], check=True, cwd=space)


def test_a_file_is_decoded_as_ftlab_decodes_it(code: Any, tmp_path: Path) -> None:
    (folder := tmp_path / "images").mkdir()
    pixels = draw_image(48, 80)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "rotated.jpg", exif=exif)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("L").save(folder / "gray.png")
    image.quantize(16).save(folder / "palette.gif")
    alpha = np.full((48, 80, 1), 90, np.uint8)
    Image.fromarray(np.concatenate([pixels, alpha], 2)).save(folder / "transparent.webp", lossless=True)
    save(folder / "deep.png", pixels[..., 0].astype(np.uint16) * 257)
    for path in folder.iterdir():
        expected = read_image(path, DecodeOptions(exact=True, value_ranges=None))
        found = np.asarray(code.read_image(path), np.int32)
        assert found.shape == expected.shape, path.name
        assert np.abs(found - expected).max() <= 1, path.name
    assert code.read_image(folder / "rotated.jpg").size == (48, 80)


def test_deep_images_are_scaled_as_in_the_training(tmp_path: Path) -> None:
    ranges = ValueRanges(uint16=ValueRange(0.0, 4095.0))
    (space := tmp_path / "space").mkdir()
    space_files.write_files(make_source(value_ranges=ranges), space, ExportOptions())
    path = save(tmp_path / "camera.png", (draw_image(40, 60)[..., 0].astype(np.uint16) * 16))
    expected = read_image(path, DecodeOptions(exact=True, value_ranges=ranges))
    found = np.asarray(space_files.load_code(space).read_image(path), np.int32)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"no image", "no image that can be read"), (b"", "no image that can be read")]
)
def test_a_file_that_is_no_image_is_one_line(code: Any, tmp_path: Path, content: bytes, sentence: str) -> None:
    (path := tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(code.ImageProblem, match=sentence):
        code.read_image(path)


def test_a_truncated_image_is_one_line(code: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", draw_image(300, 400))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(code.ImageProblem, match="no image that can be read"):
        code.read_image(path)


def test_an_image_that_is_too_large_is_told_before_it_is_decoded(code: Any, tmp_path: Path) -> None:
    # Two hundred megapixels of one color are a small file.
    Image.new("1", (20_000, 10_000)).save(path := tmp_path / "bomb.png")
    with pytest.raises(code.ImageProblem, match="more than 50 megapixels"):
        code.read_image(path)
    Image.new("L", (2_010, 10)).save(path := tmp_path / "ribbon.png")
    with pytest.raises(code.ImageProblem, match="200 times as long"):
        code.read_image(path)


@pytest.mark.parametrize("resize_mode", ["short", "squash"])
@pytest.mark.parametrize("size", SIZES)
def test_the_heat_lies_where_ftlab_draws_it(code: Any, size: tuple[int, int], resize_mode: str) -> None:
    height, width = size
    pixels = draw_image(height, width)
    class_map = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    prep = dataclasses.replace(make_source().predictor.prep, resize_mode=resize_mode)
    x0, y0, x1, y1 = preprocess.visible_box(width, height, prep)
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    box = (left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height)))
    scaled = heatmap.scale_class_map(torch.from_numpy(class_map))
    expected = heatmap.blend_overlay(pixels, heatmap.render_heatmap(scaled, width, height, box), box)
    code.PREPROCESSING["resize_mode"] = resize_mode
    try:
        found = np.asarray(code.draw_heat(Image.fromarray(pixels), class_map), np.int32)
    finally:
        code.PREPROCESSING["resize_mode"] = "short"
    # Fifteen levels lie between two of its colors, and ftlab rounds the opacity too.
    assert np.abs(found - expected).max() <= 6 or min(size) < 7


def test_a_class_without_evidence_gets_no_heat(code: Any) -> None:
    image = Image.fromarray(draw_image(64, 64))
    heat = np.asarray(code.draw_heat(image, -np.ones((2, 2), np.float32)))
    seen = np.asarray(image)[4:-4, 4:-4]
    assert (heat[4:-4, 4:-4] == seen).all()


def test_large_images_get_a_smaller_heat_map(code: Any) -> None:
    image = Image.new("RGB", (3000, 1500))
    assert code.draw_heat(image, np.ones((7, 7), np.float32)).size == (1024, 512)


def test_classes_are_called_as_people_call_them(code: Any, tmp_path: Path) -> None:
    assert code.NAMES == ["Amber", "blue", "green"]
    twins = make_source()
    twins.predictor.display_names = {"amber": {"en": "Stone"}, "blue": {"en": "Stone"}}
    space_files.write_files(twins, tmp_path, ExportOptions())
    loaded = space_files.load_code(tmp_path)
    assert loaded.NAMES == ["Stone (amber)", "Stone (blue)", "green"]
    # Each name stands for one class, whatever the others are called.
    loaded.MODEL["classes"] = ["amber", "blue", "Stone (amber)", "Stone (amber) (2)"]
    assert len(set(loaded.list_names())) == 4
    assert loaded.list_names()[:2] == ["Stone (amber)", "Stone (blue)"]


def test_an_answer_below_the_threshold_is_unsure(code: Any) -> None:
    assert code.is_unsure(np.array([0.39, 0.31, 0.3]))
    assert not code.is_unsure(np.array([0.4, 0.3, 0.3]))


def test_the_model_answers_on_the_command_line_without_ftlab(source: ModelSource, space: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", draw_image(90, 70))
    probabilities = source.answer(read_image(path)).probabilities
    # Isolated and elsewhere, Python does not find ftlab.
    answered = subprocess.run(
        [sys.executable, "-I", "-B", str(space / "model.py"), str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *rows = answered.stdout.splitlines()
    assert first.startswith(str(path))
    names = ["Amber", "blue", "green"]
    found = {row.split()[1]: float(row.split()[0].rstrip("%")) / 100 for row in rows}
    assert found == {name: pytest.approx(value, abs=6e-3) for name, value in zip(names, probabilities, strict=True)}


@pytest.mark.parametrize(
    ("names", "told"),
    [(["model.json"], "no image that can be read"), (["gone.jpg"], "no such file"), ([], "python model.py photo.jpg")],
)
def test_the_command_line_refuses_in_one_line(space: Path, names: list[str], told: str) -> None:
    command = [sys.executable, "-I", "-B", str(space / "model.py"), *(str(space / name) for name in names)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return make_run(folder, tmp_path_factory.mktemp("runs"))


def test_an_export_has_no_images_unless_they_are_asked_for(run: Run, tmp_path: Path) -> None:
    export_format = formats.get_format("space")
    result = export_run(run, export_format, tmp_path / "space", ExportOptions())
    assert {path.name for path in result.path.iterdir()} == FILES
    assert result.report is not None
    assert result.report.passed
    readme = (result.path / "README.md").read_text()
    assert readme.startswith("---\n")
    assert "sdk: gradio\n" in readme
    assert "pip install -r requirements.txt" in readme


def test_examples_are_validation_images_of_each_class_in_turn_without_metadata(run: Run, tmp_path: Path) -> None:
    catalog = load_run_catalog(run)
    source = dataclasses.replace(make_source(), run=run)
    space_files.write_files(source, tmp_path, ExportOptions(example_count=3))
    examples = sorted((tmp_path / "examples").iterdir())
    assert [path.name for path in examples] == ["001.jpg", "002.jpg", "003.jpg"]
    for label, path in enumerate(examples):
        item = next(item for item in catalog.splits["val"] if item.label == label)
        found, expected = read_image(path), read_image(catalog.root / item.path)
        assert found.shape == expected.shape
        assert found.mean((0, 1)) == pytest.approx(expected.mean((0, 1)), abs=3)
        with Image.open(path) as image:
            assert not image.getexif()


def test_examples_that_cannot_be_had_are_told_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="The format onnx has no example pictures"):
        export_run(run, formats.get_format("onnx"), tmp_path / "onnx", ExportOptions(example_count=1))
    lost = dataclasses.replace(make_source(), run=make_run(drawn_images.tiny(tmp_path / "lost"), tmp_path / "runs"))
    shutil.rmtree(tmp_path / "lost")
    with pytest.raises(ExportError, match="so there are no examples"):
        space_files.write_files(lost, tmp_path, ExportOptions(example_count=1))
    assert not (tmp_path / "onnx").exists()
    assert not (tmp_path / "model.onnx").exists()


@pytest.fixture(scope="module")
def page(space: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gradio_client.Client]:
    """The page in an environment of its own that has the packages of `requirements.txt`, and nothing else."""
    folder = tmp_path_factory.mktemp("page")
    names = tuple(line.partition("==")[0] for line in (space / "requirements.txt").read_text().splitlines())
    python = format_round_trip.make_environment(RoundTrip("", linked=names), folder / "environment")
    environment = {
        **format_round_trip.clean_environment(),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_TEMP_DIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    missing = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('ftlab', 'torch', 'timm'))))"
    subprocess.run([python, "-c", missing], cwd=space, env=environment, check=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([python, "app.py"], cwd=space, env=environment, stdout=log, stderr=log)
        try:
            url = wait_for_url(process, folder / "log")
            yield gradio_client.Client(url, verbose=False, download_files=str(folder))
        finally:
            process.terminate()
            process.wait()
    assert "Traceback" not in (folder / "log").read_text()


def wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return match[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(page: gradio_client.Client, path: Path) -> Any:
    return page.predict(gradio_client.handle_file(str(path)), api_name="/answer")


def test_the_page_answers_as_the_model(page: gradio_client.Client, source: ModelSource, tmp_path: Path) -> None:
    for number in range(3):
        path = save(tmp_path / f"{number}.png", draw_image(90, 70 + 40 * number, number))
        probabilities = source.answer(read_image(path)).probabilities
        scores, message, best, heat, caption = ask(page, path)
        found = {score["label"]: score["confidence"] for score in scores["confidences"]}
        names = ["Amber", "blue", "green"]
        assert found == {name: pytest.approx(value, abs=5e-3) for name, value in zip(names, probabilities, strict=True)}
        assert best == probabilities.argmax()
        assert scores["label"] == names[best]
        assert ("Unsure" in message) == (probabilities.max() < 0.4)
        assert "speaks for" in caption
        heats = [
            page.predict(gradio_client.handle_file(str(path)), index, api_name="/explain")[0] for index in range(3)
        ]
        images = [np.asarray(Image.open(name)) for name in heats]
        assert (images[best] == np.asarray(Image.open(heat))).all()
        assert all(image.shape[:2] == (90, 70 + 40 * number) for image in images)


def test_the_page_answers_a_bad_file_by_one_line(page: gradio_client.Client, tmp_path: Path) -> None:
    (path := tmp_path / "photo.jpg").write_bytes(b"no image")
    scores, message, best, heat, _ = ask(page, path)
    assert message.startswith("The file is no image that can be read")
    assert (best, heat) == (None, None)
    assert not (scores or {}).get("confidences")


def test_the_page_names_no_other_server(page: gradio_client.Client) -> None:
    text = httpx.get(page.src).text
    config = httpx.get(f"{page.src}config").json()
    assert config["analytics_enabled"] is False
    assert "googleapis" not in text


def test_a_model_without_maps_says_so(tmp_path: Path) -> None:
    space_files.write_files(make_source("mobilenet_v3_small"), tmp_path, ExportOptions())
    path = save(tmp_path / "photo.png", draw_image(90, 70))
    asked = subprocess.run(
        [sys.executable, "-B", "-c", f"import app; print(app.answer({str(path)!r})[3:], len(app.page.fns))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.startswith("(None, 'This model has no heat maps: its architecture gives none.') 1")
