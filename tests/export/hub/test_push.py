"""A push by the unmodified client to a stand-in of the Hub, and what timm and the client get from there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.models.pretrained import hub_access
from ftlab.models.pretrained.hub_access import HubError
from ftlab.runs.directory import Run
from tests.support import ROOT, drawn_images
from tests.support.exported_models import make_run
from tests.support.hub_server import TOKEN, HubServer, serving_hub

NAME = "me/tiny-lite0"
_COMPARE = """
import sys, timm, torch
from safetensors.torch import load_file
model = timm.create_model("hf-hub:me/tiny-lite0", pretrained=True).eval()
local = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
local.load_state_dict(load_file(sys.argv[1]))
image = torch.rand(1, 3, 64, 64)
assert torch.equal(model(image), local(image))
print(model.pretrained_cfg["label_names"])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return make_run(folder, tmp_path_factory.mktemp("runs"), "tf_efficientnet_lite0")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving_hub() as server:
        yield server


def start(hub: HubServer, home: Path, *command: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.environment(home, token)}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def push_run(hub: HubServer, home: Path, run: Run, *flags: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    flags = ("--runs", str(run.path.parent), "--no-check", *flags)
    return start(hub, home, "-m", "ftlab", "push", run.name, "--to", NAME, *flags, token=token)


def test_what_is_pushed_is_pulled_and_timm_loads_it_without_the_token_anywhere(
    hub: HubServer, run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    pushed = push_run(hub, home, run, "--private")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{hub.url}/{NAME} has the model now" in pushed.stdout
    assert f"models/{NAME}" in hub.private
    files = hub.commits[f"models/{NAME}"][-1][1]
    assert f"hf-hub:{NAME}" in files["README.md"].decode()
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(files["model.safetensors"])
    loaded = start(hub, home, "-c", _COMPARE, str(weights))
    assert loaded.stdout == "['amber', 'blue', 'green']\n", loaded.stderr
    pulled = next(home.rglob("snapshots/*/model.safetensors"))
    assert pulled.read_bytes() == files["model.safetensors"]
    told = [pushed.stdout, pushed.stderr, *map(str, hub.requests)]
    kept = [path.read_bytes() for folder in (tmp_path, run.path) for path in folder.rglob("*") if path.is_file()]
    assert not any(TOKEN in text for text in told)
    assert not any(TOKEN.encode() in content for content in (*kept, *files.values()))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (0, "does not accept the token"),
        (403, "does not let this token"),
        (409, "what answers is not the Hugging Face Hub"),
    ],
)
def test_a_refusal_is_one_line_without_the_token(
    hub: HubServer, run: Run, tmp_path: Path, status: int, sentence: str
) -> None:
    hub.refusal = status
    token = TOKEN if status else "hf_WrongCanary"
    pushed = push_run(hub, tmp_path / "home", run, token=token)
    assert pushed.returncode == 2
    assert len(pushed.stderr.splitlines()) == 1
    assert sentence in pushed.stderr
    assert token not in pushed.stderr


def test_a_token_comes_by_the_standard_input_and_no_other_is_taken(hub: HubServer, run: Run, tmp_path: Path) -> None:
    command = ("-m", "ftlab", "push", run.name, "--runs", str(run.path.parent), "--no-check", "--to", NAME)
    for line, token, sentence in ((f"{TOKEN}\n", "hf_Wrong", ""), ("\n", TOKEN, "no token")):
        pushed = subprocess.run(
            [sys.executable, *command, "--token-stdin"],
            env={**os.environ, **hub.environment(tmp_path / "home", token)},
            cwd=ROOT,
            input=line,
            capture_output=True,
            text=True,
            check=False,
        )
        assert pushed.returncode == (2 if sentence else 0), pushed.stderr
        assert sentence in pushed.stderr


@pytest.mark.parametrize("name", ["me", "me/a b", "me/a/b", "me/--", ""])
def test_a_name_that_is_none_is_told(name: str) -> None:
    with pytest.raises(HubError, match="cannot be the name of a repository"):
        hub_access.check_repo_id(name)


