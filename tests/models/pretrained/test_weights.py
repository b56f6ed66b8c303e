"""Pretrained weights: found where they are, and a sentence where they are not."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ftlab.config import backbones
from ftlab.core.errors import WeightsError
from ftlab.models import network
from ftlab.models.pretrained import weights

DEFAULT = backbones.get_backbone_spec(backbones.DEFAULT_BACKBONE)
DOWNLOADED = [spec for spec in backbones.BACKBONES.values() if not spec.weights_package]


def test_the_defaults_weights_come_with_a_package() -> None:
    found = weights.locate_weights(DEFAULT)
    assert found.ready
    assert hashlib.sha256(found.file.read_bytes()).hexdigest().startswith(DEFAULT.sha256)
    assert found.file.stat().st_size / 1e6 == pytest.approx(found.megabytes, abs=0.1)


def test_they_fit_one_to_one() -> None:
    stored = torch.load(weights.locate_weights(DEFAULT).file, map_location="cpu", weights_only=True)
    loaded = weights.load_pretrained(DEFAULT).state_dict()
    assert len(stored) == len(loaded) == 296
    assert all(torch.equal(a, b) for a, b in zip(stored.values(), loaded.values(), strict=True))


def test_a_pretrained_network_has_them_and_a_new_head() -> None:
    net = network.build_network(DEFAULT, 3, pretrained=True, seed=1)
    whole = weights.load_pretrained(DEFAULT).state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in net.backbone.state_dict().items())
    assert net.head.weight.shape == (3, 1280)


@pytest.mark.parametrize("spec", DOWNLOADED, ids=lambda spec: spec.name)
def test_the_others_are_looked_for_where_torchvision_puts_them(
    spec: backbones.BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import get_model_weights

    member = get_model_weights(spec.name)[spec.weights]
    assert member.url.rpartition("/")[2] == spec.weights_file
    assert spec.sha256 in spec.weights_file
    if not spec.auxiliary:  # those are not always counted there
        bias = spec.name != "maxvit_t"  # its own classifier has none
        assert member.meta["num_params"] - 1000 * (spec.width + bias) == spec.parameters
    assert weights.get_weights_url(spec) == member.url
    assert member.meta["_file_size"] * 1.048576 == pytest.approx(spec.megabytes, abs=0.1)
    preset = member.transforms()
    assert (preset.crop_size, preset.resize_size) == ([spec.side], [spec.resize])
    if not spec.auxiliary:  # test_network.py looks at these
        assert (tuple(preset.mean), tuple(preset.std)) == (spec.mean, spec.std)
    assert preset.interpolation.value == spec.interpolation

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = weights.locate_weights(spec)
    assert found.file == tmp_path / "hub" / "checkpoints" / spec.weights_file
    assert not found.ready
    found.file.parent.mkdir(parents=True)
    found.file.touch()
    assert weights.locate_weights(spec).ready


def test_without_torch_home_it_is_the_cache_of_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = tmp_path / "torch" / "hub" / "checkpoints"
    assert weights.locate_weights(DOWNLOADED[0]).file.parent == expected == Path(torch.hub.get_dir()) / "checkpoints"


@pytest.mark.usefixtures("network_attempts")
def test_with_no_network_the_sentence_says_what_to_put_where_and_what_is_ready() -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    with pytest.raises(WeightsError, match="14 MB") as caught:
        weights.load_pretrained(spec)
    assert caught.value.code == "weights.missing"
    said = str(caught.value)
    assert all(
        part in said
        for part in (weights.get_weights_url(spec), str(weights.locate_weights(spec).file), "EfficientNet-Lite0")
    )
    assert "\n" not in said
    assert not weights.locate_weights(spec).ready, "no half a file is left behind"


def test_a_damaged_file_is_named_and_not_downloaded_over() -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    file = weights.locate_weights(spec).file
    file.parent.mkdir(parents=True)
    for content in (b"", b"PK\x03\x04 no more", b"nothing of the kind"):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=file.name) as caught:
            weights.load_pretrained(spec)
        assert caught.value.code == "weights.damaged"
        assert "\n" not in str(caught.value)


class Trap:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_a_file_with_code_in_it_is_refused_and_not_run() -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    file = weights.locate_weights(spec).file
    file.parent.mkdir(parents=True)
    torch.save({"weight": Trap()}, file)
    with pytest.raises(WeightsError) as caught:
        weights.load_pretrained(spec)
    assert caught.value.code == "weights.damaged"
    assert "weights_only" not in str(caught.value), "torch's advice is to run it"
    assert not Path("sprung").exists()


def test_a_package_that_is_not_installed_is_weights_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert not weights.locate_weights(DEFAULT).ready


def test_to_know_where_they_are_takes_no_torch() -> None:
    code = (
        "import sys\nfrom ftlab.config import backbones\nfrom ftlab.models.pretrained import weights\n"
        "[weights.locate_weights(spec) for spec in backbones.BACKBONES.values()]\n"
        "print({'torch', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_file_as_torchvision_saves_it_fits_whatever_its_modules_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNASNet wants the version of its modules, the two with auxiliary classifiers want those."""
    monkeypatch.setattr(torch.hub, "HASH_REGEX", re.compile("$^"))  # what is made here has another checksum
    for name in ("mnasnet1_0", "googlenet", "squeezenet1_1"):
        spec = backbones.get_backbone_spec(name)
        file = weights.locate_weights(spec).file
        file.parent.mkdir(parents=True, exist_ok=True)
        module = weights.build_module(spec)
        torch.save(module.state_dict(), file)
        loaded = weights.load_pretrained(spec).state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in module.state_dict().items())


def test_the_older_names_in_densenets_file_are_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "HASH_REGEX", re.compile("$^"))
    spec = backbones.get_backbone_spec("densenet121")
    file = weights.locate_weights(spec).file
    file.parent.mkdir(parents=True, exist_ok=True)
    expected = weights.build_module(spec).state_dict()
    older = {re.sub(r"(denselayer\d+\.\w+?)([12]\.)", r"\1.\2", name): value for name, value in expected.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    torch.save(older, file)
    loaded = weights.load_pretrained(spec).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items())


def test_the_shared_mobilenet_is_taken_from_torch_home(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(shared_data / "torch_home"))
    spec = backbones.get_backbone_spec("mobilenet_v2")
    assert weights.locate_weights(spec).ready
    random = network.build_network(spec, 2, pretrained=False).state_dict()
    loaded = network.build_network(spec, 2, pretrained=True).state_dict()
    assert not torch.equal(random["backbone.features.0.0.weight"], loaded["backbone.features.0.0.weight"])
