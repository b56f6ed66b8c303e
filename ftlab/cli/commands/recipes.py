"""The command `recipes`: list the recipes, or describe one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.config import fields
from ftlab.config import recipes as recipe_registry
from ftlab.core import messages


def recipes(options: Namespace) -> None:
    """List all recipes, or print what one teaches, which result to expect, and what it sets."""
    shown_recipes = (
        [recipe_registry.get_recipe(options.name)] if options.name else list(recipe_registry.RECIPES.values())
    )
    if options.json:
        for recipe in shown_recipes:
            extra_values = {"title": recipe.title, "teaches": recipe.lesson, "command": recipe.command}
            print_json({**asdict(recipe), **extra_values})
        return
    if options.name is None:
        any_data = messages.get_text("recipe.any_data")
        cells = [
            [recipe.name, recipe.expected_text, recipe.data or any_data, recipe.source or any_data]
            for recipe in shown_recipes
        ]
        print_table(["recipe", "expected", "data", "source"], cells)
        return
    recipe = shown_recipes[0]
    print(f"{recipe.title}\n{recipe.lesson}\n{messages.get_text('recipe.expect', expected=recipe.expected_text)}")
    if recipe.source:
        print(messages.get_text("recipe.source", source=recipe.source, page=recipe.page).strip())
    print(messages.get_text("recipe.command", command=recipe.command))
    print_table(
        ["setting", "value"],
        [[fields.format_flag(name), fields.format_value(value)] for name, value in recipe.settings.items()],
    )
