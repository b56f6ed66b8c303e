"""The copy of a run elsewhere: complete, of one moment, sent only as far as it changed, and refused where damaged."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from ftlab.core.errors import RunError
from ftlab.runs.copies import run_copy
from ftlab.runs.copies.remote_folder import RemoteFolder
from ftlab.runs.directory import Run
from tests.support import fabricated_runs

BUCKET = "memory://bucket/runs"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = fabricated_runs.make(tmp_path / "runs", [*fabricated_runs.story(epochs=1), fabricated_runs.ended()])
    run.best_weights_path.write_bytes(b"best")
    run.last_checkpoint_path.parent.mkdir(exist_ok=True)
    run.last_checkpoint_path.write_bytes(b"last")
    run.epoch_weights_folder.mkdir()
    (run.epoch_weights_folder / "0003.safetensors").write_bytes(b"third")
    (run.path / "worker.log").write_text("about this machine", encoding="utf-8")
    return run


@pytest.fixture(params=["a bucket", "a folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    fsspec.filesystem("memory").store.clear()
    return BUCKET if request.param == "a bucket" else str(tmp_path / "backup")


def send(run: Run, place: str, folder: Path) -> None:
    run_copy.take_snapshot(run, folder)
    run_copy.send_snapshot(folder, run.name, place)


def list_contents(run: Run, place: str) -> set[str]:
    return RemoteFolder(f"{place}/{run.name}").list_names("files")


def test_a_copy_brings_back_what_a_resume_and_a_prediction_need(run: Run, place: str, tmp_path: Path) -> None:
    send(run, place, tmp_path / "snapshot")
    fetched = run_copy.fetch_copy(f"{place}/{run.name}", tmp_path / "elsewhere")
    assert fetched.path == tmp_path / "elsewhere" / run.name
    assert fetched.load_config() == run.load_config()
    assert fetched.read_events() == run.read_events()
    assert fetched.best_weights_path.read_bytes() == b"best"
    assert fetched.last_checkpoint_path.read_bytes() == b"last"
    assert (fetched.epoch_weights_folder / "0003.safetensors").read_bytes() == b"third"
    assert not fetched.log_path.exists()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [run.name]


def test_a_further_copy_sends_what_changed_and_removes_what_is_not_needed_any_more(
    run: Run, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(run, place, tmp_path / "first")
    before, sent = list_contents(run, place), list[str]()
    put_file = RemoteFolder.put_file

    def put_and_note(remote: RemoteFolder, source: Path, name: str) -> None:
        sent.append(source.name)
        put_file(remote, source, name)

    monkeypatch.setattr(RemoteFolder, "put_file", put_and_note)
    run.last_checkpoint_path.unlink()  # as the training replaces it: the snapshot keeps the old content
    run.last_checkpoint_path.write_bytes(b"later")
    send(run, place, tmp_path / "second")
    assert sent == ["state.safetensors"]
    assert (tmp_path / "first" / "last" / "state.safetensors").read_bytes() == b"last"
    after = list_contents(run, place)
    assert len(after) == len(before)
    assert len(after - before) == 1


def test_a_copy_that_breaks_off_leaves_the_one_before_it(
    run: Run, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(run, place, tmp_path / "first")
    run.last_checkpoint_path.unlink()
    run.last_checkpoint_path.write_bytes(b"later")

    def refuse(_remote: RemoteFolder, _name: str, _content: bytes) -> None:
        raise RunError("copy.failed", place=place, cause="the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "replace_bytes", refuse)
        with pytest.raises(RunError, match="the line is cut"):
            send(run, place, tmp_path / "second")
    fetched = run_copy.fetch_copy(f"{place}/{run.name}", tmp_path / "elsewhere")
    assert fetched.last_checkpoint_path.read_bytes() == b"last"


def test_a_content_that_is_not_as_it_was_sent_is_refused_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    send(run, str(place), tmp_path / "snapshot")
    entries = json.loads((place / run.name / "copy.json").read_text())["files"]
    (place / run.name / "files" / entries["best.safetensors"]["sha256"]).write_bytes(b"bent")
    with pytest.raises(RunError, match=r"damaged: best\.safetensors") as caught:
        run_copy.fetch_copy(f"{place}/{run.name}", tmp_path / "elsewhere")
    assert caught.value.code == "copy.damaged"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.json", "/tmp/outside.json", "epochs/../../outside", "worker.log"])
def test_a_copy_that_names_other_files_than_those_of_a_run_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    place = tmp_path / "backup"
    send(run, str(place), tmp_path / "snapshot")
    list_path = place / run.name / "copy.json"
    values = json.loads(list_path.read_text())
    values["files"][name] = values["files"]["config.json"]
    list_path.write_text(json.dumps(values))
    with pytest.raises(RunError) as caught:
        run_copy.fetch_copy(f"{place}/{run.name}", tmp_path / "elsewhere")
    assert caught.value.code == "copy.damaged"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2, "files": {}}', b'{"version": 1, "files": [1]}', b"\xff"]
)
def test_a_damaged_list_is_told(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "backup" / run.name).mkdir(parents=True)
    (tmp_path / "backup" / run.name / "copy.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        run_copy.fetch_copy(f"{tmp_path}/backup/{run.name}", tmp_path / "elsewhere")
    assert caught.value.code == "copy.damaged"


def test_no_copy_and_a_run_that_is_here_already_are_told(run: Run, place: str, tmp_path: Path) -> None:
    for address in (f"{place}/{run.name}", place):
        with pytest.raises(RunError) as caught:
            run_copy.fetch_copy(address, tmp_path / "elsewhere")
        assert caught.value.code == "copy.none"
    send(run, place, tmp_path / "snapshot")
    with pytest.raises(RunError) as caught:
        run_copy.fetch_copy(f"{place}/{run.name}", run.path.parent)
    assert caught.value.code == "copy.exists"


def test_a_place_is_a_copy_by_its_address_or_by_its_list(run: Run, tmp_path: Path) -> None:
    assert run_copy.is_copy(f"s3://bucket/{run.name}")
    assert not run_copy.is_copy(run.name)
    send(run, str(tmp_path / "backup"), tmp_path / "snapshot")
    assert run_copy.is_copy(str(tmp_path / "backup" / run.name))


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_what_is_no_path_at_all_is_no_copy(name: str) -> None:
    assert not run_copy.is_copy(name)
