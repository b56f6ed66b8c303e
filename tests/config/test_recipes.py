"""The recipes: each is what was published, in figures that a program can compare."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from ftlab.cli import main
from ftlab.cli.parsing import config_flags
from ftlab.config import backbones, recipes, train_config
from ftlab.config.train_config import FIELDS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.data.sources import tutorial_datasets
from ftlab.models import freezing, network
from ftlab.models.heads import HeadSpec
from ftlab.training.optim import optimizers, phases, schedules
from ftlab.training.optim.keras_rmsprop import KerasRMSprop
from ftlab.training.optim.plateau import PlateauState

NAMES = list(recipes.RECIPES)


def settings(name: str) -> TrainConfig:
    return train_config.fill_defaults(recipes.get_recipe(name).build_config())


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_configuration_with_words_and_a_command(name: str) -> None:
    row = recipes.get_recipe(name)
    assert row.build_config().data == row.build_config().sample == ""
    assert set(row.settings) <= set(FIELDS)
    assert messages.get_text(f"recipe.{name}.title") == row.title
    assert row.lesson
    assert name in row.command
    assert not row.data or tutorial_datasets.get_dataset(row.data)


@pytest.mark.parametrize("name", [name for name in NAMES if recipes.get_recipe(name).expect])
def test_the_number_to_expect_lies_in_its_range_and_was_published(name: str) -> None:
    row = recipes.get_recipe(name)
    assert row.expect
    assert row.expect.low <= row.expect.value <= row.expect.high
    if not row.ours:
        assert row.expect.value in row.published.values()


def test_one_that_is_not_there_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match="ants-bees-frozen"):
        recipes.get_recipe("ants-bees")


@pytest.mark.parametrize("name", [name for name in NAMES if not recipes.get_recipe(name).ours])
def test_what_was_published_sees_new_crops_in_every_epoch(name: str) -> None:
    assert settings(name).features == "fresh"
    assert settings(name).warmup_fraction == 0, "no tutorial warms up"


# Hot dogs


def test_hot_dogs_are_learnt_as_the_book_has_it() -> None:
    it = settings("hotdog-finetune")
    assert (it.backbone, it.mode, it.epochs, it.batch_size) == ("resnet18", "full", 5, 128)
    assert (it.optimizer, it.momentum, it.weight_decay, it.decay_norm_and_bias) == ("sgd", 0.0, 0.001, True)
    assert (it.learning_rate, it.head_lr_multiplier, it.loss_reduction, it.schedule) == (5e-5, 10, "sum", "constant")
    assert (it.head_init, it.holdout, it.normalization) == ("xavier", "test_as_val", "weights")
    assert (it.augment, it.crop_scale, it.hflip) == ("crop", 0.08, 0.5)
    assert (it.resize, it.resize_mode, it.image_size) == (256, "squash", 224)


def test_their_other_recipes_differ_from_it_in_what_they_are_about() -> None:
    one, differences = settings("hotdog-finetune").to_json(), {}
    for name in ("hotdog-scratch", "hotdog-frozen", "hotdog-class-weight"):
        other = settings(name).to_json()
        differences[name] = {key: other[key] for key in one if other[key] != one[key]}
    assert differences == {
        "hotdog-scratch": {"mode": "scratch", "learning_rate": 5e-4, "head_lr_multiplier": 1.0, "head_init": "default"},
        "hotdog-frozen": {"mode": "frozen"},
        "hotdog-class-weight": {"head_init": "imagenet"},
    }


# Ants and bees


@pytest.mark.parametrize(
    ("name", "mode", "batchnorm"),
    [("ants-bees-finetune", "full", "trainable"), ("ants-bees-frozen", "frozen", "train")],
)
def test_ants_and_bees_are_learnt_as_the_tutorial_has_it(name: str, mode: str, batchnorm: str) -> None:
    it = settings(name)
    assert (it.mode, it.batchnorm, it.epochs, it.batch_size) == (mode, batchnorm, 25, 4)
    assert (it.optimizer, it.learning_rate, it.momentum, it.nesterov) == ("sgd", 0.001, 0.9, False)
    assert (it.weight_decay, it.head_lr_multiplier, it.head_init) == (0.0, 1.0, "default")
    assert (it.resize, it.resize_mode, it.image_size, it.augment) == (256, "short", 224, "crop")
    per_epoch = 61
    rates = [schedules.compute_lr_factor(it, epoch * per_epoch, 25 * per_epoch, per_epoch) for epoch in range(25)]
    assert rates == pytest.approx([0.1 ** (epoch // 7) for epoch in range(25)])


def test_the_cached_one_keeps_a_frozen_backbone_frozen() -> None:
    it = settings("ants-bees-frozen-cached")
    assert it.caches_features
    assert it.batchnorm == "trainable"


# Caltech-101


def test_caltechs_rate_falls_to_a_fifth_whenever_validation_is_worse_than_before_and_the_third_cut_ends_it() -> None:
    it, plateau = settings("caltech101-vgg16"), PlateauState()
    watched, shares = [0.5, 0.6, 0.55, 0.58, 0.57, 0.6, 0.59], []
    for accuracy in watched:
        over = plateau.record_validation(it, accuracy, None)
        shares.append(plateau.share)
    assert shares == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04, 0.008])
    assert over


def test_caltechs_head_and_pictures() -> None:
    it = settings("caltech101-vgg16")
    assert (it.val_share, it.test_share, it.normalization) == (0.25, 0.25, "estimated")
    assert (it.crop_scale, it.crop_size, it.rotate, it.image_size, it.hflip) == (0.8, 256, 15.0, 224, 0.5)
    assert (it.optimizer, it.learning_rate, it.epochs) == ("adam", 0.01, 30)
    spec = backbones.get_backbone_spec("vgg16")
    with torch.device("meta"):
        head = network.build_network(spec, 101, pretrained=False, head_spec=HeadSpec.from_config(it)).head
    assert [tuple(p.shape) for p in head.parameters()] == [(256, 4096), (256,), (101, 256), (101,)]
    assert [type(part).__name__ for part in head.children()] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert head.dropout.p == 0.4  # type: ignore[union-attr]


# Cats and dogs


def test_cats_and_dogs_open_the_layers_from_kerass_hundredth_on_56_tensors_in_all() -> None:
    it = settings("cats-dogs-two-phase")
    net = network.build_network(
        backbones.get_backbone_spec(it.backbone), 2, pretrained=False, head_spec=HeadSpec.from_config(it)
    )
    learning = {}
    for epoch in (1, 10, 11, 20):
        freezing.freeze_for_epoch(net, it, epoch)
        learning[epoch] = sum(p.requires_grad for p in net.parameters())
    assert learning == {1: 2, 10: 2, 11: 56, 20: 56}


def test_cats_and_dogs_have_two_optimizers_and_a_backbone_whose_statistics_stay() -> None:
    it = settings("cats-dogs-two-phase")
    net = network.build_network(
        backbones.get_backbone_spec(it.backbone), 2, pretrained=False, head_spec=HeadSpec.from_config(it)
    )
    first, second = (phases.get_phase(it, number) for number in (1, 2))
    assert [(one.first_epoch, one.last_epoch) for one in (first, second)] == [(1, 10), (11, 20)]
    made = [
        optimizers.build_optimizer(network.build_param_groups(net, one), one)
        for one in (phases.get_phase_config(it, p) for p in (first, second))
    ]
    assert [isinstance(one, kind) for one, kind in zip(made, (torch.optim.Adam, KerasRMSprop), strict=True)] == [
        True,
        True,
    ]
    assert [one.param_groups[0]["lr"] for one in made] == [1e-4, 1e-5]
    freezing.freeze_for_epoch(net, it, 11)
    freezing.set_train_flags(net, it.batchnorm)
    assert not any(part.training for part in net.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert math.isclose(it.rotate / 360, 0.2)
    assert (it.image_size, it.resize_mode, it.rotate_border) == (160, "squash", "reflect")
    assert (it.head_kind, it.dropout) == ("logit", 0.2)
    assert (it.holdout, it.test_share) == ("test_from_val", 0.2)


# On the command line


def given(*words_: str) -> TrainConfig:
    return config_flags.build_config(main.build_parser().parse_args(["train", *words_]))


def test_a_recipe_gives_what_no_flag_says() -> None:
    it = given("--recipe", "ants-bees-frozen", "--sample", "shapes", "--epochs", "2")
    assert (it.epochs, it.batch_size, it.optimizer, it.sample) == (2, 4, "sgd", "shapes")


def test_its_tutorials_pictures_are_taken_where_they_were_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="ftlab fetch hymenoptera"):
        given("--recipe", "ants-bees-frozen")
    monkeypatch.setattr(tutorial_datasets, "find_image_folder", tutorial_datasets.get_unpack_folder)
    assert given("--recipe", "ants-bees-frozen").data == str(
        tutorial_datasets.get_unpack_folder(tutorial_datasets.get_dataset("hymenoptera"))
    )
    assert given("--recipe", "ants-bees-frozen", "--data", str(tmp_path)).data == str(tmp_path)


def test_a_recipe_and_a_file_of_settings_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        given("--recipe", "quick", "--config", str(tmp_path / "config.json"))


def test_they_are_listed_and_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == NAMES
    assert main.main(["recipes", "ants-bees-frozen"]) == 0
    told = capsys.readouterr().out
    assert "--batchnorm" in told
    assert "validation 0.954" in told
    assert main.main(["recipes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"]: row["settings"] for row in rows} == {
        name: dict(recipes.get_recipe(name).settings) for name in NAMES
    }
    assert main.main(["recipes", "soup"]) == 2
