"""Weights of other programs: their names are found, what does not fit is said, and nothing in a file is run."""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, FtlabError, RunError, WeightsError
from ftlab.models import heads, network
from ftlab.models.pretrained import checkpoint_import, weights
from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint
from ftlab.models.pretrained.key_mapping import KeyMapping, map_checkpoint_keys

SMALL = "mobilenet_v3_small"
SQUEEZE = "squeezenet1_1"


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    """torchvision's own state_dict of a small network, no two tensors of it alike."""
    torch.manual_seed(1)
    state = weights.build_module(backbones.get_backbone_spec(SMALL)).state_dict()
    return {k: torch.randn(v.shape) if v.is_floating_point() else v + 3 for k, v in state.items()}


@pytest.fixture(scope="module")
def here() -> dict[str, Tensor]:
    return dict(network.build_network(backbones.get_backbone_spec(SMALL), 5, pretrained=False).state_dict())


def laid(
    content: Any, here: dict[str, Tensor], part: str = "all", rename: str = "", backbone: str = SMALL
) -> KeyMapping:
    """What becomes of a checkpoint of this content, written by torch and read again."""
    file = Path("theirs.pth")
    torch.save(content, file)
    return map_checkpoint_keys(
        checkpoint_import.read_checkpoint(file),
        here,
        backbones.get_backbone_spec(backbone).head,
        part,
        checkpoint_import.parse_renames(rename),
    )


def same(found: KeyMapping, theirs: dict[str, Tensor]) -> bool:
    """Whether every tensor of the backbone is theirs of that name, to the bit."""
    body = {name: tensor for name, tensor in found.tensors.items() if name.startswith("backbone.")}
    return bool(body) and all(torch.equal(t, theirs[name.removeprefix("backbone.")]) for name, t in body.items())


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


# --- names


def containers(theirs: dict[str, Tensor]) -> dict[str, Any]:
    """How the field's programs save a network."""
    other = {name: torch.randn(t.shape) for name, t in theirs.items() if t.is_floating_point()}
    body = {name: t for name, t in theirs.items() if not name.startswith("classifier.3")}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    moco = (
        prefixed(theirs, "module.encoder_q.") | prefixed(other, "module.encoder_k.") | {"module.queue": torch.ones(9)}
    )
    return {
        "torchvision": OrderedDict(theirs),
        "DistributedDataParallel": prefixed(theirs, "module."),
        "a compiled network in DistributedDataParallel": prefixed(theirs, "_orig_mod.module."),
        "MoCo": {"epoch": 200, "arch": "x", "state_dict": moco, "optimizer": optimizer},
        "Lightning": {"state_dict": prefixed(theirs, "model."), "pytorch-lightning_version": "2.4", "epoch": 3},
        "timm": {"state_dict": other, "state_dict_ema": prefixed(theirs, "module."), "args": argparse.Namespace(lr=1)},
        "DeiT": {"model": other, "model_ema": theirs, "optimizer": optimizer, "args": argparse.Namespace(lr=1)},
        "DINO": {"student": prefixed(other, "module.backbone."), "teacher": prefixed(body, "backbone.")},
        "a network in parts": {"net": {"encoder": body, "decoder": {"up.weight": torch.ones(2)}}},
    }


