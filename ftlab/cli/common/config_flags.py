"""What a command line says of a configuration."""

from __future__ import annotations

from argparse import Namespace

from ftlab.config import recipes, train_config
from ftlab.config.recipes import Recipe
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError


def build_config(options: Namespace) -> TrainConfig:
    """The configuration of `--config` or `--recipe` and of flags; a flag wins.

    A recipe without pictures takes those of its tutorial, if they were fetched.

    Raises:
        ConfigError: something does not fit.
    """
    recipe = _find_recipe(options)
    base_values = (
        dict(recipe.knobs) if recipe else train_config.load_config(options.config).to_json() if options.config else {}
    )
    flag_values = {name: getattr(options, name) for name in train_config.FIELDS if hasattr(options, name)}
    if flag_values.get("data") or flag_values.get("sample"):
        base_values |= {"data": "", "sample": ""}
    elif recipe and recipe.data:
        base_values["data"] = _find_tutorial_data(recipe)
    return train_config.config_from_json({**base_values, **flag_values})


def _find_recipe(options: Namespace) -> Recipe | None:
    name = getattr(options, "recipe", None)
    if name and options.config:
        raise ConfigError("config.recipe_and_file")
    return recipes.get_recipe(name) if name else None


def _find_tutorial_data(recipe: Recipe) -> str:
    """The folder of a recipe's pictures."""
    from ftlab.data.sources import tutorial_datasets

    folder = tutorial_datasets.find_image_folder(tutorial_datasets.get_dataset(recipe.data))
    if folder is None:
        raise ConfigError("config.recipe_data", name=recipe.name, data=recipe.data)
    return str(folder)


def check_bounds(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its bounds.

    Raises:
        ConfigError: it is.
    """
    if not low <= value <= high:
        raise ConfigError("config.bounds", name=name, value=value, low=low, high=high)
