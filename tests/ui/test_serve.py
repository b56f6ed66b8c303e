"""The frame of the page: what stands on it, what it tells, how it is served."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.themes.utils.fonts import LocalFont, local_font_available

from ftlab.core import messages
from ftlab.core.html import Markup, escape, join_html, tag
from ftlab.server.listening import free_port
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app, serve
from ftlab.ui.common import theme
from ftlab.ui.common.html import render_empty_state, render_error
from tests.support import ROOT

EVIL = "<img src=x onerror=alert(1)>${alert(2)}`'\""
LAYOUT = {"row", "column", "tab", "tabs", "tabitem", "group", "form", "accordion"}
SILENT = {
    *LAYOUT,
    "api",
    "html",
    "button",
    "downloadbutton",
    "uploadbutton",
    "browserstate",
    "timer",
    "json",
    "markdown",
    "file",
}
"""Kinds that ask for no value, or are explained by the sentence above them; `api` is a value of an endpoint."""


def config_of(profile: ServerProfile, notice: str = "") -> dict[str, Any]:
    return dict(build_app(profile, notice).get_config_file())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def local(root: Path) -> dict[str, Any]:
    return config_of(ServerProfile(root, root / "runs"))


@pytest.fixture(scope="module")
def space(root: Path) -> dict[str, Any]:
    return config_of(ServerProfile(None, root / "runs", ProfileKind.SPACE, max_minutes=10))


def props(config: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["props"] for one in config["components"] if one["type"] == kind]


def named(config: dict[str, Any], elem_id: str) -> dict[str, Any]:
    return next(one["props"] for one in config["components"] if one["props"].get("elem_id") == elem_id)


# --- the page


def test_the_tabs_stand_in_the_order_of_the_work(local: dict[str, Any]) -> None:
    assert [(tab["label"], tab["id"]) for tab in props(local, "tabitem")] == [
        ("Dataset", "dataset"),
        ("Train", "train"),
        ("Predict", "predict"),
        ("Inspect", "inspect"),
        ("Compare", "compare"),
        ("Runs", "runs"),
    ]


def test_ids_are_unique_and_every_control_has_one(local: dict[str, Any]) -> None:
    ids = [one["props"].get("elem_id") for one in local["components"] if one["type"] not in LAYOUT]
    nameless = [
        one["type"] for one in local["components"] if one["type"] not in LAYOUT and not one["props"].get("elem_id")
    ]
    assert set(nameless) <= {"browserstate", "timer", "api"}
    found = [one for one in ids if one]
    assert len(found) == len(set(found))


def test_every_control_has_a_hint(local: dict[str, Any]) -> None:
    controls = [
        one for one in local["components"] if one["type"] not in SILENT and one["props"].get("visible", True) is True
    ]
    bare = [
        one["props"].get("elem_id")
        for one in controls
        if not (one["props"].get("info") or one["props"].get("placeholder"))
    ]
    assert not bare
    assert len(controls) > 10


def test_no_template_puts_values_into_javascript(local: dict[str, Any]) -> None:
    """`{{value}}` would be compiled as a template string: a class called `${alert(1)}` would run."""
    assert {one["html_template"] for one in props(local, "html")} == {"${value}"}


def test_what_runs_long_or_needs_words_is_queued_and_what_ticks_is_not(local: dict[str, Any]) -> None:
    events = {one["api_name"]: one for one in local["dependencies"]}
    assert all(
        events[name]["queue"] is not False for name in ("rescan_dataset", "predict_several", "score_faithfulness")
    )
    # The answer to one image has threads of its own, and is told in the page.
    assert events["show_prediction"]["queue"] is events["show_explanation"]["queue"] is False


def test_only_the_seven_endpoints_are_public(local: dict[str, Any]) -> None:
    public = {one["api_name"] for one in local["dependencies"] if one["api_visibility"] == "public"}
    assert public == {"scan", "start", "status", "stop", "predict", "explain", "runs"}


def test_a_space_has_no_path_field(space: dict[str, Any]) -> None:
    assert named(space, "dataset-folder")["visible"] is False
    assert [value for _, value in named(space, "dataset-source")["choices"]] == ["shapes", "shortcut", "upload"]


def test_a_local_page_offers_a_folder_and_starts_at_the_root(local: dict[str, Any], root: Path) -> None:
    offered = [value for _, value in named(local, "dataset-source")["choices"]]
    assert offered == ["shapes", "shortcut", "tutorial", "folder", "upload"]
    assert named(local, "dataset-folder")["value"] == f"{root}{os.sep}"


def test_the_header_says_what_to_do_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    page = config_of(ServerProfile(None, tmp_path), notice=f"A card: {EVIL}")
    said = named(page, "page-header")["value"]
    assert "Pictures." in said
    assert "Train." in said
    assert "<img" not in said
    assert "&lt;img" in said


def test_building_the_page_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from ftlab.ui import build_app; "
        "from ftlab.server.profile import ServerProfile; "
        "build_app(ServerProfile(None, Path('runs'))); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- markup


def test_text_is_escaped_wherever_it_goes() -> None:
    made = tag("p", EVIL, title=EVIL, data_name=EVIL)
    assert "<img" not in made
    assert made.count("&lt;img src=x onerror=alert(1)&gt;") == 3
    assert '"' not in made.replace('title="', "").replace('data-name="', "").replace('" ', "").replace('">', "")


def test_markup_stays_and_is_joined_with_text() -> None:
    assert join_html([tag("b", "a"), "<"]) == "<b>a</b>&lt;"
    assert escape(Markup("<b>")) == "<b>"
    assert tag("input", disabled=True, hidden=False, title=None) == "<input disabled>"


def test_an_empty_state_says_what_is_missing_and_the_next_step() -> None:
    assert "No picture yet" in render_empty_state("predict.nothing", "predict.nothing_step")
    assert "press an example" in render_empty_state("predict.nothing", "predict.nothing_step")
    assert render_error(EVIL).count("<") == 2


# --- serving


def test_a_mistake_in_the_flags_is_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert serve.serve(["--data-root", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "nowhere is not a folder" in told.err


def test_the_flags_decide_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve.parse_profile([]).data_root == Path(Path.home().resolve().anchor)
    assert serve.parse_profile(["--host", "0.0.0.0"]).data_root is None
    assert serve.parse_profile(["--data-root", str(tmp_path), "--runs", "r"]).runs_dir == Path("r").absolute()
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert serve.parse_profile([]).data_root is None
    monkeypatch.setenv("SPACE_ID", "someone/ftlab")
    assert serve.parse_profile(["--data-root", str(tmp_path)]).data_root is None


def test_a_class_is_reached_by_its_network_unless_another_address_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = serve.parse_profile(["--classroom", "--data-root", str(tmp_path)])
    assert (profile.kind, profile.data_root) == (ProfileKind.CLASSROOM, tmp_path.resolve())
    assert serve.parse_profile(["--classroom"]).data_root is None, "a class does not get the home folder"
    assert serve.parse_profile(["--classroom", "--host", "127.0.0.1"]).kind is ProfileKind.CLASSROOM
    assert serve.parse_profile(["--host", "0.0.0.0"]).kind is ProfileKind.NETWORK
    monkeypatch.setenv("SPACE_ID", "someone/ftlab")
    assert serve.parse_profile(["--classroom"]).kind is ProfileKind.SPACE


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--tls", "one.pem"], "a certificate and a key"),
        (["--tls", "no.pem", "no.key"], "there is no such file"),
        (["--port", "70000"], "70000 is no port"),
    ],
)
def test_what_prevents_the_start_is_told_in_one_line(
    flags: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    flags = [str(tmp_path / "file") if flag == "FILE" else flag for flag in flags]
    assert serve.serve([*flags, "--host", "127.0.0.1", "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("\n") == 1


PROFILES = {
    "one person": [],
    "a network": ["--host", "0.0.0.0"],
    "a class": ["--classroom"],
    "a Space": ["--host", "0.0.0.0"],
}
"""Flags of each profile."""


FAULTS = {
    "no runs": ["Runs cannot be written", "file (Not a directory)", "--runs"],
    "no uploads": ["cannot be kept in", "file (Not a directory)", "FTLAB_HOME"],
    "no members": ["list of members cannot be written", "--runs"],
    "no port": ["All ports from", "are taken", "--port"],
}
"""Words of the line about each: what, which, what to do."""


@pytest.mark.parametrize(
    ("profile", "fault"),
    [(profile, fault) for profile in PROFILES for fault in FAULTS if (profile, fault) != ("one person", "no members")],
)
def test_a_fault_of_the_machine_is_told_in_one_line_by_every_profile(
    profile: str,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if profile == "a Space":
        monkeypatch.setenv("SPACE_ID", "someone/ftlab")
    file, runs = tmp_path / "file", tmp_path / "runs"
    file.touch()
    runs.mkdir()
    if fault == "no uploads":
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(file))
    if fault == "no members":
        (runs / ".people").touch()
    flags = [*PROFILES[profile], "--runs", str(file if fault == "no runs" else runs), "--no-browser"]
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        if fault == "no port":
            monkeypatch.setattr(free_port, "MAX_PORT_TRIES", 1)
            flags += ["--port", str(taken.getsockname()[1])]
        assert serve.serve(flags) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1, told.err
    assert not [part for part in FAULTS[fault] if part not in told.err], told.err
    assert "ftlab is at" not in told.out


def test_a_port_in_the_environment_that_is_none_is_told_as_a_flag_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "http")
    with pytest.raises(SystemExit) as ended:
        serve.serve([])
    assert ended.value.code == 2
    assert "--port: invalid int value: 'http'" in capsys.readouterr().err


def test_sigterm_ends_a_server_as_ctrl_c_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first process of a container gets no signal that it leaves to the system."""
    closed: list[bool] = []
    server: Any = SimpleNamespace(is_running=True, close=lambda: closed.append(True))
    previous = signal.signal(signal.SIGTERM, lambda *_: None)  # in place of the one that would end these tests
    alarm = threading.Timer(0.5, signal.raise_signal, [signal.SIGTERM])
    try:
        alarm.start()
        serve._wait_for_end(server, ServerProfile(tmp_path, tmp_path / "runs"))
    finally:
        server.is_running = False
        signal.signal(signal.SIGTERM, previous)
    assert closed == [True]
    assert capsys.readouterr().out.strip() == messages.get_text("server.ended")


