"""Recipes: named configurations of published tutorials, each with the result to expect, and of our own. No torch.

A recipe is a starting point: any other setting, on the page or by a flag, overrides it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftlab.config import train_config
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError


@dataclass(frozen=True)
class ExpectedResult:
    """The result that a training with a recipe should reach.

    Attributes:
        figure: which accuracy: `validation`, of the best epoch; `ants_bees`, the same on that data set, for a recipe
            that fits any data; or `test`.
        value, low, high: expected accuracy and its range, in [0, 1].
    """

    figure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named configuration.

    Attributes:
        name: on the command line.
        settings: the configuration fields that it sets; all others keep their defaults.
        source: where it was published; empty for one of ours.
        page: address of the publication.
        data: the tutorial's data set, by its name in `data.sources.tutorial_datasets`; empty if any images will do.
        published: the results that its source states, by name: fractions, except `loss` (nats) and `epochs`.
        expect: the result to expect, if it was published or measured.
        ours: whether it was made here, possibly after a published one.
    """

    name: str
    settings: Mapping[str, Any]
    source: str = ""
    page: str = ""
    data: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    expect: ExpectedResult | None = None
    ours: bool = False

    def build_config(self) -> TrainConfig:
        """Return the configuration, without a data set."""
        return train_config.config_from_json(dict(self.settings))

    @property
    def title(self) -> str:
        """Return the title in the user's language."""
        return messages.get_text(f"recipe.{self.name}.title")

    @property
    def lesson(self) -> str:
        """Return what the recipe teaches, in the user's language."""
        return messages.get_text(f"recipe.{self.name}.teaches")

    @property
    def expected_text(self) -> str:
        """Return the expected result with its range, in the user's language."""
        if self.expect is None:
            return messages.get_text("recipe.no_number")
        fractions = {name: f"{getattr(self.expect, name):.3f}" for name in ("value", "low", "high")}
        return messages.get_text(f"recipe.number.{self.expect.figure}", **fractions)

    @property
    def command(self) -> str:
        """Return the command that trains it; a tutorial's data set is used from where it was downloaded to."""
        return f"python -m ftlab train --recipe {self.name}" + ("" if self.data else " --data FOLDER")


def _load_recipes() -> dict[str, Recipe]:
    """Return the recipes of `recipes.toml`; `like` names an earlier one whose source and settings are inherited."""
    with Path(__file__).with_name("recipes.toml").open("rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)
    recipe_table: dict[str, Recipe] = {}
    for name, row in rows.items():
        # TOML keeps the order of the tables: `like` can only name one that stands above.
        base_recipe = recipe_table.get(row.pop("like", ""))
        inherited_fields = {key: getattr(base_recipe, key) for key in ("source", "page", "data")} if base_recipe else {}
        expect = ExpectedResult(**row.pop("expect")) if "expect" in row else None
        settings = {**(base_recipe.settings if base_recipe else {}), **row.pop("settings")}
        recipe_table[name] = Recipe(name=name, settings=settings, expect=expect, **{**inherited_fields, **row})
    return recipe_table


RECIPES: dict[str, Recipe] = _load_recipes()
"""The recipes by name, in the order of the menu."""


def get_recipe(name: str) -> Recipe:
    """Return the recipe with that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RECIPES:
        raise ConfigError("config.recipe", name=name, names=", ".join(RECIPES))
    return RECIPES[name]
