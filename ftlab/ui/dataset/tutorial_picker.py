"""Menu of tutorials' data sets: which ones this server offers, and their descriptions. Imports no gradio."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.data.sources import tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from ftlab.server.profile import ServerProfile


def list_offered_datasets(profile: ServerProfile) -> list[TutorialDataset]:
    """Return the data sets that can be chosen.

    Where others reach this server these are the downloaded ones only: visitors must not fill the disk.
    """
    return [
        dataset
        for dataset in tutorial_datasets.DATASETS.values()
        if profile.is_local or tutorial_datasets.find_image_folder(dataset)
    ]


def list_dataset_choices(profile: ServerProfile) -> list[tuple[str, str]]:
    """Return (label, name) of each data set for the menu."""
    return [(_format_label(dataset), dataset.name) for dataset in list_offered_datasets(profile)]


def render_dataset_info(name: str) -> Markup:
    """Return the content of a data set, its authors and its terms of use."""
    dataset = tutorial_datasets.get_dataset(name)
    page_link = tag("a", dataset.source, href=dataset.page, target="_blank", rel="noopener noreferrer")
    return tag(
        "p",
        messages.get_text("dataset.tutorial.about", pictures=dataset.pictures),
        " ",
        page_link,
        ". ",
        messages.get_text("dataset.tutorial.terms", terms=dataset.terms),
        class_="ftlab-about",
    )


def format_button_text(name: str) -> str:
    """Return the text of the button below the menu: scan, or download with its size."""
    dataset = tutorial_datasets.get_dataset(name)
    message_key = "dataset.look" if tutorial_datasets.find_image_folder(dataset) else "dataset.tutorial.get"
    return messages.get_text(message_key, megabytes=dataset.megabytes)


def _format_label(dataset: TutorialDataset) -> str:
    message_key = "dataset.tutorial.here" if tutorial_datasets.find_image_folder(dataset) else "dataset.tutorial.size"
    return messages.get_text(message_key, title=dataset.title, megabytes=dataset.megabytes)
