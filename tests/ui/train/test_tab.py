"""The Train tab: who sees which run, what Start does, what is said before it."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ftlab.config import backbones, trackers
from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.core.errors import ConfigError, DataError, RunError
from ftlab.runs import run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, time_estimate
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.server import stop_route
from ftlab.server.people.membership import Membership
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice, run_status
from ftlab.ui.train import form, layers, panel_updates, visible_runs
from ftlab.ui.train.actions import TrainActions
from tests.support import fabricated_runs, fake_cluster
from tests.support.people import ANN, BEN, HOST, acting_as, give_to

DATA = ["folder", "pictures", 0.15, 0.15]
"""What the Dataset tab's components say of the folder of the tests."""


@pytest.fixture
def desk(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainActions:
    """A local start whose data root holds `pictures`; nothing is started or measured for real."""
    tiny_folder.rename(tmp_path / "pictures")
    monkeypatch.setattr(launch, "spawn_process", lambda _words, run, **_named: run)
    monkeypatch.setattr(time_estimate, "find_known_estimate", lambda *_: None)
    return TrainActions(ServerProfile(tmp_path, tmp_path / "runs"))


@pytest.fixture
def space(desk: TrainActions) -> TrainActions:
    return TrainActions(ServerProfile(None, desk.profile.runs_dir, ProfileKind.SPACE, max_minutes=10.0))


@pytest.fixture
def widgets() -> form.ConfigForm:
    with gr.Blocks():
        return form.build_form()


def inputs(**changed: object) -> list[Any]:
    """What the form's widgets send."""
    return [*(form.get_field_values(TrainConfig()) | changed).values(), None]


# --- what the machine refuses


@pytest.mark.parametrize("kind", ProfileKind)
def test_a_runs_folder_that_cannot_be_written_is_told_in_one_line_at_start(kind: ProfileKind, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    runs_dir.touch()
    role = {ProfileKind.LOCAL: Role.HOST, ProfileKind.CLASSROOM: Role.STUDENT}.get(kind, Role.VISITOR)
    actions = TrainActions(ServerProfile(tmp_path, runs_dir, kind))
    for start in (actions.start_training, actions.start_series):
        if kind is ProfileKind.SPACE and start == actions.start_series:
            continue
        person = Person(kind, role, "" if kind is ProfileKind.LOCAL else "a" * 32)
        with acting_as(person), pytest.raises(RunError) as caught:
            start(TrainConfig(sample="shapes"))
        assert caught.value.code == "run.write"
        assert str(runs_dir) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_start_refuses_a_tracker_that_is_not_installed_and_says_so_before(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _name: None)
    for start in (desk.start_training, desk.start_series):
        with pytest.raises(ConfigError) as caught:
            start(TrainConfig(sample="shapes", trackers="trackio"))
        assert form.format_error(caught.value).startswith('"Experiment trackers" names trackio, which is not installed')
    facts, command = desk.render_preflight(widgets, [*DATA, *inputs(trackers=["trackio"])])
    assert "pip install trackio" in facts
    assert command == ""
    assert not desk.profile.runs_dir.exists()


def test_only_a_run_of_this_machine_is_held_to_its_cores(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "count_cpu_cores", lambda: 2)
    form_values = [*DATA, *inputs(processes=8)]
    with pytest.raises(ConfigError, match="2 cores"):
        desk.start_training(TrainConfig(sample="shapes", processes=8))
    facts, command = desk.render_preflight(widgets, form_values)
    assert "2 cores" in facts
    assert command == ""
    cluster = fake_cluster.install(monkeypatch)
    monkeypatch.setenv("FTLAB_CLUSTER", "http://head:8265")
    assert "--processes 8" in desk.render_preflight(widgets, form_values)[1]
    run = desk.start_training(TrainConfig(sample="shapes", processes=8))
    assert list(cluster.jobs) == [f"{run.name}-1"]


# --- whose runs


def test_where_there_are_no_strangers_every_run_is_offered_the_newest_first(desk: TrainActions) -> None:
    older, newer = (fabricated_runs.make(desk.profile.runs_dir, []) for _ in range(2))
    older.path.rename(older.path.with_name("20200101-000000-resnet18-full-0123456789ab"))
    assert desk.list_offered_runs({"run": None}) == [newer.name, "20200101-000000-resnet18-full-0123456789ab"]


def test_on_a_space_a_visitor_sees_own_runs_only(space: TrainActions) -> None:
    mine, other = (fabricated_runs.make(space.profile.runs_dir, fabricated_runs.story()) for _ in range(2))
    give_to(mine, ANN)
    assert space.list_offered_runs({"run": mine.name}) == [], "a name from the page gives no right"
    with acting_as(ANN):
        assert space.list_offered_runs({"run": None}) == [mine.name]
        assert other.name not in str(space.list_run_choices({"run": other.name}))
        assert space.take_snapshot({"run": other.name}).status == "none"


def test_menus_name_whose_a_shared_run_is(tmp_path: Path) -> None:
    actions = TrainActions(ServerProfile(None, tmp_path / "runs", ProfileKind.CLASSROOM))
    membership = Membership(ProfileKind.CLASSROOM, tmp_path / "runs")
    people = [
        membership.join(letter * 32, membership.room_code, name)
        for letter, name in (("a", "Ann \u202eA"), ("b", "Ben"))
    ]
    run = give_to(fabricated_runs.make(actions.profile.runs_dir, fabricated_runs.story()), people[0])
    run_notes.write_notes(run, is_shared=True)
    titles = []
    for person in people:
        with acting_as(person):
            ((title, _),) = actions.list_run_choices({"run": None})
        titles.append(title)
    assert titles[1] == f"{titles[0]} · of Ann A"


@pytest.mark.parametrize("name", ["latest", "", "2026", "../secret", "/etc", None, 3, ["a"], {"run": 1}])
def test_only_a_whole_name_opens_a_run(space: TrainActions, name: object) -> None:
    fabricated_runs.make(space.profile.runs_dir, fabricated_runs.story())
    assert space.get_selected_run({"run": name}) is None
    assert space.get_selected_run(name) is None


def test_a_page_without_a_run_finds_the_one_at_work_on_a_local_start_only(
    desk: TrainActions, space: TrainActions
) -> None:
    run = fabricated_runs.make_at_work(desk.profile.runs_dir)
    assert desk.take_snapshot({"run": None}).run_name == run.name
    with acting_as(ANN):
        assert space.take_snapshot({"run": None}).run_name == ""
        give_to(run, ANN)
    with acting_as(BEN):
        assert space.take_snapshot({"run": run.name}).run_name == ""


# --- start, stop, resume


def test_start_runs_the_command_that_was_shown(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[list[str]] = []

    def spawn(words: list[str], run: Run, **_named: object) -> Run:
        spawned.append(words)
        return fabricated_runs.at_work(run)

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


def test_one_training_at_a_time_and_the_next_one_is_queued_and_told_its_place(
    desk: TrainActions, space: TrainActions
) -> None:
    running = fabricated_runs.make_at_work(desk.profile.runs_dir)
    run = desk.start_training(TrainConfig(sample="shapes"))
    assert run.liveness.get_status() == "queued"
    assert "Another training is running: this one waits in the queue. You are 1st" in desk.describe_queued_start(run)
    assert desk.describe_queued_start(running) == ""
    stopped = fabricated_runs.make(desk.profile.runs_dir, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    assert desk.resume_training(stopped).liveness.get_status() == "queued"
    with acting_as(ANN):
        strangers = space.start_training(TrainConfig(sample="shapes"))
    assert strangers.liveness.get_status() == "queued"
    # A page without a run of its own shows the one at work, not one that waits.
    assert desk.take_snapshot({"run": None}).run_name == running.name


def test_what_was_measured_of_a_queued_run_tells_those_behind_it_how_long_they_wait(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricated_runs.make_at_work(desk.profile.runs_dir)
    source, settings = desk.parse_inputs(widgets, [*DATA, *inputs()])
    assert desk.start_training(settings, source).read_json("queued")["seconds"] is None, "nothing is known yet"
    data_choice.scan_source(source)
    monkeypatch.setattr(time_estimate, "find_known_estimate", lambda *_: TimeEstimate(600.0, 100.0))
    run = desk.start_training(settings, source)
    assert run.read_json("queued")["seconds"] == 600.0


def test_a_queued_run_tells_its_place_can_be_stopped_and_leaves_start_to_others(desk: TrainActions) -> None:
    fabricated_runs.make_at_work(desk.profile.runs_dir)
    run = desk.start_training(TrainConfig(sample="shapes"))
    snapshot = desk.take_snapshot({"run": run.name})
    assert (snapshot.status, snapshot.state, snapshot.stop_action) == ("queued", "queued", "stop")
    assert "Waiting in the queue" in snapshot.head_html
    assert re.search(r"You are 1st.*\. It starts by itself when its turn comes", snapshot.head_html)
    assert not snapshot.allows_start, "a second click asks for nothing"
    stop_route.stop_run(desk.profile, HOST, run.name, by_force=False)
    stopped = run_status.watch_run(run).take_snapshot(0.0)
    assert (stopped.status, stopped.is_resumable, stopped.allows_start) == ("stopped", True, True)
    assert "It was stopped before it began" in stopped.head_html


def test_a_stopped_run_is_resumed_and_a_finished_one_is_not(desk: TrainActions) -> None:
    stopped = fabricated_runs.make(desk.profile.runs_dir, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    finished = fabricated_runs.make(
        desk.profile.runs_dir, [*fabricated_runs.story(), fabricated_runs.ended("finished")]
    )
    assert desk.resume_training(stopped) is stopped
    with pytest.raises(RunError, match="finished"):
        desk.resume_training(finished)


def test_nothing_else_starts_while_one_hangs(desk: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    fabricated_runs.make_at_work(desk.profile.runs_dir)
    later = machine.read_awake_clock() + 200
    monkeypatch.setattr(machine, "read_awake_clock", lambda: later)
    assert desk.start_training(TrainConfig(sample="shapes")).liveness.get_status() == "queued"


def test_a_visitor_of_a_space_may_have_few_waiting(space: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_QUEUE_WAITING", "1")
    fabricated_runs.make_at_work(space.profile.runs_dir)
    with acting_as(ANN):
        space.start_training(TrainConfig(sample="shapes"))
        with pytest.raises(RunError, match="1 of your trainings are waiting already"):
            space.start_training(TrainConfig(sample="shapes"))
    with acting_as(BEN):
        space.start_training(TrainConfig(sample="shapes"))


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
    assert "not scanned yet" in desk.render_preflight(widgets, given)[0]
    data_choice.scan_source(desk.parse_source(DATA))
    text = desk.render_preflight(widgets, given)[0]
    assert "3 classes, 18 training pictures, 3 for validation" in text
    assert "3,843 of 3.4 M trainable" in text
    assert "on this machine, no download needed" in text
    assert "being measured" in text
    monkeypatch.setattr(
        time_estimate, "find_known_estimate", lambda *_: TimeEstimate(seconds=83.0, images_per_second=190.4)
    )
    assert "about 1 min 23 s on this machine (190 pictures/s)" in desk.render_preflight(widgets, given)[0]
    reused = TimeEstimate(seconds=20.0, images_per_second=190.4, kept_images=21)
    monkeypatch.setattr(time_estimate, "find_known_estimate", lambda *_: reused)
    assert "about 20 s on this machine: the features of an earlier run" in desk.render_preflight(widgets, given)[0]
    for megabytes, said in ((41.0, "41 MB on the disk"), (2500.0, "2,500 MB, more than the cache may hold (2,000 MB")):
        made = TimeEstimate(seconds=83.0, images_per_second=190.4, disk_megabytes=megabytes)
        monkeypatch.setattr(time_estimate, "find_known_estimate", lambda *_, made=made: made)
        assert said in desk.render_preflight(widgets, given)[0]


def test_weights_that_are_not_here_are_announced_with_their_size(desk: TrainActions, widgets: form.ConfigForm) -> None:
    assert "14 MB, once" in desk.render_preflight(widgets, [*DATA, *inputs(backbone="mobilenet_v2")])[0]
    scratch = desk.render_preflight(widgets, [*DATA, *inputs(backbone="mobilenet_v2", mode="scratch")])[0]
    assert "random, no download needed" in scratch


def test_a_model_of_timm_is_looked_up_beside_the_page(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(
        backbones.get_backbone_spec("resnet18"), name="timm/some", title="some", licence="mit", cam=""
    )
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    given = [*DATA, *inputs()[:-1], "timm/some"]
    assert "looking up the model" in desk.render_preflight(widgets, given)[0]
    monkeypatch.setattr(backbones, "query_timm_spec", lambda _name: spec)
    desk.count_images(*desk.parse_inputs(widgets, given))
    text, command = desk.render_preflight(widgets, given)
    assert "47 MB, once · license: mit · no heat map" in text
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
    assert "Closest matches: others" in text
    assert command == ""


def test_layers_are_shown_for_the_classes_of_the_pictures(desk: TrainActions, widgets: form.ConfigForm) -> None:
    given = (*DATA, *inputs(backbone="resnet18"))
    assert "ResNet-18, Frozen, 10 classes: 5,130 of 11,181,642 parameters are trainable" in layers.render_layers(
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
        (["folder", "../..", 0.1, 0.1], {}, "is outside"),
        (["folder", "<b>gone</b>", 0.1, 0.1], {}, "&lt;b&gt;gone&lt;/b&gt;"),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_sentence_and_no_command_is_shown(
    desk: TrainActions, widgets: form.ConfigForm, data: list[Any], changed: dict[str, Any], says: str
) -> None:
    text, command = desk.render_preflight(widgets, [*data, *inputs(**changed)])
    assert says in text
    assert command == ""


@pytest.mark.parametrize(
    ("error", "says", "shows_command"),
    [
        (RunError("run.measure", cause="no memory"), "could not be measured: no memory", True),
        (RunError("run.refused", cause="Set --batch-size to 2."), "Set &quot;Batch size&quot; to 2.", False),
    ],
    ids=["failure", "refusal"],
)
def test_a_measurement_is_asked_for_once_and_its_failure_is_told(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch,
    error: RunError, says: str, *, shows_command: bool,
) -> None:  # fmt: skip
    asked: list[tuple[object, ...]] = []

    def fail(*facts: object, **_: object) -> None:
        asked.append(facts[1:])
        raise error

    monkeypatch.setattr(time_estimate, "measure_and_estimate", fail)
    given = [*DATA, *inputs()]
    data_choice.scan_source(desk.parse_source(DATA))
    for _ in range(2):
        desk.measure_throughput(*desk.parse_inputs(widgets, given), lambda: True)
    assert asked == [(desk.parse_source(DATA).folder, 18, 3)]
    text, command = desk.render_preflight(widgets, given)
    assert says in text
    assert bool(command) == shows_command


def test_nothing_is_measured_while_a_training_is_under_way(
    desk: TrainActions, widgets: form.ConfigForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_choice.scan_source(desk.parse_source(DATA))
    settings = desk.parse_inputs(widgets, [*DATA, *inputs()])
    went_on: list[bool] = []

    def measure(*_: object, should_continue: Any) -> None:
        went_on.append(should_continue())
        fabricated_runs.make_at_work(desk.profile.runs_dir)
        went_on.append(should_continue())

    monkeypatch.setattr(time_estimate, "measure_and_estimate", measure)
    desk.measure_throughput(*settings, lambda: True)
    assert went_on == [True, False], "a start ends the measurement"
    desk.measure_throughput(*settings, lambda: True)
    assert len(went_on) == 2


# --- what a page is sent


def sent(desk: TrainActions, store: object, seen: object) -> tuple[list[Any], object]:
    """What is sent to a page that shows `seen`, and what it shows then."""
    values = panel_updates.refresh_panel(desk, store, seen)
    skip = gr.skip()
    return [value for value in values if value != skip], values[-1] if values[-1] != skip else seen


def test_a_page_is_sent_what_is_new_and_nothing_else(desk: TrainActions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_status, "SNAPSHOT_MAX_AGE_SECONDS", 0.0)
    monkeypatch.setattr(visible_runs, "TITLE_MAX_AGE_SECONDS", 0.0)
    run = fabricated_runs.make_at_work(desk.profile.runs_dir)
    store = {"run": run.name}
    everything, seen = sent(desk, store, {})
    assert len(everything) > 8
    assert sent(desk, store, seen)[0] == []
    fabricated_runs.write(run, [fabricated_runs.step(21)])
    new, _ = sent(desk, store, seen)
    assert len([value for value in new if "ftlab-curves" in str(value)]) == 1
    assert not [value for value in new if "ftlab-log" in str(value)]


@pytest.mark.parametrize("seen", [None, 3, "x", {"head": 1}])
def test_a_page_may_say_anything_of_what_it_shows(desk: TrainActions, seen: object) -> None:
    fabricated_runs.make(desk.profile.runs_dir, fabricated_runs.story())
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
    run = fabricated_runs.make(desk.profile.runs_dir, [*fabricated_runs.story(), fabricated_runs.ended()])
    file = desk.save_curves_image({"run": run.name}, tmp_path / "cache")
    assert (file.name, file.read_bytes()[:4]) == (f"{run.name}.png", b"\x89PNG")
    with pytest.raises(RunError, match="No run"):
        desk.save_curves_image({"run": None}, tmp_path)
