"""A run as a notebook: valid, ready for Colab, and its cells run from top to bottom."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.export.export_run import export_run
from ftlab.export.formats import FORMATS, ExportOptions
from tests.support import drawn_images
from tests.support.short_trainings import beginning, go

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_cells_of_a_notebook_run_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = drawn_images.tiny(tmp_path / "tiny")
    run = beginning(folder, tmp_path / "runs", monkeypatch)(mode="scratch", epochs=2)
    go(run)
    out = tmp_path / "out"
    export_run(run, FORMATS["notebook"], out, ExportOptions())
    assert {path.name for path in out.iterdir()} == {"train.ipynb", "split.json", "README.md"}
    notebook = json.loads((out / "train.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "colab" in notebook["metadata"]
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert [cell["cell_type"] for cell in cells] == ["markdown", *["markdown", "code"] * 5]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    # The data lie beside the notebook, as its first cell expects them.
    shutil.copytree(folder, out / "tiny")
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    program = (
        "import sys, torch; torch.set_num_threads(1); sys.modules['ftlab'] = None; exec(sys.stdin.read(), globals())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], input=code, cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "best: epoch" in done.stdout
