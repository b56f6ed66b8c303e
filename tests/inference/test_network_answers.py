"""Answers by torch and by the graph: the same, whoever asks and however many."""

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftlab.config import backbones
from ftlab.data.transforms import preprocess
from ftlab.inference import load_model
from ftlab.inference.cam_options import CAM_METHODS, CamOptions
from ftlab.inference.predictor import Predictor
from ftlab.models import heads, network
from ftlab.models.execution import answer_graph
from tests.support import drawn_images
from tests.support.random_networks import settle_norms

SPEC = dataclasses.replace(backbones.get_backbone_spec("resnet18"), side=64, resize=72)

pytestmark = pytest.mark.usefixtures("one_thread")


def predictor(spec: backbones.BackboneSpec = SPEC) -> Predictor:
    net = network.build_network(spec, 9, pretrained=False, seed=1)
    settle_norms(net)
    heads.find_classifier(net.head).weight.data.mul_(30.0)
    return Predictor(net, spec, preprocess.from_spec(spec), tuple("abcdefghi"), "")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(drawn_images.tiny(tmp_path_factory.mktemp("pictures") / "tiny").glob("*/*"))


@pytest.fixture(scope="module")
def fast() -> Predictor:
    model = predictor()
    model.prepare_graph().result(60)
    assert model.answers.has_graph
    return model


def test_real_pictures_have_the_answers_and_maps_of_torch(shared_data: Path) -> None:
    files = sorted((shared_data / "data" / "hymenoptera" / "val").glob("*/*"))[::40]
    assert len(files) >= 3
    model = load_model.load_predictor(None)
    batches = [model._load_image(file)[0] for file in files]
    layer = model.get_cam_layer("")
    slow = Predictor(model.network, model.spec, model.prep, model.class_names, "")
    model.prepare_graph().result(60)
    assert model.answers.has_graph
    assert not slow.answers.has_graph
    for batch in batches:
        logits, class_map = model.answers.compute_cam(batch, None, "grad_cam", layer)
        expected_logits, expected = slow.answers.compute_cam(batch, None, "grad_cam", layer)
        assert expected.max() > 0
        assert (class_map.clamp(min=0) - expected.clamp(min=0)).abs().max() <= 1e-5 * expected.max()
        assert (logits - expected_logits).abs().max() <= 1e-5 * expected_logits.abs().max()


def test_a_prediction_and_its_explanation_agree_to_the_bit(fast: Predictor, pictures: list[Path]) -> None:
    for file in pictures[:4]:
        assert fast.predict(file, 9) == fast.predict_and_explain(file, 4, 9)[0]


def test_thirty_threads_get_the_bits_of_one(fast: Predictor, pictures: list[Path]) -> None:
    ways = [CamOptions(method, layer) for method in CAM_METHODS for layer in ("", "layer2")]

    def ask(number: int) -> tuple[Any, ...]:
        file = pictures[number % len(pictures)]
        scores, found = fast.predict_and_explain(file, number % 9, cam_options=ways[number % len(ways)])
        return scores, found.heatmap.tobytes(), found.cam_options

    serial = [ask(number) for number in range(60)]
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(ask, range(60))) == serial


@pytest.mark.parametrize("has_graph", [True, False])
def test_callers_with_a_thread_each_get_the_bits_of_the_others(
    fast: Predictor, pictures: list[Path], *, has_graph: bool
) -> None:
    model = predictor()
    model.answers.answer_on_callers()
    others = fast if has_graph else predictor()
    if has_graph:
        model.prepare_graph().result(60)
    assert model.answers.has_graph == has_graph
    batches = [model._load_image(file)[0] for file in pictures[:6]]
    ways = [(method, layer) for method in CAM_METHODS for layer in ("", "layer2")]

    def ask(asked: Predictor, number: int) -> tuple[bytes, ...]:
        method, layer = ways[number % len(ways)]
        batch, cam_layer = batches[number % len(batches)], asked.get_cam_layer(layer)
        logits, class_map = asked.answers.compute_cam(batch, number % 9, method, cam_layer)
        return *(values.numpy().tobytes() for values in (logits, class_map)), logits.numpy().tobytes()

    for number in range(3):
        image_batch = torch.cat(batches[number : number + 2])
        assert torch.equal(model.answers.compute_logits(image_batch), others.answers.compute_logits(image_batch))
    expected = [ask(others, number) for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: ask(model, number), range(24))) == expected


