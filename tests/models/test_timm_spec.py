"""Any model of timm as a backbone: what is found out about it, and that it works like those of the table."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import user_dirs
from ftlab.core.errors import ConfigError, WeightsError
from ftlab.inference import heatmap
from ftlab.inference.cam_methods import compute_cam
from ftlab.models import network, summary
from ftlab.models.execution.fuse_batchnorm import fuse_conv_batchnorm
from ftlab.models.network import Network
from ftlab.models.pretrained import weights
from ftlab.models.timm_spec import describe_timm_model

pytestmark = pytest.mark.usefixtures("one_thread_for_all")

CLASSES = 3
# Layer, layout and tokens before the places, as Grad-CAM wants them; side of the map.
FAMILIES: dict[str, tuple[str, str, int, int]] = {
    "test_resnet": ("layer4", "chw", 0, 5),
    "test_efficientnet": ("bn2", "chw", 0, 5),
    "test_vit": ("blocks.5.norm1", "tokens", 1, 10),
    "convnextv2_atto": ("stages", "chw", 0, 7),
    "vit_tiny_patch16_224": ("blocks.11.norm1", "tokens", 1, 14),
    "deit_tiny_distilled_patch16_224": ("blocks.11.norm1", "tokens", 2, 14),
    "mobilenetv4_conv_small": ("blocks", "chw", 0, 7),
    "efficientformerv2_s0": ("norm", "chw", 0, 7),
    "swin_tiny_patch4_window7_224": ("norm", "hwc", 0, 7),
    "edgenext_xx_small": ("stages", "chw", 0, 8),
    "levit_128s": ("stages", "tokens", 0, 4),
    "xcit_nano_12_p16_224": ("blocks.11", "tokens", 0, 14),
    "pvt_v2_b0": ("stages", "chw", 0, 7),
    "mixer_s32_224": ("norm", "tokens", 0, 7),
    "coat_lite_tiny": ("serial_blocks4.1.norm1", "tokens", 1, 7),
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def spec(request: pytest.FixtureRequest) -> BackboneSpec:
    return describe_timm_model(f"timm/{request.param}")


@pytest.fixture(scope="module")
def net(spec: BackboneSpec) -> Network:
    made = network.build_network(spec, CLASSES, pretrained=False, seed=1).eval()
    with torch.no_grad():
        for parameter in made.backbone.parameters():
            if not parameter.any():  # what starts at zero lets nothing through before it has learnt
                parameter.normal_(generator=torch.Generator().manual_seed(2))
    return made


def picture(spec: BackboneSpec) -> torch.Tensor:
    return torch.randn(1, 3, spec.side, spec.side, generator=torch.Generator().manual_seed(0))


def test_what_its_weights_want_is_timms_own_word(spec: BackboneSpec) -> None:
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform
    from timm.models import get_pretrained_cfg

    told = get_pretrained_cfg(spec.name.removeprefix("timm/"))
    assert told is not None
    facts = resolve_data_config(pretrained_cfg=told.to_dict())
    assert (3, spec.side, spec.side) == facts["input_size"]
    assert (spec.mean, spec.std, spec.interpolation) == (facts["mean"], facts["std"], facts["interpolation"])
    assert f"Resize(size={spec.resize}," in str(create_transform(**facts, is_training=False))
    assert spec.weights == (told.tag if told.has_weights else "")


def test_its_network_is_like_any_other(spec: BackboneSpec, net: Network) -> None:
    with torch.inference_mode():
        features = net.backbone(picture(spec))
        folded = fuse_conv_batchnorm(net.backbone)(picture(spec))
    assert features.shape == (1, spec.width)
    assert float((folded - features).abs().max()) <= 1e-4 * float(features.abs().max())
    assert sum(p.numel() for p in net.backbone.parameters()) == spec.parameters
    found = summary.summarize_layers(spec, CLASSES, "frozen")
    assert sum(one.parameters for one in found) == backbones.count_parameters(spec, CLASSES, "frozen")[1]


def test_grad_cam_looks_where_places_still_differ(spec: BackboneSpec, net: Network) -> None:
    layer, layout, tokens, side = FAMILIES[spec.name.removeprefix("timm/")]
    assert (spec.cam, spec.cam_layout, spec.cam_tokens) == (layer, layout, tokens)
    logits, evidence = compute_cam(net, spec, picture(spec), 1)
    assert logits.shape == (CLASSES,)
    assert evidence.shape == (side, side)
    assert evidence.isfinite().all()
    assert float(evidence.max() - evidence.min()) > 1e-6 * float(evidence.abs().max()) > 0
    # Also after it was asked in inference mode, where some keep tensors for the next time.
    with torch.inference_mode():
        net(picture(spec))
    assert torch.allclose(compute_cam(net, spec, picture(spec), 1)[1], evidence)


def test_it_travels_with_the_weights_as_json(spec: BackboneSpec) -> None:
    assert backbones.spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_its_file_of_weights_fits_and_lacks_nothing(spec: BackboneSpec) -> None:
    if not spec.weights:  # timm has none
        with pytest.raises(WeightsError):
            network.build_network(spec, CLASSES, pretrained=True)
        return
    torch.manual_seed(5)
    whole = timm.create_model(spec.name.removeprefix("timm/")).state_dict()
    file = weights.locate_weights(spec).file
    file.parent.mkdir(parents=True)
    save_file({key: value.clone() for key, value in whole.items()}, file)
    loaded = network.build_network(spec, CLASSES, pretrained=True).backbone.state_dict()
    assert all(torch.equal(loaded[key], whole[key]) for key in loaded)


# Those that will not do


def refused(name: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        describe_timm_model(name)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_name_that_timm_does_not_know_is_answered_with_what_is_like_it() -> None:
    assert "levit_128s" in str(refused("timm/levitt_128s"))
    assert "a1_in1k" in str(refused("timm/resnet18.a1_in2k"))


def test_what_does_not_take_square_pictures_is_refused() -> None:
    error = refused("timm/vit_base_patch16_sapiens2.fb")
    assert error.code == "config.timm_input"
    assert "3 × 1024 × 768" in str(error)


def test_a_model_that_gives_no_vector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_args, **_more: torch.nn.Conv2d(3, 8, 1))
    error = refused("timm/test_resnet")
    assert error.code == "config.timm_output"
    assert "2 × 8 × 160 × 160" in str(error)


def test_a_model_without_places_trains_all_the_same_and_has_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Linear(3, 8)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.mix(pictures.mean(dim=(2, 3))))

    monkeypatch.setattr(timm, "create_model", lambda *_args, **_more: Mean())
    found = describe_timm_model("timm/test_resnet")
    assert (found.cam, found.width) == ("", 8)
    net = network.build_network(found, CLASSES, pretrained=False)
    logits, evidence = compute_cam(net, found, torch.randn(1, 3, 4, 4))
    assert logits.shape == (CLASSES,)
    assert evidence.numel() == 0
    assert not heatmap.render_heatmap(heatmap.scale_class_map(evidence), 5, 4, (0, 0, 5, 4)).any()


# Looked up once, in a process of its own


def test_it_is_looked_up_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "timm/test_resnet.r160_in1k"
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    assert backbones.find_known_spec(name) is None
    found = backbones.get_backbone_spec(name)
    assert dataclasses.replace(found, speed=1) == dataclasses.replace(describe_timm_model(name), speed=1)

    def never(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("looked up again")

    monkeypatch.setattr(subprocess, "run", never)
    assert backbones.find_known_spec(name) is found
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})  # another process
    assert backbones.get_backbone_spec(name) == found
    kept = next((user_dirs.get_ftlab_home() / "backbones").rglob("*.json"))
    kept.write_text("{}", encoding="utf-8")  # of a version that knew less
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    assert backbones.find_known_spec(name) is None


def test_a_mistake_is_told_in_timms_words_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "TIMM_SPEC_CACHE", {})
    with pytest.raises(ConfigError, match="levit_128s"):
        backbones.get_backbone_spec("timm/levitt_128s")
    with pytest.raises(ConfigError, match="levit_128s"):
        backbones.find_known_spec("timm/levitt_128s")


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"name": "timm/hf-hub:a/b"}, {"source": "hub"}, {"extra": 1}, {"width": None, "cam": None}],
)
def test_a_row_of_a_stranger_names_nothing_but_a_backbone(change: dict[str, Any]) -> None:
    values = {**backbones.get_backbone_spec("resnet18").to_json(), **change}
    if change.get("width", 1) is None:
        del values["width"]
    with pytest.raises(ValueError, match="of a backbone"):
        backbones.spec_from_json(values)


def test_a_place_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = backbones.get_spec_file("timm/test_resnet")
    monkeypatch.setattr(backbones, "version", lambda _package: "99")
    assert backbones.get_spec_file("timm/test_resnet") != before
    assert before.is_relative_to(user_dirs.get_ftlab_home())
