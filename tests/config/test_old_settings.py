"""Old spellings of settings: on the command line, in a file, and each of them still means what it did."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli.parsing.setting_flags import add_setting_flag
from ftlab.config import old_settings, train_config
from ftlab.config.fields import format_flag
from ftlab.config.train_config import FIELDS, TrainConfig
from ftlab.core.errors import ConfigError


def parse(*arguments: str) -> TrainConfig:
    parser = argparse.ArgumentParser()
    for name in FIELDS:
        add_setting_flag(parser, name)
    return train_config.config_from_json(vars(parser.parse_args(arguments)))


@pytest.mark.parametrize(("old", "new"), old_settings.RENAMED_SETTINGS.items())
def test_an_old_name_is_a_flag_and_a_key_of_a_file(old: str, new: str, tmp_path: Path) -> None:
    assert new in FIELDS
    assert old not in FIELDS
    fits: dict[type, Any] = {int: 64, float: 0.25, str: "", bool: True}
    spec, _ = FIELDS[new]
    value = spec.choices[-1] if spec.choices else fits[train_config.get_field_type(new)]
    needed: dict[str, Any] = {"mode": "full", "unfreeze_epoch": 1, "epochs": 100}  # what some of them go with
    if new in ("crop_size", "image_size"):
        needed["resize"] = 64
    expected = TrainConfig(**{**needed, new: value})
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**needed, old: value}))
    assert train_config.load_config(str(file)) == expected
    flags = [word for name, given in needed.items() for word in (format_flag(name), str(given))]
    said = [format_flag(old)] if value is True else [format_flag(old), str(value)]
    assert parse(*flags, *said) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nesterov": "no"}, {"nesterov": False}),
        ({"nesterov": "yes"}, {"nesterov": True}),
        ({"decay_norms": "yes"}, {"decay_norm_and_bias": True}),
        ({"fused": "auto"}, {"fused": None}),
        ({"fused": "yes"}, {"fused": True}),
        ({"vary_on": "processor"}, {"augment_device": "cpu"}),
        ({"vary_on": "device"}, {"augment_device": "gpu"}),
        ({"batchnorm": "auto"}, {"batchnorm": "trainable"}),
        ({"flip": 0.1, "hflip": 0.2}, {"hflip": 0.2}),
        ({"optimizer": "sgd", "epochs": None}, {"optimizer": "sgd", "epochs": None}),
        ({"none_of_ours": "yes"}, {"none_of_ours": "yes"}),
    ],
)
def test_old_values_become_todays(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert old_settings.upgrade_settings(values) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--nesterov"], True),
        (["--no-nesterov"], False),
        (["--nesterov", "yes"], True),
        (["--nesterov", "no"], False),
        (["--no-nesterov", "--nesterov"], True),
        ([], True),
    ],
)
def test_a_boolean_is_a_pair_of_flags(arguments: list[str], expected: bool) -> None:  # noqa: FBT001
    assert parse(*arguments).nesterov is expected


def test_a_boolean_that_may_be_chosen_for_you_takes_auto() -> None:
    assert (parse().fused, parse("--fused", "auto").fused) == (None, None)
    assert (parse("--fused").fused, parse("--no-fused").fused) == (True, False)


def test_a_word_that_is_neither_yes_nor_no_is_refused(
    say: Callable[..., tuple[int, str, str]], tiny_folder: Path
) -> None:
    with pytest.raises(ConfigError, match="--nesterov must be yes or no, not 'maybe'"):
        parse("--nesterov", "maybe")
    status, _, told = say("train", "--data", tiny_folder, "--no-nesterov", "yes")
    assert status == 2
    assert "--no-nesterov" in told


def test_old_flags_are_not_in_the_help(say: Callable[..., tuple[int, str, str]]) -> None:
    _, text, _ = say("train", "--help")
    assert "--image-size" in text
    assert "--no-nesterov" in text
    assert not [flag for flag in map(format_flag, old_settings.RENAMED_SETTINGS) if f"{flag} " in text]
