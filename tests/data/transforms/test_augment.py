"""Training pictures varied: each strength does to the pixels what it says, and what is drawn can be drawn again."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from ftlab.config.train_config import AUGMENTATION_FIELDS, FIELDS, TrainConfig
from ftlab.data.transforms import augment, augment_draw, preprocess
from ftlab.data.transforms.preprocess import Preprocessing

SMALL = Preprocessing(40, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WHOLE = Preprocessing(48, 48, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
STRONG: dict[str, Any] = {name: FIELDS[name][0].high for name in AUGMENTATION_FIELDS}
ALL = {**STRONG, "augment": "crop", "crop_size": 40, "rotate_border": "reflect"}


def noise(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


def photo(side: int = 48) -> npt.NDArray[np.uint8]:
    """Smooth colours, between dark and light: nothing is clipped."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    return (60 + 90 * np.stack([x, y, (1 - x) * y], axis=-1)).astype(np.uint8)


def varied(
    pixels: npt.NDArray[np.uint8], epochs: int = 40, prep: Preprocessing = WHOLE, **settings: Any
) -> list[Tensor]:
    """A picture in several epochs; nothing but the settings given varies it."""
    config = TrainConfig(**{"augment": "flip", "hflip": 0.0, **settings})
    return [augment.augment_for_epoch(pixels, prep, config, epoch, 0) for epoch in range(1, epochs + 1)]


def alone(setting: str, value: float) -> dict[str, Any]:
    """A setting by its name."""
    return {setting: value}


def plain(pixels: npt.NDArray[np.uint8], prep: Preprocessing = WHOLE) -> Tensor:
    return preprocess.resize_and_center_crop(pixels, prep)


# Presets


def test_randomness_is_a_function_of_seed_epoch_and_index() -> None:
    assert augment.make_epoch_rng(1, 2, 3).random() == augment.make_epoch_rng(1, 2, 3).random()
    drawn = {
        augment.make_epoch_rng(*three).random() for three in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 23, 3)]
    }
    assert len(drawn) == 5


@pytest.mark.parametrize("settings", [{"augment": "none"}, {"augment": "flip"}, {"augment": "crop"}, ALL], ids=str)
def test_the_same_draw_gives_the_same_picture(settings: dict[str, Any]) -> None:
    pixels = noise(61, 47)
    before = pixels.copy()
    config = TrainConfig(seed=3, **settings)
    once, again = (augment.augment_for_epoch(pixels, SMALL, config, 1, 4) for _ in range(2))
    assert torch.equal(once, again)
    assert (once.dtype, once.shape) == (torch.uint8, (3, 32, 32))
    assert once.is_contiguous()
    assert np.array_equal(pixels, before)


def test_the_process_own_randomness_is_left_alone_and_plays_no_part() -> None:
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        random.seed(seed)
        before = torch.get_rng_state()
        made.append(augment.augment_for_epoch(noise(61, 47), SMALL, TrainConfig(**ALL), 1, 0))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*made)


@pytest.mark.parametrize("size", [(61, 47), (47, 61), (300, 200), (900, 10)])
def test_untouched_crop_is_a_resized_part_and_mirrored_by_the_next_draw(size: tuple[int, int]) -> None:
    """What a run of an earlier version drew, this one draws again to the bit."""
    pixels, (width, height) = noise(*size), size
    for epoch in range(1, 30):
        rng = random.Random(f"0/{epoch}/7")
        for _ in range(10):
            area, ratio = (
                width * height * rng.uniform(0.35, 1.0),
                math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3))),
            )
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if wide <= width and tall <= height:
                top, left = rng.randint(0, height - tall), rng.randint(0, width - wide)
                break
        else:
            wide = tall = min(size)
            top, left = (height - tall) // 2, (width - wide) // 2
        part = torch.from_numpy(pixels[top : top + tall, left : left + wide]).permute(2, 0, 1)
        expected = functional.resize(part, [32, 32], antialias=True)
        expected = expected.flip(-1) if rng.random() < 0.5 else expected
        assert torch.equal(augment.augment_for_epoch(pixels, SMALL, TrainConfig(augment="crop"), epoch, 7), expected)


def test_none_is_the_evaluation_crop_and_flip_mirrors_half_of_them() -> None:
    pixels = noise(61, 47)
    assert all(torch.equal(one, plain(pixels, SMALL)) for one in varied(pixels, 5, SMALL, augment="none", hflip=0.5))
    drawn = varied(pixels, 200, SMALL, hflip=0.5)
    mirrored = sum(torch.equal(one, plain(pixels, SMALL).flip(-1)) for one in drawn)
    assert 70 < mirrored < 130
    assert all(
        torch.equal(one, plain(pixels, SMALL)) for one in drawn if not torch.equal(one, plain(pixels, SMALL).flip(-1))
    )


