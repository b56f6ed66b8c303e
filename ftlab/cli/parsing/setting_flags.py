"""Command line flags of the configuration's settings, with their old spellings as hidden aliases."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ftlab.config import train_config
from ftlab.config.fields import format_flag
from ftlab.config.old_settings import RENAMED_SETTINGS
from ftlab.core import messages

MAIN_SETTINGS = (
    *("data", "sample", "backbone", "mode", "epochs", "batch_size", "learning_rate"),
    *("augment", "max_minutes", "seed"),
)
"""Settings that the help lists first."""


def add_setting_groups(parser: argparse.ArgumentParser) -> None:
    """Add the flags of all settings to a parser, in groups: the main ones, then those of the form's sections.

    Args:
        parser: the parser of a command.
    """
    # The list of all flags would fill a screen, and the groups below have them.
    parser.usage = f"{parser.prog} [--data DIR|ZIP|LIST] [--backbone NAME] [--mode MODE] [--epochs N] [FLAG …]"
    main_group = parser.add_argument_group(messages.get_text("cli.main_settings"))
    for name in MAIN_SETTINGS:
        add_setting_flag(main_group, name)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, (field_spec, _) in train_config.FIELDS.items():
        if name in MAIN_SETTINGS:
            continue
        key = field_spec.group
        if key not in groups:
            groups[key] = parser.add_argument_group(messages.get_text(f"theme.{key}"))
        add_setting_flag(groups[key], name)


def add_setting_flag(parser: argparse._ActionsContainer, name: str, default: Any = argparse.SUPPRESS) -> None:
    """Add the flag of a setting to a parser.

    A boolean gets a pair, `--nesterov` and `--no-nesterov`; `--nesterov yes` and `--nesterov no`, as earlier versions
    had it, are accepted too. Flags under a setting's old name work and are left out of the help.

    Args:
        parser: the parser of a command.
        name: of the setting.
        default: its value where the flag is not given. By default the name is then missing from the parsed options,
            so that `--config` can fill it.
    """
    field_spec, standard_value = train_config.FIELDS[name]
    value_type = train_config.get_field_type(name)
    hint = messages.get_text(f"setting.{name}.hint").replace("%", "%%")
    old_names = [old_name for old_name, new_name in RENAMED_SETTINGS.items() if new_name == name]
    options: dict[str, Any] = {"dest": name, "default": default}
    if value_type is bool:
        default_hint = "" if standard_value is None else " [yes]" if standard_value else " [no]"
        options |= {"action": _SwitchAction, "nargs": "?", "metavar": "yes|no"}
    else:
        default_hint = f" [{standard_value}]" if standard_value not in (None, "") else ""
        choices = ",".join(filter(None, field_spec.choices))
        # The configuration itself refuses what is no choice, in its own words.
        options |= {"type": value_type, "metavar": f"{{{choices}}}" if choices else value_type.__name__.upper()}
        if field_spec.several:
            options["metavar"] += "[,…]"
    parser.add_argument(*_list_spellings(name, value_type), help=hint + default_hint, **options)
    if old_names:
        # SUPPRESS as default too: one destination must not get its default twice.
        spellings = [spelling for old_name in old_names for spelling in _list_spellings(old_name, value_type)]
        parser.add_argument(*spellings, help=argparse.SUPPRESS, **{**options, "default": argparse.SUPPRESS})


def _list_spellings(name: str, value_type: type) -> list[str]:
    """Return the flags that set a setting: one, or a pair for a boolean."""
    flag = format_flag(name)
    return [flag, format_flag(f"no_{name}")] if value_type is bool else [flag]


class _SwitchAction(argparse.Action):
    """Store True for `--x`, False for `--no-x`, and the word behind `--x` for the configuration to read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        is_negated = (option_string or "").startswith("--no-")
        if is_negated and values is not None:
            parser.error(f"argument {option_string}: takes no value")
        setattr(namespace, self.dest, not is_negated if values is None else values)
