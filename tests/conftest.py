"""What every test stands on: a home of its own, no network, nothing left behind; and the fixtures they share."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import network_guard as network
import psutil
import pytest

from tests.support import ROOT, drawn_images, staged_jobs
from tests.support import browser as browsers

OFFLINE = ROOT / "tests" / "offline"
SHARED = ("data/hymenoptera/train/ants", "data/hymenoptera/val/bees", "torch_home/hub/checkpoints")
"""What must be in the folder that FTLAB_TEST_DATA names."""
MARK = "FTLAB_TEST_SESSION"
"""Environment variable that all processes started by this session inherit."""
PATIENCE = 60_000
"""Milliseconds that a page has for what is expected of it, on a machine that has much else to do."""

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

    from ftlab.data.sources.tutorial_datasets import TutorialDataset
    from ftlab.runs.directory import Run
    from tests.support.loopback_server import Server


def pytest_configure() -> None:
    """Before any test module, and so gradio and torch, is imported."""
    importlib.import_module("ftlab")  # says how torch's threads wait for each other
    # Two workers share two cores: threads of both would wait for each other at each of thousands of operations.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in [name for name in os.environ if name.startswith(("FTLAB_", "GRADIO_SERVER_", "SPACE_"))]:
        if name not in ("FTLAB_TEST_DATA", "FTLAB_BROWSER"):
            del os.environ[name]


# Two workers take a file at a time: the long ones first, so that none is left with one while the other has nothing.
# Those with a browser, which wait, stand between those that compute.
LONG_FILES = (
    *("browser/test_app.py", "server/test_class_faults.py", "training/test_torture.py"),
    "training/devices/test_distributed.py",
    *("training/test_real_images.py", "browser/test_train_tab.py", "models/test_network.py"),
    *(
        "browser/test_runs_tab.py",
        "browser/test_web_page.py",
        "inference/test_cam_methods.py",
        "browser/test_augment_preview.py",
    ),
    *("benchmarks/test_benchmarks.py", "browser/test_inspect_tab.py", "audit/test_examine.py"),
    *("browser/test_recipe_picker.py", "cli/test_main.py", "browser/test_lr_finder.py"),
    *("models/test_timm_spec.py", "benchmarks/test_peers.py", "training/checkpoints/test_init_from.py"),
    *("training/test_auxiliary_heads.py", "training/test_compile.py", "training/test_loop_resume.py"),
    *("training/test_loop_images.py", "data/samples/test_sample_sets.py", "training/test_loop.py"),
    *("models/test_cam_layers.py", "models/execution/test_engines.py", "evaluation/test_evaluate.py"),
    *("training/test_loop_phases.py", "data/dataset/test_layout.py", "inference/test_predictor.py"),
    *("runs/jobs/test_launch.py", "runs/jobs/test_time_estimate.py", "runs/jobs/test_warm_worker.py"),
    "runs/queue/test_job_queue.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder `FTLAB_HOME` names in fixtures wider than a test. A test that wants what another one rendered
    sets `FTLAB_HOME` to it. At the end of the session no process that a test started may still be there."""
    home = tmp_path_factory.mktemp("home")
    attempts = home / "network.txt"
    attempts.touch()
    with pytest.MonkeyPatch.context() as patch:
        _own_places(patch, home)
        patch.setenv("MPLCONFIGDIR", str(home / "matplotlib"))
        patch.setenv(MARK, str(home))
        patch.setenv(network.LOG, str(attempts))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(OFFLINE), str(ROOT)]))
        sys.addaudithook(network.refuse)
        yield home
        if isolated := sys.modules.get("ftlab.data.isolation.isolated"):
            isolated.close_shared_pool()
        left = _processes_left(str(home), patience=10.0)
        for process in left:
            process.kill()
        commands = [" ".join(process.info["cmdline"] or []) for process in left]
        assert not commands, "tests left these processes behind (they are ended now)"


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own home, cache of weights, uploads and working directory."""
    place = tmp_path / "isolated"
    place.mkdir()
    _own_places(monkeypatch, place)
    monkeypatch.chdir(place)


@pytest.fixture(scope="module", autouse=True)
def module_environment() -> Iterator[None]:
    """What a page declares for the processes that it starts (quotas, folders) ends with the tests of a module."""
    before = {name: value for name, value in os.environ.items() if name.startswith("FTLAB_")}
    yield
    for name in [name for name in os.environ if name.startswith("FTLAB_")]:
        if name not in before:
            del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def faulty_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """In processes that a test starts, the decoder fails at the files that `tests/offline/faulty_decoder.py` knows."""
    from ftlab.data.isolation import isolated

    monkeypatch.setenv("FTLAB_TEST_FAULTS", "1")
    monkeypatch.setenv("FTLAB_DECODE_SECONDS", "5")
    monkeypatch.setenv("FTLAB_DECODE_MEGABYTES", "500")
    isolated.close_shared_pool()
    yield monkeypatch
    isolated.close_shared_pool()


@pytest.fixture
def network_attempts(session_home: Path) -> Path:
    """For a test whose subject is the missing network: the file that lists refused connections, a line each.
    Such a test does not fail by what stands there."""
    return session_home / "network.txt"


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, session_home: Path) -> Iterator[None]:
    """Fails a test in which this process, or one it started, reached for another machine."""
    log = session_home / "network.txt"
    before = log.stat().st_size
    yield
    attempts = log.read_bytes()[before:].decode("utf-8")
    if attempts and "network_attempts" not in request.fixturenames:
        pytest.fail(f"reached for the network:\n{attempts}")


@pytest.fixture(autouse=True)
def finished_graphs() -> Iterator[None]:
    """The graph of a model that a test has asked is built before the next test begins: the build passes images through
    networks, which other tests count."""
    yield
    answers = sys.modules.get("ftlab.inference.network_answers")
    if answers is not None:
        answers._GRAPH_BUILDER.submit(int).result(120)


@pytest.fixture(scope="module")
def one_thread_for_all() -> Iterator[None]:
    """All tests of a module, and its fixtures, compute with one thread: for answers that are compared to the bit, and
    for thousands of small operations, at each of which two would wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the machine is busy, two threads wait for each other at each of thousands of small operations."""
    import torch

    from ftlab.training.devices import device_setup

    monkeypatch.setattr(device_setup, "count_cpu_cores", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def nothing_scanned() -> Iterator[None]:
    """The page remembers what it looked at, and other tests call other pictures by the same name."""
    from ftlab.ui.common import data_choice

    data_choice.scan_futures.clear()
    data_choice.split_catalogs.clear()
    yield
    data_choice.scan_futures.clear()
    data_choice.split_catalogs.clear()


@pytest.fixture
def pets_server() -> Iterator[Server]:
    """A server on this machine that sends the data set of `pets_offer`."""
    from tests.support import tutorial_server
    from tests.support.loopback_server import serving

    with serving(tutorial_server.CONTENT) as server:
        yield server


@pytest.fixture
def pets_offer(pets_server: Server, monkeypatch: pytest.MonkeyPatch) -> TutorialDataset:
    """A tutorial's data set, `pets`, that can be downloaded from `pets_server`."""
    from tests.support import tutorial_server

    return tutorial_server.offer_pets(pets_server.url, monkeypatch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures and weights that `FTLAB_TEST_DATA` names: `data/`, `torch_home/`."""
    named = os.environ.get("FTLAB_TEST_DATA")
    if not named:
        pytest.skip("FTLAB_TEST_DATA is not set")
    folder = Path(named).absolute()
    missing = [name for name in SHARED if not (folder / name).is_dir()]
    if missing:
        pytest.fail(f"FTLAB_TEST_DATA is {folder}, where there is no {', '.join(missing)}")
    return folder


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A folder of drawn pictures, a sub-folder a class: amber, blue, green; 8 each, JPEG and PNG, 64 to 120 px."""
    return drawn_images.tiny(tmp_path / "tiny")


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    """Makes new runs on the tiny folder, for trainings of seconds: see `loop`."""
    import torch

    from tests.support import short_trainings

    threads = torch.get_num_threads()
    yield short_trainings.beginning(tiny_folder, tmp_path / "runs", monkeypatch)
    torch.set_num_threads(threads)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """`net` and `optimizer` that the engine makes, and what the network was `before`."""
    from tests.support import short_trainings

    return short_trainings.watched(monkeypatch)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit status, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        from ftlab.cli import main

        try:
            status = main.main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[staged_jobs.Stage]:
    """Where `ftlab.runs.jobs.launch` starts its processes during a test: a few lines run in the place of a training."""
    stage = staged_jobs.Stage()
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    yield stage
    stage.clear()


@pytest.fixture(scope="session")
def browser_path() -> str:
    """A browser for the page. None here: a failure where FTLAB_TEST_DATA promises a whole run, else not run."""
    found = browsers.find()
    if found is None:
        reason = f"no browser was found. To mend it: {browsers.REMEDY}"
        if os.environ.get("FTLAB_TEST_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[BrowserContext]:
    """A running browser, for the tests of one module. It keeps the files of pages it has seen, and the process that
    ran their scripts: the page without content stays open, so that this process has something to live for."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser_path, args=[*browsers.ARGUMENTS], timeout=PATIENCE)
        context = running.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE)
        empty = context.new_page()
        empty.route("**", lambda route: route.fulfill(body="", content_type="text/html"))
        empty.goto("http://127.0.0.1/")
        yield context
        running.close()


@pytest.fixture
def foreign_requests() -> list[str]:
    """What the test's page asked other machines for."""
    return []


@pytest.fixture
def page(browser: BrowserContext, foreign_requests: list[str]) -> Iterator[Page]:
    """A fresh page, 1280 × 800, as a new visitor has it: no cookie, nothing remembered. Fails a test whose page asked
    another machine."""
    others = [*browser.pages]
    browser.set_storage_state({"cookies": [], "origins": []})

    def watch(request: Request) -> None:
        if not _own(request.url):
            foreign_requests.append(request.url)

    browser.on("request", watch)
    yield browser.new_page()
    for opened in browser.pages:
        if opened not in others:
            opened.close()
    browser.remove_listener("request", watch)
    assert not foreign_requests, "the page asked other machines"


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where the page's tests keep what they saw, for people to look at."""
    folder = ROOT / "test-screenshots"
    folder.mkdir(exist_ok=True)
    return folder


def _own_places(patch: pytest.MonkeyPatch, place: Path) -> None:
    patch.setenv("FTLAB_HOME", str(place / "home"))
    patch.setenv("TORCH_HOME", str(place / "torch"))
    patch.setenv("HF_HOME", str(place / "hub"))
    patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))


def _own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "about:", "file:"))


def _processes_left(mark: str, patience: float) -> list[psutil.Process]:
    """Processes that carry the mark of this session, after as many seconds as are needed, at most `patience`."""
    until = time.monotonic() + patience
    while True:
        left = [process for process in psutil.process_iter(["cmdline"]) if _marked(process, mark)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        helper = "multiprocessing.resource_tracker" in " ".join(process.info["cmdline"] or [])
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and not helper and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False