@pytest.mark.parametrize("token", ["hf_two lines\nhere", "hf_ü"])
def test_a_malformed_token_is_not_quoted(token: str) -> None:
    with pytest.raises(HubError) as caught:
        hub_access.find_token(token)
    assert token[:6] not in str(caught.value)


def test_a_training_starts_from_a_model_on_the_hub_and_keeps_its_commit(
    hub: HubServer, run: Run, tmp_path: Path
) -> None:
    home, runs = tmp_path / "home", tmp_path / "runs"
    assert push_run(hub, home, run).returncode == 0
    commit = hub.commits[f"models/{NAME}"][-1][0]
    data = run.load_config().data
    train = ("-m", "ftlab", "train", "--data", data, "--runs", str(runs), "--epochs", "1", "--torch-num-threads", "1")
    trained = start(hub, home, *train, "--init-from", f"hf://{NAME}")
    assert trained.returncode == 0, trained.stderr
    started = Run(next(runs.glob("2*")))
    assert started.load_config().init_from == f"hf://{NAME}@{commit}"
    missing = start(hub, home, *train, "--init-from", "hf://me/nothing")
    assert missing.returncode == 2
    assert "hf://me/nothing is not on the Hugging Face Hub" in missing.stderr


_PULL = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], repo_type=sys.argv[2], local_dir=sys.argv[3])
"""


def test_a_space_is_created_with_its_sdk_and_pulled_byte_by_byte(hub: HubServer, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pushed = push_run(hub, home, run, "--format", "space", "--examples", "2")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{hub.url}/spaces/{NAME}" in pushed.stdout
    assert hub.space_sdks == {f"spaces/{NAME}": "gradio"}
    assert f"spaces/{NAME}" not in hub.private
    files = hub.commits[f"spaces/{NAME}"][-1][1]
    names = {"app.py", "model.py", "model.onnx", "model.json", "requirements.txt", "README.md", "examples/002.jpg"}
    assert names <= set(files)
    assert files["README.md"].startswith(b"---\n")
    assert b"sdk: gradio" in files["README.md"]
    pulled = start(hub, home, "-c", _PULL, NAME, "space", str(tmp_path / "pulled"))
    assert pulled.returncode == 0, pulled.stderr
    assert all((tmp_path / "pulled" / name).read_bytes() == content for name, content in files.items())


def test_the_best_weights_so_far_are_pushed_while_the_training_goes_on(
    hub: HubServer, run: Run, tmp_path: Path
) -> None:
    runs, environment = tmp_path / "runs", {**os.environ, **hub.environment(tmp_path / "home")}
    command = ("train", "--data", run.load_config().data, "--runs", str(runs), "--backbone", "mobilenet_v2")
    options = ("--mode", "scratch", "--epochs", "500", "--image-size", "32", "--torch-num-threads", "1")
    training = subprocess.Popen(
        [sys.executable, "-m", "ftlab", *command, *options],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(runs.glob("2*/best.safetensors")) and training.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert training.poll() is None, training.communicate()[1]
        pushed = push_run(hub, tmp_path / "home", Run(next(runs.glob("2*"))))
        assert pushed.returncode == 0, pushed.stderr
        assert training.poll() is None, "the training goes on"
    finally:
        training.kill()
        training.communicate()
    card = hub.commits[f"models/{NAME}"][-1][1]["README.md"].decode()
    assert "--mode scratch --epochs 500" in card


_PUSH_PAGE = """
import sys
from pathlib import Path
from ftlab.export.formats import get_format
from ftlab.export.hub.push import push_folder
print(push_folder(Path(sys.argv[1]), sys.argv[2], sys.argv[3], space_sdk=get_format("web").space_sdk)[0])
"""


def test_a_web_page_becomes_a_static_space(hub: HubServer, tmp_path: Path) -> None:
    (folder := tmp_path / "page").mkdir()
    (folder / "index.html").write_text("<!doctype html>")
    pushed = start(hub, tmp_path / "home", "-c", _PUSH_PAGE, str(folder), NAME, TOKEN)
    assert pushed.stdout == f"{hub.url}/spaces/{NAME}\n", pushed.stderr
    assert hub.space_sdks == {f"spaces/{NAME}": "static"}
    assert hub.commits[f"spaces/{NAME}"][-1][1]["index.html"] == b"<!doctype html>"
