"""Configuration from parsed command-line flags."""

from __future__ import annotations

from argparse import Namespace

from ftlab.config import recipes, train_config
from ftlab.config.recipes import Recipe
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError


def build_config(options: Namespace) -> TrainConfig:
    """Return the configuration of `--config` or `--recipe`, overridden by the other flags.

    A recipe without `--data` or `--sample` uses the data set of its tutorial, which must have been downloaded. A value
    that is not allowed, or a file that cannot be read, raises `ConfigError`.
    """
    recipe = _find_recipe(options)
    if recipe:
        base_values = dict(recipe.settings)
    else:
        base_values = train_config.load_config(options.config).to_json() if options.config else {}
    # A flag that is not given leaves no attribute (argparse.SUPPRESS).
    flag_values = {name: getattr(options, name) for name in train_config.FIELDS if hasattr(options, name)}
    if flag_values.get("data") or flag_values.get("sample"):  # they exclude each other: one flag replaces both
        base_values |= {"data": "", "sample": ""}
    elif recipe and recipe.data:
        base_values["data"] = _find_tutorial_data(recipe)
    return train_config.config_from_json({**base_values, **flag_values})


def _find_recipe(options: Namespace) -> Recipe | None:
    """Return the recipe that `--recipe` names; None without that flag.

    Raises:
        ConfigError: there is a `--config` too, or no such recipe.
    """
    name = getattr(options, "recipe", None)
    if name and options.config:
        raise ConfigError("config.recipe_and_file")
    return recipes.get_recipe(name) if name else None


def _find_tutorial_data(recipe: Recipe) -> str:
    """Return the folder of a recipe's data set.

    Raises:
        ConfigError: it was not downloaded.
    """
    from ftlab.data.sources import tutorial_datasets

    folder = tutorial_datasets.find_image_folder(tutorial_datasets.get_dataset(recipe.data))
    if folder is None:
        raise ConfigError("config.recipe_data", name=recipe.name, data=recipe.data)
    return str(folder)


def check_bounds(name: str, value: float, low: float, high: float) -> None:
    """Check that a number is within its bounds.

    Args:
        name: flag of the number.
        value: to check.
        low: inclusive bound.
        high: inclusive bound.

    Raises:
        ConfigError: it is out of bounds.
    """
    if not low <= value <= high:
        raise ConfigError("config.bounds", name=name, value=value, low=low, high=high)
