"""What a command line says of a configuration."""

from __future__ import annotations

from argparse import Namespace

from ftlab.config import recipes, train_config
from ftlab.config.recipes import Recipe
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError


def given(options: Namespace) -> TrainConfig:
    """The configuration of `--config` or `--recipe` and of flags; a flag wins.

    A recipe without pictures takes those of its tutorial, if they were fetched.

    Raises:
        ConfigError: something does not fit.
    """
    recipe = _recipe(options)
    base = dict(recipe.knobs) if recipe else train_config.load(options.config).to_json() if options.config else {}
    flags = {name: getattr(options, name) for name in train_config.KNOBS if hasattr(options, name)}
    if flags.get("data") or flags.get("sample"):
        base |= {"data": "", "sample": ""}
    elif recipe and recipe.data:
        base["data"] = _tutorial(recipe)
    return train_config.from_json({**base, **flags})


def _recipe(options: Namespace) -> Recipe | None:
    name = getattr(options, "recipe", None)
    if name and options.config:
        raise ConfigError("config.recipe_and_file")
    return recipes.get(name) if name else None


def _tutorial(recipe: Recipe) -> str:
    """The folder of a recipe's pictures."""
    from ftlab.data.sources import tutorial_datasets

    found = tutorial_datasets.find(tutorial_datasets.get(recipe.data))
    if found is None:
        raise ConfigError("config.recipe_data", name=recipe.name, data=recipe.data)
    return str(found)


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its bounds.

    Raises:
        ConfigError: it is.
    """
    if not low <= value <= high:
        raise ConfigError("config.bounds", name=name, value=value, low=low, high=high)
