"""The loop and its pictures: some go bad, some are kept in memory, and a device may vary them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import machine, messages
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import catalog_from_json
from ftlab.data.images.decode import read_image
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.loading.image_cache import ImageCache
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, LogMessage, Progress, Started, Step
from ftlab.training import setup
from ftlab.training.devices import device_setup
from ftlab.training.feeds import image_base, images
from ftlab.training.loop import train
from tests.support.short_trainings import CACHED, FRESH, FULL, SCRATCH, STEPS, end, figures, go, only

# Pictures that go bad after they were listed


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
def test_a_picture_lost_or_spoilt_on_the_way_is_named_and_training_goes_on(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    run = begin(**way)
    told = train(run.load_config(), run, pretrained=False)
    run.append_event(next(told))
    splits = catalog_from_json(run.read_json("split.json")).splits
    lost, spoilt, unseen = splits["train"][2].path, splits["train"][9].path, splits["val"][0].path
    (tiny_folder / lost).unlink()
    for file in (spoilt, unseen):
        (tiny_folder / file).write_bytes(b"\xff\xd8\xff\xe0 no more")
    for event in told:
        run.append_event(event)
    history = run.load_history()
    assert history.end_event is not None
    assert history.end_event.reason == "finished"
    assert [epoch.val_loss is None for epoch in history.epochs] == [False] * 4
    notes = {
        str(note.values["file"]): messages.get_text("log.skipped", **note.values)
        for note in history.log_messages
        if note.code == "skipped"
    }
    assert notes.keys() == {lost, spoilt, unseen}
    assert len([note for note in history.log_messages if note.code == "skipped"]) == 3, "each is named once"
    assert notes[lost] == f"{lost} was skipped: The file does not exist."


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pictures_that_are_gone_altogether_are_no_training(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any], split: str
) -> None:
    run = begin(**way)
    told = train(run.load_config(), run, pretrained=False)
    assert isinstance(next(told), Started)
    for item in catalog_from_json(run.read_json("split.json")).splits[split]:
        (tiny_folder / item.path).unlink()
    with pytest.raises(DataError, match="tiny") as caught:
        list(told)
    assert caught.value.code == "data.gone"


def test_progress_is_told_while_features_are_computed(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", iter(range(1000)).__next__)
    events = go(begin(epochs=1))
    told = [event for event in only(events, Progress) if event.stage == "features"]
    assert [event.total for event in told] == [21] * len(told)
    assert [event.done for event in told] == sorted({event.done for event in told})
    notes = [note for note in only(events, LogMessage) if note.code == "features"]
    assert [note.values["images"] for note in notes] == [21]


@pytest.mark.parametrize("way", [FRESH, FULL], ids=["fresh", "full"])
def test_pictures_that_are_out_of_reach_for_a_while_cost_nothing(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    whole, run = begin(num_workers=1, **way), begin(num_workers=1, **way)
    go(whole)
    away = tiny_folder.with_name("unplugged")

    def unplugged() -> None:
        for event in train(run.load_config(), run, pretrained=False):
            run.append_event(event)
            if isinstance(event, Step) and event.step == 6:
                tiny_folder.rename(away)

    with pytest.raises(DataError) as caught:
        unplugged()
    assert caught.value.code == "data.gone"
    assert str(tiny_folder) in str(caught.value)
    assert not [note for note in run.load_history().log_messages if note.code == "skipped"], "no picture is blamed"
    with pytest.raises(DataError) as still:
        go(run)
    assert still.value.code == "data.gone"
    away.rename(tiny_folder)
    assert end(go(run)).reason == "finished"
    assert run.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert figures(run.load_history()) == figures(whole.load_history())


def test_a_resume_names_what_happened_to_the_pictures(begin: Callable[..., Run], tiny_folder: Path) -> None:
    run = begin(**FRESH)
    go(run, 6)
    splits = catalog_from_json(run.read_json("split.json")).splits
    lost, other = splits["train"][2].path, splits["train"][9].path
    (tiny_folder / lost).unlink()
    (tiny_folder / other).write_bytes((tiny_folder / splits["train"][0].path).read_bytes() + b" ")
    events = go(run)
    notes = {note.code: note.values for note in only(events, LogMessage)}
    assert notes == {"data_missing": {"count": 1, "file": lost}, "data_changed": {"count": 1, "file": other}}
    assert end(events).reason == "finished"


@pytest.mark.parametrize("way", [CACHED, FRESH], ids=["cached", "fresh"])
def test_a_picture_that_was_left_out_stays_out_after_a_resume(
    begin: Callable[..., Run], tiny_folder: Path, way: dict[str, Any]
) -> None:
    run, parted = begin(**way), begin(**way)
    go(begin(**way))

    def spoil(run: Run, stop_at: int | None) -> Path:
        told = train(run.load_config(), run, pretrained=False)
        run.append_event(next(told))
        file = tiny_folder / catalog_from_json(run.read_json("split.json")).splits["train"][4].path
        kept = file.read_bytes()
        file.unlink()
        for event in told:
            run.append_event(event)
            if isinstance(event, Step) and event.step == stop_at:
                run.liveness.request_stop()
        file.write_bytes(kept)
        return file

    spoil(run, None)
    spoil(parted, 8)
    go(parted)
    assert parted.last_checkpoint_path.read_bytes() == run.last_checkpoint_path.read_bytes()
    assert len([note for note in parted.load_history().log_messages if note.code == "skipped"]) == 1
    assert not [note for note in parted.load_history().log_messages if note.code.startswith("data_")]


# Pictures varied in batches, where the network is


@pytest.mark.parametrize("way", [FULL, {**FRESH, "augment": "crop"}], ids=["full", "fresh"])
def test_pictures_varied_on_the_device_teach_what_they_would_from_the_processor(
    begin: Callable[..., Run], way: dict[str, Any]
) -> None:
    """The first loss within 1e-3, those of the epoch within 2e-2: BatchNorm of four pictures makes much of a rounded
    pixel, and ten times as much of another hue. A resume has the same bits."""
    settings = {
        **{**way, "epochs": 2, "batchnorm": "train", "head_init": "default", "learning_rate": 1e-5, "rotate": 15.0},
        **{"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grayscale": 0.2, "blur": 1.5},
        "random_erasing": 0.3,
    }
    other = begin(augment_device="gpu", **{**settings, "hue": 0.2})
    go(other, 1)
    alone, whole, parted = (begin(augment_device=place, **settings) for place in ("cpu", "gpu", "gpu"))
    go(alone)
    go(whole)
    go(parted, 3)
    go(parted, 7)
    go(parted)
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()
    assert parted.best_weights_path.read_bytes() == whole.best_weights_path.read_bytes()
    assert figures(parted.load_history()) == figures(whole.load_history())
    assert alone.last_checkpoint_path.read_bytes() != whole.last_checkpoint_path.read_bytes()
    told: list[list[Any]] = [[step.loss for step in run.load_history().steps] for run in (alone, whole, other)]
    from_threads, from_batches, otherwise = told
    assert from_batches[0] == pytest.approx(from_threads[0], abs=1e-3)
    assert from_batches[:STEPS] == pytest.approx(from_threads[:STEPS], abs=2e-2)
    assert abs(otherwise[0] - from_threads[0]) > 1e-2


def test_where_pictures_were_varied_stands_in_the_run_and_a_resume_keeps_it(begin: Callable[..., Run]) -> None:
    begun = begin(**FULL)
    go(begun, 3)
    assert begun.load_resolved_config().augment_device == "cpu"
    stored = begun.read_json("config.json")
    moved = {**stored, "resolved": {**stored["resolved"], "augment_device": "gpu"}}  # as a run on a card has it
    begun.write_json("config.json", moved)
    whole = begin(augment_device="gpu", **FULL)
    go(whole)
    go(begun)
    assert begun.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes(), (
        "crops and mirrors are the same to the bit"
    )
    assert begun.load_resolved_config().augment_device == "gpu"


def test_a_run_that_began_without_a_word_of_where_pictures_are_varied_goes_on_as_it_did(
    begin: Callable[..., Run],
) -> None:
    run = begin(**FULL)
    go(run, 3)
    stored = run.read_json("config.json")
    del stored["resolved"]["augment_device"]
    run.write_json("config.json", stored)
    config, _ = setup.resolve_config(run.load_config(), run, device_setup.create_accelerator(run.load_config()))
    assert config.augment_device == "cpu"


# Decoded pictures in memory


@pytest.mark.parametrize("way", [FRESH, FULL, {**SCRATCH, "augment": "flip"}], ids=["fresh", "full", "flip"])
def test_pictures_kept_in_memory_change_no_bit(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    """All of them kept, a part of them, none; and all of them by a run that was stopped on the way."""
    decoded = Counter[str]()

    def counted(file: Path, options: DecodeOptions) -> Any:
        decoded[current] += 1
        return read_image(file, options)

    monkeypatch.setattr(images, "read_image", counted)
    monkeypatch.setattr(image_base, "ImageCache", lambda budget: ImageCache(budget // 1000))  # in kB, that is
    budgets = {"all": 10_000, "part": 80, "none": 0, "resumed": 10_000}
    made = {name: begin(image_cache_mb=budget, num_workers=2, **way) for name, budget in budgets.items()}
    for current, run in made.items():
        if current == "resumed":
            go(run, 7)
        assert end(go(run)).reason == "finished"
    assert decoded["all"] == 21, "18 to learn from and 3 to validate with, once"
    assert decoded["none"] == 3 * 18 + 4 * 3
    assert decoded["all"] < decoded["part"] < decoded["none"]
    for run in made.values():
        assert run.last_checkpoint_path.read_bytes() == made["none"].last_checkpoint_path.read_bytes()
        assert run.best_weights_path.read_bytes() == made["none"].best_weights_path.read_bytes()
        assert figures(run.load_history()) == figures(made["none"].load_history())


def test_the_memory_for_decoded_pictures_is_told_in_the_run(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "get_available_memory", lambda: 64_000_000)
    for way, megabytes in ((FULL, 32), (CACHED, 0), ({**FULL, "image_cache_mb": 5}, 5)):
        run = begin(epochs=1, **way)
        go(run)
        assert run.load_resolved_config().image_cache_mb == megabytes


def test_a_picture_that_was_changed_meanwhile_is_seen_as_it_is_then(
    begin: Callable[..., Run], tiny_folder: Path
) -> None:
    """With pictures in memory as without."""
    states = []
    for budget in (100, 0):
        run = begin(image_cache_mb=budget, num_workers=1, **FRESH)
        told = train(run.load_config(), run, pretrained=False)
        run.append_event(next(told))
        first, other = (
            tiny_folder / catalog_from_json(run.read_json("split.json")).splits["train"][i].path for i in (0, 9)
        )
        kept = first.read_bytes()
        for event in told:
            run.append_event(event)
            if isinstance(event, Epoch) and event.epoch == 1:
                first.write_bytes(other.read_bytes())
        first.write_bytes(kept)
        states.append(run.last_checkpoint_path.read_bytes())
    assert states[0] == states[1]
    plain = begin(num_workers=1, **FRESH)
    go(plain)
    assert plain.last_checkpoint_path.read_bytes() != states[0]
