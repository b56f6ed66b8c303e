"""OpenVINO reports nothing to its maker: what imports it cannot import the package that reports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.export.formats import ExportOptions
from ftlab.export.openvino_format import openvino_files
from ftlab.runs.jobs.launch import build_environment
from tests.support.exported_models import make_source

OPENVINO = """
try:
    import openvino_telemetry
except ImportError:
    print("silent", flush=True)
raise SystemExit(3)
"""
PACKAGES = {"openvino": OPENVINO, "openvino_telemetry": "print('reported', flush=True)"}
"""`openvino`, as far as it reports, and what reports for it."""


@pytest.mark.parametrize(
    "code",
    [
        "import pathlib, ftlab.export.openvino_format.openvino_files as files; files.open_model(pathlib.Path())",
        "import runpy; runpy.run_module('ftlab.export.openvino_format.openvino_converter', run_name='__main__')",
        "import runpy; runpy.run_path('load_model.py')",
    ],
)
def test_the_check_the_converter_and_the_lines_report_nothing(tmp_path: Path, code: str) -> None:
    for name, text in PACKAGES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftlab.export.own_process.run_module", lambda *_: None)
        openvino_files.write_files(make_source("mobilenet_v3_small"), tmp_path, ExportOptions())
    environment = build_environment({**os.environ, "PYTHONPATH": str(tmp_path)})
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (finished.stdout.strip(), finished.returncode) == ("silent", 3), finished.stderr
