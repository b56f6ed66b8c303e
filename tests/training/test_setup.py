"""What the settings of pixels come to in a training; and whoever uses its model prepares pictures in the same way."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ftlab.cli import main
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.data import channel_stats, preview
from ftlab.data.channel_stats import ChannelStats
from ftlab.data.dataset import catalog, scan
from ftlab.data.images import decode
from ftlab.data.transforms import augment, preprocess
from ftlab.evaluation import datasets, evaluate
from ftlab.inference import load_model, predictor
from ftlab.models import heads
from ftlab.models.network import Network
from ftlab.reporting import figure_files
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage, Progress
from ftlab.server.profile import ServerProfile
from ftlab.training.loop import train
from ftlab.ui.dataset import gallery_view
from ftlab.ui.inspect.actions import InspectActions
from ftlab.ui.predict.actions import PredictActions
from ftlab.ui.predict.gallery_actions import GalleryActions
from tests.support.deep_files import make_png, ramp, write_deep_folder
from tests.support.short_trainings import go

BACKBONE = "mobilenet_v2"
FRESH: dict[str, Any] = {"mode": "frozen", "features": "fresh"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = backbones.get_backbone_spec(BACKBONE)
    monkeypatch.setitem(backbones.BACKBONES, BACKBONE, dataclasses.replace(spec, side=64, resize=72))


@pytest.fixture
def begin(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    few = {"epochs": 1, "batch_size": 4, "data": str(tiny_folder), "backbone": BACKBONE, "torch_num_threads": 1}

    def new(**settings: Any) -> Run:
        return run_store.create_run(tmp_path / "runs", TrainConfig(**{**few, **settings}))

    return new


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The batches that went through a network, in order."""
    batches: list[Tensor] = []
    forward = Network.forward

    def watched(net: Network, pictures: Tensor) -> Any:
        batches.append(pictures.clone())
        return forward(net, pictures)

    monkeypatch.setattr(Network, "forward", watched)
    return batches


def said(events: list[Event]) -> list[LogMessage]:
    return [event for event in events if isinstance(event, LogMessage) and event.code == "statistics"]


def test_untouched_a_model_is_prepared_as_its_backbones_weights_were(begin: Callable[..., Run]) -> None:
    run = begin(mode="frozen")
    go(run)
    prep = preprocess.from_spec(backbones.get_backbone_spec(BACKBONE))
    assert preprocess.from_json(run.read_json("model.json")["preprocessing"]) == prep
    assert preprocess.from_json(run.read_json("config.json")["preprocessing"]) == prep


