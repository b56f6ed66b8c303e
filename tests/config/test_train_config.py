"""The configuration: each setting once, its words, its bounds, and the way there and back."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli.parsing.setting_flags import add_setting_flag
from ftlab.config import backbones, mode_defaults, rules, train_config
from ftlab.config.fields import format_flag
from ftlab.config.train_config import FIELDS, MODES, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from tests.support import ROOT
from tests.support.unusual_config import changed

BESIDE: dict[str, dict[str, Any]] = {
    "val_share": {"test_share": 0.0},
    "test_share": {"val_share": 0.01},
    "backbone_lr": {"mode": "full"},
    "layer_decay": {"mode": "full"},
    "cutmix": {"features": "fresh"},
    "unfreeze_epoch": {"mode": "full", "epochs": 10_000, "batchnorm": "frozen"},
    "unfreeze_all_epoch": {"mode": "full", "epochs": 10_000, "batchnorm": "frozen", "unfreeze_from": "auto"},
    "phase2_lr": {"mode": "full", "unfreeze_epoch": 1},
    "phase3_lr": {"mode": "full", "unfreeze_epoch": 1, "unfreeze_all_epoch": 2, "unfreeze_from": "auto"},
}
"""What must be chosen beside a setting so that each of its values fits."""


UPPER: dict[str, Any] = {"mode": "full", "unfreeze_from": "auto"}


def refused(**settings: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**settings)
    return caught.value


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_setting_has_a_label_and_a_hint(name: str) -> None:
    assert messages.get_text(f"setting.{name}.label")
    assert messages.get_text(f"setting.{name}.hint").endswith((".", "?"))


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_setting_has_a_place_a_type_and_a_default_that_fits(name: str) -> None:
    spec, default = FIELDS[name]
    assert spec.group in ("data", "model", *train_config.FOLDED_GROUPS)
    assert train_config.get_field_type(name) in (str, int, float, bool)
    assert train_config.is_optional_field(name) == (default is None)
    free = ("data", "exclude", "backbone", "init_from", "rename_keys", "unfreeze_from", "value_range", "copy_to")
    assert (train_config.get_field_type(name) is str and name not in free) == bool(spec.choices)
    if default is not None and spec.choices:
        assert default in spec.choices or (spec.several and not default)


def test_untouched_it_is_the_default_backbone_frozen() -> None:
    untouched = TrainConfig()
    assert (untouched.backbone, untouched.mode) == (backbones.DEFAULT_BACKBONE, "frozen")
    assert untouched.caches_features


@pytest.mark.parametrize(
    ("mode", "features", "caches"),
    [("frozen", "cached", True), ("frozen", "fresh", False), ("full", "cached", False), ("scratch", "cached", False)],
)
def test_features_are_kept_in_frozen_mode_only(mode: str, features: str, *, caches: bool) -> None:
    assert TrainConfig(mode=mode, features=features).caches_features is caches


@pytest.mark.parametrize("name", [name for name, (spec, _) in FIELDS.items() if spec.low is not None])
def test_bounds_are_inclusive_and_kept(name: str) -> None:
    spec, _ = FIELDS[name]
    kind = train_config.get_field_type(name)
    assert spec.low is not None
    assert spec.high is not None
    free = BESIDE.get(name, {})
    for bound in (spec.low, spec.high):
        assert getattr(TrainConfig(**{**free, name: kind(bound)}), name) == bound
    beyond = (spec.low - 1, spec.high + 1) if kind is int else (math.nextafter(spec.low, -9e9), spec.high * 1.01)
    for value in beyond:
        error = refused(**{name: kind(value)})
        assert error.code == "config.bounds"
        assert format_flag(name) in str(error)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"learning_rate": math.nan}, "config.bounds"),
        ({"learning_rate": math.inf}, "config.bounds"),
        ({"epochs": "3"}, "config.type"),
        ({"epochs": 3.0}, "config.type"),
        ({"epochs": True}, "config.type"),
        ({"warmup_fraction": True}, "config.type"),
        ({"data": 3}, "config.type"),
        ({"mode": None}, "config.type"),
        ({"mode": "froze"}, "config.choice"),
        ({"optimizer": "adagrad"}, "config.choice"),
        ({"backbone": "resnet19"}, "config.backbone"),
        ({"data": "x", "sample": "shapes"}, "config.two_sources"),
        ({"val_share": 0.5, "test_share": 0.5}, "config.shares"),
        ({"image_size": 224, "resize": 160}, "config.side_larger"),
        ({"image_size": 224, "crop_size": 160}, "config.side_larger"),
        ({"augment": "none", "rotate": 15.0}, "config.no_augment"),
        *[
            ({"mode": "full", "unfreeze_from": text}, "config.layer_form")
            for text in ("0", "0.0", "1.5", "-0.3", "a b", ".", "x;y")
        ],
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings: dict[str, Any], code: str) -> None:
    error = refused(**settings)
    assert error.code == code
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        ("frozen_rate", {"backbone_lr": 1e-4}),
        ("frozen_decay", {"layer_decay": 0.7}),
        ("hidden_imagenet", {"head_init": "imagenet", "head_hidden": 64}),
        ("logit_imagenet", {"head_init": "imagenet", "head_kind": "logit"}),
        ("cutmix_cached", {"cutmix": 1.0}),
        ("frozen_phases", {"unfreeze_epoch": 3}),
        ("frozen_part", {"unfreeze_from": "layer4"}),
        ("scratch_phases", {"mode": "scratch", "unfreeze_epoch": 3}),
        ("scratch_part", {"mode": "scratch", "unfreeze_from": "0.5"}),
        ("late_phase", {"mode": "full", "unfreeze_epoch": 5, "epochs": 5}),
        ("late_phase", {"mode": "full", "unfreeze_epoch": 8}),
        ("gradual_alone", {"mode": "full", "gradual_unfreezing": True}),
        ("rate_alone", {"mode": "full", "phase2_lr": 1e-5}),
        ("optimizer_alone", {"mode": "full", "phase2_optimizer": "rmsprop"}),
        ("all_mode", {"unfreeze_all_epoch": 3}),
        ("all_mode", {"mode": "scratch", "unfreeze_all_epoch": 3}),
        ("all_alone", {"mode": "full", "unfreeze_all_epoch": 3}),
        ("all_late", {**UPPER, "unfreeze_all_epoch": 5, "epochs": 5}),
        ("all_early", {**UPPER, "unfreeze_epoch": 3, "unfreeze_all_epoch": 3}),
        ("third_alone", {**UPPER, "unfreeze_epoch": 3, "phase3_lr": 1e-5}),
        ("third_alone", {**UPPER, "unfreeze_all_epoch": 3, "phase3_lr": 1e-5}),
        ("activations_mode", {"activations": "cached"}),
        ("activations_whole", {"mode": "full", "activations": "cached"}),
        ("activations_vary", {**UPPER, "activations": "cached", "augment_device": "gpu"}),
        ("activations_compile", {**UPPER, "activations": "cached", "compile": "yes"}),
        ("statistics_cached", {"batchnorm": "train"}),
        ("statistics_random", {"mode": "scratch", "batchnorm": "frozen"}),
        ("balanced_twice", {"class_weights": "balanced", "sampling": "balanced"}),
    ],
)
def test_what_contradicts_is_refused_with_the_reason_and_the_remedy(reason: str, settings: dict[str, Any]) -> None:
    error = refused(**settings)
    assert error.code == f"contradiction.{reason}"
    rule = next(rule for rule in rules.CONFLICT_RULES if rule[0] == reason)
    assert all(format_flag(name) in str(error) for name in rule[1])
    assert "\n" not in str(error)


def test_where_images_follow_the_cached_activations_they_may_be_compiled_and_augmented_on_a_gpu() -> None:
    config = TrainConfig(
        **UPPER, activations="cached", unfreeze_all_epoch=3, phase2_lr=1e-5, compile="yes", augment_device="gpu"
    )
    assert config.caches_views
    assert config.trains_on_images


@pytest.mark.parametrize(
    ("settings", "views"),
    [
        ({}, 4),
        ({"augment": "none"}, 1),
        ({"augment": "flip", "hflip": 0.0}, 1),
        ({"hflip": 0.0}, 1),
        ({"hflip": 0.0, "blur": 1.0}, 4),
        ({"hflip": 0.0, "augment": "crop"}, 4),
    ],
)
def test_a_frozen_backbone_looks_once_at_pictures_that_nothing_varies(settings: dict[str, Any], views: int) -> None:
    assert TrainConfig(cached_views=4, **settings).views_per_image == views


def test_a_wrong_choice_is_answered_with_the_right_ones() -> None:
    assert all(mode in str(refused(mode="froze")) for mode in MODES)
    assert all(name in str(refused(backbone="resnet19")) for name in ("resnet18", "resnet34", "resnet50", "timm/"))
    assert all(name in str(refused(backbone="?")) for name in backbones.BACKBONES)


def test_any_model_of_timm_is_a_backbone_and_costs_no_look_at_it() -> None:
    one = TrainConfig(backbone="timm/resnet10t.c3_in1k")
    assert train_config.config_to_argv(one)[:2] == ["--backbone", "timm/resnet10t.c3_in1k"]
    assert train_config.fill_defaults(TrainConfig(backbone="timm/anything", mode="full")).learning_rate == 5e-5


def test_the_batchnorm_statistics_of_a_pretrained_backbone_stay_unless_asked_otherwise() -> None:
    statistics = {mode: train_config.fill_defaults(TrainConfig(mode=mode)).batchnorm for mode in train_config.MODES}
    assert statistics == {"full": "frozen", "frozen": "trainable", "scratch": "trainable"}
    for name in ("timm/", "timm/../x", "timm/a/b", "timm/a b", "hf-hub:timm/a", "timm/a.b.c"):
        assert refused(backbone=name).code == "config.backbone"


def test_a_whole_number_is_a_number() -> None:
    assert TrainConfig(max_minutes=3).max_minutes == 3


@pytest.mark.parametrize("original", [TrainConfig(), changed()], ids=["untouched", "changed"])
def test_json_gives_the_same_configuration_back(original: TrainConfig) -> None:
    assert train_config.config_from_json(json.loads(json.dumps(original.to_json()))) == original


def test_the_example_changes_every_setting() -> None:
    same = [name for name, (_, default) in FIELDS.items() if getattr(changed(), name) == default]
    assert same == ["sample", "activations", "class_weights"], (
        "which contradict the folder, CutMix and balanced sampling"
    )


def test_missing_settings_take_their_defaults_and_unknown_ones_are_named() -> None:
    assert train_config.config_from_json({"epochs": 4}) == TrainConfig(epochs=4)
    with pytest.raises(ConfigError, match="epoch_count"):
        train_config.config_from_json({"epoch_count": 4})


def test_a_file_is_a_bare_configuration_or_that_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    for stored in (changed().to_json(), {"config": changed().to_json(), "created": 1.0}):
        file.write_text(json.dumps(stored), encoding="utf-8")
        assert train_config.load_config(str(file)) == changed()


@pytest.mark.parametrize("content", [None, "", "[1]", "nonsense", b"\xff\xfe\x00"])
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "c.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"c\.json") as caught:
        train_config.load_config(str(file))
    assert caught.value.code == "config.file"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backbone", list(backbones.BACKBONES))
def test_what_is_chosen_for_you_fits(backbone: str, mode: str) -> None:
    resolved = train_config.fill_defaults(TrainConfig(backbone=backbone, mode=mode))
    chosen = mode_defaults.get_mode_defaults(backbone, mode)
    assert {name: getattr(resolved, name) for name in chosen} == chosen
    left = [
        "head_seed",
        "image_size",
        "resize",
        "crop_ratio",
        "crop_size",
        "fused",
        "image_cache_mb",
        "num_workers",
        "torch_num_threads",
    ]  # the seed's, the backbone's, none, the machine's
    assert [name for name in FIELDS if getattr(resolved, name) is None] == left
    assert train_config.fill_defaults(resolved) == resolved


def test_what_a_person_chose_stays() -> None:
    assert train_config.fill_defaults(changed()) == changed()


@pytest.mark.parametrize("original", [TrainConfig(), changed()], ids=["untouched", "changed"])
def test_the_flags_say_what_was_changed_to_the_last_bit(original: TrainConfig) -> None:
    parser = argparse.ArgumentParser()
    for name in FIELDS:
        add_setting_flag(parser, name)
    assert TrainConfig(**vars(parser.parse_args(train_config.config_to_argv(original)))) == original


def test_flags_at_their_default_are_left_out_but_backbone_and_mode_are_always_said() -> None:
    assert train_config.config_to_argv(TrainConfig()) == ["--backbone", backbones.DEFAULT_BACKBONE, "--mode", "frozen"]
    assert train_config.config_to_argv(TrainConfig(sample="shapes", learning_rate=0.01, epochs=5)) == [
        *("--sample", "shapes", "--backbone", backbones.DEFAULT_BACKBONE, "--mode", "frozen"),
        *("--epochs", "5", "--learning-rate", "0.01"),
    ]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", [n for n, (k, _) in FIELDS.items() if k.group in ("rates", "schedule", "loss", "head", "phases", "guard")]
)
def test_the_guide_to_training_has_every_setting_of_it(name: str) -> None:
    guide = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert f"`{name}`" in guide
