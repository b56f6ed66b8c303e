"""What a teacher decides: who is bound, what is refused, what survives a restart and damage."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError, RunError
from ftlab.server.people import lesson_rules
from ftlab.server.people.lesson_rules import OWN_SOURCE, LessonRules, LessonSettings
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role

STUDENT = Person(ProfileKind.CLASSROOM, Role.STUDENT, "a" * 32, "Ann")
TEACHER = Person(ProfileKind.CLASSROOM, Role.TEACHER, "b" * 32, "Ms Lee")
HOST = Person(ProfileKind.LOCAL, Role.HOST)
SHAPES = TrainConfig(sample="shapes", epochs=5)


@pytest.fixture
def rules(tmp_path: Path) -> LessonRules:
    return LessonRules(tmp_path)


def refuse(rules: LessonRules, config: TrainConfig) -> str:
    with pytest.raises(RunError) as caught:
        rules.check_start(STUDENT, config)
    return str(caught.value)


def test_without_a_decision_everything_is_allowed(rules: LessonRules) -> None:
    assert rules.read() == LessonSettings()
    rules.check_start(STUDENT, SHAPES)
    assert lesson_rules.describe_locks(rules.read()) == []


@pytest.mark.parametrize(
    ("locks", "words"),
    [
        ({"is_paused": True}, "paused"),
        ({"backbones": ("resnet18", "vgg16")}, "ResNet-18, VGG-16"),
        ({"modes": ("full",)}, "Full fine-tune"),
        ({"max_epochs": 4}, "at most 4 epochs, and this training would take 5"),
        ({"sources": ("shortcut",)}, "Shortcut"),
    ],
)
def test_a_lock_refuses_students_in_one_line_and_binds_no_teacher(
    rules: LessonRules, locks: dict[str, object], words: str
) -> None:
    rules.change(**locks)
    line = refuse(rules, SHAPES)
    assert words in line
    assert "\n" not in line
    for person in (TEACHER, HOST):
        rules.check_start(person, SHAPES)
    assert len(lesson_rules.describe_locks(rules.read())) == 1


@pytest.mark.parametrize(
    "person", [STUDENT, *(Person(kind, Role.VISITOR, "c" * 32) for kind in (ProfileKind.NETWORK, ProfileKind.SPACE))]
)
def test_an_account_of_the_machine_is_not_for_visitors(rules: LessonRules, person: Person) -> None:
    """A tracker would send with the keys of whoever runs the server."""
    config = TrainConfig(sample="shapes", trackers="wandb")
    with pytest.raises(RunError) as caught:
        rules.check_start(person, config)
    assert str(caught.value).startswith("Only whoever leads this server may use experiment trackers")
    for leader in (TEACHER, HOST):
        rules.check_start(leader, config)


def test_the_number_of_epochs_that_a_mode_chooses_counts_too(rules: LessonRules) -> None:
    rules.change(max_epochs=10)
    rules.check_start(STUDENT, TrainConfig(sample="shapes", mode="full"))
    assert "would take 30" in refuse(rules, TrainConfig(sample="shapes", mode="frozen"))


def test_what_a_lock_names_may_be_trained(rules: LessonRules) -> None:
    rules.change(backbones=(SHAPES.backbone,), modes=(SHAPES.mode,), max_epochs=5, sources=("shapes",))
    rules.check_start(STUDENT, SHAPES)


def test_own_images_and_handed_ones_are_told_apart(rules: LessonRules, tmp_path: Path) -> None:
    pets = rules.hand_out("Pets", folder=str(tmp_path / "pets"))
    sent = rules.hand_out("Sent", upload="f" * 48)
    rules.change(sources=(pets.source, sent.source))
    rules.check_start(STUDENT, TrainConfig(data=str(tmp_path / "pets")))
    rules.check_start(STUDENT, TrainConfig(data=str(tmp_path / ("f" * 48) / "zip")))
    assert "Pets, Sent" in refuse(rules, TrainConfig(data=str(tmp_path / "pets" / "own")))
    rules.change(sources=(OWN_SOURCE,))
    rules.check_start(STUDENT, TrainConfig(data=str(tmp_path / "mine")))
    refuse(rules, TrainConfig(data=str(tmp_path / "pets")))


def test_taking_the_only_allowed_data_set_back_unlocks_nothing(rules: LessonRules) -> None:
    pets = rules.hand_out("Pets", folder="/data/pets")
    rules.change(sources=(pets.source,))
    rules.take_back(pets.name)
    refuse(rules, TrainConfig(data="/data/pets"))
    refuse(rules, SHAPES)
    assert lesson_rules.describe_locks(rules.read()) == ["Allowed images: –."]


def test_a_restart_keeps_the_rules_and_the_file_is_private(rules: LessonRules, tmp_path: Path) -> None:
    rules.change(is_paused=True, modes=("full",), max_epochs=3)
    pets = rules.hand_out("Pets", folder="/data/pets")
    settings = LessonRules(tmp_path).read()
    assert (settings.is_paused, settings.modes, settings.max_epochs, settings.handed) == (True, ("full",), 3, (pets,))
    file = tmp_path / ".people" / "lesson.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rules.forget()
    assert LessonRules(tmp_path).read() == LessonSettings()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"modes": ["full"', '{"modes": "full"}', '{"max_epochs": 1.5}', '{"sources": [1]}']
)
def test_where_a_lock_is_damaged_students_wait_until_the_teacher_allows_trainings(
    rules: LessonRules, tmp_path: Path, content: str
) -> None:
    (tmp_path / ".people").mkdir()
    (tmp_path / ".people" / "lesson.json").write_text(content, encoding="utf-8")
    rules.check_start(TEACHER, SHAPES)
    # What else the teacher decides writes the file anew, and allows no training.
    for decide in (rules.read, lambda: rules.hand_out("Pets", folder="/pets"), lambda: rules.change(projected_run="r")):
        decide()
        assert "paused" in refuse(rules, SHAPES)
    assert LessonRules(tmp_path).read().is_paused
    rules.change(is_paused=False)
    rules.check_start(STUDENT, SHAPES)


@pytest.mark.parametrize("content", ['{"handed": [3, {"name": 1}], "projected_run": 3}', '{"handed": 7, "newer": []}'])
def test_damage_that_unlocks_nothing_stops_no_lesson(rules: LessonRules, tmp_path: Path, content: str) -> None:
    (tmp_path / ".people").mkdir()
    (tmp_path / ".people" / "lesson.json").write_text(content, encoding="utf-8")
    assert rules.read() == LessonSettings()


def test_a_data_set_is_handed_out_once_and_found_by_its_name_only(rules: LessonRules) -> None:
    first = rules.hand_out("Pets", folder="/data/pets")
    second = rules.hand_out("Pets\u202e of\nthe school", folder="/data/pets")
    assert first.name == second.name
    assert [entry.title for entry in rules.read().handed] == ["Pets of the school"]
    assert rules.find_handed(first.name).folder == "/data/pets"
    for name in ("/data/pets", "", "../pets", "Pets"):
        with pytest.raises(DataError, match="does not hand out"):
            rules.find_handed(name)
    for number in range(lesson_rules.MAX_HANDED_DATASETS - 1):
        rules.hand_out(f"More {number}", folder=f"/data/{number}")
    with pytest.raises(DataError, match="Take one back"):
        rules.hand_out("One too many", folder="/data/last")
