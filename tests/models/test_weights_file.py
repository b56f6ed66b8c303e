"""Sealed files: what comes back is what was written, or nothing does."""

from __future__ import annotations

import os
import random
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open

from ftlab.core import file_io
from ftlab.models import weights_file
from ftlab.models.weights_file import CorruptFileError

OLD = {"x": torch.arange(3)}
NEW = {"x": torch.zeros(1000)}
FLIPS, CUTS = 200, 20


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def refusing(*_: object, **__: object) -> None:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with much of everything: many names, a long header, tensors of several kinds."""
    generator = torch.Generator().manual_seed(0)
    tensors = {f"layer.{i}.weight": torch.randn(3, i + 1, generator=generator) for i in range(20)}
    tensors |= {"step": torch.tensor(7), "mask": torch.tensor([True, False])}
    path = tmp_path_factory.mktemp("sealed") / "x"
    weights_file.save_tensors(
        path, tensors, {"position": {"epoch": 3, "lost": {"train": list(range(40))}}, "best": 0.9375}
    )
    return path.read_bytes()


def test_tensors_and_header_come_back(folder: Path) -> None:
    tensors = {
        "a": torch.randn(2, 3).t(),
        "b": torch.tensor(7),
        "c": torch.zeros(1, 3, 2, 2).to(memory_format=torch.channels_last),
    }
    weights_file.save_tensors(folder / "x", tensors, {"epoch": 3, "name": "ü", "sum": 0.1 + 0.2})
    found, header = weights_file.load_tensors(folder / "x")
    assert header == weights_file.read_verified_header(folder / "x") == {"epoch": 3, "name": "ü", "sum": 0.1 + 0.2}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert [file.name for file in folder.iterdir()] == ["x"]


def test_the_same_is_written_to_the_same_bytes(folder: Path) -> None:
    for name in "xy":
        weights_file.save_tensors(folder / name, {"b": torch.ones(2), "a": torch.zeros(3)}, {"two": 2, "one": 1})
    assert (folder / "x").read_bytes() == (folder / "y").read_bytes()


def test_others_can_read_it(folder: Path) -> None:
    weights_file.save_tensors(folder / "x", OLD, {})
    with safe_open(folder / "x", framework="np") as file:
        assert file.get_tensor("x").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("where", "what"),
    [("os.replace", full_disk), ("os.fsync", full_disk), ("ftlab.models.weights_file.save_file", refusing)],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: Any
) -> None:
    weights_file.save_tensors(folder / "x", OLD, {"epoch": 1})
    monkeypatch.setattr(where, what)
    with pytest.raises(OSError, match="No space left on device"):
        weights_file.save_tensors(folder / "x", NEW, {"epoch": 2})
    assert weights_file.load_tensors(folder / "x")[1] == {"epoch": 1}
    assert [file.name for file in folder.iterdir()] == ["x"]


def test_no_flipped_bit_goes_unseen(folder: Path, whole: bytes) -> None:
    dice = random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    # Half of them in the header, which is the smaller part and where a wrong digit would look like a right one.
    places = [dice.randrange(8 * header) for _ in range(FLIPS // 2)]
    places += [dice.randrange(8 * len(whole)) for _ in range(FLIPS // 2)]
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place // 8] ^= 1 << place % 8
        (folder / "x").write_bytes(spoilt)
        with pytest.raises(CorruptFileError):
            weights_file.load_tensors(folder / "x")


def test_no_cut_goes_unseen(folder: Path, whole: bytes) -> None:
    dice = random.Random(1)
    for length in [0, 7, 8, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(CUTS - 4))]:
        (folder / "x").write_bytes(whole[:length])
        with pytest.raises(CorruptFileError):
            weights_file.load_tensors(folder / "x")


@pytest.mark.parametrize("more", [b"\0", b"x" * 100], ids=["a byte", "some text"])
def test_nor_does_what_was_added(folder: Path, whole: bytes, more: bytes) -> None:
    (folder / "x").write_bytes(whole + more)
    with pytest.raises(CorruptFileError, match="checksum does not match"):
        weights_file.load_tensors(folder / "x")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_its_permissions_are_those_of_any_new_file(folder: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        weights_file.save_tensors(folder / "x", OLD, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "x").stat().st_mode) == mode


@pytest.mark.skipif(os.name == "nt", reason="it forks")
def test_what_a_process_killed_while_the_library_writes_leaves_is_swept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's hidden file is there, and its rename does not come any more."""

    def killed(_tensors: object, path: Path, _metadata: object) -> None:
        path.with_name(".tmpAb3dE6").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    weights_file.save_tensors(folder / "x", OLD, {"epoch": 1})
    monkeypatch.setattr("ftlab.models.weights_file.save_file", killed)
    pid = os.fork()
    if not pid:
        weights_file.save_tensors(folder / "x", NEW, {})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in folder.rglob(".tmp*")] == [".tmpAb3dE6"]
    (folder / ".tmpOld001").write_bytes(b"left by an earlier version")
    file_io.remove_stale_parts(folder)
    assert [file.name for file in folder.iterdir()] == ["x"]
    assert weights_file.load_tensors(folder / "x")[1] == {"epoch": 1}


def test_a_file_of_somebody_else_has_no_seal(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(OLD, folder / "x")
    with pytest.raises(CorruptFileError, match="no checksum"):
        weights_file.load_tensors(folder / "x")


def test_a_missing_file_is_the_systems_own_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        weights_file.load_tensors(folder / "x")
