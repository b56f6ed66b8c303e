"""Downloads of weights, from a server on this machine: progress, and what comes of a bad day."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import download, weights
from ftlab.models.pretrained.download import ByteProgress
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, LogMessage, Progress, Started
from ftlab.training.loop import train
from tests.support import file_server

CONTENT = os.urandom(300_000)
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:8]
HUB = ("model.safetensors", "pytorch_model.bin")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[file_server.Source]:
    monkeypatch.setattr(download, "POLL_INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with file_server.serving() as source:
        monkeypatch.setenv("HF_ENDPOINT", source.url)
        yield source


@pytest.fixture
def spec(source: file_server.Source, monkeypatch: pytest.MonkeyPatch) -> BackboneSpec:
    """A row of torchvision's whose file this server has."""
    found = dataclasses.replace(backbones.get_backbone_spec("resnet18"), weights_file="w.pth", sha256=PREFIX)
    monkeypatch.setattr(weights, "get_weights_url", lambda _row: f"{source.url}/models/w.pth")
    source.files = {"/models/w.pth": CONTENT}
    return found


@pytest.fixture
def hub_row(source: file_server.Source) -> BackboneSpec:
    """A row of timm's whose file this server has."""
    source.files = {"/timm/some.tag/resolve/main/model.safetensors": CONTENT}
    names = {"name": "timm/some.tag", "title": "some", "source": "timm", "weights": "tag", "head": ""}
    where = {"weights_hub": "timm/some.tag", "weights_file": HUB[0], "sha256": ""}
    return dataclasses.replace(backbones.get_backbone_spec("resnet18"), **names, **where)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["spec", "hub_row"])
def test_a_download_tells_how_far_it_is_and_the_file_is_there(kind: str, request: pytest.FixtureRequest) -> None:
    one: BackboneSpec = request.getfixturevalue(kind)
    told = list(weights.download_weights(one))
    assert told
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(0 <= done <= total for done, total in told)
    found = weights.locate_weights(one)
    assert found.ready
    assert found.file.read_bytes() == CONTENT
    assert list(weights.download_weights(one)) == [], "what is here is not downloaded again"


def test_the_hub_tells_the_size(hub_row: BackboneSpec) -> None:
    cache = Path(os.environ["HF_HOME"]) / "hub"
    last = list(download.download_from_hub(hub_row.weights_hub, HUB, cache))[-1]
    assert last == ByteProgress(len(CONTENT), len(CONTENT))


def test_a_repository_without_safetensors_gives_what_it_has(source: file_server.Source, hub_row: BackboneSpec) -> None:
    source.files = {"/timm/some.tag/resolve/main/pytorch_model.bin": CONTENT}
    list(weights.download_weights(hub_row))
    assert weights.locate_weights(hub_row).file.name == "pytorch_model.bin"
    assert weights.locate_weights(hub_row).ready


@pytest.mark.parametrize("manner", ["cut", "damaged", "nothing", "silent"])
@pytest.mark.parametrize("kind", ["spec", "hub_row"])
def test_on_a_bad_day_it_says_so_in_one_line_and_nothing_counts_as_there(
    kind: str, manner: str, source: file_server.Source, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    one: BackboneSpec = request.getfixturevalue(kind)
    monkeypatch.setattr(download, "STALL_TIMEOUT_SECONDS", 0.4 if manner == "silent" else 60.0)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    source.manner = manner
    if manner == "nothing":
        source.files = {}
    with pytest.raises(WeightsError) as caught:
        list(weights.download_weights(one))
    assert caught.value.code == "weights.missing"
    said = str(caught.value)
    assert "\n" not in said
    assert str(weights.locate_weights(one).file) in said
    assert not weights.locate_weights(one).ready
    source.enough.set()
    # The day after.
    source.manner = "well"
    monkeypatch.setattr(
        download, "STALL_TIMEOUT_SECONDS", 60.0
    )  # a busy machine may take longer than the impatient one waited
    if manner != "nothing":
        list(weights.download_weights(one))
        assert weights.locate_weights(one).file.read_bytes() == CONTENT


def test_what_a_killed_download_left_is_swept_away_later(spec: BackboneSpec) -> None:
    folder = weights.locate_weights(spec).file.parent
    folder.mkdir(parents=True)
    old, new = folder / "w.pth.0.partial", folder / "w.pth.1.partial"
    for half in (old, new):
        half.write_bytes(b"half")
    os.utime(old, (0, 0))
    list(weights.download_weights(spec))
    assert not old.exists()
    assert new.exists(), "another process may still be writing to it"


def test_a_file_put_there_by_hand_is_taken(source: file_server.Source, hub_row: BackboneSpec) -> None:
    place = weights.locate_weights(hub_row)
    assert not place.ready
    assert place.file == Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / "some.tag.safetensors"
    place.file.parent.mkdir(parents=True)
    place.file.write_bytes(CONTENT)
    assert weights.locate_weights(hub_row).ready
    assert list(weights.download_weights(hub_row)) == []
    assert source.asked == []


def test_a_model_without_weights_says_to_train_from_scratch(hub_row: BackboneSpec) -> None:
    with pytest.raises(WeightsError) as caught:
        list(weights.download_weights(dataclasses.replace(hub_row, weights="", weights_hub="", weights_file="")))
    assert caught.value.code == "weights.none"


def test_the_packages_weights_are_never_downloaded() -> None:
    assert list(weights.download_weights(backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE))) == []


