"""The examples of the guide to calls run as they stand there: Python, curl, JavaScript and MCP."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from tests.support import ROOT, drawn_images
from tests.support.endpoint_server import TITLE, EndpointServer, serve_endpoints

GUIDE = (ROOT / "docs" / "call.md").read_text(encoding="utf-8")


def find_examples(language: str, server: EndpointServer) -> list[str]:
    """The blocks of a language, with the address of this server."""
    blocks = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return [block.replace("http://127.0.0.1:7860", server.url.rstrip("/")) for block in blocks]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the examples find their picture."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(drawn_images.tiny(tmp_path / "drawn") / "blue" / "blue_1.jpg", "cat.jpg")


def run_shell(script: str) -> list[str]:
    """What each command of a script prints; the first that fails ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("curl -s", "curl -s -w '\\n'")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_python(local: EndpointServer, capsys: pytest.CaptureFixture[str]) -> None:
    example, by_mcp = find_examples("python", local)
    exec(compile(example, "docs/call.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "24 images of ['amber', 'blue', 'green']"
    assert told[1] == "queued 0 None 1"
    assert re.fullmatch(r"(amber|blue|green) 0\.\d+", told[2])
    assert re.fullmatch(r"\d+ rows \[\d+, \d+, \d+, \d+\]", told[3])
    exec(compile(by_mcp, "docs/call.md", "exec"), {})
    names, rows = capsys.readouterr().out.splitlines()
    assert names == "['scan', 'start', 'status', 'stop', 'predict', 'explain', 'runs']"
    assert "best_val_accuracy" in rows


def test_curl(local: EndpointServer) -> None:
    example, _ = find_examples("bash", local)
    scanned, started, runs, predicted, explained = (json.loads(line)["data"][0] for line in run_shell(example))
    assert scanned["images"] == 24
    assert started["state"] == "queued"
    assert started["run"] in [row["run"] for row in runs]
    assert len(predicted["classes"]) == 3
    assert explained["overlay"].startswith("data:image/jpeg;base64,")


def test_javascript(local: EndpointServer, trained: Run, page: Page) -> None:
    (example,) = find_examples("js", local)
    page.goto(f"{local.url}robots.txt")
    content = list(Path("cat.jpg").read_bytes())
    answer = page.evaluate(
        f"async ([content, run]) => {{ {example}; return classify(new Blob([new Uint8Array(content)]), run); }}",
        [content, trained.name],
    )
    assert len(answer["classes"]) == 3
    refusal = page.evaluate(f"async () => {{ {example}; return call('status', 'none').catch(String); }}")
    assert refusal.startswith("Error: There is no run")


def test_a_program_joins_a_class_as_a_browser_does(trained: Run, tmp_path: Path) -> None:
    with serve_endpoints(tmp_path / "class", trained, ProfileKind.CLASSROOM) as server:
        _, example = find_examples("bash", server)
        members = json.loads((server.runs / ".people" / "members.json").read_text(encoding="utf-8"))
        *_, rows = run_shell(example.replace("CODE", members["room_code"]).replace("Ann", "Dora"))
        assert json.loads(rows)["data"] == [[]]
        *_, rows = run_shell(example.replace("CODE", members["teacher_code"]).replace("Ann", "Ms Lee"))
        assert [row["title"] for row in json.loads(rows)["data"][0]] == [TITLE]


def test_the_settings_for_a_client_are_json(local: EndpointServer) -> None:
    (settings,) = find_examples("json", local)
    assert json.loads(settings)["mcpServers"]["ftlab"]["url"] == f"{local.url}gradio_api/mcp/"
