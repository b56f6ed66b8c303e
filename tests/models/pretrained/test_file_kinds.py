"""A file that is no checkpoint is called what it is, whatever its suffix says."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shlex
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import checkpoint_import, file_kinds

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3)}


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return stream.getvalue()


def tarred(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("deep/net.pth")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(2))
    return stream.getvalue()


def saved(contents: object) -> bytes:
    stream = io.BytesIO()
    torch.save(contents, stream)
    return stream.getvalue()


def optimizer_state() -> object:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    return optimizer.state_dict()


OTHERS: dict[str, tuple[bytes, str]] = {
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "a git-annex pointer": (b"/annex/objects/MD5E-s1--abc.pth\n", "git annex get"),
    "a login page": (b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title>", "web page"),
    "an error of a store": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
    "an error in JSON": (b'{"error":"Repository not found"}', "Repository not found"),
    "a short text": (b"Not Found", "Not Found"),
    "a Keras model": (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras"),
    "a Keras 3 model": (zipped(metadata_DOT_json=b"{}", model_DOT_weights_DOT_h5=b"x"), "Keras"),
    "an ONNX model": (b"\x08\x08\x12\x07pytorch\x1a\x062.15.0", "ONNX"),
    "a TensorFlow Lite model": (b"\x1c\0\0\0TFL3" + bytes(30), "TensorFlow"),
    "a TensorFlow checkpoint": (bytes(50) + bytes.fromhex("57fb808b247547db"), "TensorFlow"),
    "NumPy arrays": (arrays(), "NumPy"),
    "a zip file": (zipped(deep__net_DOT_pth=b"x"), "deep/net.pth"),
    "a tar file": (tarred(b"x"), "deep/net.pth"),
    "a plain pickle": (pickle.dumps({"a": 1}), "plain Python pickle"),
    "a language model": (b"GGUF\3\0\0\0" + bytes(30), "GGUF"),
    "a picture": (b"\xff\xd8\xff\xe0" + bytes(30), "JPEG"),
    "a compressed file": (gzip.compress(saved(WEIGHTS)), "Unpack it"),
    "zeros": (bytes(10_000), "00 00 00"),
    "nothing": (b"", "empty"),
}


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "a file with one wrong byte": (saved(WEIGHTS).replace(np.float32(4).tobytes(), np.float32(9).tobytes()), "CRC"),
    "tensors without values": (saved({"fc.weight": WEIGHTS["fc.weight"].to("meta")}), "1 tensors without values"),
    "a sparse tensor": (saved({"fc.weight": WEIGHTS["fc.weight"].to_sparse()}), "sparse tensor, fc.weight"),
    "the state of an optimizer": (saved(optimizer_state()), "state of an optimizer"),
    "plain numbers": (saved({"epoch": 1}), "no tensors"),
}


@pytest.mark.parametrize(("content", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_checkpoint_without_usable_weights_says_what_it_holds(content: bytes, words: str) -> None:
    Path("x.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        checkpoint_import.read_checkpoint(Path("x.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5"])
@pytest.mark.parametrize("kind", [*OTHERS])
def test_what_is_no_checkpoint_is_called_what_it_is(kind: str, suffix: str) -> None:
    content, words = OTHERS[kind]
    file = Path(f"weights{suffix}")
    file.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        checkpoint_import.read_checkpoint(file)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(WeightsError):
        checkpoint_import.resolve_init(TrainConfig(mode="full", init_from=str(file)), "runs")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.pkl", "x.tar", "noending"])
@pytest.mark.parametrize("content", ["safetensors", "zip", "legacy"])
def test_weights_are_read_by_their_content_whatever_the_file_is_called(name: str, content: str) -> None:
    if content == "safetensors":
        save_file(WEIGHTS, name)
    else:
        torch.save(WEIGHTS, name, _use_new_zipfile_serialization=content == "zip")
    file = Path(name).absolute()
    assert checkpoint_import.resolve_init(TrainConfig(mode="full", init_from=str(file)), "runs").init_from == str(file)
    assert torch.equal(checkpoint_import.read_checkpoint(file).tensors["fc.weight"], WEIGHTS["fc.weight"])


@pytest.mark.parametrize(
    ("contents", "name"),
    [
        ([WEIGHTS, {"epoch": 1}], "0.fc.weight"),
        ((WEIGHTS, 0.93), "0.fc.weight"),
        ({"models": [WEIGHTS]}, "models.0.fc.weight"),
        ({"fc.weight": WEIGHTS["fc.weight"].numpy()}, "fc.weight"),
        ({"fc.weight": np.asfortranarray(WEIGHTS["fc.weight"].numpy().astype(">f4"))}, "fc.weight"),
    ],
    ids=["list", "tuple", "inner list", "NumPy", "NumPy of another order"],
)
def test_weights_in_a_list_or_as_numpy_arrays_are_read(contents: object, name: str) -> None:
    torch.save(contents, "x.pth")
    assert torch.equal(checkpoint_import.read_checkpoint(Path("x.pth")).tensors[name], WEIGHTS["fc.weight"])


def test_a_newer_pickle_protocol_is_named() -> None:
    torch.save(WEIGHTS, "new.pth", pickle_protocol=4)
    with pytest.raises(WeightsError, match="pickle protocol"):
        checkpoint_import.read_checkpoint(Path("new.pth"))


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell")
@pytest.mark.parametrize("kind", ["model", "entry", "protocol", "script", "arrays"])
def test_the_command_that_an_error_names_can_be_pasted_whatever_the_file_is_called(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path('it\'s "my" $(net) `1`.pth')
    model = torch.nn.Linear(3, 2)
    if kind == "arrays":
        with file.open("wb") as stream:
            np.savez(stream, **{name: tensor.numpy() for name, tensor in model.state_dict().items()})
    elif kind == "script":
        with pytest.warns(FutureWarning, match=r"torch\.jit"):
            torch.jit.script(model).save(file)
    else:
        contents = {"model": model, "entry": {"my 'net'": model}, "protocol": model.state_dict()}[kind]
        torch.save(contents, file, pickle_protocol=4 if kind == "protocol" else 2)
    with pytest.raises(WeightsError) as caught:
        checkpoint_import.read_checkpoint(file)
    program, flag, code, *names = shlex.split("python" + str(caught.value).partition(": python")[2])
    assert (program, flag) == ("python", "-c")
    monkeypatch.setattr(sys, "argv", ["-c", *names])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that TorchScript has its day behind it
        exec(code, {})
    written = checkpoint_import.read_checkpoint(Path(names[1])).tensors
    assert {name: tensor.shape for name, tensor in written.items()} == {"weight": (2, 3), "bias": (2,)}


def test_a_folder_of_hugging_face_gives_its_weights_and_another_says_what_it_lacks() -> None:
    Path("model").mkdir()
    config = TrainConfig(mode="full", init_from=str(Path("model").absolute()))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        checkpoint_import.resolve_init(config, "runs")
    Path("model/model.safetensors").write_bytes(save(WEIGHTS))
    assert checkpoint_import.resolve_init(config, "runs").init_from == str(Path("model/model.safetensors").absolute())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_that_cannot_be_opened_is_told() -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        file_kinds.check_file_kind(Path("nowhere.pth"))
