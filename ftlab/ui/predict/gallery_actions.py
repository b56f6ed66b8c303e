"""Event handlers for several images at once: their gallery, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError
from ftlab.core.html import Markup
from ftlab.data.dataset import class_names
from ftlab.ui.common.html import render_error
from ftlab.ui.common.page_events import get_pressed_index
from ftlab.ui.predict import gallery_view, view

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.predictor import Predictor

MAX_IMAGES_PER_REQUEST = 200
"""Maximum number of images in one request."""


class GalleryActions:
    """Event handlers of the gallery."""

    def __init__(self, load_predictor: Callable[[object], Predictor]) -> None:
        """Create the handlers of a server.

        Args:
            load_predictor: as `PredictActions.load_predictor`.
        """
        self._load_predictor = load_predictor

    def predict_several(
        self,
        store: object,  # noqa: ARG002 - the page sends it; it gives no right
        model: str,
        files: list[str] | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio recognizes the parameter by this default)
    ) -> Markup:
        """Predict several images.

        Args:
            store: the page state.
            model: name of the model.
            files: paths of the uploaded images, at most `MAX_IMAGES_PER_REQUEST`.
            progress: of Gradio.

        Returns:
            A gallery, as HTML; an unreadable image has its error in it.
        """
        if not files:
            return Markup("")
        if len(files) > MAX_IMAGES_PER_REQUEST:
            return render_error(messages.get_text("predict.too_many", count=len(files), limit=MAX_IMAGES_PER_REQUEST))
        try:
            predictor = self._load_predictor(model)
        except FtlabError as error:
            return render_error(str(error))
        predictions = []
        for index, image_path in enumerate(files):
            progress(index / len(files), desc=messages.get_text("predict.progress", done=index, total=len(files)))
            try:
                top_scores = predictor.predict(image_path, view.TOP_K)
                is_unsure = predictor.is_rejected(top_scores)
                mark = view.format_unsure(predictor.decision.threshold) if is_unsure and predictor.decision else ""
                predictions.append(gallery_view.ImagePrediction(Path(image_path), tuple(top_scores), unsure_mark=mark))
            except ImageError as error:
                predictions.append(gallery_view.ImagePrediction(Path(image_path), (), view.format_image_error(error)))
        format_class_name = partial(class_names.get_display_name, names=predictor.display_names)
        return gallery_view.render_gallery(predictions, format_class_name, predictor.prep.value_ranges)

    def select_file(self, files: list[str] | None, event: gr.EventData) -> Any:
        """Return the image of the gallery that was pressed, to predict it alone."""
        index = get_pressed_index(event)
        return files[index] if files and isinstance(index, int) and 0 <= index < len(files) else gr.skip()
