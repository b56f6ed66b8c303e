"""The configuration on the command line: flags, a file, and back."""

from __future__ import annotations

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
    "init_from": ["weights of mine.safetensors", "latest"],
    "rename_keys": ["encoder.=backbone.,old=new"],
    "unfreeze_from": ["0.25", "features.7"],
}


def drawn_config(seed: int) -> TrainConfig:
    """A configuration with about half of its settings turned to something; settings that contradict are drawn again."""
    dice = random.Random(seed)
    while True:
        values: dict[str, Any] = {}
        for name, (spec, _) in FIELDS.items():
            if dice.random() < 0.5 or name in ("data", "val_share", "test_share"):
                continue
            if name in TEXTS:
                values[name] = dice.choice(TEXTS[name])
            elif spec.choices:
                values[name] = dice.choice([choice for choice in spec.choices if choice])
            elif train_config.get_field_type(name) is int:
                values[name] = dice.randint(int(spec.low or 0), int(spec.high or 0))
            else:
                values[name] = dice.uniform(spec.low or 0.0, spec.high or 0.0)
        if "sample" not in values:
            values["data"] = dice.choice(["pictures", "/my pictures/ä $x 'q'", "C:\\Pictures"])
        shares: dict[str, Any] = {"val_share": dice.uniform(0.01, 0.4), "test_share": dice.choice([0.0, 1 / 3])}
        with suppress(ConfigError):
            return TrainConfig(**values, **shares)


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
