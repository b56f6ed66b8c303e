"""Training pictures varied in batches: the pixels are those of the threads, and no device is waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ftlab.config.train_config import AUGMENTATION_FIELDS, FIELDS, TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.data.gpu import gpu_augment
from ftlab.data.gpu.gpu_augment import AugmentParams
from ftlab.data.gpu.gpu_resize import ResizePlan
from ftlab.data.images.decode import ImageArray
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.augment_draw import draw_augmentation
from ftlab.data.transforms.preprocess import Preprocessing

PREP = Preprocessing(72, 64, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
STRONG: dict[str, Any] = {name: FIELDS[name][0].high for name in AUGMENTATION_FIELDS}
USUAL: dict[str, Any] = {
    **{"hflip": 0.5, "rotate": 15.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    **{"hue": 0.1, "grayscale": 0.2, "blur": 2.0, "random_erasing": 0.25},
}
COUNT = 24


def noise(number: int) -> ImageArray:
    """Neighbours have nothing in common: whatever is off by a part of a pixel is off by many levels."""
    return np.random.default_rng(number).integers(0, 256, (90 + number, 100, 3), np.uint8)


def photo(number: int) -> ImageArray:
    """Smooth, as photographs are."""
    small = np.random.default_rng(number).integers(0, 256, (9, 10, 3), np.uint8)
    return preprocess.resize_to_size(small, (90 + number, 100), "bicubic").permute(1, 2, 0).numpy()


PICTURES = pytest.mark.parametrize("picture", [noise, photo])


def both(
    picture: Callable[[int], ImageArray], prep: Preprocessing = PREP, count: int = COUNT, **settings: Any
) -> tuple[Tensor, Tensor]:
    """A batch as the threads vary it, and as the device does; nothing but the settings given varies it."""
    config = TrainConfig(**{"augment": "crop", "hflip": 0.0, **settings})
    pixels = [picture(index) for index in range(count)]
    alone = [
        augment.augment_image(one, prep, config, augment.make_epoch_rng(5, 1, index))
        for index, one in enumerate(pixels)
    ]
    return torch.stack(alone), seen(pixels, range(count), prep, config)


def looks(
    pixels: Sequence[ImageArray], indices: Sequence[int], prep: Preprocessing, config: TrainConfig
) -> list[AugmentParams]:
    """Those of an epoch."""
    return [
        gpu_augment.draw_train_params(size(one), prep, config, augment.make_epoch_rng(5, 1, index))
        for one, index in zip(pixels, indices, strict=True)
    ]


def size(pixels: ImageArray) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def flat(pixels: Sequence[ImageArray]) -> Tensor:
    return torch.cat([torch.empty(0, dtype=torch.uint8), *(torch.from_numpy(one).flatten() for one in pixels)])


def seen(pixels: Sequence[ImageArray], indices: Sequence[int], prep: Preprocessing, config: TrainConfig) -> Tensor:
    """Pictures of an epoch, known by their indices, as a batch."""
    return laid(pixels, looks(pixels, indices, prep, config), prep, config)


def laid(
    pixels: Sequence[ImageArray],
    drawn: Sequence[AugmentParams],
    prep: Preprocessing,
    config: TrainConfig,
    device: str = "cpu",
) -> Tensor:
    """What is seen of pictures."""
    told = gpu_augment.plan_batch_resize([size(one) for one in pixels], drawn, prep)
    there = ResizePlan(told.crop_sizes, *(table.to(device) for table in told.tables))
    return gpu_augment.resize_and_augment(flat(pixels).to(device), there, drawn, prep, config)


def apart(one: Tensor, other: Tensor) -> tuple[int, float]:
    """The largest difference of two batches in levels of 255, and the mean one."""
    assert one.dtype == other.dtype == torch.uint8
    assert one.shape == other.shape
    difference = (one.int() - other.int()).abs()
    return int(difference.max()), float(difference.float().mean())


# The same pixels


@PICTURES
@pytest.mark.parametrize("kind", ["none", "flip", "crop"])
def test_crops_and_mirrors_are_the_threads_to_the_bit(picture: Any, kind: str) -> None:
    alone, made = both(picture, augment=kind, hflip=0.5, vflip=0.0 if kind == "none" else 0.5)
    assert torch.equal(alone, made)
    assert made.is_contiguous()


@PICTURES
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("name", ["grayscale", "random_erasing"])
def test_grey_and_erased_pictures_are_the_threads_to_the_bit(picture: Any, name: str, strength: float) -> None:
    settings: dict[str, Any] = {name: strength}
    alone, made = both(picture, **settings)
    assert torch.equal(alone, made)
    assert not torch.equal(made, both(picture)[1])


@PICTURES
@pytest.mark.parametrize("name", ["rotate", "brightness", "contrast", "saturation", "hue", "blur"])
def test_each_other_effect_is_the_threads_but_for_rounding(picture: Any, name: str) -> None:
    """By at most a level of 255, of a pixel in a thousand."""
    settings: dict[str, Any] = {name: STRONG[name]}
    alone, made = both(picture, **settings)
    most, mean = apart(alone, made)
    assert most <= 1
    assert mean < 1e-3
    assert apart(made, both(picture)[1])[1] > 1, "it does something"


@PICTURES
@pytest.mark.parametrize("settings", [USUAL, STRONG], ids=["usual", "strong"])
def test_all_of_them_together_differ_by_little(picture: Any, settings: dict[str, Any]) -> None:
    most, mean = apart(*both(picture, **settings))
    assert most <= 8
    assert mean < 2e-3


@PICTURES
@pytest.mark.parametrize("border", ["black", "reflect"])
@pytest.mark.parametrize(
    "settings",
    [{"crop_size": 80}, {"crop_size": 81}, {"augment": "flip", "resize_mode": "squash"}],
    ids=str,
)
def test_rotations_of_larger_crops_and_of_resized_pictures_agree(
    picture: Any, border: str, settings: dict[str, Any]
) -> None:
    prep = Preprocessing(72, 64, "bilinear", PREP.mean, PREP.std, settings.get("resize_mode", "short"))
    alone, made = both(picture, prep, rotate=180.0, rotate_border=border, **settings)
    most, mean = apart(alone, made)
    assert most <= 1
    assert mean < 1e-3


def test_resized_pictures_of_several_sizes_are_not_turned_in_batches() -> None:
    config = TrainConfig(augment="flip", rotate=9.0)
    squashed = Preprocessing(72, 64, "bilinear", PREP.mean, PREP.std, "squash")
    assert not gpu_augment.can_augment_batches(PREP, config)
    assert gpu_augment.can_augment_batches(squashed, config)
    assert gpu_augment.can_augment_batches(PREP, TrainConfig(augment="flip"))
    assert gpu_augment.can_augment_batches(PREP, TrainConfig(augment="crop", rotate=9.0))


def test_each_picture_has_its_own_order_of_tints() -> None:
    """Contrast before brightness clips other pixels than brightness before contrast."""
    settings: dict[str, Any] = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    config = TrainConfig(augment="crop", hflip=0.0, **settings)
    drawn = [draw_augmentation(size(noise(i)), PREP, config, augment.make_epoch_rng(5, 1, i)) for i in range(COUNT)]
    assert len({tuple(name for name, _ in one.color_jitter) for one in drawn}) == 6
    most, mean = apart(*both(noise, **settings))
    assert most <= 2
    assert mean < 1e-3


def test_a_picture_does_not_depend_on_its_batch() -> None:
    """But for rounding: the sum of a blur takes as many pixels as the widest of a batch."""
    config = TrainConfig(augment="crop", **USUAL)
    whole = both(noise, **USUAL)[1]
    for which in (range(1, COUNT, 2), range(0, COUNT, 2)):
        part = seen([noise(index) for index in which], which, PREP, config)
        assert apart(part, whole[list(which)])[0] <= 1


def test_a_large_batch_is_varied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = both(noise, **USUAL)[1]
    monkeypatch.setattr(gpu_augment, "MAX_CHUNK_IMAGES", 7)
    assert apart(both(noise, **USUAL)[1], whole)[0] <= 1


def test_what_it_is_given_stays_as_it_is() -> None:
    config, pixels = TrainConfig(augment="crop", **STRONG), [noise(0), noise(1)]
    given, drawn = flat(pixels), looks(pixels, [7, 8], PREP, config)
    told = gpu_augment.plan_batch_resize([size(one) for one in pixels], drawn, PREP)
    before = [one.clone() for one in (given, *told.tables)]
    gpu_augment.resize_and_augment(given, told, drawn, PREP, config)
    assert all(map(torch.equal, before, (given, *told.tables)))


def test_none_of_a_batch_could_be_read() -> None:
    config = TrainConfig(augment="crop", **STRONG)
    assert laid([], [], PREP, config).shape == (0, 3, 64, 64)


@PICTURES
@pytest.mark.parametrize("settings", [{"augment": "flip"}, {"augment": "crop"}, {"augment": "crop", **USUAL}], ids=str)
def test_views_of_a_picture_are_the_threads(picture: Any, settings: dict[str, Any]) -> None:
    """That of the evaluation and the mirror image to the bit."""
    config, pixels = TrainConfig(seed=3, **settings), [picture(index) for index in range(6)]
    for number in range(4):
        own = [gpu_augment.make_view_params(size(one), PREP, config, number, index) for index, one in enumerate(pixels)]
        made = laid(pixels, own, PREP, config)
        alone = torch.stack([augment.make_view(one, PREP, config, number, index) for index, one in enumerate(pixels)])
        assert apart(alone, made)[0] <= (8 if number and "hue" in settings else 0)


# On a device


class Kernels(TorchDispatchMode):
    """Counts what is asked of the meta device. It has shapes and no values, so that whatever would wait for a value
    of it is refused."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: Counter[str] = Counter()

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = kernel(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.device.type == "meta" and not kernel.is_view:
            self.asked[str(kernel)] += 1
        return made


def kernels(count: int, **settings: Any) -> Counter[str]:
    """What a batch of so many pictures asks of a device."""
    config = TrainConfig(**{"augment": "crop", "hflip": 0.0, **settings})
    pixels = [noise(0)] * count
    drawn = looks(pixels, range(count), PREP, config)
    with Kernels() as device:
        made = laid(pixels, drawn, PREP, config, "meta")
    assert (made.shape, made.dtype, made.device.type) == ((count, 3, 64, 64), torch.uint8, "meta")
    asked: Counter[str] = device.asked
    return asked


def test_nothing_waits_for_the_device_and_no_kernel_is_a_pictures_own() -> None:
    """Sixty pictures, in which each tint is somebody's first, second, third and fourth, ask no more than thirty."""
    few, many = kernels(30, **STRONG), kernels(60, **STRONG)
    assert few == many
    assert many.total() < 400


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, set()),
        ({"hflip": 1.0}, {"aten.flip.default"}),
        ({"rotate": 9.0}, {"aten.grid_sampler_2d.default"}),
        ({"grayscale": 1.0}, {"aten.add_.Tensor"}),
        ({"blur": 2.0}, {"aten.convolution.default", "aten.reflection_pad2d.default"}),
        ({"random_erasing": 0.5}, {"aten.where.self"}),
        ({"contrast": 0.5}, {"aten.addcmul_.default", "aten.mean.dim", "aten.add_.Tensor"}),
        ({"brightness": 0.5}, set()),
        ({"hue": 0.5}, {"aten.remainder_.Scalar", "aten.where.self"}),
    ],
    # Not the sets: their order is another in each process, and processes that share the tests must agree.
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_an_effect_that_is_off_asks_nothing(settings: dict[str, Any], expected: set[str]) -> None:
    telling = {
        *("aten.flip.default", "aten.grid_sampler_2d.default", "aten.add_.Tensor", "aten.convolution.default"),
        *("aten.reflection_pad2d.default", "aten.where.self", "aten.addcmul_.default", "aten.mean.dim"),
        "aten.remainder_.Scalar",
    }
    asked = kernels(16, **settings) - kernels(16)  # which are those that scale
    assert set(asked) & telling == expected
    assert bool(asked) == bool(settings)


@pytest.mark.parametrize(
    ("chosen", "device", "place"),
    [
        ("auto", "cuda", "gpu"),
        ("auto", "cpu", "cpu"),
        ("auto", "mps", "cpu"),
        ("gpu", "cpu", "gpu"),
        ("cpu", "cuda", "cpu"),
    ],
)
def test_pictures_are_varied_where_it_was_chosen_else_on_a_card(chosen: str, device: str, place: str) -> None:
    assert gpu_augment.augment_device(TrainConfig(mode="full", augment_device=chosen), torch.device(device)) == place


def test_pictures_that_are_looked_at_once_are_varied_on_the_processor() -> None:
    assert gpu_augment.augment_device(TrainConfig(mode="frozen"), torch.device("cuda")) == "cpu"
    upper = TrainConfig(mode="full", unfreeze_from="auto", activations="cached")
    assert gpu_augment.augment_device(upper, torch.device("cuda")) == "cpu"
    assert gpu_augment.augment_device(replace(upper, unfreeze_all_epoch=2), torch.device("cuda")) == "gpu"
    with pytest.raises(ConfigError, match="--augment-device"):
        TrainConfig(mode="frozen", augment_device="gpu")
