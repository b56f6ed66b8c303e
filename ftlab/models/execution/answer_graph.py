"""Logits and the last feature map of a network from one ONNX graph, without autograd.

For a network that ends in global average pooling and one linear layer, the gradient of a class's logit with respect to
the pooled feature map is constant: the weights of the class, divided by the number of positions. Class activation maps
at that layer therefore need no backward pass; Grad-CAM is the map of Zhou et al., 2016, "Learning Deep Features for
Discriminative Localization", arXiv:1512.04150, equation 2, but for a constant factor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.core.machine import count_cpu_cores
from ftlab.models import cam_layers, heads
from ftlab.models.execution import onnx_graph
from ftlab.models.execution.caller_turns import CallerTurns
from ftlab.models.network import Network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

THREADS_OF_ONE_CALLER = 2
"""Threads of a call while no other runs, at most: without spinning, more of them wait for each other at each layer."""
_MAX_RELATIVE_ERROR = 1e-4
"""Largest allowed difference between graph and torch, relative to the largest value."""
_MAX_TAIL_ERROR = 1e-5
"""Largest relative difference of what follows the feature map to pooling and a linear layer: float32 rounding."""


class AnswerGraph:
    """A network as a graph of ONNX Runtime on the CPU. Thread-safe.

    A call that runs alone uses two threads, so that nobody waits longer than needed. Calls at the same time use one
    thread each: two that wait for each other at each layer take a quarter more CPU time.

    Attributes:
        class_weights: of the linear layer, float32 [K, C].
    """

    def __init__(
        self, session: InferenceSession, class_weights: Tensor, single_thread_session: InferenceSession | None = None
    ) -> None:
        """Join sessions from `images` to `logits` and `feature_maps` with the weights of the linear layer.

        Args:
            session: for one call at a time.
            class_weights: float32 [K, C].
            single_thread_session: for calls at the same time; None if `session` is for them too.
        """
        self._session, self.class_weights = session, class_weights
        self._single_thread_session = single_thread_session or session
        self._turns = CallerTurns(count_cpu_cores())

    def __call__(self, image_batch: Tensor) -> tuple[Tensor, Tensor]:
        """Run the graph; an image's results have the same bits in every batch, alone or beside other calls.

        Args:
            image_batch: normalized images, float32 [N, 3, S, S].

        Returns:
            Logits, float32 [N, K], and feature maps, float32 [N, C, h, w].
        """
        with self._turns.take_turn() as is_alone:
            return _run_session(self._session if is_alone else self._single_thread_session, image_batch)

    def compute_gradient(self, feature_map: Tensor, class_index: int) -> Tensor:
        """Return the gradient of a class's logit with respect to the feature map.

        Args:
            feature_map: float32 [C, h, w].
            class_index: of the class; one that does not exist gives IndexError.

        Returns:
            float32 [C, h, w], constant over the positions.
        """
        position_count = feature_map[0].numel()
        return (self.class_weights[class_index] / position_count)[:, None, None].expand_as(feature_map)


def build_answer_graph(
    net: Network, spec: BackboneSpec, image_size: int, thread_count: int = THREADS_OF_ONE_CALLER
) -> AnswerGraph | None:
    """Export a network, if it ends in global average pooling and one linear layer. Takes seconds.

    Args:
        net: on the CPU, in evaluation mode, without gradients; no other thread may use it meanwhile.
        spec: of the backbone.
        image_size: S, in pixels.
        thread_count: threads of a call that runs alone, at most.

    Returns:
        The graph; None if the network ends in anything else, gains nothing from ONNX Runtime, cannot be exported, or
        if the graph does not agree with it.
    """
    device = next(net.parameters()).device
    is_candidate = spec.cam and spec.cam_layout == "chw" and spec.convolutional
    if not is_candidate or not onnx_graph.can_export(spec, device):
        return None
    images = cam_layers.make_probe_images(image_size)
    class_weights = find_class_weights(net, spec.cam, images)
    if class_weights is None:
        return None
    static_net = Network(onnx_graph.make_padding_static(net.backbone, images), net.head)
    module = AnswerModule(static_net, spec.cam).eval()
    graph_bytes = onnx_graph.export_module(module, images[:1], "images", ["logits", "feature_maps"])
    if graph_bytes is None:
        return None
    sessions = [
        onnx_graph.create_session(graph_bytes, count)
        for count in sorted({1, min(thread_count, torch.get_num_threads())}, reverse=True)
    ]
    results = [_run_session(session, images) for session in sessions]
    if not all(map(torch.equal, results[0], results[-1])):
        sessions = sessions[-1:]  # an answer must not depend on who else asks
    graph = AnswerGraph(sessions[0], class_weights, sessions[-1])
    with torch.inference_mode():
        pairs = zip(graph(images), module(images), strict=True)
        is_equal = all(_is_close(found, expected, _MAX_RELATIVE_ERROR) for found, expected in pairs)
    return graph if is_equal else None


def find_class_weights(net: Network, layer_path: str, images: Tensor) -> Tensor | None:
    """Return the weights of a network's last linear layer, if only global average pooling precedes it.

    What follows the layer is not read from the code, which every library writes in its own way, but measured: values
    and gradient must be those of the pooling and of one linear layer, up to rounding.

    Args:
        net: on the CPU, in evaluation mode, without gradients; left as it is.
        layer_path: of the layer before the pooling, in the backbone.
        images: to measure with, float32 [N, 3, S, S].

    Returns:
        float32 [K, C]; None if the network ends in anything else.
    """
    class_weights = _read_class_weights(net.head)
    if class_weights is None:
        return None
    feature_maps: list[Tensor] = []

    def capture_output(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        feature_maps.append(output.detach().requires_grad_())
        return feature_maps[-1].clone()  # later layers may work in place

    handle = net.backbone.get_submodule(layer_path).register_forward_hook(capture_output)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            features = net.backbone(images)
            mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
            (gradient,) = torch.autograd.grad((features * mixture).sum(), feature_maps[-1], allow_unused=True)
    finally:
        handle.remove()
    feature_map, features = feature_maps[-1].detach(), features.detach()
    if gradient is None or feature_map.ndim != 4 or feature_map.shape[:2] != features.shape:
        return None
    with torch.inference_mode():
        bias = net.head(torch.zeros(1, features.shape[1]))
        pairs = (
            (feature_map.mean(dim=(2, 3)), features),
            (gradient, (mixture / feature_map[0, 0].numel())[:, :, None, None].expand_as(gradient)),
            (features @ class_weights.T + bias, net.head(features)),
        )
    is_linear = all(_is_close(found, expected, _MAX_TAIL_ERROR) for found, expected in pairs)
    return class_weights if is_linear else None


class AnswerModule(nn.Module):
    """A network that returns its logits and the output of one layer."""

    def __init__(self, net: Network, layer_path: str) -> None:
        """Keep the layer's output of each pass.

        Args:
            net: of this module alone: a hook is put on the layer.
            layer_path: of the layer in the backbone.
        """
        super().__init__()
        self.net = net
        # The hook refers to the list and not to this module, which refers to the hook: no cycle keeps the copy alive.
        outputs = self._outputs = list[Tensor]()
        net.backbone.get_submodule(layer_path).register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, float32 [N, K], and the layer's output, [N, C, h, w], of images, float32 [N, 3, S, S]."""
        self._outputs.clear()
        logits = self.net(images)
        return logits, self._outputs.pop()


def _run_session(session: InferenceSession, image_batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, float32 [N, K], and feature maps, [N, C, h, w], of images, float32 [N, 3, S, S]."""
    logits, feature_maps = session.run(["logits", "feature_maps"], {"images": image_batch.contiguous().numpy()})
    return torch.from_numpy(logits), torch.from_numpy(feature_maps)


def _read_class_weights(head: nn.Module) -> Tensor | None:
    """Return the weights of a head's only linear layer, float32 [K, C]; None if it has several."""
    if not any(isinstance(module, nn.Linear) for module in head.modules()):
        return None
    classifier = heads.simplify_head(head)
    return classifier.weight.detach().contiguous() if isinstance(classifier, nn.Linear) else None


def _is_close(values: Tensor, expected: Tensor, relative_error: float) -> bool:
    """Return whether two tensors differ by at most `relative_error` of the largest expected value."""
    return bool((values - expected).abs().max() <= relative_error * expected.abs().max())