def test_the_app_has_its_page_at_module_level() -> None:
    assert isinstance(importlib.import_module("app").demo, gr.Blocks)


def test_a_card_that_torch_cannot_use_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / ("nvidia-smi.bat" if os.name == "nt" else "nvidia-smi")
    line = "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1)"
    tool.write_text(f"@echo {line}\n" if os.name == "nt" else f'#!/bin/sh\necho "{line}"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(serve, "torch_has_cuda", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _name: str(tool))
    assert "NVIDIA GeForce RTX 4090" in serve.build_gpu_notice()
    assert "pip install" in serve.build_gpu_notice()
    monkeypatch.setattr(serve, "torch_has_cuda", lambda: True)
    assert serve.build_gpu_notice() == ""
    monkeypatch.setattr(serve, "torch_has_cuda", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert serve.build_gpu_notice() == ""


def test_whether_torch_has_cuda_is_read_and_not_imported() -> None:
    import torch

    assert serve.torch_has_cuda() is (torch.version.cuda is not None)


def test_every_font_that_is_named_is_shipped() -> None:
    look = theme.build_theme()
    local = [font for font in (*look._font, *look._font_mono) if isinstance(font, LocalFont)]
    assert len(local) == 2
    assert all(local_font_available(font.name, font.weights) for font in local)


def test_style_sheets_ask_no_other_machine() -> None:
    sheets = [sheet.read_text(encoding="utf-8") for sheet in theme.list_style_sheets()]
    assert sheets
    assert not [sheet for sheet in sheets if "http" in sheet or "@import" in sheet or "url(" in sheet]


def test_there_are_words_for_every_step_of_the_header() -> None:
    for step in ("pictures", "train", "look"):
        assert messages.get_text(f"page.step.{step}_do")
