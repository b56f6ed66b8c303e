"""Mistakes in flags are told in one line, with the flag that was likely meant; the help has groups."""

from __future__ import annotations

import re

import pytest

from ftlab.cli.main import build_parser, main
from ftlab.cli.parsing.setting_flags import MAIN_SETTINGS
from ftlab.config.fields import format_flag
from ftlab.config.train_config import FIELDS


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["train", "--learing-rate", "0.1"], "Did you mean --learning-rate?"),
        (["train", "--bacbone=resnet18"], "Did you mean --backbone"),
        (["predict", "latest", "a.jpg", "--rejct"], "Did you mean --reject?"),
    ],
)
def test_a_mistyped_flag_names_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], arguments: list[str], near: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert near in line
    assert "unrecognized arguments" in line


def test_what_resembles_no_flag_is_refused_without_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", "--zzz"], ["runs", "extra"]):
        with pytest.raises(SystemExit):
            main(arguments)
        (line,) = capsys.readouterr().err.splitlines()
        assert "unrecognized arguments" in line
        assert "Did you mean" not in line


def test_the_help_of_train_lists_the_ten_main_flags_first_and_every_setting_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    help_text = capsys.readouterr().out
    assert len(help_text.partition("\n\n")[0].splitlines()) <= 3, "the usage is no wall of flags"
    groups = re.findall(r"^(\S.*):$", help_text, re.MULTILINE)
    assert groups.index("The ten that matter first") < groups.index("Optimizer")
    listed = re.findall(r"^  (--[a-z0-9-]+)", help_text, re.MULTILINE)
    settings = [flag for flag in listed if flag in set(map(format_flag, FIELDS))]
    assert settings[:10] == [format_flag(name) for name in MAIN_SETTINGS]
    assert sorted(settings) == sorted(map(format_flag, FIELDS))
