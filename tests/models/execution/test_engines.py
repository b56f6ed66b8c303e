"""What runs a frozen backbone: another engine gives the same features, and is taken only where it is worth it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.models import network
from ftlab.models.execution import engines, onnx_graph
from ftlab.models.execution.engines import ONNX, TORCH
from ftlab.runs import run_store
from ftlab.training.loop import train

CPU = torch.device("cpu")
SIDE = 64
pytestmark = pytest.mark.usefixtures("one_thread")


def backbone(name: str) -> nn.Module:
    """One with statistics that are not those of a fresh BatchNorm, or folding would change nothing."""
    made = network.build_network(backbones.get_backbone_spec(name), 2, pretrained=False).backbone
    generator = torch.Generator().manual_seed(0)
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.copy_(0.1 * torch.randn(part.running_mean.shape, generator=generator))
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=generator))
    return made.eval()


def normalise(name: str) -> Callable[[Tensor], Tensor]:
    prep = preprocess.from_spec(backbones.get_backbone_spec(name))
    return lambda pixels: preprocess.normalize_batch(pixels, prep)


def chosen(name: str = "mobilenet_v2", *, looks: int = 1000, side: int = SIDE, **more: Any) -> engines.Engine:
    spec = backbones.get_backbone_spec(name)
    return engines.choose_engine(backbone(name), spec, normalise(name), side, CPU, view_count=looks, **more)


def pictures(count: int, side: int = SIDE) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )


@pytest.mark.parametrize("name", ["mobilenet_v2", "tf_efficientnet_lite0", "resnet18", "shufflenet_v2_x1_0"])
@pytest.mark.parametrize("side", [64, 75])
def test_both_give_the_same_features_for_any_number_of_pictures(name: str, side: int) -> None:
    other = chosen(name, side=side, engine_name=ONNX)
    assert other.name == ONNX
    plain = backbone(name)
    for count in (1, 4, 7):
        pixels = pictures(count, side)
        with torch.inference_mode():
            wanted = plain(normalise(name)(pixels))
        found = other(pixels)
        assert (found.shape, found.dtype) == (wanted.shape, torch.float32)
        assert torch.allclose(found, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


def test_threads_that_use_one_at_once_get_the_same_bits() -> None:
    engine, pixels = chosen(engine_name=ONNX), pictures(4)
    alone = engine(pixels)
    with ThreadPoolExecutor(8) as pool:
        assert all(torch.equal(alone, one) for one in pool.map(engine, [pixels] * 30))


def test_the_faster_one_is_taken_where_there_is_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {TORCH: 1.0, ONNX: 0.5}
    monkeypatch.setattr(engines, "time_engine", lambda engine, pixels: (engine(pixels), times[engine.name]))
    export, graphs = engines.export_onnx, list[bytes | None]()

    def export_once(*given: Any) -> bytes | None:
        """All that is exported here is the same."""
        if not graphs:
            graphs.append(export(*given))
        return graphs[0]

    monkeypatch.setattr(engines, "export_onnx", export_once)
    assert chosen().name == ONNX
    assert chosen(looks=engines.MIN_ONNX_VIEWS - 1).name == TORCH
    assert chosen(engine_name=TORCH).name == TORCH
    times[ONNX] = 0.9
    assert chosen().name == TORCH, "a tenth is noise"
    assert chosen(engine_name=ONNX).name == ONNX


def test_one_that_cannot_be_exported_or_gives_something_else_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engines, "export_onnx", lambda *_: None)
        assert chosen(engine_name=ONNX).name == TORCH
    with monkeypatch.context() as patch:
        patch.setattr(engines.OnnxEngine, "__call__", lambda _engine, pixels: torch.zeros(len(pixels), 1280))
        assert chosen(engine_name=ONNX).name == TORCH
    monkeypatch.setattr(onnx_graph, "find_spec", lambda _name: None)
    assert chosen(engine_name=ONNX).name == TORCH, "where it is not installed"


def test_the_backbone_and_the_threads_are_left_as_they_were() -> None:
    module, spec = backbone("tf_efficientnet_lite0"), backbones.get_backbone_spec("tf_efficientnet_lite0")
    before = {name: type(part) for name, part in module.named_modules()}
    threads = torch.get_num_threads()
    engines.choose_engine(module, spec, normalise(spec.name), SIDE, CPU, view_count=1000, engine_name=ONNX)
    assert {name: type(part) for name, part in module.named_modules()} == before
    assert not any(part._forward_pre_hooks for part in module.modules())
    assert torch.get_num_threads() == threads


def test_a_run_keeps_what_was_chosen_and_a_resumed_one_uses_it(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=SIDE, resize=72)
    monkeypatch.setitem(backbones.BACKBONES, spec.name, spec)
    settings: dict[str, Any] = {"data": str(tiny_folder), "backbone": spec.name, "epochs": 2, "torch_num_threads": 1}
    auto = run_store.create_run(tmp_path / "runs", TrainConfig(**settings))
    list(train(auto.load_config(), auto, pretrained=False))
    assert auto.load_resolved_config().engine == TORCH, "a few pictures are not worth it"
    assert auto.load_config().engine == "auto"
    wanted: list[str] = []
    choose = engines.choose_engine

    def noted(*given: Any, **more: Any) -> engines.Engine:
        wanted.append(more["engine_name"])
        return choose(*given, **{**more, "engine_name": ONNX})

    monkeypatch.setattr(engines, "choose_engine", noted)
    fast = run_store.create_run(tmp_path / "runs", TrainConfig(**settings))
    events = train(fast.load_config(), fast, pretrained=False)
    for event in events:
        if event.kind == "epoch":
            fast.liveness.request_stop()
    fast.liveness.clear_stop()
    assert fast.load_resolved_config().engine == ONNX
    list(train(fast.load_config(), fast, pretrained=False))
    assert wanted == ["auto", ONNX]
    for one, other in zip(auto.load_history().epochs, fast.load_history().epochs, strict=True):
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-3)