def test_another_side_and_way_of_resizing_reach_network_model_and_prediction(
    begin: Callable[..., Run], seen: list[Tensor]
) -> None:
    run = begin(**FRESH, image_size=48, resize=56, resize_mode="squash", normalization="unit", augment="none")
    go(run)
    shapes = {tuple(batch.shape[1:]) for batch in seen}
    assert shapes == {(3, 48, 48)}
    spec = backbones.get_backbone_spec(BACKBONE)
    prep = dataclasses.replace(
        preprocess.from_spec(spec), side=48, resize=56, resize_mode="squash", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    assert preprocess.from_json(run.read_json("model.json")["preprocessing"]) == prep
    found = catalog.catalog_from_json(run.read_json("split.json"))
    first = found.image_path(found.splits["val"][0])
    expected = preprocess.normalize_batch(preprocess.resize_and_center_crop(decode.read_image(first), prep)[None], prep)
    validated = next(batch for batch in seen if batch.any())  # what is tried before the start is black
    assert torch.equal(validated[:1], expected)
    seen.clear()
    load_model.load_predictor(run).predict(first)
    assert torch.equal(seen[0], expected)


def test_a_prediction_sees_deep_pictures_at_the_range_of_the_training(
    begin: Callable[..., Run], seen: list[Tensor], tmp_path: Path
) -> None:
    """A dark picture stays dark, though it would be bright by itself; a run of before ranges divides by 257."""
    folder = write_deep_folder(tmp_path / "deep")
    run = begin(**FRESH, data=str(folder), augment="none", epochs=1)
    told = [event for event in go(run) if isinstance(event, LogMessage) and event.code == "range_bits"]
    assert [event.values["high"] for event in told] == ["4095"]
    assert run.load_resolved_config().value_range == "0,4095"
    model_info = run.read_json("model.json")
    assert model_info["preprocessing"]["value_ranges"] == {"uint16": [0, 4095]}
    assert run.read_json("config.json")["preprocessing"] == model_info["preprocessing"]
    for dark, expected in ((ramp(1000), 62), (ramp(4095), 255)):
        (tmp_path / "dark.png").write_bytes(make_png(dark))
        seen.clear()
        model = load_model.load_predictor(run)
        model.predict(tmp_path / "dark.png")
        pixels = decode.read_image(tmp_path / "dark.png", model.prep.decode_options)
        assert pixels.max() == expected
        assert torch.equal(
            seen[0], preprocess.normalize_batch(preprocess.resize_and_center_crop(pixels, model.prep)[None], model.prep)
        )
    del model_info["preprocessing"]["value_ranges"]
    assert preprocess.from_json(model_info["preprocessing"]).decode_options.value_ranges is None


def test_all_that_is_shown_of_a_run_has_the_range_of_its_deep_pictures(
    begin: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """12 bits in files of 16 are white at 4095 for whoever looks, and a dark picture among them stays dark."""
    for split in ("train", "val"):
        write_deep_folder(tmp_path / "deep" / split, count=3)
    dark = tmp_path / "deep" / "val" / "falling" / "dark.png"
    dark.write_bytes(make_png(ramp(1000, side=48)))
    bright = dark.with_name("0.png")
    run = begin(**FRESH, data=str(tmp_path / "deep"), augment="none")
    go(run)
    white, gray = 255, 62  # 62 = 1000 / 4095 * 255

    figures: list[Figure] = []
    monkeypatch.setattr(figure_files, "save_figure", lambda figure, _path: figures.append(figure))
    place = ["--figures", "--out", str(tmp_path / "maps"), "--runs", str(run.path.parent)]
    assert main.main(["explain", run.name, str(bright), str(dark), *place]) == 0, capsys.readouterr().err
    assert [int(np.max(np.asarray(figure.axes[0].images[0].get_array()))) for figure in figures] == [white, gray]

    dataset = datasets.load_split_dataset(run, "val")
    probabilities = torch.softmax(torch.as_tensor(evaluate.evaluate(run, dataset).logits), 1)
    model = load_model.load_predictor(run)
    for item, row in zip(dataset.items, probabilities, strict=True):
        scores = {score.class_index: score.probability for score in model.predict(dataset.root / item.path)}
        assert [scores[0], scores[1]] == pytest.approx(row.tolist(), abs=1e-4), "as a prediction sees it"

    profile = ServerProfile(tmp_path, run.path.parent)
    several = GalleryActions(PredictActions(profile).load_predictor).predict_several(
        {}, run.name, [str(bright), str(dark)]
    )
    assert [show_brightest(uri) for uri in find_images(several)] == pytest.approx([white, gray], abs=6)
    inspected = InspectActions(profile).evaluate({}, run.name, "best", "val", "", progress=lambda *_, **__: None)  # type: ignore[arg-type]
    shown = [show_brightest(uri) for part in inspected if isinstance(part, str) for uri in find_images(part)]
    assert max(shown, default=0) > white - 6
    found = scan.scan(tmp_path / "deep")
    pages = gallery_view.render_gallery(found, gallery_view.ALL_CHOICE, "val", 0)
    assert sorted(show_brightest(uri) for uri in find_images(pages))[0] == pytest.approx(gray, abs=6)
    assert max(show_brightest(uri) for uri in find_images(pages)) > white - 6
    augmented = preview.make_preview(found, run.load_config(), 0)
    middles = (augmented.eval_image, *augmented.epoch_images)
    assert min(int(image.max()) for image in middles) > white - 20, "nearly all of the ramp"


def find_images(markup: str) -> list[str]:
    """The pictures in a part of the page, in base64."""
    return re.findall(r"data:image/[a-z]+;base64,([^\"']+)", markup)


def show_brightest(encoded: str) -> int:
    return int(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L")).max())


@pytest.mark.parametrize(("setting", "high"), [("auto", 255), ("12", 255), ("16", 16), ("0,8190", 128)])
def test_the_value_range_can_be_set(setting: str, high: int, tmp_path: Path) -> None:
    found = scan.scan(write_deep_folder(tmp_path / "deep"), check=False)
    config = TrainConfig(value_range=setting)
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config, found.value_ranges)
    file = found.root / "rising" / "0.png"
    assert decode.read_image(file, prep.decode_options).max() == high
    assert preprocess.from_json(json.loads(json.dumps(prep.to_json()))) == prep


@pytest.mark.parametrize("setting", ["", "12 bits", "11", "5,5", "9,1", "0,inf", "1,2,3"])
def test_a_value_range_that_is_none_is_refused_in_one_line(setting: str) -> None:
    with pytest.raises(ConfigError, match="--value-range"):
        TrainConfig(value_range=setting)


def test_the_heat_of_a_squashed_picture_lies_where_the_network_saw_it(tmp_path: Path) -> None:
    """A network that looks for red finds it in its place in a picture that is three times as wide as high."""
    spec = dataclasses.replace(backbones.get_backbone_spec(BACKBONE), cam="0", width=3)
    backbone = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net = Network(backbone, torch.nn.Linear(3, 2))
    with torch.no_grad():
        heads.find_classifier(net.head).weight.copy_(torch.tensor([[4.0, -4.0, 0.0], [0.0, 0.0, 4.0]]))
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[60:90, 240:290, 0] = 255
    file = tmp_path / "wide.png"
    Image.fromarray(pixels).save(file)
    prep = preprocess.from_config(spec, TrainConfig(backbone=BACKBONE, resize_mode="squash", normalization="unit"))
    prep = dataclasses.replace(prep, mean=(0.0,) * 3)
    found = predictor.Predictor(net, spec, prep, ("red", "blue"), "").explain(file, 0)
    assert found.visible_box == (0, 0, 300, 100)
    rows, columns = np.nonzero(found.heatmap > 0.5)
    assert (abs(rows.mean() - 75), abs(columns.mean() - 265)) < (4, 8)
    moments = cv2.moments(found.heatmap)
    assert moments["m10"] / moments["m00"] == pytest.approx(265, abs=8)
    assert moments["m01"] / moments["m00"] == pytest.approx(75, abs=4)


def test_estimated_colours_are_computed_at_the_start_told_and_used_to_the_end(
    begin: Callable[..., Run], seen: list[Tensor]
) -> None:
    run = begin(**FRESH, normalization="estimated", augment="none")
    events = go(run)
    found = catalog.catalog_from_json(run.read_json("split.json"))
    *_, expected = channel_stats.compute_channel_stats(found, 1)
    assert isinstance(expected, ChannelStats)
    (note,) = said(events)
    assert note.values == expected.format_values()
    prep = preprocess.from_json(run.read_json("model.json")["preprocessing"])
    assert (prep.mean, prep.std) == (expected.mean, expected.std)
    trained = torch.cat([batch for batch in seen if len(batch) > 1][1:6])  # the first is of validation
    assert trained.mean().abs() < 0.1
    assert load_model.load_predictor(run).prep == prep


def test_a_resume_normalises_by_what_was_estimated_first(begin: Callable[..., Run]) -> None:
    settings: dict[str, Any] = {**FRESH, "normalization": "estimated", "epochs": 2}
    whole, parted = begin(**settings), begin(**settings)
    go(whole)
    go(parted, stop_at=3)
    again = parted.read_json("config.json")["preprocessing"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_stats, "compute_channel_stats", lambda *_: pytest.fail("computed anew"))
        events = go(parted)
    assert not said(events)
    assert parted.read_json("config.json")["preprocessing"] == again
    assert parted.last_checkpoint_path.read_bytes() == whole.last_checkpoint_path.read_bytes()


def test_a_stop_while_colours_are_measured(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(**FRESH, normalization="estimated")
    compute = channel_stats.compute_channel_stats

    def asked(*given: Any) -> Iterator[Any]:
        for part in compute(*given):
            run.liveness.request_stop()
            yield part

    monkeypatch.setattr(channel_stats, "compute_channel_stats", asked)
    events = [*train(run.load_config(), run, pretrained=False)]
    assert [type(event).__name__ for event in events] == ["Ended"]
    assert "preprocessing" not in run.read_json("config.json")
    monkeypatch.undo()
    assert said(go(run))


def test_how_far_the_measuring_is_is_told(begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftlab.runs.events.PROGRESS_INTERVAL_SECONDS", 0.0)
    told = [
        e for e in go(begin(**FRESH, normalization="estimated")) if isinstance(e, Progress) and e.stage == "statistics"
    ]
    assert (told[-1].done, told[-1].total) == (18, 18)


@pytest.mark.parametrize("name", ["vit_b_16", "maxvit_t"])
def test_a_backbone_that_takes_no_other_side_is_refused_another_in_the_form(name: str) -> None:
    with pytest.raises(ConfigError, match="only"):
        TrainConfig(backbone=name, image_size=160)
    assert TrainConfig(backbone=name, image_size=224).image_size == 224


def test_one_that_ftlab_does_not_know_so_well_says_so_in_one_line(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = dataclasses.replace(backbones.get_backbone_spec("vit_b_16"), fixed_side=False)
    monkeypatch.setitem(backbones.BACKBONES, unknown.name, unknown)
    run = begin(backbone=unknown.name, image_size=160)
    with pytest.raises(ConfigError) as caught:
        go(run)
    assert caught.value.code == "config.side"
    assert "224" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_pictures_are_varied_as_the_configuration_says(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainConfig] = []
    varied = augment.random_augment

    def watched(same: Any, prep: Any, config: TrainConfig, rng: Any) -> Tensor:
        asked.append(config)
        return varied(same, prep, config, rng)

    monkeypatch.setattr(augment, "random_augment", watched)
    go(begin(**FRESH, rotate=20.0, random_erasing=0.5))
    assert len(asked) == 18
    assert {(one.augment, one.rotate, one.random_erasing) for one in asked} == {("flip", 20.0, 0.5)}


@pytest.mark.parametrize(("settings", "views"), [({}, 3), ({"augment": "none"}, 1), ({"rotate": 9.0}, 3)], ids=str)
def test_cached_features_are_of_the_views_that_the_augmentation_gives(
    begin: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], views: int
) -> None:
    asked: set[int] = set()
    view = augment.make_view

    def watched(pixels: Any, prep: Any, config: TrainConfig, number: int, index: int) -> Tensor:
        asked.add(number)
        return view(pixels, prep, config, number, index)

    monkeypatch.setattr(augment, "make_view", watched)
    go(begin(mode="frozen", cached_views=3, **settings))
    assert asked == set(range(views))
