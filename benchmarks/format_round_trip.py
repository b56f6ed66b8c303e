"""Exports a run to each format and asks it in a clean environment with only what docs/export.md says that it needs.

    python -m benchmarks.format_round_trip RUN [--runs FOLDER] [--only onnx pt2] [--images 5] [--exporter PYTHON]

For each format: a virtual environment in a temporary folder, without ftlab; the packages from PyPI; the lines that the
page or the export's own `load_model.py` shows, on validation images of the run; and the largest difference of a
probability from ftlab's answer. It needs a network. Packages of `RoundTrip.linked`, those around torch, are not
downloaded again: they and what they require, and nothing else, are linked from the environment of this program.
`--exporter` is a Python with ftlab and the converters (openvino, pnnx and ncnn, executorch); default: this one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from benchmarks import row
from benchmarks.process import PROJECT_ROOT
from ftlab.data.isolation import isolated
from ftlab.evaluation import datasets
from ftlab.export import formats, model_source
from ftlab.export.formats import ExportOptions
from ftlab.runs import run_store
from ftlab.runs.directory import Run

EXPORT_PAGE = PROJECT_ROOT / "docs" / "export.md"
_OPEN_IMAGE = """
import json
import numpy as np
from PIL import Image, ImageOps
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
"""
_ASK_TORCH = """
import torch
temperature = json.load(open("model.json"))["temperature"]
with torch.inference_mode():
    probabilities = (model(transform({image})[None]) / temperature).softmax(1)[0]
"""
_ASK_PROGRAM = """
import torch
with torch.inference_mode():
    probabilities = model(transform(np.asarray(image))[None])[0][0]
"""


@dataclass(frozen=True)
class RoundTrip:
    """Packages and lines of Python by which a format is asked.

    Attributes:
        ending: Python that follows the lines of the format, and sets `probabilities`, float [K], for `image`.
        installed: packages from PyPI.
        linked: packages of this environment, with all that they require.
        section: of the page, whose first lines of Python are the lines; empty: they are `load_model.py`.
        file_name: of the export with the lines.
    """

    ending: str
    installed: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    section: str = ""
    file_name: str = "load_model.py"


ROUND_TRIPS = {
    "onnx": RoundTrip("probabilities = probabilities[0]", ("onnxruntime", "pillow"), section="ONNX"),
    "safetensors": RoundTrip(
        _ASK_TORCH.format(image="np.asarray(image)"), linked=("torch", "torchvision", "timm", "safetensors")
    ),
    "pt2": RoundTrip(_ASK_PROGRAM, linked=("torch", "torchvision")),
    "openvino": RoundTrip("", ("openvino", "pillow")),
    "ncnn": RoundTrip('probabilities = answer(image)["probabilities"]', ("ncnn", "numpy", "pillow")),
    "executorch": RoundTrip(
        'probabilities = answer(image)["probabilities"]', ("executorch", "pillow"), ("torch", "torchvision")
    ),
    "hub": RoundTrip(_ASK_TORCH.format(image="image"), linked=("timm",), section="Hugging Face Hub"),
    "space": RoundTrip(
        "probabilities = run_model(np.asarray(image))[0]", ("onnxruntime", "numpy", "pillow"), file_name="model.py"
    ),
}
"""Formats that run in Python."""


def read_page_lines(section: str) -> str:
    """Return the first lines of Python of a section of the page.

    Args:
        section: its title.
    """
    text = EXPORT_PAGE.read_text(encoding="utf-8").partition(f"### {section}\n")[2]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found, f"docs/export.md: no Python under {section}"
    return found[1]


def write_asking_program(format_name: str, folder: Path) -> str:
    """Return the program that asks an export about `photo.jpg`; its last line of output is a list of probabilities.

    Args:
        format_name: key of `ROUND_TRIPS`.
        folder: with the export, the working directory of the program.
    """
    trip = ROUND_TRIPS[format_name]
    if trip.section:
        lines = read_page_lines(trip.section)
        lines = lines.replace("exported/", "").replace("hf-hub:USER/NAME", f"local-dir:{folder}")
    else:
        lines = (folder / trip.file_name).read_text(encoding="utf-8")
    # As a module of its name: the lines under `__name__ == "__main__"` would read arguments.
    start = f"__name__, __file__ = 'loaded', {str(folder / trip.file_name)!r}\n"
    printing = "\nprint(json.dumps([float(value) for value in probabilities]))\n"
    return f"{start}{lines}\n{_OPEN_IMAGE}{trip.ending}{printing}"


def list_requirements(names: Iterable[str]) -> list[str]:
    """Return packages with all that they require here, each once.

    Args:
        names: of packages of this environment.
    """
    found: list[str] = []
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found:
            continue
        found.append(name)
        requirements = map(Requirement, distribution(name).requires or ())
        pending += (one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""}))
    return found


def link_packages(names: Iterable[str], target: Path) -> None:
    """Link packages of this environment and all that they require into a folder of packages.

    Args:
        names: of packages.
        target: the folder.
    """
    for name in list_requirements(names):
        package = distribution(name)
        tops = {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            source, link = Path(str(package.locate_file(top))), target / top
            if link.is_symlink() and link.resolve() != source.resolve():
                _share_folder(link, source)
            elif not link.exists():
                link.symlink_to(source)


def _share_folder(link: Path, source: Path) -> None:
    """Make a real folder of a link to one, with links to what is in it and in another one (a namespace package)."""
    first = link.resolve()
    link.unlink()
    link.mkdir()
    for folder in (first, source):
        for path in folder.iterdir():
            if not (link / path.name).exists():
                (link / path.name).symlink_to(path)


def make_environment(trip: RoundTrip, folder: Path) -> Path:
    """Make a virtual environment with what a format needs.

    Args:
        trip: how it is asked.
        folder: of the environment.

    Returns:
        Its Python.
    """
    options = [] if trip.installed else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *options, folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site_packages = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    link_packages(trip.linked, Path(site_packages))
    if trip.installed:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *trip.installed]
        subprocess.run(command, check=True, env=clean_environment())
    return python


def clean_environment() -> dict[str, str]:
    """Return the environment of this process without what would bring other packages or a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FTLAB"))}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8"}


