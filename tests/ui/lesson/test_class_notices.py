"""What the page of the app shows of a class, and what its handlers do for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError, RunError
from ftlab.runs import run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import local_launcher, series
from ftlab.server.accounts.account_store import Account
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.dataset.source_actions import SourceActions, list_offered_sources, list_source_labels
from ftlab.ui.lesson import class_notices
from ftlab.ui.runs.actions import RunsActions
from ftlab.ui.train.actions import TrainActions
from tests.support import fabricated_runs as fab
from tests.support.hostile_text import EVIL
from tests.support.people import acting_as, give_to

ANN = Person(ProfileKind.CLASSROOM, Role.STUDENT, "a" * 32, "Ann")
BEN = Person(ProfileKind.CLASSROOM, Role.STUDENT, "b" * 32, "Ben")
LEE = Person(ProfileKind.CLASSROOM, Role.TEACHER, "c" * 32, "Ms Lee")


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerProfile:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "data" / "pets").mkdir(parents=True)
    return ServerProfile(tmp_path / "data", tmp_path / "runs", ProfileKind.CLASSROOM)


@pytest.fixture
def rules(profile: ServerProfile) -> LessonRules:
    return LessonRules(profile.runs_dir)


# Who one is


def test_the_header_says_who_one_is_and_offers_the_way_out() -> None:
    student, teacher = (str(class_notices.render_identity(person)) for person in (ANN, LEE))
    assert "Ann" in student
    assert "student" in student
    assert "/ftlab/leave" in student
    assert "/ftlab/teacher" not in student
    assert 'href="/ftlab/teacher"' in teacher
    assert "<img" not in class_notices.render_identity(Person(ANN.kind, ANN.role, ANN.id, EVIL))


def test_whoever_has_no_name_and_a_page_for_one_person_show_nothing(tmp_path: Path) -> None:
    for kind in ProfileKind:
        assert class_notices.render_identity(make_stranger(kind)) == ""
    ids = {getattr(block, "elem_id", None) for block in build_app(ServerProfile(None, tmp_path)).blocks.values()}
    assert not {"page-who", "train-lesson", "dataset-offered"} & ids


def test_on_a_space_with_oauth_the_header_offers_to_sign_in_and_out() -> None:
    assert class_notices.render_account(None, "") == ""
    link = class_notices.render_account(None, "/login/huggingface")
    assert 'href="/login/huggingface"' in link
    account = Account("hf:1", EVIL, "token-of-the-account", 1e12)
    line = class_notices.render_account(account, "/login/huggingface")
    assert 'data-leave="/logout"' in line
    assert "<img" not in line
    assert "token-of-the-account" not in line


def test_the_line_above_start_says_what_is_locked(profile: ServerProfile, rules: LessonRules) -> None:
    assert class_notices.render_lesson_notice(profile, ANN) == ""
    rules.change(is_paused=True, max_epochs=5, backbones=("resnet18",))
    line = class_notices.render_lesson_notice(profile, ANN)
    for words in ("paused", "ResNet-18", "At most 5 epochs"):
        assert words in line
    assert "not you" not in line
    assert "not you" in class_notices.render_lesson_notice(profile, LEE)


# What is enforced where a training starts


def test_a_paused_class_starts_nothing_whatever_event_is_sent(profile: ServerProfile, rules: LessonRules) -> None:
    actions, config = TrainActions(profile), TrainConfig(sample="shapes")
    stopped = give_to(fab.make(profile.runs_dir, [*fab.story(), fab.ended("stopped")]), ANN)
    before = run_store.list_run_names(profile.runs_dir)
    rules.change(is_paused=True)
    with acting_as(ANN):
        for start in (
            lambda: actions.start_training(config),
            lambda: actions.start_series(config),
            lambda: actions.resume_training(stopped),
        ):
            with pytest.raises(RunError, match="paused"):
                start()
    assert run_store.list_run_names(profile.runs_dir) == before


def test_a_pause_holds_what_a_student_has_queued_and_not_what_a_teacher_has(
    profile: ServerProfile, rules: LessonRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(series, "start_series", lambda *_, is_pausable: begun.append(is_pausable))
    actions, config = TrainActions(profile), TrainConfig(sample="shapes")
    fab.make_at_work(profile.runs_dir)
    stopped = fab.make(profile.runs_dir, [*fab.story(), fab.ended("stopped")])
    runs = {}
    for person in (ANN, LEE):
        with acting_as(person):
            runs[person] = actions.start_training(config)
            actions.start_series(config)
    with acting_as(ANN):
        actions.resume_training(stopped)
    rules.change(is_paused=True)
    held = {job.run.name: job.is_held for job in local_launcher.open_queue(profile.runs_dir).read_state().waiting}
    assert held == {runs[LEE].name: False, runs[ANN].name: True, stopped.name: True}
    assert begun == [True, False]
    rules.forget()
    assert not any(job.is_held for job in local_launcher.open_queue(profile.runs_dir).read_state().waiting)


def test_a_series_is_refused_where_one_of_its_modes_is_locked(profile: ServerProfile, rules: LessonRules) -> None:
    rules.change(modes=("frozen", "full"))
    with acting_as(ANN), pytest.raises(RunError, match="Frozen, Full fine-tune"):
        TrainActions(profile).start_series(TrainConfig(sample="shapes"))


# Data sets that are handed out


def test_a_handed_data_set_is_a_source_for_all_and_found_by_its_name_only(
    profile: ServerProfile, rules: LessonRules, tmp_path: Path
) -> None:
    pets = rules.hand_out("Pets", folder=str(tmp_path / "data" / "pets"))
    assert ("Pets", pets.source) in list_source_labels(profile)
    assert pets.source in list_offered_sources(profile)
    with acting_as(ANN):
        source = data_choice.parse_source(profile, pets.source, "/etc\n", 0.2, 0.0)
        assert source.folder == tmp_path / "data" / "pets", "what else the page sends does not count"
        for name in ("handed:", "handed:/etc", "handed:../pets", "handed:Pets"):
            with pytest.raises(DataError):
                data_choice.parse_source(profile, name, "", 0.2, 0.0)
        rules.take_back(pets.name)
        with pytest.raises(DataError, match="does not hand out"):
            data_choice.parse_source(profile, pets.source, "", 0.2, 0.0)


def test_a_handed_upload_serves_others_and_does_not_expire(
    profile: ServerProfile, rules: LessonRules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    zip_file = tmp_path / "birds.zip"
    fill_zip(zip_file)
    token = uploads.unpack_upload(profile, zip_file, name="birds", person=LEE)
    with acting_as(ANN), pytest.raises(DataError):
        data_choice.parse_source(profile, "upload", token, 0.2, 0.0)
    birds = rules.hand_out("Birds", upload=token)
    monkeypatch.setattr(uploads, "RETENTION_SECONDS", -1.0)
    uploads.remove_expired_uploads(profile)
    with acting_as(ANN):
        folder = data_choice.parse_source(profile, birds.source, "", 0.2, 0.0).folder
    assert folder is not None
    assert folder.name == "birds"
    rules.take_back(birds.name)
    uploads.remove_expired_uploads(profile)
    assert not folder.exists()


def fill_zip(path: Path) -> None:
    import io
    import zipfile

    from PIL import Image

    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("robin", "wren"):
            archive.writestr(f"birds/{name}/a.png", image.getvalue())


def test_an_open_page_is_offered_what_is_handed_out_meanwhile(
    profile: ServerProfile, rules: LessonRules, tmp_path: Path
) -> None:
    actions = SourceActions(profile)
    menu, shown = actions.offer_sources([])
    assert [value for _, value in menu.choices] == [value for _, value in shown]
    pets = rules.hand_out("Pets", folder=str(tmp_path / "data" / "pets"))
    menu, shown_later = actions.offer_sources(shown)
    assert ["Pets", pets.source] in shown_later
    assert actions.offer_sources(shown_later) == [gr.skip()] * 2, "nothing is sent twice"
    rules.take_back(pets.name)
    assert ["Pets", pets.source] not in actions.offer_sources(shown_later)[1]


# Sharing


def press_share(actions: RunsActions, run: Run) -> list[Any]:
    return actions.toggle_sharing({}, "", "newest", "runs", {"names": [run.name]})


def test_the_owner_shares_a_run_and_others_then_see_whose_it_is(profile: ServerProfile) -> None:
    membership = Membership(profile.kind, profile.runs_dir)
    for person, code in ((ANN, membership.room_code), (BEN, membership.room_code), (LEE, membership.teacher_code)):
        membership.join(person.id, code, person.name)
    run = give_to(fab.make(profile.runs_dir, [*fab.story(), fab.ended()]), ANN)
    with acting_as(BEN):
        assert run.name not in RunsActions(profile).list_runs({}, "", "newest", "runs", {})[1]
    with acting_as(ANN):
        table = press_share(RunsActions(profile), run)[1]
        assert "shared" in table
        assert "of Ann" not in table, "one's own name says nothing"
    assert run_notes.read_notes(run).is_shared
    for person in (BEN, LEE):
        with acting_as(person):
            assert "of Ann · shared" in RunsActions(profile).list_runs({}, "", "newest", "runs", {})[1]
    with acting_as(BEN), pytest.warns(match="somebody else's"):
        press_share(RunsActions(profile), run)
    assert run_notes.read_notes(run).is_shared, "only owner and teacher end it"
    with acting_as(LEE):
        press_share(RunsActions(profile), run)
    assert not run_notes.read_notes(run).is_shared


def test_the_button_is_there_for_whoever_may_share(profile: ServerProfile) -> None:
    run = give_to(fab.make(profile.runs_dir, [*fab.story(), fab.ended()]), ANN)
    run_notes.write_notes(run, is_shared=True)

    def is_offered(person: Person, at: ServerProfile = profile) -> bool:
        with acting_as(person):
            return bool(RunsActions(at).render_panel({}, "runs", {"names": [run.name]})[4].visible)

    assert [is_offered(person) for person in (ANN, LEE, BEN)] == [True, True, False]
    local = ServerProfile(None, profile.runs_dir)
    assert not is_offered(Person(ProfileKind.LOCAL, Role.HOST), local)
