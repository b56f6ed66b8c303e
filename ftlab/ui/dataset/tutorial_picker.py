"""The menu of tutorials' data sets: which of them this server offers, and what is said of each. Knows no gradio."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.data.sources import tutorial_datasets
from ftlab.data.sources.tutorial_datasets import DataSet
from ftlab.ui.common.access import Profile


def offered(profile: Profile) -> list[DataSet]:
    """Those that can be chosen: where others reach this server, what is here already, for visitors must not fill the
    disk."""
    return [row for row in tutorial_datasets.TABLE.values() if profile.local or tutorial_datasets.find(row)]


def choices(profile: Profile) -> list[tuple[str, str]]:
    """Labels and names for the menu."""
    return [(_label(row), row.name) for row in offered(profile)]


def about(name: str) -> Markup:
    """What is in a set, who made it, on what terms it may be used."""
    row = tutorial_datasets.get(name)
    page = tag("a", row.source, href=row.page, target="_blank", rel="noopener noreferrer")
    return tag(
        "p",
        messages.text("dataset.tutorial.about", pictures=row.pictures),
        " ",
        page,
        ". ",
        messages.text("dataset.tutorial.terms", terms=row.terms),
        class_="ftlab-about",
    )


def button(name: str) -> str:
    """What the button under the menu says."""
    row = tutorial_datasets.get(name)
    key = "dataset.look" if tutorial_datasets.find(row) else "dataset.tutorial.get"
    return messages.text(key, megabytes=row.megabytes)


def _label(row: DataSet) -> str:
    key = "dataset.tutorial.here" if tutorial_datasets.find(row) else "dataset.tutorial.size"
    return messages.text(key, title=row.title, megabytes=row.megabytes)