def ask_in_environment(python: Path | str, program: str, folder: Path, image_path: Path) -> list[float]:
    """Return the probabilities that a program finds for an image.

    Args:
        python: of an environment.
        program: of `write_asking_program`.
        folder: with the export.
        image_path: of the image.

    Raises:
        RuntimeError: it failed; with the end of its standard error.
    """
    program = program.replace('"photo.jpg"', repr(str(image_path)))
    completed = subprocess.run(
        [python, "-c", program], cwd=folder, env=clean_environment(), capture_output=True, text=True, encoding="utf-8"
    )
    if completed.returncode:
        raise RuntimeError(completed.stderr[-4000:])
    values: list[float] = json.loads(completed.stdout.splitlines()[-1])
    return values


def report_round_trip(run: Run, format_name: str, image_count: int, exporter: str) -> bool:
    """Export a run to a format, ask it in an environment of its own, and print a row.

    Args:
        run: the run.
        format_name: key of `ROUND_TRIPS`.
        image_count: validation images, at equal distances; at most as many as there are.
        exporter: Python that exports.

    Returns:
        Whether all answers are within the bound of the format.
    """
    source = model_source.load_model_source(run)
    dataset = datasets.load_split_dataset(run, "val")
    count = min(image_count, len(dataset.items))
    paths = [dataset.root / dataset.items[index * len(dataset.items) // count].path for index in range(count)]
    trip, bound = ROUND_TRIPS[format_name], formats.FORMATS[format_name].get_bound(ExportOptions())
    with tempfile.TemporaryDirectory(prefix="round-trip-") as scratch:
        folder = Path(scratch) / "exported"
        export = ["-m", "ftlab", "export", run.name, "--runs", str(run.path.parent), "--format", format_name]
        command = [exporter, *export, "--out", str(folder), "--no-check"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=PROJECT_ROOT)
        python = make_environment(trip, Path(scratch) / "environment")
        program = write_asking_program(format_name, folder)
        differences = []
        for path in paths:
            expected = source.answer(isolated.read_image(path, source.predictor.prep.decode_options))
            found = ask_in_environment(python, program, folder, path.resolve())
            differences.append(float(np.abs(expected.probabilities - found).max()))
    told = f"{count} pictures; pip: {', '.join(trip.installed) or '–'}; linked: {', '.join(trip.linked) or '–'}"
    title = f"`{format_name}` in an environment of its own"
    row.report_at_most(title, max(differences), bound, "of a probability", told)
    return max(differences) <= bound


def main(arguments: Sequence[str] | None = None) -> int:
    """Export to each format, ask and print a row.

    Args:
        arguments: of the command line.

    Returns:
        Exit status: 1 if a format is farther than its bound.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--only", nargs="+", choices=ROUND_TRIPS, default=list(ROUND_TRIPS), metavar="FORMAT")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--exporter", default=sys.executable, metavar="PYTHON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="round-trip-") as scratch:
        run_path = run_store.find_run(Path(options.runs), options.run).path
        # A copy: an evaluation of the run, by anybody meanwhile, would give it another temperature.
        shutil.copytree(run_path, Path(scratch) / "runs" / run_path.name)
        run = run_store.find_run(Path(scratch) / "runs", run_path.name)
        is_close = [report_round_trip(run, name, options.images, options.exporter) for name in options.only]
    return 0 if all(is_close) else 1


if __name__ == "__main__":
    sys.exit(main())