def test_torchs_own_name_for_half_a_file_is_the_one_that_is_watched(
    spec: BackboneSpec, source: file_server.Source
) -> None:
    source.manner = "silent"
    work = weights.download_weights(spec)
    for done, total in work:
        if done:
            assert done <= len(CONTENT) // 2
            assert total == round(spec.megabytes * 1e6)
            break
    source.enough.set()
    assert not weights.locate_weights(spec).ready


# Before a training


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path) -> Run:
    return run_store.create_run(
        tmp_path / "runs", TrainConfig(data=str(tiny_folder), backbone="mobilenet_v2", torch_num_threads=1)
    )


@pytest.fixture
def mobilenet(source: file_server.Source, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file of weights for MobileNetV2, that this server has."""
    kept = io.BytesIO()
    torch.save(weights.build_module(backbones.get_backbone_spec("mobilenet_v2")).state_dict(), kept)
    content = kept.getvalue()
    known = dataclasses.replace(
        backbones.get_backbone_spec("mobilenet_v2"), sha256=hashlib.sha256(content).hexdigest(), side=64, resize=72
    )
    monkeypatch.setitem(backbones.BACKBONES, known.name, known)
    monkeypatch.setattr(weights, "get_weights_url", lambda _row: f"{source.url}/models/{known.weights_file}")
    monkeypatch.setattr(torch.hub, "HASH_REGEX", re.compile("$^"))  # the name tells torchvision's own checksum
    source.files = {f"/models/{known.weights_file}": content}
    return content


@pytest.mark.usefixtures("one_thread")
def test_a_training_downloads_first_tells_of_it_and_goes_on(run: Run, mobilenet: bytes) -> None:
    told = list(train(run.load_config(), run))
    stages = [event.stage for event in told if isinstance(event, Progress)]
    assert stages[0] == "download"
    first = next(event for event in told if isinstance(event, LogMessage))
    assert (first.code, first.values["title"]) == ("download", "MobileNetV2")
    kinds = [type(event) for event in told]
    last = max(i for i, event in enumerate(told) if isinstance(event, Progress) and event.stage == "download")
    assert last < kinds.index(Started)
    ended = told[-1]
    assert isinstance(ended, Ended)
    assert ended.reason == "finished"
    assert weights.locate_weights(backbones.get_backbone_spec("mobilenet_v2")).file.stat().st_size == len(mobilenet)


@pytest.mark.usefixtures("mobilenet")
@pytest.mark.usefixtures("one_thread")
def test_it_can_be_stopped_while_it_downloads(run: Run, source: file_server.Source) -> None:
    source.manner = "silent"
    told = []
    for event in train(run.load_config(), run):
        told.append(event)
        run.liveness.request_stop()
    source.enough.set()
    assert isinstance(told[-1], Ended)
    assert told[-1].reason == "stopped"
    assert not any(isinstance(event, Started) for event in told)
    assert not weights.locate_weights(backbones.get_backbone_spec("mobilenet_v2")).ready