# Strengths


@pytest.mark.parametrize(("setting", "axis"), [("hflip", -1), ("vflip", -2)])
def test_mirroring_happens_as_often_as_it_says(setting: str, axis: int) -> None:
    pixels = noise(48, 48)
    turned = [torch.equal(one, plain(pixels).flip(axis)) for one in varied(pixels, 300, **alone(setting, 0.2))]
    assert 30 < sum(turned) < 95
    assert all(torch.equal(one, plain(pixels).flip(axis)) for one in varied(pixels, 20, **alone(setting, 1.0)))
    assert all(torch.equal(one, plain(pixels)) for one in varied(pixels, 20, **alone(setting, 0.0)))


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (90, 90)])
@pytest.mark.parametrize(("least", "ratio"), [(0.35, 4 / 3), (0.8, 4 / 3), (0.08, 2.0), (1.0, 1.0)])
def test_a_random_crop_keeps_a_share_of_the_picture_and_its_proportions(
    size: tuple[int, int], least: float, ratio: float
) -> None:
    width, height = size
    drawn = [augment_draw.random_box(width, height, (least, 1.0), ratio, random.Random(seed)) for seed in range(300)]
    boxes = [box for box in drawn if box]
    for top, left, tall, wide in boxes:
        assert 0 <= top <= top + tall <= height
        assert 0 <= left <= left + wide <= width
        assert least - 0.02 <= tall * wide / (width * height) <= 1.0
        assert 1 / ratio - 0.06 < wide / tall < ratio + 0.06  # sides are whole pixels
    if least < 0.8:
        assert len(set(boxes)) > 250
        assert min(tall * wide for _, _, tall, wide in boxes) < (least + 0.05) * width * height


def test_a_random_crop_is_of_the_share_and_the_proportions_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[float, float], float]] = []

    def box(width: int, height: int, scale: tuple[float, float], ratio: float, _rng: random.Random) -> tuple[int, ...]:
        asked.append((scale, ratio))
        return 0, 0, height, width

    monkeypatch.setattr(augment_draw, "random_box", box)
    varied(noise(61, 47), 1, augment="crop", crop_scale=0.08, crop_ratio=2.0)
    varied(noise(61, 47), 1, augment="crop")
    assert asked == [((0.08, 1.0), 2.0), ((0.35, 1.0), 4 / 3)]


def test_a_strip_that_no_crop_fits_gives_its_middle() -> None:
    pixels = noise(900, 10)
    assert augment_draw.random_box(900, 10, (0.35, 1.0), 4 / 3, random.Random(0)) is None
    middle = preprocess.resize_to_size(pixels[:, 445:455], (48, 48), "bilinear")
    assert all(torch.equal(one, middle) for one in varied(pixels, 3, augment="crop"))


def test_a_crop_larger_than_the_side_shows_its_middle() -> None:
    pixels = noise(200, 150)
    large = varied(pixels, 5, augment="crop", crop_size=64)
    whole = varied(pixels, 5, Preprocessing(64, 64, "bilinear", WHOLE.mean, WHOLE.std), augment="crop")
    for seen, crop in zip(large, whole, strict=True):
        assert torch.equal(seen, crop[:, 8:56, 8:56])


def angle_of(picture: Tensor) -> float:
    """Degrees by which a picture, black on its left and white on its right, is turned: where brightness rises to."""
    inner = picture[0].float()
    rows, columns = torch.meshgrid(*[torch.arange(48.0) - 23.5] * 2, indexing="ij")
    near = (rows**2 + columns**2 < 20**2).float()
    return math.degrees(math.atan2(-float((inner * rows * near).sum()), float((inner * columns * near).sum())))


def test_a_rotation_turns_about_the_middle_by_at_most_its_angle_to_either_side() -> None:
    halves = np.zeros((48, 48, 3), np.uint8)
    halves[:, 24:] = 255
    angles = [angle_of(one) for one in varied(halves, 60, rotate=30.0)]
    assert all(-31 < angle < 31 for angle in angles)
    assert min(angles) < -20
    assert max(angles) > 20
    for given, picture in zip(angles, varied(halves, 60, rotate=30.0), strict=True):
        turned = functional.rotate(plain(halves), given, functional.InterpolationMode.BILINEAR)
        inside = (slice(None), slice(12, 36), slice(12, 36))
        assert (turned[inside].float() - picture[inside].float()).abs().mean() < 6


