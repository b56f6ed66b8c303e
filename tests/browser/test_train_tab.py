"""The Train tab in a real browser: the form, a run that is watched, one that hangs and one that is killed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from ftlab.core import machine
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from tests.support import fabricated_runs
from tests.support.served_page import look, open_settings, open_tab, serve_page
from tests.support.staged_jobs import DEAF, Stage, until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page's `url` and the folder of its `runs`."""
    place = tmp_path_factory.mktemp("lab")
    with serve_page(place, draw_pictures(place / "shapes")) as url:
        yield SimpleNamespace(url=url, runs=place / "runs")


def draw_pictures(folder: Path) -> Path:
    for split, name in ((split, name) for split in ("train", "val") for name in ("cube", "ring")):
        (folder / split / name).mkdir(parents=True, exist_ok=True)
        for index in range(3):
            Image.new("RGB", (64, 64), (40 * index, 80, 120)).save(folder / split / name / f"{index}.png")
    return folder


def open_train(page: Page, lab: SimpleNamespace) -> None:
    page.goto(lab.url)
    open_tab(page, "Train")
    expect(page.locator("#train-facts")).to_contain_text("2 classes, 6 training pictures, 6 for validation")


def test_the_form_fits_the_screen_follows_backbone_and_mode_and_loses_nothing_over_a_slip(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    open_train(page, lab)
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    look(page, screenshots, "train-{}-light", widths=(390, 1280))
    open_settings(page)
    epochs, rate = page.locator("#train-epochs input"), page.locator("#train-rate input")
    expect(epochs).to_have_value("30")
    page.locator("#train-backbone").get_by_text("ConvNeXt-Tiny").click()
    page.locator("#train-mode").get_by_text("Full fine-tune").click()
    expect(epochs).to_have_value("8")
    expect(rate).to_have_value("0.00005")
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--backbone convnext_tiny --mode full --runs"))
    page.locator("#train-seed input").fill("7")
    expect(command).to_have_value(re.compile("--seed 7 --runs"))
    page.locator("#train-warmup-fraction").get_by_role("button", name="Reset to default value").click()
    page.locator("#train-warmup-fraction input[type=number]").fill("0.2")
    expect(command).to_have_value(re.compile("--warmup-fraction 0.2 --seed 7 --runs"))
    page.locator("#train-warmup-fraction").get_by_role("button", name="Reset to default value").click()
    expect(command).to_have_value(re.compile("--mode full --seed 7 --runs"))
    epochs.fill("0")
    expect(page.locator("#train-facts")).to_contain_text('"Epochs" is 0: it must lie between 1 and 10000.')
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text('"Epochs" is 0')
    assert run_store.list_run_names(lab.runs) == []
    epochs.fill("2")
    expect(command).to_have_value(re.compile("--mode full --epochs 2 --seed 7 --runs"))


def test_a_search_hides_the_settings_that_do_not_match_and_changes_none(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    open_train(page, lab)
    assert page.locator("#train-settings-panel input").count() == 0, "the panel is closed at first"
    open_settings(page)
    page.locator("#train-epochs input").fill("7")
    page.locator("#train-label-smoothing input[type=number]").fill("0.2")
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--epochs 7 --label-smoothing 0.2 --runs"))
    look(page, screenshots, "settings-{}-light", widths=(390, 1280))
    search, settings = page.locator("#train-search input"), page.locator(".ftlab-group .ftlab-fields [id^=train-]")
    all_count = settings.filter(visible=True).count()
    for query, shown in {
        "label_smoothing": "train-label-smoothing",  # by its name,
        "Nesterov mom": "train-nesterov",  # its label,
        "microscope": "train-vflip",  # its hint,
        "phase3-lr": "train-phase3-lr",  # and its flag
    }.items():
        search.fill(query)
        expect(settings.filter(visible=True)).to_have_count(1)
        expect(page.locator(f"#{shown}")).to_be_visible()
        expect(page.locator(".ftlab-group h2").filter(visible=True)).to_have_count(1)
    search.fill("data augmentation")  # the title of a group shows all of it
    expect(page.locator("#train-mixup")).to_be_visible()
    expect(page.locator("#train-epochs")).to_be_hidden()
    expect(page.get_by_text("No setting matches.")).to_be_hidden()
    search.fill("flux capacitor")
    expect(page.get_by_text("No setting matches.")).to_be_visible()
    expect(settings.filter(visible=True)).to_have_count(0)
    look(page, screenshots, "settings-none-{}", widths=(390, 1280))
    # A change of the mode fills fields that are hidden.
    page.locator("#train-mode").get_by_text("Full fine-tune").click()
    expect(command).to_have_value(re.compile("--mode full --label-smoothing 0.2 --runs|--mode full --epochs"))
    search.fill("")
    expect(settings.filter(visible=True)).to_have_count(all_count)
    expect(page.locator("#train-rate input")).to_have_value("0.0001")
    expect(page.locator("#train-label-smoothing input[type=number]")).to_have_value("0.2")


def test_start_stop_facts_and_status_stand_together_on_any_screen(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    open_train(page, lab)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for name in ("start", "stop", "facts", "progress"):
            box = page.locator(f"#train-{name}").bounding_box()
            assert box
            assert box["y"] + box["height"] < 800, f"{name} at {width} px"
        page.screenshot(path=screenshots / f"train-together-{width}.png")


def test_start_is_within_twelve_key_presses_of_the_opened_page(page: Page, lab: SimpleNamespace) -> None:
    page.goto(lab.url)
    expect(page.locator("#tabs [role=tab]").first).to_be_visible()
    presses, wanted = 0, ["Train", "Skip the form: go to Start", "Start"]
    focused = "document.activeElement?.innerText.trim()"
    while wanted and presses < 12:
        page.keyboard.press("Tab")
        presses += 1
        if page.evaluate(focused) != wanted[0]:
            continue
        wanted.pop(0)
        if wanted:
            page.keyboard.press("Enter")
            presses += 1
            if wanted == ["Start"]:
                expect(page.locator("#train-start")).to_be_focused()
                wanted.pop(0)
    assert not wanted, f"{wanted} not reached by {presses} presses"
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    page.wait_for_timeout(1500)  # the page's own look at the speed, which it puts off, ends before the server does


def test_a_run_is_watched_found_again_and_looked_at_later(page: Page, lab: SimpleNamespace, screenshots: Path) -> None:
    older = fabricated_runs.make(lab.runs, [*fabricated_runs.story(), fabricated_runs.ended()], backbone="resnet18")
    run = fabricated_runs.make_at_work(lab.runs)
    open_train(page, lab)

    # A page without a run of its own finds the one at work; its curves grow, and no drawing is ever replaced.
    validation = page.locator("#train-curves .accuracy polyline.val")
    expect(validation).to_have_attribute("points", "0,0.125 10,0.75 20,0.9375")
    page.evaluate(
        """() => {
            window.replaced = 0;
            new MutationObserver((seen) => seen.forEach((one) => one.addedNodes.forEach((node) => {
                if (node.querySelector && (node.matches('svg, figure') || node.querySelector('svg'))) window.replaced++;
            }))).observe(document.querySelector('#train-curves'), {childList: true, subtree: true});
        }"""
    )
    fabricated_runs.write(run, [fabricated_runs.step(number) for number in range(21, 31)])
    fabricated_runs.write(run, [fabricated_runs.epoch(3, 0.8125, best=False)])
    expect(validation).to_have_attribute("points", re.compile(r"20,0.9375 30,0.8125$"))
    assert page.evaluate("window.replaced") == 0
    expect(page.locator("#train-progress")).to_contain_text("step 30 of 40")
    expect(page.locator("#train-start")).to_be_enabled()  # the next training would wait in the queue
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    # The pointer reads the values; they stay while the curves go on.
    frame = page.locator("#train-curves .loss .frame").bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    readout = page.locator("#train-curves .readout")
    expect(readout).to_contain_text("Epoch 2.00 · step 20")
    expect(readout.locator("div", has_text="Accuracy").locator(".val")).to_have_text("93.8 %")
    page.screenshot(path=screenshots / "train-live.png")
    page.mouse.move(5, 5)
    expect(readout).to_be_hidden()

    # A reload finds the run, and opens the tab by itself.
    page.reload()
    expect(validation).to_have_attribute("points", re.compile(r"30,0.8125$"))

    # Stop is a wish until the process heeds it.
    page.locator("#train-stop").click()
    expect(page.locator("#train-progress .word")).to_have_text("Stopping")
    assert run.liveness.is_stop_requested()
    fabricated_runs.write(run, [fabricated_runs.ended("stopped")])
    run.liveness.release_ownership()
    expect(page.locator("#train-progress .word")).to_have_text("Stopped")
    expect(page.locator("#train-resume")).to_be_enabled()
    expect(page.locator("#train-start")).to_be_enabled()

    # Another run is chosen, and still is after a reload.
    page.locator("#train-runs input").click()
    page.get_by_role("option").filter(has_text="ResNet-18").click()
    expect(page.locator("#train-progress .word")).to_have_text("Finished")
    expect(page.locator("#train-resume")).to_be_disabled()
    page.reload()
    open_tab(page, "Train")
    expect(page.locator("#train-progress .word")).to_have_text("Finished")
    with page.expect_download() as download:
        page.locator("#train-save").click()
    assert download.value.suggested_filename == f"{older.name}.png"
    page.locator("#train-go").click()
    expect(page.get_by_role("tab", name="Predict")).to_have_attribute("aria-selected", "true")


def test_after_a_reload_the_form_has_the_settings_of_the_run_that_is_shown_and_the_card_names_it(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    fabricated_runs.make(lab.runs, [*fabricated_runs.story(), fabricated_runs.ended()], epochs=11)
    settings = {"backbone": "resnet18", "mode": "full", "epochs": 7, "label_smoothing": 0.2}
    run = fabricated_runs.at_work(fabricated_runs.make(lab.runs, fabricated_runs.story(epochs=2), **settings))
    open_train(page, lab)
    expect(page.locator("#train-progress .about")).to_have_text("ResNet-18, full · Shapes")
    page.reload()
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--backbone resnet18 --mode full --epochs 7"))
    expect(command).to_have_value(re.compile("--label-smoothing 0.2"))
    open_settings(page)
    expect(page.locator("#train-epochs input")).to_have_value("7")
    look(page, screenshots, "train-follows-{}", widths=(390, 1280))
    # What somebody has changed since stays.
    page.locator("#train-epochs input").fill("3")
    page.wait_for_timeout(1500)
    expect(page.locator("#train-epochs input")).to_have_value("3")
    # Another run is chosen: the form follows.
    page.locator("#train-runs input").click()
    page.get_by_role("option").filter(has_text="EfficientNet-Lite0").first.click()
    expect(command).to_have_value(re.compile(r"--epochs 11 --runs"))
    expect(page.locator("#train-mode input:checked")).to_have_value("frozen")
    fabricated_runs.write(run, [fabricated_runs.ended("stopped")])
    run.liveness.release_ownership()


def test_start_while_another_one_runs_queues_and_says_so_and_stop_takes_it_out(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    other = fabricated_runs.make_at_work(lab.runs)
    open_train(page, lab)
    word, detail = page.locator("#train-progress .word"), page.locator("#train-progress .detail")
    expect(word).to_have_text("Training")
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("this one waits in the queue. You are 1st")
    expect(word).to_have_text("Waiting in the queue")
    expect(detail).to_contain_text("You are 1st")
    expect(page.locator("#train-start")).to_be_disabled()
    page.screenshot(path=screenshots / "train-queued.png")
    run = next(run for name in run_store.list_run_names(lab.runs) if (run := Run(lab.runs / name)).path != other.path)
    assert run.liveness.get_status() == "queued"
    page.locator("#train-stop").click()
    expect(word).to_have_text("Stopped")
    expect(detail).to_contain_text("It was stopped before it began")
    expect(page.locator("#train-resume")).to_be_enabled()
    expect(page.locator("#train-start")).to_be_enabled()
    assert run.liveness.get_status() == "stopped"
    other.liveness.release_ownership()


def test_a_wish_to_stop_that_is_not_heard_is_told_below_the_card(
    page: Page, lab: SimpleNamespace, screenshots: Path
) -> None:
    run = fabricated_runs.make_at_work(lab.runs)
    open_train(page, lab)
    stop, notice = page.locator("#train-stop"), page.locator("#train-stop-notice")
    expect(stop).to_be_enabled()
    page.route("**/ftlab/stop", lambda route: route.abort())
    stop.click()
    expect(notice).to_contain_text("The server does not answer")
    look(page, screenshots, "train-stop-unheard-{}", widths=(390, 1280))
    page.unroute("**/ftlab/stop")
    page.route("**/ftlab/stop", lambda route: route.fulfill(status=403, json={"detail": "<b>No.</b>"}))
    stop.click()
    expect(notice).to_have_text("<b>No.</b>")
    page.unroute("**/ftlab/stop")
    # The queue is of no account: nothing of it is asked.
    page.route("**/queue/join", lambda route: route.abort())
    stop.click()
    expect(page.locator("#train-progress .word")).to_have_text("Stopping")
    expect(notice).to_have_text("")
    assert run.liveness.is_stop_requested()
    fabricated_runs.write(run, [fabricated_runs.ended("stopped")])
    run.liveness.release_ownership()


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
def test_one_that_hangs_is_ended_by_force_and_one_that_is_killed_says_so(
    page: Page, lab: SimpleNamespace, stage: Stage, monkeypatch: pytest.MonkeyPatch, screenshots: Path
) -> None:
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 0.75)
    clock = SimpleNamespace(stands=0.0, awake=machine.read_awake_clock)
    monkeypatch.setattr(machine, "read_awake_clock", lambda: clock.stands or clock.awake())
    run = stage.start(lab.runs, DEAF)
    until(lambda: run.read_events()[0])
    fabricated_runs.write(run, fabricated_runs.story(epochs=2))
    open_train(page, lab)
    word, detail = page.locator("#train-progress .word"), page.locator("#train-progress .detail")
    expect(word).to_have_text("Training")

    clock.stands = clock.awake()
    heard = run.liveness.read_last_beat()
    assert heard is not None
    clock.stands += 200.5 - heard.silence_seconds
    expect(word).to_have_text("Not responding")
    expect(detail).to_contain_text("No sign of life for 3 min 20 s")
    stop = page.locator("#train-stop")
    stop.click()
    expect(word).to_have_text("Stopping")
    expect(stop).to_be_disabled()
    os.utime(run.path / "stop", (0, 0))  # as if the wish were old
    expect(word).to_have_text("Does not stop")
    expect(stop).to_have_text("End now")
    expect(page.locator("#train-resume")).to_be_disabled()
    page.screenshot(path=screenshots / "train-hangs.png")
    stop.click()
    expect(word).to_have_text("Ended on request")
    expect(stop).to_have_text("Stop")
    expect(stop).to_be_disabled()
    expect(page.locator("#train-resume")).to_be_enabled()
    assert not run.liveness.is_process_alive()

    clock.stands = 0.0
    stage.code = DEAF.replace("time.sleep", "print('reading <b>', flush=True); time.sleep")
    page.locator("#train-resume").click()
    expect(stop).to_be_enabled()
    until(lambda: "reading" in run.log_path.read_text())
    stage.processes[-1].kill()
    expect(word).to_have_text("Killed")
    expect(detail).to_contain_text("The process was killed (SIGKILL)")
    expect(page.locator("#train-progress pre")).to_have_text("reading <b>")
    expect(page.locator("#train-resume")).to_be_enabled()
    page.screenshot(path=screenshots / "train-killed.png")


def test_the_tab_fits_the_screen_in_the_dark(page: Page, lab: SimpleNamespace, screenshots: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{lab.url}?__theme=dark")
    open_tab(page, "Train")
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    look(page, screenshots, "train-{}-dark", widths=(390, 1280))
