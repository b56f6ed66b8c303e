"""Named configurations: the published tutorials, each with the number that it should reach, and our own. No torch.

A recipe is a starting point: whatever else is said, on the page or by a flag, wins over it.
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
    """The number to expect.

    Attributes:
        figure: `validation`, of the best epoch; `ants_bees`, the same of those pictures, where the recipe is for any;
            or `test`.
        value, low, high: fractions.
    """

    figure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One recipe.

    Attributes:
        name: on the command line.
        knobs: those of the configuration that it sets; the others stay as they are untouched.
        source: where it was published; empty for one of ours.
        page: address of that.
        data: the tutorial's data set, by its name in `data.fetch`; empty where any pictures will do.
        published: the figures that its source states, by name: fractions, but for `loss` (nats) and `epochs`.
        expect: what to expect, where it was published or measured.
        ours: whether it is made here, be it after a published one.
    """

    name: str
    knobs: Mapping[str, Any]
    source: str = ""
    page: str = ""
    data: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    expect: ExpectedResult | None = None
    ours: bool = False

    def build_config(self) -> TrainConfig:
        """The configuration, without pictures."""
        return train_config.config_from_json(dict(self.knobs))

    @property
    def title(self) -> str:
        """For people, in their language, as the two below."""
        return messages.get_text(f"recipe.{self.name}.title")

    @property
    def lesson(self) -> str:
        """What is to be learnt from it."""
        return messages.get_text(f"recipe.{self.name}.teaches")

    @property
    def expected_text(self) -> str:
        """The number to expect, with its range."""
        if self.expect is None:
            return messages.get_text("recipe.no_number")
        fractions = {name: f"{getattr(self.expect, name):.3f}" for name in ("value", "low", "high")}
        return messages.get_text(f"recipe.number.{self.expect.figure}", **fractions)

    @property
    def command(self) -> str:
        """What starts it on a command line; the tutorial's pictures are taken where they were fetched."""
        return f"python -m ftlab train --recipe {self.name}" + ("" if self.data else " --data FOLDER")


def _load_recipes() -> dict[str, Recipe]:
    with open(Path(__file__).with_name("recipes.toml"), "rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)
    recipe_table: dict[str, Recipe] = {}
    for name, row in rows.items():
        base_recipe = recipe_table.get(row.pop("like", ""))
        inherited_fields = {key: getattr(base_recipe, key) for key in ("source", "page", "data")} if base_recipe else {}
        expect = ExpectedResult(**row.pop("expect")) if "expect" in row else None
        settings = {**(base_recipe.knobs if base_recipe else {}), **row.pop("knobs")}
        recipe_table[name] = Recipe(name=name, knobs=settings, expect=expect, **{**inherited_fields, **row})
    return recipe_table


RECIPES: dict[str, Recipe] = _load_recipes()
"""The recipes by name, in the order of the menu."""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RECIPES:
        raise ConfigError("config.recipe", name=name, names=", ".join(RECIPES))
    return RECIPES[name]
