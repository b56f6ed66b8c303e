"""What a command line says of a configuration."""

from __future__ import annotations

from argparse import Namespace

from ftlab import config, recipes
from ftlab.config import TrainConfig
from ftlab.errors import ConfigError
from ftlab.recipes import Recipe


def given(options: Namespace) -> TrainConfig:
    """The configuration of `--config` or `--recipe` and of flags; a flag wins.

    A recipe without pictures takes those of its tutorial, if they were fetched.

    Raises:
        ConfigError: something does not fit.
    """
    recipe = _recipe(options)
    base = dict(recipe.knobs) if recipe else config.load(options.config).to_json() if options.config else {}
    flags = {name: getattr(options, name) for name in config.KNOBS if hasattr(options, name)}
    if flags.get("data") or flags.get("sample"):
        base |= {"data": "", "sample": ""}
    elif recipe and recipe.data:
        base["data"] = _tutorial(recipe)
    return config.from_json({**base, **flags})


def _recipe(options: Namespace) -> Recipe | None:
    name = getattr(options, "recipe", None)
    if name and options.config:
        raise ConfigError("config.recipe_and_file")
    return recipes.get(name) if name else None


def _tutorial(recipe: Recipe) -> str:
    """The folder of a recipe's pictures."""
    from ftlab.data import fetch

    found = fetch.find(fetch.get(recipe.data))
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
