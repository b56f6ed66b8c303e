"""The command that lists the recipes, and what it says of one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.config import fields
from ftlab.config import recipes as known
from ftlab.core import messages


def recipes(options: Namespace) -> None:
    """All recipes; or what one teaches, what it should reach, and what it sets."""
    shown_recipes = [known.get_recipe(options.name)] if options.name else list(known.RECIPES.values())
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
        ["knob", "value"],
        [[fields.format_flag(name), fields.format_value(value)] for name, value in recipe.knobs.items()],
    )