def test_a_rotation_fills_the_corners_with_black_or_with_the_reflected_picture() -> None:
    white = np.full((48, 48, 3), 255, np.uint8)
    black = varied(white, 20, rotate=45.0)
    assert min(int(one[:, 0, 0].max()) for one in black) == 0
    assert all(int(one[:, 24, 24].min()) == 255 for one in black)
    assert all((one == 255).all() for one in varied(white, 20, rotate=45.0, rotate_border="reflect"))


def test_what_a_rotation_opens_is_cut_off_where_there_is_more_than_is_seen() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)
    wide = Preprocessing(64, 44, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # its corner lies 31 from the middle
    assert all((one == 255).all() for one in varied(white, 20, wide, rotate=180.0))
    assert all((one == 255).all() for one in varied(white, 20, WHOLE, augment="crop", crop_size=72, rotate=180.0))


@pytest.mark.parametrize("prep", [SMALL, WHOLE])
@pytest.mark.parametrize("size", [(61, 47), (48, 48), (47, 80)])
def test_a_rotation_by_next_to_nothing_moves_nothing(size: tuple[int, int], prep: Preprocessing) -> None:
    pixels = noise(*size)
    assert all(torch.equal(one, plain(pixels, prep)) for one in varied(pixels, 5, prep, rotate=1e-6))


def test_brightness_multiplies_by_at_most_its_share() -> None:
    factors = [float(one.float().mean() / plain(photo()).float().mean()) for one in varied(photo(), 80, brightness=0.3)]
    assert all(0.69 < factor < 1.31 for factor in factors)
    assert min(factors) < 0.76
    assert max(factors) > 1.24


def test_contrast_stretches_about_the_mean_grey() -> None:
    spread = [float(one.float().std() / plain(photo()).float().std()) for one in varied(photo(), 80, contrast=0.3)]
    means = [float(functional.rgb_to_grayscale(one).float().mean()) for one in varied(photo(), 80, contrast=0.3)]
    assert 0.68 < min(spread) < 0.77
    assert 1.23 < max(spread) < 1.32
    assert means == pytest.approx([float(functional.rgb_to_grayscale(plain(photo())).float().mean())] * 80, abs=1.5)


def colourfulness(picture: Tensor) -> float:
    return float((picture.float() - picture.float().mean(0)).abs().mean())


def test_saturation_moves_colours_towards_grey_and_away() -> None:
    factors = [colourfulness(one) / colourfulness(plain(photo())) for one in varied(photo(), 80, saturation=0.5)]
    assert 0.48 < min(factors) < 0.6
    assert 1.4 < max(factors) < 1.52


def test_hue_turns_colours_and_leaves_grey_and_light_alone() -> None:
    red = np.full((48, 48, 3), (200, 50, 50), np.uint8)
    drawn = {tuple(one[:, 0, 0].tolist()) for one in varied(red, 80, hue=0.1)}
    assert len(drawn) > 20
    assert all(abs(max(colour) - 200) <= 1 and abs(min(colour) - 50) <= 1 for colour in drawn)
    assert all(colour[0] == max(colour) for colour in drawn)  # a tenth of the circle: from magenta-red to orange
    assert max(colour[1] for colour in drawn) > 110
    assert max(colour[2] for colour in drawn) > 110
    grey = np.full((48, 48, 3), 90, np.uint8)
    assert all(torch.equal(one, plain(grey)) for one in varied(grey, 5, hue=0.5))


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation", "hue"])
def test_colours_are_torchvisions_to_the_bit(setting: str) -> None:
    """Each of its operations, with some strength within the bounds."""
    adjust = getattr(functional, f"adjust_{setting}")
    rng = random.Random("0/1/0")
    rng.random(), rng.random(), rng.uniform(-1, 1)  # mirror, upside down, angle
    names = rng.sample(("brightness", "contrast", "saturation", "hue"), 4)
    amount = {name: rng.uniform(-1, 1) for name in names}[setting] * 0.2
    expected = adjust(plain(photo()), amount if setting == "hue" else 1 + amount)
    assert torch.equal(varied(photo(), 1, **alone(setting, 0.2))[0], expected)


def test_a_picture_is_made_grey_as_often_as_it_says() -> None:
    def grey(picture: Tensor) -> bool:
        return bool((picture == picture[:1]).all())

    assert 30 < sum(map(grey, varied(photo(), 300, grayscale=0.2))) < 95
    assert all(map(grey, varied(photo(), 10, grayscale=1.0)))


def test_a_blur_smooths_up_to_its_width() -> None:
    def rough(picture: Tensor) -> float:
        return float((picture[..., 1:].float() - picture[..., :-1].float()).abs().mean())

    pixels = noise(48, 48)
    left = [rough(one) / rough(plain(pixels)) for one in varied(pixels, 40, blur=2.0)]
    assert max(left) > 0.9
    assert min(left) < 0.1
    strongest = functional.gaussian_blur(plain(pixels), [13, 13], [2.0, 2.0])
    assert min(left) >= rough(strongest) / rough(plain(pixels)) - 1e-6
    assert all(abs(float(one.float().mean() - plain(pixels).float().mean())) < 4 for one in varied(pixels, 5, blur=2.0))


def test_erasing_covers_a_rectangle_with_noise_and_nothing_else() -> None:
    grey = np.full((48, 48, 3), 128, np.uint8)
    shares = []
    for one in varied(grey, 60, random_erasing=1.0):
        changed = (one != 128).any(0)
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        box = one[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert changed.sum() > 0.98 * box[0].numel()  # noise may hit 128 three times
        assert box.float().std() > 50
        shares.append(box[0].numel() / 48**2)
    assert 0.015 < min(shares) < 0.1
    assert 0.25 < max(shares) < 0.36
    erased = sum(bool((one != 128).any()) for one in varied(grey, 300, random_erasing=0.2))
    assert 30 < erased < 95


def test_another_strength_of_one_effect_leaves_the_others_as_they_were() -> None:
    pixels = noise(61, 47)
    cropped = varied(pixels, 20, SMALL, augment="crop", hflip=0.5)
    grey = varied(pixels, 20, SMALL, augment="crop", hflip=0.5, grayscale=1.0)
    assert all(torch.equal(functional.rgb_to_grayscale(a, 3), b) for a, b in zip(cropped, grey, strict=True))
    white = np.full((48, 48, 3), 255, np.uint8)
    erased = varied(white, 20, random_erasing=0.5)
    blurred = varied(white, 20, random_erasing=0.5, blur=2.0, hflip=0.5, rotate=10.0, rotate_border="reflect")
    assert all(map(torch.equal, erased, blurred))


@pytest.mark.parametrize("name", AUGMENTATION_FIELDS)
def test_each_effect_changes_pictures_once_it_is_above_zero(name: str) -> None:
    pixels = noise(61, 47)
    changed = varied(pixels, 10, SMALL, **{name: STRONG[name]})
    assert any(not torch.equal(one, plain(pixels, SMALL)) for one in changed)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (7, 640)])
