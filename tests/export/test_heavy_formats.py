"""Formats whose packages are no part of ftlab: everything up to the package, with or without it."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import onnx
import pytest

from ftlab.core.errors import ExportError
from ftlab.export import formats, own_process
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.export.openvino_format import openvino_files
from tests.support.exported_models import make_source

pytestmark = pytest.mark.usefixtures("one_thread")

HEAVY = [name for name, export_format in FORMATS.items() if export_format.packages]


@pytest.mark.parametrize("name", HEAVY)
def test_a_missing_package_is_named_with_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda _name: None)
    with pytest.raises(ExportError, match=rf"not installed.*pip install '(ftlab|\.)\[{FORMATS[name].extra}\]'"):
        FORMATS[name].load()


@pytest.mark.parametrize("name", HEAVY)
def test_the_module_of_a_format_needs_its_package_only_for_its_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: ModuleSpec(name, None))
    assert callable(FORMATS[name].load().write_files)


def test_the_bound_of_float16_weights_is_wider() -> None:
    assert FORMATS["openvino"].get_bound(ExportOptions()) == 5e-3
    assert FORMATS["openvino"].get_bound(ExportOptions(half_weights=True)) == 3e-2
    assert FORMATS["onnx"].get_bound(ExportOptions(half_weights=True)) == 5e-3


@pytest.mark.parametrize(("half_weights", "number_type"), [(False, "float32"), (True, "float16")])
def test_the_converter_of_openvino_gets_the_network_and_the_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, half_weights: bool, number_type: str
) -> None:
    calls: list[list[object]] = []

    def note_call(_format: str, _title: str, module: str, arguments: list[object]) -> None:
        calls.append([module, *arguments])
        onnx.checker.check_model(tmp_path / "network.onnx")

    monkeypatch.setattr(own_process, "run_module", note_call)
    openvino_files.write_files(make_source("mobilenet_v3_small"), tmp_path, ExportOptions(half_weights=half_weights))
    names = [tmp_path / name for name in ("network.onnx", "model.json", "model.xml")]
    assert calls == [["ftlab.export.openvino_format.openvino_converter", *names, number_type]]
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"model.json", "load_model.py"}
