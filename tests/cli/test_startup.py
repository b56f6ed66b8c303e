"""The command line: what it starts at once, and what it says of itself, of backbones and of layers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.config import backbones
from ftlab.config.fields import format_flag
from ftlab.config.train_config import FIELDS
from ftlab.models import cam_layers, network
from ftlab.ui import serve
from tests.support import ROOT
from tests.support.json_lines import lines


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["runs"], ["stop", "x"], ["--version"]], ids=" ".join
)
def test_what_needs_no_torch_does_not_load_it(words: list[str]) -> None:
    code = (
        "import sys\nfrom ftlab.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'torchvision', 'timm', 'gradio', 'matplotlib', 'cv2'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_help_names_every_command_and_every_setting_with_its_choices(say: Any) -> None:
    status, out, _ = say("--help")
    assert status == 0
    for verb in (
        "scan",
        "train",
        "runs",
        "rename",
        "note",
        "delete",
        "restore",
        "bin",
        "stop",
        "resume",
        "evaluate",
        "predict",
        "explain",
        "backbones",
        "layers",
        "statistics",
        "preview",
        "app",
    ):
        assert re.search(rf"\n    {verb}\s", out)
    flat = " ".join(say("train", "--help")[1].split())
    for name, (spec, _) in FIELDS.items():
        assert format_flag(name) in flat
        assert all(choice in flat for choice in spec.choices)


def test_backbones_lists_what_the_readme_lists(say: Any) -> None:
    status, out, _ = say("backbones")
    assert status == 0
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line, spec in zip(out.splitlines()[1:], backbones.BACKBONES.values(), strict=False):
        assert line.split()[0] == spec.name
        assert spec.licence in line
        megabytes = "no download" if spec.weights_package else f"{spec.megabytes:.0f} MB"
        written = next(one for one in readme.splitlines() if f"| `{spec.name}` |" in one)
        assert all(
            part in written for part in (spec.title, f"| {spec.parameters / 1e6:.1f} M |", megabytes, spec.source)
        )
    assert "timm/NAME" in out
    rows = lines(say("backbones", "--json")[1])
    assert [backbones.spec_from_json(one) for one in rows] == list(backbones.BACKBONES.values())


def test_layers_shows_a_table_that_adds_up(say: Any) -> None:
    status, out, _ = say("layers", "squeezenet1_1", "--classes", "4", "--mode", "full")
    assert status == 0
    assert "features.12" in out
    assert "512 × 13 × 13" in out
    assert "724,548 parameters, 724,548 of them trainable in full mode" in out
    found = lines(say("layers", "squeezenet1_1", "--classes", "4", "--depth", "1", "--json")[1])
    assert [one["name"] for one in found] == ["features", "classifier", "head"]
    assert sum(one["trainable"] for one in found) == 4 * 513


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "squeezenet1_1"])
def test_layers_marks_those_that_can_be_looked_at_as_explain_takes_them(say: Any, name: str) -> None:
    spec = backbones.get_backbone_spec(name)
    net = network.build_network(spec, 3, pretrained=False)
    worth, possible = (
        {one.path for one in those(net, spec)}
        for those in (cam_layers.find_candidate_layers, cam_layers.find_spatial_layers)
    )
    depth = 1 + spec.cam.count(".")
    found = {one["name"]: one["map"] for one in lines(say("layers", name, "--depth", depth, "--json")[1])}
    assert found[spec.cam] == "usual"
    assert {path for path, mark in found.items() if mark == "worth"} == worth & found.keys() - {spec.cam}
    assert {path for path, mark in found.items() if mark} == possible & found.keys()
    assert found["head"] is None
    out = say("layers", name)[1]
    (listed, usual) = re.findall(r"explain --layer`: (.*?)\. Default: (.*)\.", out)[0]
    assert (set(listed.split(", ")), usual) == (worth, spec.cam)


def test_what_holds_several_layers_gives_what_the_last_of_them_gives(say: Any) -> None:
    out = say("layers", "resnet18", "--depth", "2")[1]
    marks = {line.split()[0]: line for line in out.splitlines()}
    assert marks["layer4.1"].endswith("default"), "it is the same as layer4"
    assert marks["layer4.0"].endswith("useful")
    assert marks["bn1"].endswith("possible")
    assert marks["avgpool"].split()[-1] == "0", "one place tells none apart"


@pytest.mark.parametrize(
    "words", ["layers resnet19", "layers resnet18 --depth 0", "backbones resnet19", "layers timm/a/b"]
)
def test_a_slip_about_backbones_is_one_line(say: Any, words: str) -> None:
    status, out, err = say(*words.split())
    assert (status, out) == (2, "")
    assert err.startswith("ftlab: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "flags"),
    [("", []), ("app", []), ("app --port 7999", ["--port", "7999"]), ("ui --port 7999", ["--port", "7999"])],
)
def test_app_and_no_command_at_all_start_the_page(
    monkeypatch: pytest.MonkeyPatch, words: str, flags: list[str]
) -> None:
    monkeypatch.setattr(serve, "serve", lambda argv, program: 7 if (argv, program) == (flags, "ftlab app") else 1)
    assert main.main(words.split()) == 7


def test_the_usage_of_the_page_names_the_command_that_was_typed(say: Any) -> None:
    status, out, _ = say("app", "--help")
    assert status == 0
    assert out.startswith("usage: ftlab app [-h] [--classroom]")