@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_no_picture_is_too_odd_for_all_of_it(size: tuple[int, int], kind: str) -> None:
    for one in varied(noise(*size), 5, SMALL, **{**ALL, "augment": kind}):
        assert (one.dtype, one.shape) == (torch.uint8, (3, 32, 32))


# Views for cached features


def views(pixels: npt.NDArray[np.uint8], count: int, **settings: Any) -> list[Tensor]:
    config = TrainConfig(**{"augment": "flip", **settings})
    return [augment.make_view(pixels, SMALL, config, number, 3) for number in range(count)]


def test_views_are_the_evaluation_crop_its_mirror_and_random_crops() -> None:
    pixels = noise(61, 47)
    made = views(pixels, 5)
    assert torch.equal(made[0], plain(pixels, SMALL))
    assert torch.equal(made[1], plain(pixels, SMALL).flip(-1))
    assert len({view.numpy().tobytes() for view in made}) == 5
    crop = augment.augment_image(pixels, SMALL, TrainConfig(augment="crop"), random.Random("0/view 2/3"))
    assert torch.equal(made[2], crop)


@pytest.mark.parametrize(
    "settings", [{"rotate": 20.0}, {"augment": "crop"}, {"augment": "crop", "random_erasing": 1.0}], ids=str
)
def test_views_but_the_first_are_varied_as_training_pictures_are(settings: dict[str, Any]) -> None:
    pixels = noise(61, 47)
    made = views(pixels, 4, **settings)
    assert torch.equal(made[0], plain(pixels, SMALL))
    for number in (1, 2, 3):
        rng = random.Random(f"0/view {number}/3")
        expected = augment.augment_image(pixels, SMALL, TrainConfig(**{"augment": "flip", **settings}), rng)
        assert torch.equal(made[number], expected)
