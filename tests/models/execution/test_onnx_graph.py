"""Modules as graphs of ONNX Runtime: what can be exported, and how the graph's sessions use the cores."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.models.execution import onnx_graph

SPEC = backbones.get_backbone_spec("mobilenet_v2")
CPU = torch.device("cpu")


class Doubled(nn.Module):
    """Two outputs of one input."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * images, images.mean(dim=(2, 3))


class OddPadding(nn.Conv2d):
    """Pads as TensorFlow does, with a number that depends on the input; known by its name, as timm's is."""

    def forward(self, images: Tensor) -> Tensor:
        size = images.shape[-1]
        extra = max(0, (-(-size // 2) - 1) * 2 + 3 - size)
        padded = nn.functional.pad(images, (extra // 2, extra - extra // 2) * 2)
        return nn.functional.conv2d(padded, self.weight, self.bias, 2)


OddPadding.__name__ = "Conv2dSame"


def test_a_graph_gives_every_output_for_any_number_of_images() -> None:
    graph = onnx_graph.export_module(Doubled().eval(), torch.zeros(1, 3, 4, 4), "images", ["twice", "means"])
    assert graph is not None
    session = onnx_graph.create_session(graph, 1)
    for count in (1, 5):
        images = torch.rand(count, 3, 4, 4)
        twice, means = session.run(["twice", "means"], {"images": images.numpy()})
        assert torch.equal(torch.from_numpy(twice), 2 * images)
        assert torch.allclose(torch.from_numpy(means), images.mean(dim=(2, 3)))


def test_an_export_imports_no_packages_besides_torch() -> None:
    code = """
import sys
import torch
from ftlab.models.execution import onnx_graph
assert onnx_graph.export_module(torch.nn.ReLU().eval(), torch.zeros(1, 3, 4, 4), "images", ["outputs"])
assert not {"onnx", "ml_dtypes", "torch._dynamo"} & set(sys.modules)
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr


def test_what_torch_cannot_export_has_no_graph() -> None:
    class EigenValues(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            values: Tensor = torch.linalg.eigvals(images)
            return values

    assert onnx_graph.export_module(EigenValues().eval(), torch.zeros(1, 3, 4, 4), "images", ["values"]) is None


def test_threads_of_a_session_sleep_while_they_wait() -> None:
    graph = onnx_graph.export_module(Doubled().eval(), torch.zeros(1, 3, 4, 4), "images", ["twice", "means"])
    assert graph is not None
    options = onnx_graph.create_session(graph, 2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_small_networks_on_the_cpu_can_be_exported_where_the_packages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert onnx_graph.can_export(SPEC, CPU)
    assert not onnx_graph.can_export(SPEC, torch.device("meta"))
    assert not onnx_graph.can_export(dataclasses.replace(SPEC, parameters=10**9), CPU)
    for missing in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_graph, "find_spec", lambda name, missing=missing: None if name == missing else object())
            assert not onnx_graph.can_export(SPEC, CPU)


@pytest.mark.parametrize("size", [8, 9])
def test_constant_padding_gives_the_same_values_and_draws_no_random_number(size: int) -> None:
    conv, images = OddPadding(3, 2, 3, stride=2), torch.rand(2, 3, size, size)
    state = torch.get_rng_state()
    padded = onnx_graph.make_padding_static(nn.Sequential(conv), images)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(isinstance(part, OddPadding) for part in padded.modules())
    assert torch.allclose(padded(images), conv(images), atol=1e-6)
    assert not conv._forward_pre_hooks
