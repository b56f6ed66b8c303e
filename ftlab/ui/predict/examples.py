"""Example images of the Predict tab: images that a run was not trained on."""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path

from gradio.media import get_image

from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.data.dataset import catalog, class_names, deep_images
from ftlab.data.isolation.thumbnails import make_thumbnails
from ftlab.runs.directory import Run

MAX_EXAMPLE_IMAGES = 8
"""Number of examples of a model."""


def list_examples(run: Run | None) -> list[tuple[Path, str]]:
    """List images to try with a model: test images of a run, else its validation images, one of each class first.

    The default model without fine-tuning gets images that Gradio ships. A run without a readable split gives RunError.

    Args:
        run: None for the default model.

    Returns:
        Path and name of the class of at most `MAX_EXAMPLE_IMAGES` images; an empty name where it is not known.
    """
    if run is None:  # animals and a tower, which ImageNet has classes for
        return [(Path(get_image(name)), "") for name in ("cheetah1.jpg", "lion.jpg", "tower.jpg")]
    split_path = run.path / "split.json"
    mtime_ns = split_path.stat().st_mtime_ns if split_path.exists() else 0
    return _list_unseen_images(run.path, mtime_ns, messages.requested_language())


def render_examples(run: Run | None) -> Markup:
    """Return images to try with a model, which can be pressed, as HTML; errors are those of `list_examples`."""
    labelled_images = list_examples(run)
    # An image that is gone has no thumbnail, and is left out.
    thumbnail_uris = make_thumbnails(
        [image_path for image_path, _ in labelled_images], deep_images.read_recorded_ranges(run)
    )
    buttons = [
        tag(
            "button",
            tag("img", src=image_uri, alt=messages.get_text("predict.example", number=index + 1)),
            tag("span", class_name) if class_name else "",
            type="button",
            data_index=index,
            title=class_name or None,
        )
        for index, ((_, class_name), image_uri) in enumerate(zip(labelled_images, thumbnail_uris, strict=True))
        if image_uri
    ]
    if not buttons:
        return Markup("")
    return tag(
        "div",
        tag("p", messages.get_text("predict.examples")),
        tag("div", *buttons, class_="strip"),
        class_="ftlab-examples",
    )


# The time of change is part of the key: a resumed run may have written its split anew. So is the language of the names.
@lru_cache(maxsize=16)
def _list_unseen_images(path: Path, _mtime_ns: int, _language: str) -> list[tuple[Path, str]]:
    """Return example images of the run at `path`."""
    image_catalog = catalog.load_run_catalog(Run(path))
    items = list(image_catalog.splits["test"] or image_catalog.splits["val"])
    # A fixed seed: the same run shows the same examples each time.
    random.Random(0).shuffle(items)
    # An example of each class first, so that a few show as many classes as possible.
    interleaved_rows = zip_longest(
        *([item for item in items if item.label == label] for label in range(len(image_catalog.classes)))
    )
    interleaved_items = [item for row in interleaved_rows for item in row if item is not None]
    display_names = class_names.find_display_names(image_catalog.root, image_catalog.classes)
    return [
        (image_catalog.image_path(item), class_names.get_display_name(image_catalog.classes[item.label], display_names))
        for item in interleaved_items[:MAX_EXAMPLE_IMAGES]
    ]
