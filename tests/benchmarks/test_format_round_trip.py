"""The round trip of exports, as far as it needs no network: the lines of the page and of exports, run without ftlab."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks import format_round_trip
from benchmarks.format_round_trip import ROUND_TRIPS, RoundTrip
from ftlab.data.images import decode
from ftlab.evaluation import datasets
from ftlab.export import model_source
from ftlab.export.export_run import export_run
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.runs.directory import Run
from tests.support import drawn_images
from tests.support.exported_models import make_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return make_run(folder, tmp_path_factory.mktemp("runs"), "tf_efficientnet_lite0")


def test_every_format_with_a_model_that_python_runs_makes_the_trip() -> None:
    with_model = {name for name, export_format in FORMATS.items() if export_format.has_model}
    assert with_model - set(ROUND_TRIPS) <= {"web", "coreml"}
    assert set(ROUND_TRIPS) <= with_model


@pytest.mark.parametrize("name", ["onnx", "safetensors", "pt2", "hub", "space"])
def test_the_lines_answer_as_ftlab_does(run: Run, tmp_path: Path, name: str) -> None:
    export_run(run, FORMATS[name], tmp_path / "out", ExportOptions(), check=False)
    dataset = datasets.load_split_dataset(run, "val")
    image_path = dataset.root / dataset.items[0].path
    program = format_round_trip.write_asking_program(name, tmp_path / "out")
    assert "ftlab." not in program
    found = format_round_trip.ask_in_environment(sys.executable, program, tmp_path / "out", image_path)
    expected = model_source.load_model_source(run).answer(decode.read_image(image_path))
    assert found == pytest.approx(expected.probabilities, abs=FORMATS[name].get_bound(ExportOptions()))


def test_an_environment_has_what_is_linked_and_what_that_requires_and_no_more(tmp_path: Path) -> None:
    python = format_round_trip.make_environment(RoundTrip("", linked=("safetensors", "jinja2")), tmp_path / "venv")
    code = "import jinja2, markupsafe, safetensors; from importlib.metadata import version; print(version('jinja2'))"
    finished = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == version("jinja2")
    refused = subprocess.run([python, "-c", "import numpy"], capture_output=True, text=True, check=False)
    assert "No module named 'numpy'" in refused.stderr


def test_a_failure_tells_what_the_program_wrote(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such layer"):
        format_round_trip.ask_in_environment(sys.executable, "raise ValueError('no such layer')", tmp_path, tmp_path)
