"""The format `space`: a Gradio app of a few files that anybody can run, here or as a Space of the Hugging Face Hub."""

from __future__ import annotations

from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from ftlab.core.errors import DataError, ExportError, ImageError
from ftlab.data.images.decode import ImageArray
from ftlab.data.isolation import isolated
from ftlab.evaluation import datasets
from ftlab.export import description_file
from ftlab.export.exported_answer import ExportedAnswer, ExportedModel
from ftlab.export.formats import ExportOptions
from ftlab.export.model_source import ModelSource
from ftlab.export.onnx_format import onnx_files

MODEL_CODE_NAME = "model.py"
PAGE_CODE_NAME = "app.py"
REQUIREMENTS_NAME = "requirements.txt"
EXAMPLES_NAME = "examples"
PACKAGES = ("gradio", "numpy", "onnxruntime", "pillow")
"""What the files import, beside Python's own library."""
_CODE_FOLDER = Path(__file__).with_name("files")
"""The code of a Space, as text: it is no part of ftlab and imports nothing of it."""
_EXAMPLE_SIDE = 1024
"""Pixels of the long side of an example, at most."""
_EXAMPLE_QUALITY = 92


def write_files(source: ModelSource, folder: Path, options: ExportOptions) -> None:
    """Write the Space; see `FormatModule`.

    Args:
        source: the model.
        folder: an empty folder.
        options: `half_weights` halves the model; `example_count` images become part of the files.
    """
    examples = _choose_examples(source, options.example_count)  # before the export, which takes seconds
    onnx_files.save_pixel_model(source, onnx_files.build_network(source, options), folder)
    description_file.write_description(source, folder)
    for name in (MODEL_CODE_NAME, PAGE_CODE_NAME):
        (folder / name).write_text((_CODE_FOLDER / f"{name}.txt").read_text(encoding="utf-8"), encoding="utf-8")
    requirements = "".join(f"{name}=={version(name)}\n" for name in PACKAGES)
    (folder / REQUIREMENTS_NAME).write_text(requirements, encoding="utf-8")
    if examples:
        (folder / EXAMPLES_NAME).mkdir()
    for number, pixels in enumerate(examples, start=1):
        _write_example(pixels, folder / EXAMPLES_NAME / f"{number:03}.jpg")


def open_model(folder: Path) -> ExportedModel:
    """Open a Space by its own code, without its page; see `FormatModule`.

    Args:
        folder: with the files.

    Returns:
        The model.
    """
    run_model = load_code(folder).run_model

    def answer(pixels: ImageArray) -> ExportedAnswer:
        return ExportedAnswer(*run_model(pixels))

    return answer


def load_code(folder: Path) -> Any:
    """Return the module `model.py` of a Space, run as it is.

    Args:
        folder: with the files; nothing is written into it.
    """
    path = folder / MODEL_CODE_NAME
    module = ModuleType("space_model")
    module.__file__ = str(path)
    # Not by `importlib`, which would leave a `__pycache__` in the export.
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    return module


def _choose_examples(source: ModelSource, count: int) -> list[ImageArray]:
    """Return validation images of the run, of each class in turn.

    Args:
        source: the model, with its run.
        count: of images, at most.

    Returns:
        uint8 [H, W, 3] each.

    Raises:
        ExportError: there are none any more.
    """
    if count < 1:
        return []
    if source.run is None:
        raise ExportError("export.no_example_images", run=source.run_name)
    try:
        dataset = datasets.load_split_dataset(source.run, "val")
    except DataError as cause:
        raise ExportError("export.no_example_images", run=source.run_name) from cause
    paths_by_label: dict[int, list[Path]] = {}
    for item in dataset.items:
        paths_by_label.setdefault(item.label, []).append(dataset.root / item.path)
    in_turn = (path for paths in zip_longest(*paths_by_label.values()) for path in paths if path is not None)
    examples = []
    for path in in_turn:
        try:
            examples.append(isolated.read_image(path, source.predictor.prep.decode_options))
        except ImageError:
            continue  # another one will do
        if len(examples) == count:
            break
    if not examples:
        raise ExportError("export.no_example_images", run=source.run_name)
    return examples


def _write_example(pixels: ImageArray, path: Path) -> None:
    """Write an image anew, so that nothing but its pixels becomes public: no place, camera or name of the file.

    Args:
        pixels: uint8 [H, W, 3].
        path: of a JPEG file.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
    image.save(path, quality=_EXAMPLE_QUALITY)
