"""The format `web`: a folder of static files with the model, the page and the runtime. Any web server can serve it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ftlab.export import web_runtime
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import onnx_files
from ftlab.export.onnx_format.onnx_files import open_model
from ftlab.inference.heat_script import HEAT_DRAWING_PATH

__all__ = ["open_model", "write_files"]

STATIC_FOLDER = Path(__file__).with_name("static")
"""Folder of the page's own files."""
RUNTIME_FOLDER_NAME = "onnxruntime-web"
"""Folder of the runtime in an export."""
SETTINGS_FILE_NAME = "page.json"
"""What the page must know that is no part of the model's description."""


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write the page; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` halves the model.
    """
    runtime_folder = web_runtime.find_web_runtime()
    network = onnx_files.build_network(source, options)
    onnx_files.save_pixel_model(source, network, folder)
    for path in (*sorted(STATIC_FOLDER.iterdir()), HEAT_DRAWING_PATH):
        shutil.copyfile(path, folder / path.name)
    # GitHub Pages would pass the files through Jekyll, which leaves some out.
    (folder / ".nojekyll").touch()
    (folder / RUNTIME_FOLDER_NAME).mkdir()
    for name in (*web_runtime.WEB_RUNTIME_SHA256, *web_runtime.WEB_RUNTIME_LICENSES):
        shutil.copyfile(runtime_folder / name, folder / RUNTIME_FOLDER_NAME / name)
    # The page shows how far it has got, and notices a file that is cut: servers that compress say no length.
    names = (onnx_files.MODEL_FILE_NAME, f"{RUNTIME_FOLDER_NAME}/ort-wasm-simd-threaded.wasm")
    settings = {
        "backbone": source.predictor.spec.title,
        "runtime": web_runtime.WEB_RUNTIME_VERSION,
        "bytes": {name: (folder / name).stat().st_size for name in names},
    }
    (folder / SETTINGS_FILE_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
