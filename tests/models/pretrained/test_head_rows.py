"""The rows of a checkpoint's head go to the classes they were made for, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ftlab.config import backbones
from ftlab.models import heads, network
from ftlab.models.pretrained import checkpoint_import, key_mapping, weights
from ftlab.models.pretrained.key_mapping import KeyMapping

BACKBONE = "squeezenet1_1"
TEXT_ORDER = sorted(str(number) for number in range(1, 13))
NATURAL_ORDER = [str(number) for number in range(1, 13)]


@pytest.fixture(scope="module")
def backbone_tensors() -> dict[str, Tensor]:
    state = weights.build_module(backbones.get_backbone_spec(BACKBONE)).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}


def mapped(
    backbone_tensors: dict[str, Tensor], rows: Tensor, here: list[str], kind: str = "softmax", **records: Any
) -> KeyMapping:
    """What becomes of a head whose row i holds i, in a run with these classes."""
    head = {"classifier.1.weight": rows[:, None].repeat(1, 512), "classifier.1.bias": rows}
    torch.save({"state_dict": backbone_tensors | head, **records}, "c.pth")
    spec = backbones.get_backbone_spec(BACKBONE)
    net = network.build_network(spec, len(here), pretrained=False, head_spec=heads.HeadSpec(kind=kind))
    checkpoint = checkpoint_import.read_checkpoint(Path("c.pth"))
    return key_mapping.map_checkpoint_keys(checkpoint, dict(net.state_dict()), spec.head, class_names=here)


@pytest.mark.parametrize(
    "records",
    [
        {"classes": TEXT_ORDER},
        {"class_to_idx": {name: index for index, name in enumerate(TEXT_ORDER)}},
        {"names": dict(enumerate(TEXT_ORDER))},
        {"meta": {"id2label": {str(index): name for index, name in enumerate(TEXT_ORDER)}}},
    ],
)
def test_the_order_comes_from_the_file_where_it_names_its_classes(
    records: dict[str, Any], backbone_tensors: dict[str, Tensor]
) -> None:
    found = mapped(backbone_tensors, torch.arange(12.0), NATURAL_ORDER, **records)
    wanted = [float(TEXT_ORDER.index(name)) for name in NATURAL_ORDER]
    assert found.tensors["head.bias"].tolist() == found.tensors["head.weight"][:, 0].tolist() == wanted
    assert found.matched_count == len(found.target_keys)
    assert "reordered" in dict(found.summarize_match("all"))
    assert not found.head_fit.is_order_unknown


def test_without_names_the_rows_are_taken_by_number_and_the_order_is_open(backbone_tensors: dict[str, Tensor]) -> None:
    found = mapped(backbone_tensors, torch.arange(12.0), NATURAL_ORDER)
    assert found.tensors["head.bias"].tolist() == list(range(12))
    assert found.head_fit.is_order_unknown


@pytest.mark.parametrize(
    ("stored", "here", "known"),
    [
        (["bee", "ant"], ["ant", "bee", "cat"], {0: 1.0, 1: 0.0}),
        (["bee", "ant", "dog"], ["ant", "Cat"], {0: 1.0}),
        (["Golden_Retriever", "x"], ["cat", "golden retriever", "y"], {1: 0.0}),
    ],
)
def test_a_head_that_knows_some_of_the_classes_gives_their_rows_and_says_how_many(
    stored: list[str], here: list[str], known: dict[int, float], backbone_tensors: dict[str, Tensor]
) -> None:
    found = mapped(backbone_tensors, torch.arange(float(len(stored))), here, classes=stored)
    assert dict(zip(found.head_fit.known_classes, found.row_tensors["head.bias"].tolist(), strict=True)) == known
    assert "head.bias" not in found.tensors
    assert (found.missing_keys, found.mismatched_keys) == ((), ())
    values = dict(found.summarize_match("all"))["rows"]
    assert (values["known"], values["classes"]) == (len(known), len(here))


def test_a_head_for_other_classes_is_left_out_and_some_are_named(backbone_tensors: dict[str, Tensor]) -> None:
    found = mapped(backbone_tensors, torch.arange(2.0), ["cat", "dog"], classes=["ant", "bee"])
    assert not any(name.startswith("head.") for name in found.tensors)
    assert dict(found.summarize_match("all"))["names"] == {"names": "ant, bee"}
    assert found.is_sufficient


@pytest.mark.parametrize(("stored", "sign"), [(["ant", "bee"], 1.0), (["bee", "ant"], -1.0)])
def test_one_logit_and_two_rows_become_each_other(
    stored: list[str], sign: float, backbone_tensors: dict[str, Tensor]
) -> None:
    pair = mapped(backbone_tensors, torch.tensor([3.0]), ["ant", "bee"], classes=stored)
    assert pair.tensors["head.bias"].tolist() == [-1.5 * sign, 1.5 * sign]
    single = mapped(backbone_tensors, torch.tensor([1.0, 4.0]), ["ant", "bee"], kind="logit", classes=stored)
    assert single.tensors["head.classifier.bias"].tolist() == [3.0 * sign]
