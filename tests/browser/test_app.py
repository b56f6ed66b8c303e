"""The story in a real browser: pictures, Start, live curves, a reload in mid-run, the end, a picture, its evidence.

Each test is what one person does; what they see is kept in `test-screenshots/` for people to look at.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Page, ViewportSize, expect

from ftlab.config.train_config import TrainConfig
from ftlab.data.samples import sample_sets
from ftlab.inference import heatmap, load_model
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import time_estimate
from ftlab.runs.jobs.time_estimate import MeasuredSpeed
from tests.support import ROOT, drawn_images
from tests.support.served_page import look, open_settings, open_tab

SOON, LATER = 30_000, 120_000
"""Milliseconds for what needs a server's answer, and for what needs a training."""


FEW_PICTURES = """
import dataclasses, runpy, sys
from ftlab.data.samples import sample_sets
sample_sets.SAMPLE_SETS["shapes"] = dataclasses.replace(sample_sets.SAMPLE_SETS["shapes"], split_counts=(16, 8, 2))
sys.argv[0] = "app.py"
runpy.run_path("app.py", run_name="__main__")
"""
"""`python app.py` that draws a third of the sample set. Whoever finds the set drawn takes it as it is."""


class Server:
    """`python app.py` on a port of its own, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.data, self.log = folder / "runs", folder / "data", folder / "server.log"
        self.data.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        # Without a spare process, so that the words of a training's process are those that the page shows.
        self.environment = {**os.environ, "FTLAB_HOME": str(folder / "home"), "FTLAB_WARM_WORKER": "0"}

    def start(self, *program: str) -> None:
        places = ["--runs", str(self.runs), "--data-root", str(self.data)]
        words = [*(program or ["app.py"]), "--no-browser", "--port", str(self.port), *places]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            time.sleep(0.1)
        raise AssertionError(f"no server after a minute: {self.log.read_text(encoding='utf-8')}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def newest(self) -> Run:
        return run_store.find_run(self.runs, "latest")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """How fast this machine is with the sample set is known, as on a later visit; with other pictures it is not."""
    server = Server(tmp_path_factory.mktemp("app"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTLAB_HOME", server.environment["FTLAB_HOME"])
        speed = MeasuredSpeed(startup=5.0, features=90.0, training=20.0, validation=60.0, step=0.002, saving=0.05)
        time_estimate.save_speed(time_estimate.build_speed_key(TrainConfig(sample="shapes")), speed)
    server.start("-c", FEW_PICTURES)
    yield server
    server.end()
    for run in run_store.find_active_runs(server.runs):
        psutil.Process(run.read_json("pid")["pid"]).kill()


def test_a_new_user_trains_on_the_sample_set_and_sees_what_the_network_looks_at(
    server: Server, page: Page, screenshots: Path
) -> None:
    page.goto(server.url)
    expect(page.locator("#dataset-summary")).to_contain_text("umbrella", timeout=LATER)
    expect(page.locator("#dataset-gallery img").first).to_be_visible(timeout=LATER)
    keep(page, screenshots, "1-dataset")

    page.locator("#dataset-go").click()
    expect(page.locator("#train-facts")).to_contain_text("7,686 of 3.4 M")
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile(r"^python -m ftlab train --sample shapes"))
    keep(page, screenshots, "2-train-before")

    open_settings(page)
    page.locator("#train-epochs input").fill("800")
    typed = page.locator("#train-command textarea")
    expect(typed).to_have_value(re.compile("--epochs 800"), timeout=SOON)
    shown = typed.input_value()
    page.locator("#train-start").click()
    expect(page.locator("#train-curves polyline.val").first).to_be_attached(timeout=LATER)
    run = server.newest()
    assert typed_words(run) == shown.split()[1:], "Start runs the command that was shown"
    few = points(page)
    page.wait_for_function(
        "few => document.querySelector('#train-curves polyline.val').points.numberOfItems > few", arg=few
    )
    keep(page, screenshots, "3-train-running")

    page.reload()
    open_tab(page, "Train")
    expect(page.locator("#train-curves polyline.val").first).to_be_attached(timeout=SOON)
    assert points(page) > few, "the reloaded page shows the run from its beginning"
    expect(page.locator("#train-go")).to_be_visible(timeout=LATER)
    assert run.liveness.get_status() == "finished"
    ended = run.liveness.read_end_event()
    assert ended is not None
    assert (ended.best_val_accuracy or 0.0) >= 0.95
    expect(page.locator("#train-progress")).to_contain_text("%")
    keep(page, screenshots, "4-train-done")

    page.locator("#train-go").click()
    expect(page.locator("#predict-model input")).to_have_value(re.compile("EfficientNet-Lite0"), timeout=SOON)
    picture = sorted((sample(server) / "test" / "fish").iterdir())[0]
    page.locator("#predict-image input[type=file]").set_input_files(picture)
    rows = page.locator("#predict-scores button[data-index]")
    expect(rows).to_have_count(5, timeout=LATER)
    expect(rows.first).to_contain_text("fish")
    for name, magic in (("Picture", b"\xff\xd8"), ("Heat", b"\xff\xd8"), ("Overlay", b"\x89PNG")):
        with page.expect_download() as given:
            page.locator("#predict-overlay .downloads a", has_text=name).click()
        assert given.value.path().read_bytes().startswith(magic)
    boxes = [page.locator(f"#predict-overlay .stack .{layer}").bounding_box() for layer in ("under", "over")]
    assert boxes[0] == pytest.approx(boxes[1], abs=0.6), "the heat lies on the picture"
    drawn, expected = drawn_heat(page), expected_heat(run, picture)
    assert drawn.shape == expected.shape
    # The browser keeps colors multiplied by their opacity: faint ones are rounded coarsely.
    assert np.abs(drawn[..., 3].astype(int) - expected[..., 3]).max() <= 1
    weights = np.minimum(drawn[..., 3:], expected[..., 3:]) / 255
    assert np.abs((drawn[..., :3].astype(float) - expected[..., :3]) * weights).max() <= 4
    first = overlay(page)
    rows.nth(1).click()
    page.wait_for_function("old => document.querySelector('#predict-overlay .over')?.dataset.map !== old", arg=first)
    keep(page, screenshots, "5-predict")

    page.locator("#predict-looks > button").click()
    page.locator("#predict-before input").check()
    expect(page.locator("#predict-overlay .before")).to_contain_text("The backbone was frozen", timeout=LATER)
    page.locator("#predict-weigh").click()
    verdict = re.compile("means something|no better than a random one|nothing to test")
    expect(page.locator("#predict-verdict")).to_contain_text(verdict, timeout=LATER)
    keep(page, screenshots, "6-explained")

    open_tab(page, "Compare")
    expect(page.locator("#compare-shown")).to_contain_text("Nothing to compare yet", timeout=SOON)
    expect(page.locator("#compare-runs input")).to_have_count(1)


def test_stop_keeps_the_best_model_and_resume_goes_on_even_after_the_server_restarted(
    server: Server, page: Page, screenshots: Path
) -> None:
    page.goto(server.url)
    expect(page.locator("#dataset-summary")).to_contain_text("umbrella", timeout=LATER)
    open_tab(page, "Train")
    open_settings(page)
    page.locator("#train-epochs input").fill("5000")
    expect(page.locator("#train-command textarea")).to_have_value(re.compile("--epochs 5000"), timeout=SOON)
    page.locator("#train-start").click()
    expect(page.locator("#train-curves polyline.val").first).to_be_attached(timeout=LATER)
    run = server.newest()

    page.goto("about:blank")  # a page that is open reloads by itself when its server is back
    server.end()
    assert run.liveness.is_active(), "a training goes on without its page's server"
    server.start()
    page.goto(server.url)
    open_tab(page, "Train")
    expect(page.locator("#train-stop")).to_be_enabled(timeout=SOON)
    page.locator("#train-stop").click()
    expect(page.locator("#train-resume")).to_be_enabled(timeout=SOON)
    assert run.liveness.get_status() == "stopped"
    assert run.best_weights_path.is_file()
    keep(page, screenshots, "6-train-stopped")

    reached = run.load_history().steps_done
    page.locator("#train-resume").click()
    expect(page.locator("#train-stop")).to_be_enabled(timeout=SOON)
    page.wait_for_function("() => document.querySelector('#train-curves polyline.val')")
    until = time.monotonic() + 120
    while run.load_history().steps_done <= reached and time.monotonic() < until:
        time.sleep(0.2)
    assert run.load_history().steps_done > reached
    page.locator("#train-stop").click()
    expect(page.locator("#train-resume")).to_be_enabled(timeout=SOON)
    steps = [row.step for row in run.load_history().steps]
    assert steps == sorted(set(steps)), "each step stands once in the history"


def test_a_second_page_finds_the_same_run(server: Server, page: Page) -> None:
    name = server.newest().name
    page.goto(server.url)
    open_tab(page, "Train")
    page.locator("#train-runs input").click()
    page.get_by_role("option").first.click()
    expect(page.locator("#train-curves polyline.val").first).to_be_attached(timeout=SOON)
    second = page.context.new_page()
    second.goto(server.url)
    open_tab(second, "Train")
    expect(second.locator("#train-curves polyline.val").first).to_be_attached(timeout=SOON)
    assert name in server.newest().name


def test_the_untrained_default_answers_at_once_and_a_broken_picture_gives_one_line(
    server: Server, page: Page, tmp_path: Path
) -> None:
    page.goto(server.url)
    open_tab(page, "Predict")
    # A page begins with the newest training.
    expect(page.locator("#predict-model input")).not_to_have_value("", timeout=SOON)
    page.locator("#predict-model input").click()
    page.get_by_role("option", name="Untrained default").click()
    page.locator("#predict-examples button").nth(1).click()
    rows = page.locator("#predict-scores button[data-index]")
    expect(rows).to_have_count(5, timeout=LATER)
    expect(rows.first).to_contain_text("lion")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is no picture")
    page.locator("#predict-image input[type=file]").set_input_files(broken)
    expect(page.locator("#predict-scores")).to_contain_text("broken.jpg", timeout=SOON)


def test_no_tab_is_wider_than_the_window(server: Server, page: Page, screenshots: Path) -> None:
    phone: ViewportSize = {"width": 390, "height": 844}
    page.set_viewport_size(phone)
    page.goto(server.url)
    shown = {
        "Dataset": page.locator("#dataset-gallery img").first,
        "Train": page.locator("#train-facts").get_by_text("7,686 of 3.4 M"),
        "Predict": page.locator("#predict-examples img").first,
        "Inspect": page.locator("#inspect-scores .ftlab-empty"),
        "Compare": page.locator("#compare-shown .ftlab-empty, #compare-shown figure").first,
        "Runs": page.locator("#shelf-table tr[data-run], #shelf-table .ftlab-empty").first,
    }
    for name, content in shown.items():
        page.set_viewport_size(phone)
        open_tab(page, name)
        expect(content).to_be_visible(timeout=LATER)
        look(page, screenshots, f"7-{name.lower()}-{{}}", widths=(390, 1280))


def test_a_zip_that_is_sent_is_looked_through_found_again_and_trained_on(
    server: Server, page: Page, tmp_path: Path, screenshots: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as out:
        for label in ("ants", "bees"):
            for number in range(6):
                out.writestr(f"pets/{label}/{number}.png", drawn_images.png(64, 64))
        out.writestr("pets/ants/empty.png", b"")
    (tmp_path / "broken.zip").write_bytes(b"no zip at all")
    page.goto(server.url)
    expect(page.locator("#dataset-summary")).to_contain_text("umbrella", timeout=LATER)
    page.locator("#dataset-source label").filter(has_text="A zip of mine").click()
    expect(page.locator("#dataset-summary")).to_contain_text("Which zip?", timeout=SOON)
    field, summary = page.locator("#dataset-zip input[type=file]"), page.locator("#dataset-summary")
    field.set_input_files(tmp_path / "broken.zip")
    expect(summary).to_contain_text("broken.zip is not a zip", timeout=SOON)
    field.set_input_files(tmp_path / "pets.zip")
    expect(summary).to_contain_text("bees", timeout=SOON)
    expect(page.locator("#dataset-problems")).to_contain_text("ants/empty.png")
    keep(page, screenshots, "8-dataset-zip")

    page.reload()
    expect(summary).to_contain_text("pets", timeout=SOON)
    page.locator("#dataset-go").click()
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--data .*visitors.*pets"), timeout=SOON)
    open_settings(page)
    page.locator("#train-epochs input").fill("1")
    expect(command).to_have_value(re.compile("--epochs 1 "), timeout=SOON)
    page.locator("#train-start").click()
    expect(page.locator("#train-go")).to_be_visible(timeout=LATER)
    run = server.newest()
    assert run.read_json("model.json")["classes"] == ["ants", "bees"]
    assert run.liveness.get_status() == "finished"


def test_of_folders_what_cannot_be_used_is_refused_and_a_copy_is_found_and_left_out_for_good(
    server: Server, page: Page, screenshots: Path
) -> None:
    (server.data / "empty").mkdir()
    folder = drawn_images.tiny(server.data / "copied")
    shutil.copy(folder / "amber" / "amber_1.jpg", folder / "blue" / "copy.jpg")
    page.goto(server.url)
    summary, exact = page.locator("#dataset-summary"), page.locator(".ftlab-doctor .kind.exact")
    expect(summary).to_contain_text("umbrella", timeout=LATER)
    page.locator("#dataset-source label").filter(has_text="A folder of mine").click()
    field = page.locator("#dataset-folder input")
    for typed, said in ((server.data / "empty", "no pictures"), ("/etc", str(server.data)), (folder, "amber")):
        field.fill(str(typed))
        field.press("Enter")
        expect(summary).to_contain_text(said, timeout=SOON)
    page.get_by_role("button", name="Doctor").click()
    page.locator("#doctor-examine").click()
    expect(exact.locator("figure")).to_have_count(2, timeout=LATER)
    page.locator(".ftlab-map circle.marked").first.hover(force=True)
    expect(page.locator(".ftlab-map .look p")).to_contain_text(re.compile(r"amber_1\.jpg|copy\.jpg"))
    exact.locator("button[data-do=leave]").last.click()
    expect(summary).to_contain_text("Excluded pictures: 1", timeout=SOON)
    expect(exact.locator("button[data-do=back]")).to_have_count(1, timeout=SOON)
    keep(page, screenshots, "9-doctor")

    page.reload()
    expect(summary).to_contain_text("Excluded pictures: 1", timeout=SOON)
    page.locator("#dataset-go").click()
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--exclude .*exclusions"), timeout=SOON)
    open_tab(page, "Dataset")
    page.get_by_role("button", name="Doctor").click()
    exact.locator("button[data-do=back]").click()
    expect(summary).not_to_contain_text("Excluded pictures", timeout=SOON)


def keep(page: Page, folder: Path, name: str) -> None:
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def points(page: Page) -> int:
    """Points of the validation curve as it is drawn."""
    return int(page.evaluate("document.querySelector('#train-curves polyline.val').points.numberOfItems"))


def overlay(page: Page) -> str:
    return str(page.locator("#predict-overlay canvas").get_attribute("data-map"))


def drawn_heat(page: Page) -> heatmap.Uint8Image:
    """The heat that lies on the picture, uint8 [H, W, 4] RGBA."""
    width, height, values = page.evaluate("""() => {
        const canvas = document.querySelector('#predict-overlay .over');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return [canvas.width, canvas.height, Array.from(pixels)];
    }""")
    return np.array(values, np.uint8).reshape(height, width, 4)


def expected_heat(run: Run, picture: Path) -> heatmap.Uint8Image:
    explanation = load_model.load_predictor(run).predict_and_explain(picture)[1]
    return heatmap.render_layer(explanation.heatmap, explanation.visible_box)


def typed_words(run: Run) -> list[str]:
    """The command that a run's process was started with, without the interpreter."""
    return [str(word) for word in psutil.Process(run.read_json("pid")["pid"]).cmdline()[1:]]


def sample(server: Server) -> Path:
    return sample_sets.ensure_sample_set("shapes", Path(server.environment["FTLAB_HOME"]))
