"""The Train tab: who sees which run, what Start does, what is said before it; and the tab in a real browser."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fabricated
import gradio as gr
import pytest
from playwright.sync_api import Page, expect
from staged import DEAF, Stage, until

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import machine, messages
from ftlab.core.errors import ConfigError, DataError, RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, time_estimate
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.ui import build_app
from ftlab.ui.common import data_choice, run_status
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.train import actions, form, layers, tab
from ftlab.ui.train.actions import TrainActions

expect.set_options(timeout=20_000)

DATA = ["folder", "pictures", 0.15, 0.15]
"""What the Dataset tab's components say of the folder of the tests."""


@pytest.fixture
def desk(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainActions:
    """A local start whose data root holds `pictures`; nothing is started or measured for real."""
    tiny_folder.rename(tmp_path / "pictures")
    monkeypatch.setattr(launch, "spawn_process", lambda words, run: run)
    monkeypatch.setattr(time_estimate, "find_known_estimate", lambda *_: None)
    return TrainActions(ServerProfile(tmp_path, tmp_path / "runs"))


@pytest.fixture
def space(desk: TrainActions) -> TrainActions:
    return TrainActions(ServerProfile(None, desk.profile.runs_dir, is_space=True, max_minutes=10.0))


@pytest.fixture
def widgets() -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form()


def inputs(**changed: object) -> list[Any]:
    """What the form's widgets send."""
    return [*(form.get_field_values(TrainConfig()) | changed).values(), None]


def at_work(root: Path) -> Run:
    run = fabricated.make(root, fabricated.story(epochs=2))
    run.set_owner(os.getpid())
    return run


# --- whose runs


def test_where_there_are_no_strangers_every_run_is_offered_the_newest_first(desk: TrainActions) -> None:
    older, newer = (fabricated.make(desk.profile.runs_dir, []) for _ in range(2))
    os.rename(older.path, older.path.with_name("20200101-000000-resnet18-full-0123456789ab"))
    assert desk.list_offered_runs({"run": None}) == [newer.name, "20200101-000000-resnet18-full-0123456789ab"]


def test_on_a_space_a_visitor_sees_own_runs_only(space: TrainActions) -> None:
    mine, other = (fabricated.make(space.profile.runs_dir, fabricated.story()) for _ in range(2))
    assert space.list_offered_runs({"run": None}) == []
    assert space.list_offered_runs({"run": mine.name, "mine": [mine.name]}) == [mine.name]
    assert other.name not in str(space.list_run_choices({"mine": [mine.name]}))
    assert space.take_snapshot({"run": None}).status == "none"


@pytest.mark.parametrize("name", ["latest", "", "2026", "../secret", "/etc", None, 3, ["a"], {"run": 1}])
def test_only_a_whole_name_opens_a_run(space: TrainActions, name: object) -> None:
    fabricated.make(space.profile.runs_dir, fabricated.story())
    assert space.get_selected_run({"run": name}) is None
    assert space.list_offered_runs({"mine": name}) == []
    assert space.get_selected_run(name) is None


def test_a_page_without_a_run_finds_the_one_at_work_on_a_local_start_only(
    desk: TrainActions, space: TrainActions
) -> None:
    run = at_work(desk.profile.runs_dir)
    assert desk.take_snapshot({"run": None}).run_name == run.name
    assert space.take_snapshot({"run": None}).run_name == ""


# --- start, stop, resume


def test_start_runs_the_command_that_was_shown(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[list[str]] = []

    def spawn(words: list[str], run: Run) -> Run:
        spawned.append(words)
        return run

    monkeypatch.setattr(launch, "spawn_process", spawn)
    given = [*DATA, *inputs(**form.get_field_values(TrainConfig(mode="full", epochs=3)))]
    _, shown = desk.render_preflight(widgets, given)
    run = desk.start_training(desk.parse_inputs(widgets, given)[1])
    assert shlex.split(shown) == spawned[0]
    assert spawned[0][3:] == [
        *("train", "--data", str(desk.profile.data_root / "pictures")),  # type: ignore[operator]
        *("--backbone", "tf_efficientnet_lite0", "--mode", "full", "--epochs", "3"),
        *("--runs", str(desk.profile.runs_dir)),
    ]
    assert run.load_config().epochs == 3


def test_one_training_at_a_time(desk: TrainActions, space: TrainActions) -> None:
    run = at_work(desk.profile.runs_dir)
    with pytest.raises(RunError) as caught:
        desk.start_training(TrainConfig(sample="shapes"))
    assert re.match(r"One training at a time: .*EfficientNet-Lite0, frozen · training is under way", str(caught.value))
    with pytest.raises(RunError, match="Somebody else") as caught:
        space.start_training(TrainConfig(sample="shapes"))
    assert run.name[:8] not in str(caught.value), "nothing of another visitor's run is told"
    with pytest.raises(RunError):
        desk.resume_training(fabricated.make(desk.profile.runs_dir, [*fabricated.story(), fabricated.ended("stopped")]))


def test_a_stopped_run_is_resumed_and_a_finished_one_is_not(desk: TrainActions) -> None:
    stopped = fabricated.make(desk.profile.runs_dir, [*fabricated.story(), fabricated.ended("stopped")])
    finished = fabricated.make(desk.profile.runs_dir, [*fabricated.story(), fabricated.ended("finished")])
    assert desk.resume_training(stopped) is stopped
    with pytest.raises(RunError, match="finished"):
        desk.resume_training(finished)


def test_a_run_is_asked_to_stop_or_ended_now(desk: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    run = at_work(desk.profile.runs_dir)
    ended: list[Run] = []
    monkeypatch.setattr(launch, "terminate_run", ended.append)
    desk.stop_training(run, by_force=False)
    assert (run.is_stop_requested(), ended) == (True, [])
    desk.stop_training(run, by_force=True)
    assert ended == [run]


def test_nothing_else_starts_while_one_hangs(desk: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work(desk.profile.runs_dir)
    later = machine.read_awake_clock() + 200
    monkeypatch.setattr(machine, "read_awake_clock", lambda: later)
    with pytest.raises(RunError, match="no sign of life is under way"):
        desk.start_training(TrainConfig(sample="shapes"))


def test_on_a_space_the_time_is_limited_and_no_folder_is_opened(space: TrainActions) -> None:
    with gr.Blocks():
        widgets = form.build_form(is_space=True, limit_minutes=10.0)
    values = form.get_field_values(TrainConfig(), is_space=True) | {"max_minutes": 600}
    _, settings = space.parse_inputs(widgets, ["shapes", "/etc", 0.15, 0.15, *values.values(), None])
    assert (settings.max_minutes, settings.data, settings.sample) == (10.0, "", "shapes")
    with pytest.raises(DataError):
        space.parse_inputs(widgets, ["folder", "/etc", 0.15, 0.15, *values.values(), None])


# --- before the start


def test_facts_tell_pictures_parameters_weights_and_time(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [*DATA, *inputs()]
    assert "not looked at yet" in desk.render_preflight(widgets, given)[0]
    data_choice.scan_source(desk.parse_source(DATA))
    text = desk.render_preflight(widgets, given)[0]
    assert "3 classes, 18 pictures to learn from, 3 to check" in text
    assert "3,843 of 3.4 M learn" in text
    assert "here, nothing to download" in text
    assert "being measured" in text
    monkeypatch.setattr(
        time_estimate, "find_known_estimate", lambda *_: TimeEstimate(seconds=83.0, images_per_second=190.4)
    )
    assert "about 1 min 23 s on this machine (190 pictures/s)" in desk.render_preflight(widgets, given)[0]


def test_weights_that_are_not_here_are_announced_with_their_size(desk: TrainActions, widgets: form.ConfigForm) -> None:
    assert "14 MB, once" in desk.render_preflight(widgets, [*DATA, *inputs(backbone="mobilenet_v2")])[0]
    scratch = desk.render_preflight(widgets, [*DATA, *inputs(backbone="mobilenet_v2", mode="scratch")])[0]
    assert "random, nothing to download" in scratch


def test_a_model_of_timm_is_looked_up_beside_the_page(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(
        backbones.get_backbone_spec("resnet18"), name="timm/some", title="some", licence="mit", cam=""
    )
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    given = [*DATA, *inputs()[:-1], "timm/some"]
    assert "is being looked up" in desk.render_preflight(widgets, given)[0]
    monkeypatch.setattr(backbones, "query_timm_spec", lambda _name: row)
    desk.count_images(*desk.parse_inputs(widgets, given))
    text, command = desk.render_preflight(widgets, given)
    assert "47 MB, once · licence: mit · no heat map" in text
    assert "--backbone timm/some" in command


def test_one_that_timm_does_not_have_stands_in_the_way(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise ConfigError("config.timm", name=name, names="others")

    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    monkeypatch.setattr(backbones, "query_timm_spec", none)
    given = [*DATA, *inputs()[:-1], "timm/nothing"]
    _, settings = desk.parse_inputs(widgets, given)
    with pytest.raises(ConfigError):
        desk.start_training(settings)
    assert run_store.list_run_names(desk.profile.runs_dir) == []
    text, command = desk.render_preflight(widgets, given)
    assert "Nearest: others" in text
    assert command == ""


def test_layers_are_shown_for_the_classes_of_the_pictures(desk: TrainActions, widgets: form.ConfigForm) -> None:
    given = (*DATA, *inputs(backbone="resnet18"))
    assert "ResNet-18, Frozen, 10 classes: 5,130 of 11,181,642 parameters learn" in layers.render_layers(
        desk, widgets, given
    )
    data_choice.scan_source(desk.parse_source(DATA))
    shown = layers.render_layers(desk, widgets, given)
    assert "3 classes: 1,539 of" in shown
    assert "<code>layer4.1</code><span>BasicBlock</span>" in shown
    assert "512 × 7 × 7" in shown
    assert shown.count('class="learning"') == 1
    assert "must lie between" in layers.render_layers(desk, widgets, (*DATA, *inputs(epochs=0)))


@pytest.mark.parametrize(
    ("data", "changed", "says"),
    [
        (DATA, {"epochs": 0}, "&quot;Epochs&quot; is 0: it must lie between 1 and 10000."),
        (["folder", "../..", 0.1, 0.1], {}, "lies outside"),
        (["folder", "<b>gone</b>", 0.1, 0.1], {}, "&lt;b&gt;gone&lt;/b&gt;"),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_sentence_and_no_command_is_shown(
    desk: TrainActions, widgets: form.ConfigForm, data: list[Any], changed: dict[str, Any], says: str
) -> None:
    text, command = desk.render_preflight(widgets, [*data, *inputs(**changed)])
    assert says in text
    assert command == ""


def test_a_measurement_is_asked_for_once_and_its_failure_is_told(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def fail(*facts: object, wanted: object) -> None:
        asked.append(facts[1:])
        raise RunError("run.measure", cause="no memory")

    monkeypatch.setattr(time_estimate, "measure_and_estimate", fail)
    given = [*DATA, *inputs()]
    data_choice.scan_source(desk.parse_source(DATA))
    for _ in range(2):
        desk.measure_throughput(*desk.parse_inputs(widgets, given), lambda: True)
    assert asked == [(desk.parse_source(DATA).folder, 18, 3)]
    assert "no memory" in desk.render_preflight(widgets, given)[0]


def test_nothing_is_measured_while_a_training_is_under_way(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_choice.scan_source(desk.parse_source(DATA))
    settings = desk.parse_inputs(widgets, [*DATA, *inputs()])
    went_on: list[bool] = []

    def measure(*_: object, wanted: Any) -> None:
        went_on.append(wanted())
        at_work(desk.profile.runs_dir)
        went_on.append(wanted())

    monkeypatch.setattr(time_estimate, "measure_and_estimate", measure)
    desk.measure_throughput(*settings, lambda: True)
    assert went_on == [True, False], "a start ends the measurement"
    desk.measure_throughput(*settings, lambda: True)
    assert len(went_on) == 2


# --- what a page is sent


def sent(desk: TrainActions, store: object, seen: object) -> tuple[list[Any], object]:
    """What is sent to a page that shows `seen`, and what it shows then."""
    values = tab._refresh_panel(desk, store, seen)
    skip = gr.skip()
    return [value for value in values if value != skip], values[-1] if values[-1] != skip else seen


def test_a_page_is_sent_what_is_new_and_nothing_else(desk: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_status, "SNAPSHOT_MAX_AGE_SECONDS", 0.0)
    monkeypatch.setattr(actions, "TITLE_MAX_AGE_SECONDS", 0.0)
    run = at_work(desk.profile.runs_dir)
    store = {"run": run.name}
    everything, seen = sent(desk, store, {})
    assert len(everything) > 8
    assert sent(desk, store, seen)[0] == []
    fabricated.write(run, [fabricated.step(21)])
    new, _ = sent(desk, store, seen)
    assert len([value for value in new if "ftlab-curves" in str(value)]) == 1
    assert not [value for value in new if "ftlab-log" in str(value)]


@pytest.mark.parametrize("seen", [None, 3, "x", {"head": 1}])
def test_a_page_may_say_anything_of_what_it_shows(desk: TrainActions, seen: object) -> None:
    fabricated.make(desk.profile.runs_dir, fabricated.story())
    assert sent(desk, {"run": None}, seen)[0]


def test_a_folder_of_runs_that_cannot_be_read_is_told_on_the_page(
    desk: TrainActions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "not <yours>")

    monkeypatch.setattr(run_store, "list_run_names", refuse)
    assert "not &lt;yours&gt;" in str(sent(desk, {"run": "x"}, {})[0])
    assert "cannot be shown" in caplog.text


def test_the_curves_are_given_as_a_picture(desk: TrainActions, tmp_path: Path) -> None:
    run = fabricated.make(desk.profile.runs_dir, [*fabricated.story(), fabricated.ended()])
    file = desk.save_curves_image({"run": run.name}, tmp_path / "cache")
    assert (file.name, file.read_bytes()[:4]) == (f"{run.name}.png", b"\x89PNG")
    with pytest.raises(RunError, match="No run"):
        desk.save_curves_image({"run": None}, tmp_path)


# --- in a browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A page with a finished run, and one that is written to as the test goes on."""
    from ftlab.data.samples import sample_sets
    from ftlab.ui import serve

    place = tmp_path_factory.mktemp("lab")
    root = place / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        patch.setattr(sample_sets, "ensure_sample_set", lambda name, **_: _pictures(place / name))
        patch.setattr(
            time_estimate, "find_known_estimate", lambda *_: TimeEstimate(seconds=12.0, images_per_second=190.0)
        )
        demo = build_app(ServerProfile(place, root))
        options = serve.build_launch_options(ServerProfile(place, root))
        _, url, _ = demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, **options)
        yield SimpleNamespace(url=url, runs=root)
        demo.close(verbose=False)


def _pictures(folder: Path) -> Path:
    from PIL import Image

    for split, name in ((split, name) for split in ("train", "val") for name in ("cube", "ring")):
        (folder / split / name).mkdir(parents=True, exist_ok=True)
        for index in range(3):
            Image.new("RGB", (64, 64), (40 * index, 80, 120)).save(folder / split / name / f"{index}.png")
    return folder


def open_train(page: Page, lab: SimpleNamespace) -> None:
    page.goto(lab.url)
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-facts")).to_contain_text("2 classes, 6 pictures to learn from, 6 to check")


def test_the_form_follows_backbone_and_mode_and_loses_nothing_over_a_slip(page: Page, lab: SimpleNamespace) -> None:
    open_train(page, lab)
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    epochs, rate = page.locator("#train-epochs input"), page.locator("#train-rate input")
    expect(epochs).to_have_value("30")
    page.locator("#train-backbone").get_by_text("ConvNeXt-Tiny").click()
    page.locator("#train-mode").get_by_text("Full fine-tune").click()
    expect(epochs).to_have_value("8")
    expect(rate).to_have_value("0.00005")
    command = page.locator("#train-command textarea")
    expect(command).to_have_value(re.compile("--backbone convnext_tiny --mode full --runs"))
    for theme in ("rates", "end"):
        page.get_by_text(messages.get_text(f"theme.{theme}"), exact=True).click()
    page.locator("#train-seed input").fill("7")
    expect(command).to_have_value(re.compile("--seed 7 --runs"))
    page.locator("#train-warmup").get_by_role("button", name="Reset to default value").click()
    page.locator("#train-warmup input[type=number]").fill("0.2")
    expect(command).to_have_value(re.compile("--warmup 0.2 --seed 7 --runs"))
    page.locator("#train-warmup").get_by_role("button", name="Reset to default value").click()
    expect(command).to_have_value(re.compile("--mode full --seed 7 --runs"))
    epochs.fill("0")
    expect(page.locator("#train-facts")).to_contain_text('"Epochs" is 0: it must lie between 1 and 10000.')
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text('"Epochs" is 0')
    assert run_store.list_run_names(lab.runs) == []
    epochs.fill("2")
    expect(command).to_have_value(re.compile("--mode full --epochs 2 --seed 7 --runs"))


def test_a_run_is_watched_found_again_and_looked_at_later(page: Page, lab: SimpleNamespace, screenshots: Path) -> None:
    older = fabricated.make(lab.runs, [*fabricated.story(), fabricated.ended()], backbone="resnet18")
    run = at_work(lab.runs)
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
    fabricated.write(run, [fabricated.step(number) for number in range(21, 31)])
    fabricated.write(run, [fabricated.epoch(3, 0.8125, best=False)])
    expect(validation).to_have_attribute("points", re.compile(r"20,0.9375 30,0.8125$"))
    assert page.evaluate("window.replaced") == 0
    expect(page.locator("#train-progress")).to_contain_text("step 30 of 40")
    expect(page.locator("#train-start")).to_be_disabled()
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
    assert run.is_stop_requested()
    fabricated.write(run, [fabricated.ended("stopped")])
    run.release_ownership()
    expect(page.locator("#train-progress .word")).to_have_text("Stopped")
    expect(page.locator("#train-resume")).to_be_enabled()
    expect(page.locator("#train-start")).to_be_enabled()

    # Another run is chosen, and still is after a reload.
    page.locator("#train-runs input").click()
    page.get_by_role("option").filter(has_text="ResNet-18").click()
    expect(page.locator("#train-progress .word")).to_have_text("Finished")
    expect(page.locator("#train-resume")).to_be_disabled()
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-progress .word")).to_have_text("Finished")
    with page.expect_download() as download:
        page.locator("#train-save").click()
    assert download.value.suggested_filename == f"{older.name}.png"
    page.locator("#train-go").click()
    expect(page.get_by_role("tab", name="Predict")).to_have_attribute("aria-selected", "true")


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
def test_one_that_hangs_is_ended_by_force_and_one_that_is_killed_says_so(
    page: Page, lab: SimpleNamespace, stage: Stage, monkeypatch: pytest.MonkeyPatch, screenshots: Path
) -> None:
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 1.5)
    clock = SimpleNamespace(stands=0.0, awake=machine.read_awake_clock)
    monkeypatch.setattr(machine, "read_awake_clock", lambda: clock.stands or clock.awake())
    run = stage.start(lab.runs, DEAF)
    until(lambda: run.read_events()[0])
    fabricated.write(run, fabricated.story(epochs=2))
    open_train(page, lab)
    word, detail = page.locator("#train-progress .word"), page.locator("#train-progress .detail")
    expect(word).to_have_text("Training")

    clock.stands = clock.awake()
    heard = run.read_last_beat()
    assert heard is not None
    clock.stands += 200.5 - heard.silence_seconds
    expect(word).to_have_text("No sign of life")
    expect(detail).to_contain_text("Nothing was heard for 3 min 20 s")
    stop = page.locator("#train-stop")
    stop.click()
    expect(word).to_have_text("Stopping")
    expect(stop).to_be_disabled()
    expect(word).to_have_text("Does not stop")
    expect(stop).to_have_text("End now")
    expect(page.locator("#train-resume")).to_be_disabled()
    page.screenshot(path=screenshots / "train-hangs.png")
    stop.click()
    expect(word).to_have_text("Ended by force")
    expect(stop).to_have_text("Stop")
    expect(stop).to_be_disabled()
    expect(page.locator("#train-resume")).to_be_enabled()
    assert not run.is_process_alive()

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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_tab_fits_the_screen(page: Page, lab: SimpleNamespace, screenshots: Path, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{lab.url}?__theme={theme}")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-facts")).to_contain_text("about 12 s")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=screenshots / f"train-{width}-{theme}.png", full_page=True)
