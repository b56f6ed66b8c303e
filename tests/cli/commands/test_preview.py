"""The commands about pixels: statistics of a folder, and a figure of what a training makes of a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ftlab.cli import main
from ftlab.cli.parsing import config_flags
from ftlab.config.train_config import FIELDS
from ftlab.data import channel_stats
from ftlab.data.dataset import scan
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")


def test_statistics_are_of_the_training_pictures(say: Any, tiny_folder: Path) -> None:
    status, out, err = say("statistics", tiny_folder, "--val-share", 0.3, "--json")
    assert (status, err) == (0, "")
    *_, found = channel_stats.compute_channel_stats(scan.scan(tiny_folder, val_share=0.3), 1)
    assert isinstance(found, channel_stats.ChannelStats)
    told = json.loads(out)
    assert (told["mean"], told["std"], told["count"]) == (list(found.mean), list(found.std), found.count)
    status, out, _ = say("statistics", tiny_folder)
    assert out.startswith("18 training pictures in ")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["channel", "red", "green", "blue"]


def test_statistics_of_no_folder_are_a_mistake(say: Any, tmp_path: Path) -> None:
    status, out, err = say("statistics", tmp_path / "nothing")
    assert (status, out) == (2, "")
    assert err.startswith("ftlab: There is no folder")


def test_preview_writes_a_figure_of_the_picture_that_is_asked_for(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "figure.png"
    words = ("preview", "--data", tiny_folder, "--mode", "full", "--rotate", 20, "--picture", 7, "--out", out)
    status, told, err = say(*words, "--json")
    assert (status, err) == (0, "")
    item = scan.scan(tiny_folder).splits["train"][6]
    assert json.loads(told) == {
        "file": str(tiny_folder / item.path),
        "class": item.path.split("/")[0],
        "views": 0,
        "out": str(out),
    }
    with Image.open(out) as figure:
        assert figure.size == (1200, 648)
        assert len(np.unique(np.asarray(figure))) > 50
    status, told, _ = say(*words[:3], "--out", out)
    assert "each epoch uses one of 2 views" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x.png"], "No pictures are chosen."),
        (["--out", "x.txt", "--data", "HERE"], "figures are written as PNG"),
        (["--out", "x.png", "--data", "HERE", "--picture", "19"], "--picture is 19: it must lie between 1 and 18"),
        (["--out", "x.png", "--data", "HERE", "--picture", "0"], "--picture is 0"),
        (["--out", "x.png", "--data", "HERE", "--augment", "none", "--rotate", "9"], "--rotate augments the training"),
        (["--out", "x.png", "--data", "HERE", "--image-size", "300", "--resize", "256"], "Set it to at least 300"),
    ],
)
def test_a_slip_is_told_in_one_line_and_nothing_is_written(
    say: Any, tiny_folder: Path, words: list[str], said: str
) -> None:
    status, out, err = say("preview", *(str(tiny_folder) if word == "HERE" else word for word in words))
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not list(Path.cwd().glob("x.*"))


# The guide

GUIDE = (ROOT / "docs" / "pixels.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, (spec, _) in FIELDS.items() if spec.group == "pixels"])
def test_the_guide_has_every_setting(name: str) -> None:
    assert f"`{name}`" in GUIDE


def test_the_flags_of_the_guides_tutorials_are_a_configuration() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(--[^`]+)`", GUIDE, re.MULTILINE)
    read = [
        config_flags.build_config(main.build_parser().parse_args(["train", "--mode", "full", *row.split()]))
        for row in rows
    ]
    assert [one.crop_scale for one in read] == [0.08, 0.08, 0.8, 0.35]
    assert (read[0].resize, read[0].resize_mode) == (256, "squash")
    assert (read[2].crop_size, read[2].rotate, read[2].normalization) == (256, 15.0, "estimated")
    assert (read[3].image_size, read[3].rotate_border, read[3].normalization) == (160, "reflect", "unit")
