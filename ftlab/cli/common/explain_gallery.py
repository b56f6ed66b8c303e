"""`explain`: the page of the overlays of several images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.common.explain_image import ImageExplanation
from ftlab.core import messages
from ftlab.reporting.html import gallery
from ftlab.reporting.html.gallery import GalleryImage

if TYPE_CHECKING:
    from ftlab.inference.predictor import Predictor
    from ftlab.runs.directory import Run


def describe_image(model: Predictor, file: Path, overlay_path: Path, result: ImageExplanation) -> GalleryImage:
    """Return what the page shows of an image.

    The folder of an image is its true class if the model has a class of that name.

    Args:
        model: that explained it.
        file: of the image.
        overlay_path: file of its overlay.
        result: its classes and its map.

    Returns:
        The entry of the page.
    """
    from ftlab.data.dataset import class_names

    def format_name(class_name: str) -> str:
        return class_names.get_display_name(class_name, model.display_names)

    explanation = result.explanation
    height, width = explanation.image.shape[:2]
    folder_name = file.absolute().parent.name
    true_class = folder_name if folder_name in model.class_names else ""
    note_keys = []
    if not explanation.has_evidence:
        note_keys.append("no_evidence" if explanation.has_map else "no_map")
    if model.is_rejected(result.scores):
        note_keys.append("unsure_note")
    return GalleryImage(
        overlay_path,
        (width, height),
        file,
        format_name(model.class_names[explanation.class_index]),
        tuple((format_name(score.name), score.probability) for score in result.scores),
        format_name(true_class) if true_class else "",
        bool(true_class) and true_class != result.scores[0].name,
        (*(messages.get_text(f"gallery.{key}") for key in note_keys), *result.format_notes()),
    )


def write_page(images: Sequence[GalleryImage], model: Predictor, run: Run | None) -> Path:
    """Write the page into the folder of the overlays.

    Args:
        images: at least one.
        model: that explained them.
        run: of the model; None for the pretrained network.

    Returns:
        Path of the page.
    """
    folder = images[0].overlay_path.parent
    return gallery.write_gallery(folder, images, model.title, run.name if run else "")
