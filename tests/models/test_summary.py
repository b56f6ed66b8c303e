"""The table of layers: names, what comes out, parameters that add up, and what learns."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import pytest

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import MODES
from ftlab.models import summary
from ftlab.models.summary import LayerSummary


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """A network is built, and run for the shapes, before the mode and the depth of its table count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "_build_with_shapes", functools.cache(summary._build_with_shapes))
        yield


@pytest.fixture(scope="module", params=list(backbones.BACKBONES))
def spec(request: pytest.FixtureRequest) -> BackboneSpec:
    return backbones.get_backbone_spec(request.param)


@pytest.mark.parametrize("mode", MODES)
def test_parameters_add_up(spec: BackboneSpec, mode: str) -> None:
    found = summary.summarize_layers(spec, 7, mode)
    sums = sum(one.trainable for one in found), sum(one.parameters for one in found)
    assert sums == backbones.count_parameters(spec, 7, mode)
    assert len({one.name for one in found}) == len(found)


def test_a_person_can_read_it(spec: BackboneSpec) -> None:
    found = summary.summarize_layers(spec, 7, "full")
    assert 10 < len(found) <= summary.TABLE_ROW_LIMITS[1]
    assert found[-1 - len(spec.auxiliary)] == LayerSummary(
        "head", "Linear", (7,), (spec.width + 1) * 7, (spec.width + 1) * 7
    )
    # Only what is there for training alone gives nothing.
    assert {one.name.split(".")[0] for one in found if not one.shape} <= {"aux1", "aux2", "AuxLogits", "auxiliary"}


def test_resnet18_as_published() -> None:
    """He et al., 2016, arXiv:1512.03385, table 1."""
    found = {
        one.name: one for one in summary.summarize_layers(backbones.get_backbone_spec("resnet18"), 4, "frozen", depth=1)
    }
    assert found.keys() == {
        *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "head")
    }
    shapes = {name: one.shape for name, one in found.items()}
    assert shapes["conv1"] == (64, 112, 112)
    assert [shapes[f"layer{n}"] for n in (1, 2, 3, 4)] == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert found["conv1"] == LayerSummary("conv1", "Conv2d", (64, 112, 112), 3 * 64 * 49, 0)
    assert (found["head"].parameters, found["head"].trainable) == (4 * 513, 4 * 513)


def test_deeper_is_longer_and_sums_up_to_the_same() -> None:
    spec = backbones.get_backbone_spec("resnet18")
    sizes = []
    for depth in (1, 2, 3):
        found = summary.summarize_layers(spec, 4, "full", depth)
        sizes.append(len(found))
        assert sum(one.parameters for one in found if one.name.startswith("layer3")) == 2_099_712
    assert sizes == sorted(set(sizes))
    names = [one.name for one in summary.summarize_layers(spec, 4, "full", 3)]
    assert {"layer2.0.downsample", "layer2.0.conv1"} <= set(names)
    assert len(summary.summarize_layers(spec, 4, "full", 99)) >= sizes[-1]


def test_what_a_module_holds_beside_its_layers_has_a_row_of_its_own() -> None:
    found = {one.name: one for one in summary.summarize_layers(backbones.get_backbone_spec("vit_b_16"), 4, "full")}
    assert found["class_token"] == LayerSummary("class_token", "Parameter", (1, 1, 768), 768, 768)
    assert found["encoder.pos_embedding"].parameters == math.prod((197, 768))
    assert found["encoder.layers.encoder_layer_11"].shape == (197, 768)


def test_auxiliary_classifiers_learn_but_for_frozen_mode() -> None:
    spec = backbones.get_backbone_spec("googlenet")
    for mode, learns in (("full", True), ("frozen", False)):
        found = [
            one for one in summary.summarize_layers(spec, 5, mode, depth=1) if one.name.startswith(("aux", "auxiliary"))
        ]
        assert [one.name for one in found] == ["aux1", "aux2", "auxiliary.0", "auxiliary.1"]
        assert [one.trainable for one in found] == [one.parameters * learns for one in found]
