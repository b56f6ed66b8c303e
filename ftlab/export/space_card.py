"""Metadata of a Space of the Hugging Face Hub, at the head of its `README.md`."""

from __future__ import annotations

import sys
from importlib import metadata

from huggingface_hub import SpaceCardData

from ftlab.core import messages
from ftlab.export.model_source import ModelSource
from ftlab.export.run_card import RunFacts

_APP_FILES = {"gradio": "app.py", "static": "index.html"}
"""What a Space serves, by its SDK."""


def build_front_matter(source: ModelSource, facts: RunFacts, space_sdk: str) -> str:
    """Return the metadata by which the Hub builds and lists a Space: YAML between two lines of hyphens.

    Args:
        source: the trained model.
        facts: of its run.
        space_sdk: `gradio` or `static`; the versions of Gradio and Python are the installed ones.

    Returns:
        YAML and an empty line. The license is the pretrained weights', see `RunFacts.find_licence`.
    """
    data = SpaceCardData(
        title=source.predictor.title,
        sdk=space_sdk,
        sdk_version=metadata.version("gradio") if space_sdk == "gradio" else None,
        # The Hub's own choice is older than the packages of such a Space allow.
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}" if space_sdk == "gradio" else None,
        app_file=_APP_FILES[space_sdk],
        license=facts.find_licence(source.predictor.spec) or None,
        tags=["image-classification", "ftlab"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def describe_use(space_sdk: str) -> str:
    """Return the section about starting the files, Markdown.

    Args:
        space_sdk: of the Space.

    Returns:
        Markdown; empty for static files, which any web server serves.
    """
    return messages.get_text("export.card_use_gradio") if space_sdk == "gradio" else ""
