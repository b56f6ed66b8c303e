"""The configuration on the command line: flags, a file, and back."""

from __future__ import annotations

import dataclasses
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.cli.commands import train
from ftlab.cli.parsing import config_flags
from ftlab.config import backbones, train_config
from ftlab.config.train_config import FIELDS, TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.runs import run_store
from ftlab.runs.directory import Run


def read(*words: str) -> TrainConfig:
    return config_flags.build_config(main.build_parser().parse_args(["train", *words]))


TEXTS = {
    "backbone": [*backbones.BACKBONES, "timm/levit_128s.fb_dist_in1k"],
    "copy_to": ["/backup of mine"],
    "exclude": ["left out.txt"],
    "init_from": ["weights of mine.safetensors", "latest"],
    "rename_keys": ["encoder.=backbone.,old=new"],
    "unfreeze_from": ["0.25", "features.7"],
    "value_range": ["0,4095"],
}


def draw_value(dice: random.Random, name: str) -> Any:
    """A value that a setting can have by itself."""
    spec, _ = FIELDS[name]
    if name in TEXTS:
        return dice.choice(TEXTS[name])
    if spec.choices:
        return dice.choice([choice for choice in spec.choices if choice])
    kind = train_config.get_field_type(name)
    if kind is bool:
        return not FIELDS[name][1]
    if kind is int:
        low, high = int(spec.low or 0), int(spec.high or 0)
        return dice.randint(low, dice.choice([min(low + 5, high), high]))  # small numbers contradict less
    return dice.uniform(spec.low or 0.0, spec.high or 0.0)


def drawn_config(seed: int) -> TrainConfig:
    """A configuration with about half of its settings turned to something. They are drawn one after the other, so that
    one that contradicts those before it can be left out; it is tried again later, beside others.
    """
    dice = random.Random(seed)
    names = [
        name for name in FIELDS if name not in ("data", "sample", "val_share", "test_share") and dice.random() < 0.5
    ]
    dice.shuffle(names)
    source = {"sample": draw_value(dice, "sample")}
    if dice.random() < 0.5:
        source = {"data": dice.choice(["pictures", "/my pictures/ä $x 'q'", "C:\\Pictures"])}
    config = TrainConfig(**source, val_share=dice.uniform(0.01, 0.4), test_share=dice.choice([0.0, 1 / 3]))
    for name in 4 * names:
        if getattr(config, name) == FIELDS[name][1]:
            with suppress(ConfigError):
                config = dataclasses.replace(config, **{name: draw_value(dice, name)})
    return config


@pytest.mark.parametrize("seed", range(40))
def test_the_command_line_gives_the_configuration_back(seed: int) -> None:
    original = drawn_config(seed)
    assert train_config.fill_defaults(read(*train_config.config_to_argv(original))) == train_config.fill_defaults(
        original
    )


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"data": "a", "epochs": 7, "seed": 3, "mode": "full"}))
    merged = read("--config", str(file), "--seed", "0", "--epochs", "9")
    assert merged == TrainConfig(data="a", epochs=9, seed=0, mode="full")


def test_another_source_of_pictures_replaces_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"data": "a", "epochs": 7}))
    assert read("--config", str(file), "--sample", "shapes") == TrainConfig(sample="shapes", epochs=7)
    file.write_text(json.dumps({"sample": "shapes"}))
    assert read("--config", str(file), "--data", "b") == TrainConfig(data="b")
    with pytest.raises(ConfigError):
        read("--config", str(file), "--data", "b", "--sample", "shortcut")


@pytest.mark.usefixtures("tiny_folder")
def test_a_relative_folder_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TrainConfig] = []

    def noted(_run: Run, settings: TrainConfig, *_rest: object) -> int:
        started.append(settings)
        return 0

    monkeypatch.setattr(train, "train_run", noted)
    monkeypatch.chdir(tmp_path)
    assert main.main(["train", "--data", "tiny"]) == 0
    assert started[0].data == str(tmp_path / "tiny")
    assert run_store.find_run(tmp_path / "runs", "latest").load_config() == started[0]
