"""The description `model.json` beside the files of an export, and what a program makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.export.model_source import ModelSource

DESCRIPTION_FILE_NAME = "model.json"
"""Classes, their names for people, preprocessing, temperature and threshold."""
LOADING_FILE_NAME = "load_model.py"
"""The lines that load the model in another program; the model card shows them."""
_KEYS_FOR_OTHERS = ("color", "scale", "crop")
"""What other programs have to know about the preprocessing, and is the same for all models."""


def write_description(
    source: ModelSource, folder: Path, loading_lines: str = "", format_values: Mapping[str, Any] | None = None
) -> None:
    """Write the description of a model, and the lines that load it.

    Args:
        source: the model.
        folder: of the files.
        loading_lines: Python; empty where the format has none.
        format_values: what the format adds to the description, as plain JSON.
    """
    description = json.dumps({**source.describe(), **(format_values or {})}, ensure_ascii=False, indent=2)
    (folder / DESCRIPTION_FILE_NAME).write_text(description + "\n", encoding="utf-8")
    if loading_lines:
        (folder / LOADING_FILE_NAME).write_text(loading_lines.strip() + "\n", encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Return what `ModelSource.describe` told of the model in a folder."""
    description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE_NAME).read_text(encoding="utf-8"))
    return description


def read_preprocessing(folder: Path) -> Preprocessing:
    """Return the preprocessing of the model in a folder."""
    values = read_description(folder)["preprocessing"]
    return preprocess.from_json({key: value for key, value in values.items() if key not in _KEYS_FOR_OTHERS})


def read_preparation(folder: Path) -> Callable[[ImageArray], npt.NDArray[np.float32]]:
    """Return the function that prepares an image as `model.json` says: uint8 [H, W, 3] -> float32 [1, 3, S, S].

    Args:
        folder: with the description.
    """
    prep = read_preprocessing(folder)

    def prepare_image(pixels: ImageArray) -> npt.NDArray[np.float32]:
        square = preprocess.resize_and_center_crop(pixels, prep)
        return preprocess.normalize_batch(square[None], prep).numpy()

    return prepare_image
