"""The menu of tutorials' data sets: which of them this server offers, and what is said of each. Knows no gradio."""

from __future__ import annotations

from ftlab import words
from ftlab.data import fetch
from ftlab.data.fetch import DataSet
from ftlab.ui.guard import Profile
from ftlab.ui.markup import Markup, tag


def offered(profile: Profile) -> list[DataSet]:
    """Those that can be chosen: where others reach this server, what is here already, for visitors must not fill the
    disk."""
    return [row for row in fetch.TABLE.values() if profile.local or fetch.find(row)]


def choices(profile: Profile) -> list[tuple[str, str]]:
    """Labels and names for the menu."""
    return [(_label(row), row.name) for row in offered(profile)]


def about(name: str) -> Markup:
    """What is in a set, who made it, on what terms it may be used."""
    row = fetch.get(name)
    page = tag("a", row.source, href=row.page, target="_blank", rel="noopener noreferrer")
    return tag(
        "p",
        words.text("dataset.tutorial.about", pictures=row.pictures),
        " ",
        page,
        ". ",
        words.text("dataset.tutorial.terms", terms=row.terms),
        class_="ftlab-about",
    )


def button(name: str) -> str:
    """What the button under the menu says."""
    row = fetch.get(name)
    key = "dataset.look" if fetch.find(row) else "dataset.tutorial.get"
    return words.text(key, megabytes=row.megabytes)


def _label(row: DataSet) -> str:
    key = "dataset.tutorial.here" if fetch.find(row) else "dataset.tutorial.size"
    return words.text(key, title=row.title, megabytes=row.megabytes)
