"""Metadata of a Space of the Hugging Face Hub, at the head of its `README.md`."""

from __future__ import annotations

from importlib import metadata

from huggingface_hub import SpaceCardData

from ftlab.export.model_source import ModelSource
from ftlab.export.run_card import RunFacts

_APP_FILES = {"gradio": "app.py", "static": "index.html"}
"""What a Space serves, by its SDK."""


def build_front_matter(source: ModelSource, facts: RunFacts, space_sdk: str) -> str:
    """Return the metadata by which the Hub builds and lists a Space: YAML between two lines of hyphens.

    Args:
        source: the trained model.
        facts: of its run.
        space_sdk: `gradio` or `static`; the version of Gradio is the installed one.

    Returns:
        YAML and an empty line. The license is the pretrained weights', see `RunFacts.find_licence`.
    """
    data = SpaceCardData(
        title=source.predictor.title,
        sdk=space_sdk,
        sdk_version=metadata.version("gradio") if space_sdk == "gradio" else None,
        app_file=_APP_FILES[space_sdk],
        license=facts.find_licence(source.predictor.spec) or None,
        tags=["image-classification", "ftlab"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"