@pytest.mark.parametrize("program", [*containers({})])
def test_a_backbone_is_found_whatever_stands_before_its_names(
    program: str, theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    found = laid(containers(theirs)[program], here, "backbone")
    assert same(found, theirs)
    assert found.matched_count == len(found.target_keys)
    assert (found.missing_keys, found.mismatched_keys) == ((), ())


def test_of_two_copies_that_fit_alike_the_averaged_one_is_taken(
    theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    other = {name: torch.zeros_like(tensor) for name, tensor in theirs.items()}
    for key in ("teacher", "model_ema", "state_dict_ema"):
        assert same(laid({"model": other, key: theirs}, here, "backbone"), theirs)


def test_a_file_that_holds_an_inner_part_gets_the_beginning_of_its_names(
    theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    inner = {name.removeprefix("features."): t for name, t in theirs.items() if name.startswith("features.")}
    found = laid(inner, here, "backbone")
    assert found.prefix_rule == ("", "features.")
    assert same(found, theirs)
    assert {name.split(".")[1] for name in found.missing_keys} == {"classifier"}


def test_names_that_have_nothing_in_common_are_matched_by_order_and_shape(
    theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    strange = {f"block_{number:03d}": tensor for number, tensor in enumerate(theirs.values())}
    found = laid(strange, here, "backbone")
    assert found.is_matched_by_order
    counters = [name for name in here if name.endswith("num_batches_tracked")]
    assert same(found, theirs)
    assert len(found.tensors) == len([name for name in here if name.startswith("backbone.")]) - len(counters)
    swapped = dict(reversed(strange.items()))
    assert laid(swapped, here, "backbone").matched_count < len(here) / 2


def test_renaming_helps_where_names_are_not_found(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    odd = {}
    for name, tensor in theirs.items():
        number, _, rest = name.removeprefix("features.").partition(".")
        odd[f"stem.{rest}" if number == "0" else f"trunk.{name}"] = tensor
    without = laid({"state_dict": odd}, here, "backbone")
    assert any(name.startswith("backbone.features.0.") for name in without.missing_keys)
    found = laid({"state_dict": odd}, here, "backbone", rename="stem.=trunk.features.0.")
    assert found.matched_count == len(found.target_keys)
    assert same(found, theirs)


@pytest.mark.parametrize("text", ["a", "a=b=c", "=b", "a=b,c"])
def test_a_renaming_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--rename"):
        checkpoint_import.parse_renames(text)


# --- heads


@pytest.mark.parametrize("name", ["classifier.3", "head", "fc", "module.classifier.3", "model.head.fc"])
def test_a_head_for_as_many_classes_is_taken_whatever_it_is_called(
    name: str, theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    prefix = name.removesuffix("classifier.3") if "." in name and "classifier" in name else ""
    body = {k: t for k, t in theirs.items() if not k.startswith("classifier.3")}
    prefix = prefix or ("model." if name.startswith("model.") else "")
    head = {f"{name}.weight": torch.randn(5, 1024), f"{name}.bias": torch.randn(5)}
    found = laid(prefixed(body, prefix) | head, here)
    assert torch.equal(found.tensors["head.weight"], head[f"{name}.weight"])
    assert torch.equal(found.tensors["head.bias"], head[f"{name}.bias"])
    assert found.matched_count == len(found.target_keys)


def test_weights_that_are_no_numbers_are_said(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    name = next(name for name, tensor in theirs.items() if tensor.is_floating_point())
    assert "nonfinite" not in dict(laid(theirs, here).summarize_match("all"))
    found = laid(theirs | {name: theirs[name] * float("nan")}, here)
    assert dict(found.summarize_match("all"))["nonfinite"]["count"] == 1


def test_a_head_for_another_number_of_classes_is_left_out_and_said(
    theirs: dict[str, Tensor], here: dict[str, Tensor]
) -> None:
    found = laid(theirs, here)
    assert not any(name.startswith("head.") for name in found.tensors)
    assert found.is_sufficient
    assert ("head_out", {"classes": 1000}) in found.summarize_match("all")
    assert found.matched_count == len(found.target_keys), "what was left out on purpose is not missing"
    assert not laid(theirs, here, "head").is_sufficient


def test_a_head_with_dropout_takes_a_plain_one_and_one_with_a_layer_between_its_like(
    theirs: dict[str, Tensor],
) -> None:
    dropping = dict(
        network.build_network(
            backbones.get_backbone_spec(SMALL), 1000, pretrained=False, head_spec=heads.HeadSpec(dropout=0.2)
        ).state_dict()
    )
    found = laid(theirs, dropping)
    assert torch.equal(found.tensors["head.classifier.weight"], theirs["classifier.3.weight"])
    deep = dict(
        network.build_network(
            backbones.get_backbone_spec(SMALL), 1000, pretrained=False, head_spec=heads.HeadSpec(hidden=8)
        ).state_dict()
    )
    assert not any(name.startswith("head.") for name in laid(theirs, deep).tensors)
    own = laid({name: tensor + 1 for name, tensor in deep.items()}, deep)
    assert torch.equal(own.tensors["head.hidden.weight"], deep["head.hidden.weight"] + 1)
    assert own.matched_count == len(own.target_keys)


def test_a_convolution_of_one_pixel_is_a_linear_layer() -> None:
    theirs = weights.build_module(backbones.get_backbone_spec(SQUEEZE)).state_dict()
    net = network.build_network(backbones.get_backbone_spec(SQUEEZE), 1000, pretrained=False)
    found = laid(theirs, dict(net.state_dict()), backbone=SQUEEZE)
    assert theirs["classifier.1.weight"].shape == (1000, 512, 1, 1)
    assert torch.equal(found.tensors["head.weight"], theirs["classifier.1.weight"].flatten(1))
    net.load_state_dict({**net.state_dict(), **found.tensors})


def test_a_part_takes_no_more_than_was_asked_for(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    own = prefixed(theirs, "") | {"classifier.3.weight": torch.ones(5, 1024), "classifier.3.bias": torch.ones(5)}
    assert set(laid(own, here, "head").tensors) == {"head.weight", "head.bias"}
    assert not any(name.startswith("head.") for name in laid(own, here, "backbone").tensors)


# --- what does not fit


def test_what_is_missing_odd_or_left_over_is_named(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    state = dict(theirs) | {"extra.weight": torch.ones(2)}
    del state["features.1.block.0.0.weight"]
    state["features.0.0.weight"] = torch.ones(16, 1, 3, 3)
    found = laid({"model": state, "scaler": {"scale": torch.ones(1)}}, here, "backbone")
    assert found.missing_keys == ("backbone.features.1.block.0.0.weight",)
    assert found.mismatched_keys == (("backbone.features.0.0.weight", "16×1×3×3", "16×3×3×3"),)
    assert found.unexpected_keys == ("model.extra.weight",)
    assert found.matched_count == len(found.target_keys) - 2
    assert [key for key, _ in found.summarize_match("backbone")] == [
        "backbone",
        "prefix",
        "mismatched",
        "missing",
        "unexpected",
    ]


def test_a_file_of_another_network_is_not_enough(theirs: dict[str, Tensor]) -> None:
    other = dict(network.build_network(backbones.get_backbone_spec("resnet18"), 5, pretrained=False).state_dict())
    found = laid(theirs, other, backbone="resnet18")
    assert not found.is_sufficient
    assert 2 * found.matched_count < len(found.target_keys)


def test_half_precision_arrives_in_the_networks_own(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    half = {name: t.half() if t.is_floating_point() else t for name, t in theirs.items()}
    found = laid(half, here, "backbone")
    assert found.matched_count == len(found.target_keys)
    assert {t.dtype for t in found.tensors.values()} == {torch.float32, torch.int64}


# --- files


class Trap:
    """What runs a command when a careless program reads it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch sprung",)


def test_a_file_that_holds_code_is_refused_and_not_run(theirs: dict[str, Tensor]) -> None:
    torch.save({"state_dict": theirs, "hook": Trap()}, "trap.pth")
    with pytest.raises(WeightsError) as caught:
        checkpoint_import.read_checkpoint(Path("trap.pth"))
    assert caught.value.code == "init.unsafe"
    assert "system" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not Path("sprung").exists()


def test_a_whole_pickled_network_and_a_script_are_refused() -> None:
    torch.save(torch.nn.Linear(2, 2), "model.pth")
    # Writing one has its day behind it, but many are about.
    with pytest.warns(FutureWarning, match="torch.jit"):
        torch.jit.script(torch.nn.Linear(2, 2)).save("script.pt")
    for name in ("model.pth", "script.pt"):
        with pytest.raises(WeightsError) as caught:
            checkpoint_import.read_checkpoint(Path(name))
        assert caught.value.code == "init.unsafe", name


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_told_in_one_line(kind: str, share: float, theirs: dict[str, Tensor]) -> None:
    file = Path("cut.safetensors" if kind == "safetensors" else "cut.pth")
    few = dict(list(theirs.items())[:20])
    if kind == "safetensors":
        save_file(few, file)
    else:
        torch.save(few, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError) as caught:
        checkpoint_import.read_checkpoint(file)
    assert caught.value.code == "init.damaged"
    assert file.name in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04nothing", b"\x80\x02."])
def test_what_is_no_checkpoint_is_told_in_one_line(content: bytes) -> None:
    for name in ("x.pth", "x.safetensors"):
        Path(name).write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            checkpoint_import.read_checkpoint(Path(name))
        assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_tensors_is_said_to_have_none() -> None:
    torch.save({"epoch": 3, "state_dict": {}, "list": [torch.ones(2)]}, "none.pth")
    with pytest.raises(WeightsError, match="no tensors"):
        checkpoint_import.read_checkpoint(Path("none.pth"))


def test_safetensors_are_read_as_well(theirs: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    save_file(theirs, "theirs.safetensors")
    found = map_checkpoint_keys(
        checkpoint_import.read_checkpoint(Path("theirs.safetensors")),
        here,
        backbones.get_backbone_spec(SMALL).head,
        "backbone",
    )
    assert same(found, theirs)


def test_the_tensors_of_the_embedded_default_are_found_by_their_order() -> None:
    spec = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
    file = weights.locate_weights(spec).file
    if not file.is_file():
        pytest.skip("the package of the default's weights is not installed")
    net = network.build_network(spec, 1000, pretrained=False)
    found = map_checkpoint_keys(checkpoint_import.read_checkpoint(file), dict(net.state_dict()), spec.head)
    assert found.is_matched_by_order
    assert found.matched_count == len(found.target_keys)
    loaded = network.build_network(spec, None, pretrained=True).state_dict()
    assert all(torch.equal(found.tensors[name], loaded[name]) for name in found.target_keys)


# --- which file


def test_what_is_named_is_a_file_a_run_or_the_reason_why_not(tmp_path: Path) -> None:
    def whole(init: str) -> str:
        return checkpoint_import.resolve_init(TrainConfig(mode="full", init_from=init), tmp_path / "runs").init_from

    save_file({"a": torch.ones(1)}, "a.safetensors")
    assert whole("a.safetensors") == str(Path("a.safetensors").absolute())
    run = tmp_path / "runs" / "20260101-000000-resnet18-full-0123456789ab"
    run.mkdir(parents=True)
    for name in (run.name, "0123456789ab", "latest", str(run)):
        with pytest.raises(RunError) as caught:
            whole(name)
        # `latest` is the newest run that left anything; one that is named is told of by its name.
        assert caught.value.code == ("run.none_usable" if name == "latest" else "run.no_weights")
    (run / "best.safetensors").touch()
    for name in (run.name, "0123456789ab", "latest", str(run)):
        assert whole(name) == str(run)
    Path("notes.txt").touch()
    expected = {
        "b.safetensors": "init.missing",
        "some/where": "init.missing",
        "notes.txt": "init.kind",
        "20250101": "run.missing",
        "a\0b": "run.missing",
    }
    for name, code in expected.items():
        with pytest.raises(FtlabError) as other:
            whole(name)
        assert other.value.code == code, name


def test_starting_from_a_file_and_from_random_weights_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="scratch"):
        TrainConfig(init_from="a.pth", mode="scratch")
    with pytest.raises(ConfigError, match="imagenet"):
        TrainConfig(init_from="a.pth", head_init="imagenet")


def test_a_stored_tensor_keeps_its_name_and_its_container() -> None:
    torch.save({"a": {"b": {"c.weight": torch.ones(1)}}, "d": torch.ones(1)}, "x.pth")
    found = checkpoint_import.read_checkpoint(Path("x.pth"))
    assert found.containers == {"a.b.c.weight": "a.b.", "d": ""}
    assert isinstance(found, ForeignCheckpoint)