@pytest.mark.parametrize("layer", ["", "layer2"])
def test_maps_of_several_classes_are_those_of_each(fast: Predictor, pictures: list[Path], layer: str) -> None:
    for model in (fast, predictor()):
        together = model.explain_classes(pictures[0], (4, 0), CamOptions("grad_cam", layer))
        assert together[0].image is together[1].image
        for found, class_index in zip(together, (4, 0), strict=True):
            alone = model.explain(pictures[0], class_index, CamOptions("grad_cam", layer))
            assert (found.class_index, found.visible_box) == (class_index, alone.visible_box)
            assert (found.has_map, found.cam_options) == (True, alone.cam_options)
            assert found.scaled_map.tobytes() == alone.scaled_map.tobytes()
            assert np.array_equal(found.image, alone.image)


def test_other_layers_are_answered_by_torch(fast: Predictor, pictures: list[Path]) -> None:
    slow = predictor()
    for method in CAM_METHODS:
        options = CamOptions(method, "layer3")
        found, expected = (model.explain(pictures[0], 2, options).heatmap for model in (fast, slow))
        assert (found == expected).all()


def test_a_test_of_faithfulness_asks_the_graph(fast: Predictor, pictures: list[Path]) -> None:
    slow = predictor()
    index = next(index for index in range(9) if slow.explain(pictures[0], index).has_evidence)
    found, expected = (model.score_faithfulness(pictures[0], index) for model in (fast, slow))
    assert found is not None
    assert expected is not None
    assert found.deletion == pytest.approx(expected.deletion, abs=1e-4)
    assert found.insertion == pytest.approx(expected.insertion, abs=1e-4)


def test_a_graph_is_built_once_and_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = answer_graph.build_answer_graph

    def noted(net: Any, spec: Any, side: int, thread_count: int) -> Any:
        built.append(spec.name)
        return build(net, spec, side, thread_count)

    monkeypatch.setattr(answer_graph, "build_answer_graph", noted)
    spec = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v3_small"), side=64, resize=72)
    model = predictor(spec)
    assert model.prepare_graph() is model.prepare_graph()
    model.prepare_graph().result(60)
    assert built == ["mobilenet_v3_small"]
    assert not model.answers.has_graph
    assert model.answers.compute_logits(torch.zeros(2, 3, 64, 64)).shape == (2, 9)


def test_a_model_that_is_dropped_before_its_turn_gets_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    first_began, first_may_end = threading.Event(), threading.Event()

    def noted(_net: Any, spec: Any, _side: int, _thread_count: int) -> None:
        built.append(spec.title)
        first_began.set()
        assert first_may_end.wait(60)

    monkeypatch.setattr(answer_graph, "build_answer_graph", noted)
    models = [predictor(dataclasses.replace(SPEC, title=title)) for title in ("first", "dropped", "last")]
    builds = [model.prepare_graph() for model in models]
    assert first_began.wait(60)
    del models[1]
    first_may_end.set()
    for build in builds:
        assert build.result(60) is None
    assert built == ["first", "last"]


def test_a_bug_in_the_build_is_logged_and_torch_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(answer_graph, "build_answer_graph", break_down)
    model = predictor()
    with caplog.at_level(logging.ERROR):
        assert isinstance(model.prepare_graph().exception(60), ZeroDivisionError)
        # One build after the other: when the next one has ended, the first is logged.
        assert predictor().prepare_graph().exception(60)
    assert not model.answers.has_graph
    assert model.answers.compute_logits(torch.zeros(1, 3, 64, 64)).shape == (1, 9)
    assert any("a bug" in str(record.exc_info) for record in caplog.records)
