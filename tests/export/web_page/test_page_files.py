"""The format `web`: a folder of static files, complete and bound to its own origin."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ftlab.cli.main import main
from ftlab.core.errors import FtlabError
from ftlab.export import export_run, model_source, web_runtime
from ftlab.export.formats import FORMATS, ExportOptions
from ftlab.export.web_page import page_files
from ftlab.export.web_page.page_files import STATIC_FOLDER
from ftlab.inference.heat_script import HEAT_DRAWING_PATH
from ftlab.runs.directory import Run
from tests.support import drawn_images
from tests.support.exported_models import NAMES, check_answers, check_half_weights, make_run, make_source

pytestmark = pytest.mark.usefixtures("one_thread")

WEB = FORMATS["web"]
PAGE_FILES = {path.name for path in STATIC_FOLDER.iterdir()} | {HEAT_DRAWING_PATH.name}
SCRIPTS = {path.name: path.read_text("utf-8") for path in (*STATIC_FOLDER.glob("*.js"), HEAT_DRAWING_PATH)}
INDEX = (STATIC_FOLDER / "index.html").read_text("utf-8")


class Tags(HTMLParser):
    """All tags of a page, as (name, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


TAGS = Tags(INDEX).found


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files in the place of onnxruntime-web's, which a checkout may lack: nothing here runs them."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in web_runtime.WEB_RUNTIME_SHA256:
        (folder / name).write_bytes(name.encode())
        monkeypatch.setitem(web_runtime.WEB_RUNTIME_SHA256, name, hashlib.sha256(name.encode()).hexdigest())
    for name in web_runtime.WEB_RUNTIME_LICENSES:
        (folder / name).write_bytes((web_runtime.WEB_RUNTIME_FOLDER / name).read_bytes())
    monkeypatch.setattr(web_runtime, "WEB_RUNTIME_FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny")
    return make_run(folder, tmp_path_factory.mktemp("runs"))


def test_a_zip_has_the_page_the_model_and_the_runtime_with_its_licenses(run: Run, tmp_path: Path) -> None:
    result = export_run.export_run(run, WEB, tmp_path / "page.zip", ExportOptions())
    assert result.report is not None
    assert result.report.passed
    assert result.report.largest_map_difference is not None
    with zipfile.ZipFile(tmp_path / "page.zip") as packed:
        names = {name for name in packed.namelist() if not name.endswith("/")}
        card = packed.read("README.md").decode()
        check = json.loads(packed.read("check.json"))
    runtime_names = (*web_runtime.WEB_RUNTIME_SHA256, "LICENSE", "ThirdPartyNotices.txt")
    assert names == {
        *PAGE_FILES,
        *(f"onnxruntime-web/{name}" for name in runtime_names),
        *("model.onnx", "model.json", "page.json", "check.json", "README.md", ".nojekyll"),
    }
    assert check["check"]["images"] == result.report.images
    # What a static Space of the Hugging Face Hub reads.
    assert card.startswith("---\n")
    assert "\nsdk: static\napp_file: index.html\n" in card.partition("\n---\n")[0] + "\n"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_model_of_the_page_gives_the_answers_of_the_trained_one(tmp_path: Path, interpolation: str) -> None:
    source = make_source(interpolation=interpolation, temperature=1.7)
    page_files.write_files(source, tmp_path, ExportOptions())
    check_answers(source, page_files.open_model(tmp_path), bound=5e-3, map_bound=0.05)


def test_float16_weights_halve_the_model(tmp_path: Path) -> None:
    check_half_weights(page_files, make_source(), tmp_path, "model.onnx", (5e-3, 5e-3))


def test_the_page_knows_how_long_the_large_files_are(tmp_path: Path) -> None:
    page_files.write_files(make_source(), tmp_path, ExportOptions())
    settings = json.loads((tmp_path / "page.json").read_text("utf-8"))
    assert settings["backbone"] == "MobileNetV2"
    assert settings["runtime"] == "1.30.0"
    assert set(settings["bytes"]) == {"model.onnx", "onnxruntime-web/ort-wasm-simd-threaded.wasm"}
    assert all((tmp_path / name).stat().st_size == length for name, length in settings["bytes"].items())


@pytest.mark.parametrize("name", ["ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"])
def test_a_checkout_without_the_runtime_says_so_before_any_work(
    run: Run,
    runtime: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    (runtime / name).unlink()
    monkeypatch.setattr(model_source, "load_model_source", lambda *_: pytest.fail("the model was read"))
    arguments = ["export", run.name, "--runs", str(run.path.parent), "--format", "web", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    line = capsys.readouterr().err.strip()
    assert f"{name} is missing" in line
    assert line.endswith("make web-runtime")
    assert "\n" not in line
    assert not (tmp_path / "out").exists()


def test_a_changed_runtime_is_refused(runtime: Path) -> None:
    (runtime / "ort.wasm.min.js").write_bytes(b"another one")
    with pytest.raises(FtlabError, match=r"ort\.wasm\.min\.js is not the file of onnxruntime-web"):
        WEB.load()


def test_the_default_backbone_makes_a_page_below_40_megabytes(tmp_path: Path) -> None:
    page_files.write_files(make_source("tf_efficientnet_lite0"), tmp_path, ExportOptions())
    runtime_bytes = 14_314_474  # of the three files of 1.30.0, which are small ones here
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) + runtime_bytes < 40e6


# What the page may do


def test_the_page_allows_itself_alone() -> None:
    policies = [values["content"] or "" for _, values in TAGS if values.get("http-equiv") == "Content-Security-Policy"]
    (policy,) = policies
    rules = {name: set(sources) for name, *sources in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == {"'none'"}
    # Blobs are made of what the page has fetched from itself: the thread of the model, and a module of the runtime.
    allowed = {"'none'", "'self'", "blob:", "'wasm-unsafe-eval'"}
    assert not {source for sources in rules.values() for source in sources} - allowed
    assert rules["connect-src"] == {"'self'"}
    # The policy stands before everything that it is for.
    names = [name for name, _ in TAGS]
    policy_place = next(place for place, (_, values) in enumerate(TAGS) if "http-equiv" in values)
    assert policy_place < min(names.index(name) for name in ("link", "script", "title"))


def test_all_addresses_are_files_beside_the_page() -> None:
    addresses = [values[name] for _, values in TAGS for name in ("src", "href") if values.get(name)]
    assert addresses
    assert not [address for address in addresses if address not in PAGE_FILES]
    sources = [INDEX, (STATIC_FOLDER / "style.css").read_text("utf-8"), *SCRIPTS.values()]
    named = {address for text in sources for address in re.findall(r"https?://[^\s\"'<，。]+", text)}
    assert named <= {"http://localhost:8000"}  # the one that people type in
    assert "@import" not in sources[1]
    assert "url(" not in sources[1]


def test_the_page_has_no_code_in_its_html() -> None:
    assert "<script>" not in INDEX
    assert "<style" not in INDEX
    assert not [values for _, values in TAGS if "style" in values or any(name.startswith("on") for name in values)]


# Texts


def read_texts() -> dict[str, dict[str, str]]:
    """The texts of the page by language and key."""
    texts: dict[str, dict[str, str]] = {}
    for line in SCRIPTS["page_texts.js"].splitlines():
        if match := re.fullmatch(r"  (\w+): \{", line):
            texts[match[1]] = language_texts = {}
        elif match := re.fullmatch(r"    (\w+): '(.*)',", line):
            language_texts[match[1]] = match[2]
    return texts


def test_both_languages_have_all_texts_with_the_same_values() -> None:
    texts = read_texts()
    assert set(texts) == {"en", "zh"}
    values = [
        {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in language_texts.items()}
        for language_texts in texts.values()
    ]
    assert values[0] == values[1]


def test_every_text_is_used_and_every_used_text_exists() -> None:
    keys = set(read_texts()["en"])
    named = {values[name] for _, values in TAGS for name in ("data-text", "data-label") if name in values}
    assert named <= keys
    code = "".join(text for name, text in SCRIPTS.items() if name != "page_texts.js")
    quoted = set(re.findall(r"'(\w+)'", code))
    assert keys <= quoted | named
    told = set(re.findall(r"(?:getText|tell|tellFailure|PageError)\('(\w+)'", code))
    assert told <= keys


def test_the_names_of_people_and_the_threshold_are_in_the_description(run: Run, tmp_path: Path) -> None:
    export_run.export_run(run, WEB, tmp_path / "out", ExportOptions(), check=False)
    described = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))
    assert described["classes"] == list(NAMES)
    assert {"names", "threshold", "temperature", "preprocessing", "class_maps"} <= set(described)
    assert json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))["check"] is None
